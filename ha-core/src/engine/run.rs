use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tracing::Instrument;

use super::build::Engine;
use super::drive::{Drive, demoted, unix_ms};
use super::error::RunError;
use super::events::{EVENTS, Events};
use super::hands::Asked;
use super::lease::HeldLease;
use super::mailbox::{Mailbox, asked};
use super::observe::observe;
use super::on::{READ_AGAIN, compare_scripts};
use super::stale::{Compared, compare};
use crate::action::Order;
use crate::journal::cluster_of;
use crate::machine::{Hands, Input, RunMachine, RunState};
use crate::plan::Plan;
use crate::procedure::Planned;
use crate::record::{Ask, Entry, Operator, Record, RunId};
use crate::report::{Event, ReportBuilder, RunReport};
use crate::safety::Proof;
use crate::state::Observation;
use crate::telemetry;

/// Follows a run. Dropping it abandons the wait: the run goes on.
///
/// # Examples
///
/// ```
/// use ha_core::engine::{RunError, RunHandle};
/// use ha_core::record::Operator;
/// use ha_core::report::{Event, RunReport};
///
/// /// Follows a run, and asks for its rollback as soon as a node is lost.
/// async fn follow(mut run: RunHandle) -> Result<RunReport, RunError> {
///     while let Some(event) = run.next_event().await {
///         if let Event::DomainLost { domain } = event {
///             run.roll_back(Operator::new("night shift", format!("{domain} is lost"))).await?;
///         }
///     }
///     run.wait().await
/// }
/// ```
#[derive(Debug)]
pub struct RunHandle {
    engine: Engine,
    run: RunId,
    events: mpsc::Receiver<Event>,
    wake: Arc<Notify>,
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

    /// Returns the name of the run.
    pub fn run(&self) -> &RunId {
        &self.run
    }

    /// Asks something of the run: [`Engine::ask`], and its controller looks at once.
    ///
    /// # Errors
    /// As for [`Engine::ask`].
    /// # Cancel safety
    /// As for [`Engine::ask`].
    pub async fn ask(&self, by: Operator, what: Ask) -> Result<Asked, RunError> {
        let asked = self.engine.ask(&self.run, by, what).await;
        self.wake.notify_one();
        asked
    }

    /// Asks for the rollback: the step under way is ended, then the recorded steps are compensated. Past the point of no return
    /// the run refuses it; [`Engine::answer`] says so.
    ///
    /// # Idempotency
    /// Asked twice, it is rolled back once.
    /// # Errors
    /// As for [`Engine::ask`].
    /// # Cancel safety
    /// As for [`Engine::ask`].
    pub async fn roll_back(&self, by: Operator) -> Result<Asked, RunError> {
        self.ask(by, Ask::RollBack).await
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
        if let Some(point) = plan.lacks_approval(&self.shared.topology) {
            return Err(RunError::StalePlan(format!(
                "policy.approve asks for an approval ({point}) that the plan has not"
            )));
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
        let begun = Begun { plan, state, hands: Hands::default(), proof: Some(proof), seen: Some(seen) };
        self.spawn(run, begun, lease, vec![record], &[]).await
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

    /// Begins to drive a run with the records `first`, after what was recorded of it `earlier`.
    pub(super) async fn spawn(
        &self,
        run: RunId,
        begun: Begun,
        lease: HeldLease,
        mut first: Vec<Record>,
        earlier: &[Entry],
    ) -> Result<RunHandle, RunError> {
        let Begun { plan, state, mut hands, proof, seen } = begun;
        let (events, receiver) = mpsc::channel(EVENTS);
        let plan = Arc::new(plan);
        let reached_otherwise = plan.reach.differences(&self.shared.topology);
        let mut report = ReportBuilder::new(&run, &plan, proof.clone(), &reached_otherwise);
        if !earlier.is_empty() {
            let proof_of = |of: &Plan| proof.clone().filter(|proof| proof.plan == of.digest());
            if let Err(source) = report.take_in(&self.shared.topology, earlier, proof_of) {
                lease.release().await;
                return Err(RunError::Fold { run, source });
            }
        }
        let next_sequence = earlier.last().map_or(0, |entry| entry.sequence + 1);
        let intents = earlier.iter().filter_map(|entry| {
            let Record::Intent { order, .. } = &entry.record else { return None };
            Some((*order, entry.sequence))
        });
        let intents: BTreeMap<Order, u64> = intents.collect();
        // What was asked while nobody drove the run comes before all else. Where it cannot be read the run is gone on with all the
        // same: who rescues it does not wait for that.
        let asked = asked(&self.shared, &run, hands.last_request()).await;
        let is_read = asked.is_ok();
        let mut waiting = asked.unwrap_or_else(|error| {
            tracing::warn!(%error, "what people asked of the run cannot be read, it is gone on with");
            report.note(format!("what people asked of the run could not be read when it began here: {error}"));
            Vec::new()
        });
        // A run that had ended was gone on with by somebody who knew that: what came too late for its end was asked of another
        // situation. And who takes it back asks later than all that waits.
        let ended = matches!(earlier.last().map(|entry| &entry.record), Some(Record::Closed { .. }));
        let is_back =
            |record: &Record| matches!(record, Record::Requested { request, .. } if request.what == Ask::RollBack);
        let late = match (ended, first.iter().any(is_back)) {
            (true, _) => Some("it came when the run had ended for a person: ask again"),
            (false, true) => Some("the rollback was asked for since: ask again"),
            (false, false) => None,
        };
        if let Some(late) = late {
            for (number, request) in std::mem::take(&mut waiting) {
                let late = Record::Requested { number: Some(number), request, refused: Some(late.into()) };
                hands.on(&late);
                first.push(late);
            }
        }
        let machine = RunMachine::new(self.shared.topology.clone(), plan.clone(), state).with_hands(hands, unix_ms());
        let demoted_before = earlier.iter().filter_map(|entry| {
            let Record::Outcome { order, result, .. } = &entry.record else { return None };
            demoted(*order, *result)
        });
        let mut drive = Drive {
            machine,
            shared: self.shared.clone(),
            plan,
            run: run.clone(),
            lease,
            next_sequence,
            events: Events::new(events, |events| Event::Missed { events }),
            report,
            began: Instant::now(),
            began_unix_ms: unix_ms().max(earlier.last().map_or(0, |entry| entry.unix_ms)),
            started: BTreeMap::new(),
            ended: BTreeMap::new(),
            intents,
            gone_at: BTreeMap::new(),
            gone: BTreeSet::new(),
            start_took: None,
            demoted: demoted_before.collect(),
        };
        if let Err(error) = drive.record(first).await {
            drive.lease.release().await;
            return Err(error.into());
        }
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
        for (number, request) in waiting {
            drive.machine.handle(Duration::ZERO, Input::Requested { number, request, late: None, unix_ms: unix_ms() });
        }
        let wake = Arc::new(Notify::new());
        let after = drive.machine.hands().last_request();
        let mailbox = Mailbox::open(self.shared.clone(), run.clone(), after, late.filter(|_| !is_read), wake.clone());
        let task = tokio::spawn(drive.drive_to_end(mailbox).in_current_span());
        Ok(RunHandle { engine: self.clone(), run, events: receiver, wake, task })
    }
}

/// A run that is about to be driven.
pub(super) struct Begun {
    pub(super) plan: Plan,
    pub(super) state: RunState,
    pub(super) hands: Hands,
    pub(super) proof: Option<Proof>,
    /// The cluster, where it was looked at.
    pub(super) seen: Option<Observation>,
}
