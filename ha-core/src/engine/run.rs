use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tracing::{Instrument, Span};

use super::build::Engine;
use super::drive::{Drive, wall_clock_ms};
use super::error::RunError;
use super::events::{EVENTS, Events};
use super::lease::HeldLease;
use super::observe::observe;
use super::on::{READ_AGAIN, compare_scripts};
use super::stale::{Compared, compare};
use crate::action::Order;
use crate::journal::cluster_of;
use crate::machine::{RunMachine, RunState, Turn, fold};
use crate::plan::Plan;
use crate::procedure::Planned;
use crate::record::{Cursor, End, Entry, Mode, Record, RunId, Why};
use crate::report::{Event, ReportBuilder, RunReport};
use crate::safety::{Proof, prove};
use crate::state::Observation;
use crate::telemetry;

/// Follows a run. Dropping it abandons the wait: the run goes on.
///
/// # Examples
///
/// ```
/// use ha_core::engine::{RunError, RunHandle};
/// use ha_core::report::{Event, RunReport};
///
/// /// Follows a run, and asks for its rollback as soon as a node is lost.
/// async fn follow(mut run: RunHandle) -> Result<RunReport, RunError> {
///     while let Some(event) = run.next_event().await {
///         if let Event::DomainLost { .. } = event {
///             run.abort();
///         }
///     }
///     run.wait().await
/// }
/// ```
#[derive(Debug)]
pub struct RunHandle {
    events: mpsc::Receiver<Event>,
    abort: mpsc::UnboundedSender<()>,
    task: JoinHandle<Result<RunReport, RunError>>,
}

impl RunHandle {
    /// Waits for the next event; `None` after the last. Up to 1,024 events wait to be taken; what comes beyond that is lost, and
    /// an [`Event::Missed`] says how many. The report has all.
    ///
    /// # Cancel safety
    /// Cancel safe: the event is there for the next call.
    pub async fn next_event(&mut self) -> Option<Event> {
        self.events.recv().await
    }

    /// Asks for the rollback: the step under way is ended, then the recorded steps are compensated. Past the point of
    /// no return nothing happens.
    pub fn abort(&self) {
        // A run that has ended has nobody to ask.
        let _ = self.abort.send(());
    }

    /// Waits for the end of the run.
    ///
    /// # Errors
    /// [`RunError`] when the run could not be brought to an end by this controller; the journal says how far it came.
    /// [`RunError::Unrecorded`] when the journal itself failed, with the open loans and what is unknown.
    /// # Cancel safety
    /// Cancel safe: the run goes on.
    pub async fn wait(self) -> Result<RunReport, RunError> {
        match self.task.await {
            Ok(result) => result,
            Err(error) => Err(RunError::Died(error.to_string())),
        }
    }
}

impl Engine {
    /// Begins a proven plan under the name `run`.
    ///
    /// Takes the lease, looks at the cluster again, records the plan, and runs it in a task of its own.
    ///
    /// # Errors
    /// [`RunError::Lease`] while another controller holds the cluster, [`RunError::StalePlan`],
    /// [`RunError::Unread`], [`RunError::OtherTopology`], [`RunError::OtherPlan`], [`RunError::Exists`],
    /// [`RunError::Unfinished`], [`RunError::Journal`]: nothing was changed in any of these cases.
    /// # Cancel safety
    /// Before the plan is recorded, dropping the future leaves a lease that ends by itself; after it the run goes on.
    pub async fn run(&self, run: RunId, planned: Planned) -> Result<RunHandle, RunError> {
        let span = telemetry::run_span(&run);
        telemetry::name_plan(&span, planned.plan().procedure(), planned.plan().digest().short());
        self.begin(run, planned).instrument(span).await
    }

    async fn begin(&self, run: RunId, planned: Planned) -> Result<RunHandle, RunError> {
        let (plan, proof) = planned.into_proven().ok_or(RunError::OtherPlan)?;
        if !plan.is_for(&self.shared.topology) {
            return Err(RunError::OtherTopology);
        }
        let lease = HeldLease::take(&self.shared).await?;
        let seen = match self.prepare(&run, &plan).await {
            Ok(seen) => seen,
            Err(error) => {
                lease.release().await;
                return Err(error);
            }
        };
        let state = RunState::of(&plan);
        let record = Record::Opened { plan: Box::new(plan.clone()) };
        self.spawn(run, plan, (Some(proof), Some(seen)), state, lease, record, &[]).await
    }

    /// Goes on with a recorded run, wherever its controller left it: a run that needs an operator is taken back from
    /// in place, or forward past the point of no return, or, where the change was taken from a node that did not take it
    /// ([`Why::Withdrawn`]), forward from that node on.
    ///
    /// # Errors
    /// As [`run`](Self::run), and [`RunError::Fold`] when the records do not make a run, [`RunError::Ended`] when it is
    /// all new or all old already. Nothing was changed in any of these cases.
    pub async fn resume(&self, run: RunId) -> Result<RunHandle, RunError> {
        let span = telemetry::run_span(&run);
        self.take_over(run, &span).instrument(span.clone()).await
    }

    async fn take_over(&self, run: RunId, span: &Span) -> Result<RunHandle, RunError> {
        let lease = HeldLease::take(&self.shared).await?;
        let entries = match self.shared.journal.read(&run).await {
            Ok(entries) => entries,
            Err(error) => {
                lease.release().await;
                return Err(error.into());
            }
        };
        let folded = match fold(&self.shared.topology, &entries) {
            Ok(folded) => folded,
            Err(source) => {
                lease.release().await;
                return Err(RunError::Fold { run, source });
            }
        };
        telemetry::name_plan(span, folded.plan.procedure(), folded.plan.digest().short());
        let mut state = folded.state;
        match folded.end {
            Some(end @ (End::AllNew | End::AllOld)) => {
                lease.release().await;
                return Err(RunError::Ended { run, end });
            }
            Some(End::NeedsOperator(why)) => {
                let past = usize::from(state.cursor.stage) >= folded.plan.point_of_no_return;
                let at = Cursor { phase: 0, attempt: 0, ..state.cursor };
                let at = match (why == Why::Withdrawn, past) {
                    (true, _) => Cursor { mode: Mode::Forward, step: 0, ..at },
                    (false, true) => Cursor { mode: Mode::Forward, ..at },
                    (false, false) => Cursor { mode: Mode::Compensating, ..at },
                };
                state.cluster.set_losses(folded.plan.start.lost());
                state.enter(at, Turn::StepFailed);
            }
            None => {}
        }
        let record = Record::TakenOver { owner: self.shared.owner.clone(), at: state.cursor };
        // The proof is not recorded: it is found again. A plan of an earlier version of the law may have none any more.
        let proof = prove(&self.shared.topology, &folded.plan).ok();
        self.spawn(run, folded.plan, (proof, None), state, lease, record, &entries).await
    }

    /// Makes sure that the run may begin; returns the state of the cluster.
    async fn prepare(&self, run: &RunId, plan: &Plan) -> Result<Observation, RunError> {
        if !self.shared.journal.read(run).await?.is_empty() {
            return Err(RunError::Exists { run: run.clone() });
        }
        let cluster = self.shared.topology.name().as_str();
        for known in self.shared.journal.open_runs(cluster).await? {
            let entries = self.shared.journal.read(&known).await?;
            if entries.first().and_then(cluster_of) == Some(cluster) {
                return Err(RunError::Unfinished { run: known });
            }
        }
        let (seen, notes) = observe(&self.shared, plan, READ_AGAIN).await;
        match compare(&self.shared.topology, plan, &seen) {
            Compared { differences, .. } if !differences.is_empty() => Err(RunError::StalePlan(differences.join(", "))),
            Compared { unread, .. } if !unread.is_empty() => Err(RunError::Unread { unread, notes }),
            Compared { .. } => compare_scripts(&self.shared, plan).await.map(|()| seen),
        }
    }

    /// Begins to drive a run, after what was recorded of it `earlier`.
    #[allow(clippy::too_many_arguments, reason = "the parts of one run, put together in one place")]
    async fn spawn(
        &self,
        run: RunId,
        plan: Plan,
        (proof, seen): (Option<Proof>, Option<Observation>),
        state: RunState,
        lease: HeldLease,
        first: Record,
        earlier: &[Entry],
    ) -> Result<RunHandle, RunError> {
        let (events, receiver) = mpsc::channel(EVENTS);
        let (abort, aborted) = mpsc::unbounded_channel();
        let plan = Arc::new(plan);
        let reached_otherwise = plan.reach.differences(&self.shared.topology);
        let mut report = ReportBuilder::new(&run, &plan, proof.clone(), &reached_otherwise);
        if !earlier.is_empty() {
            let proof_of = |of: &Plan| proof.clone().filter(|proof| proof.plan == of.digest());
            let taken = report.take_in(&self.shared.topology, earlier, proof_of);
            taken.map_err(|source| RunError::Fold { run: run.clone(), source })?;
        }
        let next_sequence = earlier.last().map_or(0, |entry| entry.sequence + 1);
        let intents = earlier.iter().filter_map(|entry| {
            let Record::Intent { order, .. } = &entry.record else { return None };
            Some((*order, entry.sequence))
        });
        let intents: BTreeMap<Order, u64> = intents.collect();
        let mut drive = Drive {
            machine: RunMachine::new(self.shared.topology.clone(), plan.clone(), state),
            shared: self.shared.clone(),
            plan,
            run,
            lease,
            next_sequence,
            events: Events::new(events, |events| Event::Missed { events }),
            report,
            began: Instant::now(),
            began_unix_ms: wall_clock_ms().max(earlier.last().map_or(0, |entry| entry.unix_ms)),
            started: BTreeMap::new(),
            ended: BTreeMap::new(),
            intents,
            gone_at: BTreeMap::new(),
            start_took: None,
        };
        drive.record(vec![first]).await?;
        let opened = Event::Opened {
            run: drive.run.to_string(),
            epoch: drive.lease.epoch().number(),
            resumed: next_sequence > 0,
            reached_otherwise,
        };
        drive.emit(opened);
        if let Some(seen) = seen {
            // It was seen before the plan was recorded, which may have taken long.
            drive.seen(Duration::ZERO, seen);
        }
        let task = tokio::spawn(drive.drive_to_end(aborted).in_current_span());
        Ok(RunHandle { events: receiver, abort, task })
    }
}
