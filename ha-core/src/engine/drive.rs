use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep_until};
use tracing::Instrument;

use super::build::{Engine, Shared};
use super::error::RunError;
use super::execute::{Executor, Outcome};
use super::lease::HeldLease;
use super::observe::observe;
use crate::action::{Order, Verb};
use crate::backend::{ContentDigest, WorkId};
use crate::journal::cluster_of;
use crate::machine::{Command, Input, RunMachine, Ticket, fold};
use crate::plan::Plan;
use crate::procedure::Planned;
use crate::record::{Cursor, End, Entry, Mode, OutcomeKind, Record, RunId};
use crate::report::{Event, ReportBuilder, RunReport};
use crate::safety::Proof;
use crate::state::{ClusterState, Observation, Process};
use crate::topology::{NodeIx, Topology};

/// Follows a run. Dropping it abandons the wait: the run goes on.
#[derive(Debug)]
pub struct RunHandle {
    events: mpsc::UnboundedReceiver<Event>,
    abort: mpsc::UnboundedSender<()>,
    task: JoinHandle<Result<RunReport, RunError>>,
}

impl RunHandle {
    /// Waits for the next event; `None` after the last.
    ///
    /// # Cancel safety
    /// Cancel safe: no event is lost.
    pub async fn next_event(&mut self) -> Option<Event> {
        self.events.recv().await
    }

    /// Asks for the way back: the step under way is ended, then the recorded steps are compensated. Past the point of
    /// no return nothing happens.
    pub fn abort(&self) {
        // A run that has ended has nobody to ask.
        let _ = self.abort.send(());
    }

    /// Waits for the end of the run.
    ///
    /// # Errors
    /// [`RunError`] when the run could not be brought to an end by this controller; the journal says how far it came.
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
    /// [`RunError::OtherTopology`], [`RunError::Exists`], [`RunError::Unfinished`], [`RunError::Journal`]: nothing was
    /// changed in any of these cases.
    /// # Cancel safety
    /// Before the plan is recorded, dropping the future leaves a lease that ends by itself; after it the run goes on.
    pub async fn run(&self, run: RunId, planned: Planned) -> Result<RunHandle, RunError> {
        let Planned { plan, proof } = planned;
        if plan.topology != Plan::digest_of(&self.shared.topology) {
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
        let (state, cursor) = (plan.start.clone(), Cursor::START);
        let record = Record::Opened { plan: Box::new(plan.clone()) };
        self.spawn(run, plan, Some((proof, seen)), state, cursor, lease, 0, record, BTreeMap::new()).await
    }

    /// Goes on with a recorded run, wherever its controller left it: a run that needs an operator is taken back from
    /// where it stands, or forward past the point of no return.
    ///
    /// # Errors
    /// As [`run`](Self::run), and [`RunError::Fold`] when the records do not make a run, [`RunError::Ended`] when it is
    /// all new or all old already. Nothing was changed in any of these cases.
    pub async fn resume(&self, run: RunId) -> Result<RunHandle, RunError> {
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
        let (mut state, mut cursor) = (folded.state, folded.cursor);
        match folded.end {
            Some(end @ (End::AllNew | End::AllOld)) => {
                lease.release().await;
                return Err(RunError::Ended { run, end });
            }
            Some(End::NeedsOperator(_)) => {
                let past = usize::from(cursor.stage) >= folded.plan.point_of_no_return;
                cursor.mode = if past { Mode::Forward } else { Mode::Compensating };
                (cursor.phase, cursor.attempt) = (0, 0);
                state.clear_lost();
                state.reset_progress();
            }
            None => {}
        }
        let record = Record::TakenOver { owner: self.shared.owner.clone(), at: cursor };
        let intents = entries.iter().filter_map(|entry| match &entry.record {
            Record::Intent { order, .. } => Some((*order, entry.sequence)),
            _ => None,
        });
        let intents = intents.collect();
        self.spawn(run, folded.plan, None, state, cursor, lease, folded.next_sequence, record, intents).await
    }

    /// Makes sure that the run may begin; returns how the cluster stands.
    async fn prepare(&self, run: &RunId, plan: &Plan) -> Result<Observation, RunError> {
        if !self.shared.journal.read(run).await?.is_empty() {
            return Err(RunError::Exists { run: run.clone() });
        }
        let cluster = self.shared.topology.name.as_str();
        for known in self.shared.journal.open_runs(cluster).await? {
            let entries = self.shared.journal.read(&known).await?;
            if entries.first().and_then(cluster_of) == Some(cluster) {
                return Err(RunError::Unfinished { run: known });
            }
        }
        let seen = observe(&self.shared, &plan.facts, &[]).await;
        match differences(&self.shared.topology, &plan.start, &seen) {
            None => Ok(seen),
            Some(differences) => Err(RunError::StalePlan(differences)),
        }
    }

    #[allow(clippy::too_many_arguments, reason = "the parts of one run, put together in one place")]
    async fn spawn(
        &self,
        run: RunId,
        plan: Plan,
        fresh: Option<(Proof, Observation)>,
        state: ClusterState,
        cursor: Cursor,
        lease: HeldLease,
        next_sequence: u64,
        first: Record,
        intents: BTreeMap<Order, u64>,
    ) -> Result<RunHandle, RunError> {
        let (events, receiver) = mpsc::unbounded_channel();
        let (abort, aborted) = mpsc::unbounded_channel();
        let plan = Arc::new(plan);
        let (proof, seen) = fresh.unzip();
        let report = ReportBuilder::new(&run, &plan, proof);
        let mut drive = Drive {
            machine: RunMachine::new(self.shared.topology.clone(), plan.clone(), state, cursor),
            shared: self.shared.clone(),
            plan,
            run,
            lease,
            next_sequence,
            events,
            report,
            began: Instant::now(),
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
        };
        drive.tell(opened);
        if let Some(seen) = seen {
            // It was seen before the plan was recorded, which may have taken long.
            drive.seen(Duration::ZERO, seen);
        }
        let span = tracing::info_span!("run", run.id = %drive.run, plan.digest = %drive.plan.digest().short());
        let task = tokio::spawn(drive.drive_to_end(aborted).instrument(span));
        Ok(RunHandle { events: receiver, abort, task })
    }
}

struct Drive {
    machine: RunMachine,
    shared: Arc<Shared>,
    plan: Arc<Plan>,
    run: RunId,
    lease: HeldLease,
    next_sequence: u64,
    events: mpsc::UnboundedSender<Event>,
    report: ReportBuilder,
    began: Instant,
    started: BTreeMap<Order, Instant>,
    /// When orders were seen to end: at most the guard's interval before that is recorded.
    ended: BTreeMap<Order, Instant>,
    /// The sequence number of the last intent of each order: what the host knows its command by.
    intents: BTreeMap<Order, u64>,
    /// When servers that this run has stopped were seen to be gone.
    gone_at: BTreeMap<NodeIx, Instant>,
    /// How long the last start took.
    start_took: Option<Duration>,
}

enum Ended {
    Observed(Observation),
    Order(Order, Ticket, Outcome),
}

impl Drive {
    async fn drive_to_end(mut self, mut aborted: mpsc::UnboundedReceiver<()>) -> Result<RunReport, RunError> {
        let mut tasks: JoinSet<Ended> = JoinSet::new();
        loop {
            while let Some(command) = self.machine.poll_command(self.began.elapsed()) {
                match command {
                    Command::Record(records) => {
                        self.record(records).await?;
                        self.machine.handle(self.began.elapsed(), Input::Recorded);
                    }
                    Command::Observe => {
                        let (shared, plan) = (self.shared.clone(), self.plan.clone());
                        let in_flight = self.machine.state().in_flight();
                        tasks.spawn(async move { Ended::Observed(observe(&shared, &plan.facts, &in_flight).await) });
                    }
                    Command::Act { ticket, order, deadline } => {
                        // After the intent is durable and directly before the effect: may this controller still act?
                        self.lease.check()?;
                        let executor = self.executor(order);
                        let act = async move { Ended::Order(order, ticket, executor.act(deadline).await) };
                        tasks.spawn(act.in_current_span());
                    }
                    Command::Look { ticket, order, deadline } => {
                        let executor = self.executor(order);
                        let look = async move { Ended::Order(order, ticket, executor.look(deadline).await) };
                        tasks.spawn(look.in_current_span());
                    }
                    Command::Close { end } => return Ok(self.close(end).await),
                }
            }
            let wake = self.machine.poll_timeout();
            let woken = self.began + wake.unwrap_or_default();
            tokio::select! {
                biased;
                Some(()) = aborted.recv() => self.machine.handle(self.began.elapsed(), Input::Abort),
                Some(joined) = tasks.join_next() => match joined {
                    Ok(Ended::Observed(seen)) => self.seen(self.began.elapsed(), seen),
                    Ok(Ended::Order(order, ticket, (outcome, note))) => {
                        self.ended.insert(order, Instant::now());
                        let input = Input::Finished { ticket, outcome, note };
                        self.machine.handle(self.began.elapsed(), input);
                    }
                    Err(error) => return Err(RunError::Died(error.to_string())),
                },
                () = sleep_until(woken), if wake.is_some() => {}
                else => return Err(RunError::Died("the run waits for nothing".into())),
            }
        }
    }

    async fn record(&mut self, records: Vec<Record>) -> Result<(), RunError> {
        let (epoch, now) = (self.lease.epoch(), unix_ms());
        let entries = (self.next_sequence..).zip(&records);
        let entries = entries.map(|(sequence, record)| Entry::new(sequence, epoch, now, record.clone())).collect();
        self.shared.journal.append(&self.run, entries).await?;
        for record in &records {
            if let Record::Intent { order, .. } = record {
                self.intents.insert(*order, self.next_sequence);
            }
            self.next_sequence += 1;
            self.tell_of(record);
        }
        Ok(())
    }

    /// Takes in how the cluster stood at `at`.
    fn seen(&mut self, at: Duration, seen: Observation) {
        self.machine.handle(at, Input::Observed(seen));
        let topology = &self.shared.topology;
        let clip = |margin: i128| i64::try_from(margin).unwrap_or(if margin < 0 { i64::MIN } else { i64::MAX });
        let margins = self.machine.margins().map(|(pool, margin)| (&topology.pool(pool).name, clip(margin)));
        if let Some(margin) = self.report.margins(margins) {
            self.tell(Event::Observed { margin });
        }
    }

    fn tell_of(&mut self, record: &Record) {
        let topology = self.shared.topology.clone();
        let name = |order: &Order| topology.node(order.node).name.to_string();
        match record {
            Record::Opened { .. } | Record::TakenOver { .. } => {}
            Record::Turned { note, .. } => self.tell(Event::Turned { note: note.clone() }),
            Record::Intent { order, at } => {
                self.started.insert(*order, Instant::now());
                // A late answer to an attempt before it says nothing of this one.
                self.ended.remove(order);
                let compensating = at.mode != Mode::Forward;
                self.tell(Event::StepStarted { node: name(order), verb: order.verb.to_string(), compensating });
            }
            Record::Outcome { order, result, note } => {
                let ended = self.ended.remove(order).unwrap_or_else(Instant::now);
                let took = self.started.get(order).map_or(Duration::ZERO, |began| ended.duration_since(*began));
                match order.verb {
                    Verb::Stop if *result == OutcomeKind::Done => {
                        self.gone_at.insert(order.node, ended);
                    }
                    Verb::Start | Verb::StartInTest if *result == OutcomeKind::Done => self.start_took = Some(took),
                    _ => {}
                }
                let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
                self.tell(Event::StepEnded {
                    node: name(order),
                    verb: order.verb.to_string(),
                    outcome: *result,
                    note: note.clone(),
                    took_ms,
                });
            }
            Record::DomainLost { domain } => {
                let domain = topology.domains[domain.index()].to_string();
                self.tell(Event::DomainLost { domain });
            }
            Record::Closed { end, open } => {
                self.tell(Event::Closed { end: *end, words: end.to_string(), open: open.clone() });
            }
        }
    }

    fn tell(&mut self, event: Event) {
        tracing::debug!(event = ?event, "run event");
        self.report.event(&event);
        // Nobody has to listen.
        let _ = self.events.send(event);
    }

    fn executor(&self, order: Order) -> Executor {
        let work = self.intents.get(&order).and_then(|sequence| work_id(&self.run, *sequence));
        let gone_at = self.gone_at.get(&order.node).copied();
        Executor {
            shared: self.shared.clone(),
            plan: self.plan.clone(),
            epoch: self.lease.epoch(),
            order,
            work,
            gone_at,
            start_took: self.start_took,
            release: self.machine.state().node(order.node).release,
        }
    }

    async fn close(self, end: End) -> RunReport {
        let open = self.machine.open_loans();
        let report = self.report.finish(end, open, self.began.elapsed());
        self.lease.release().await;
        report
    }
}

/// Names the command of one intent for good, so that a host can be asked for it after the death of its controller.
fn work_id(run: &RunId, sequence: u64) -> Option<WorkId> {
    let plain = WorkId::new(&format!("{run}.{sequence}")).ok();
    plain.or_else(|| WorkId::new(&format!("{}.{sequence}", ContentDigest::of(run.as_str().as_bytes()))).ok())
}

/// Says in which facts the cluster differs from the state that a plan starts from.
fn differences(topology: &Topology, start: &ClusterState, seen: &Observation) -> Option<String> {
    let mut found = Vec::new();
    for (index, node) in topology.nodes() {
        let (before, now) = (start.node(index), &seen.nodes[index.index()]);
        let same_process = match (before.process, now.process) {
            (Process::Ready { .. }, Process::Ready { .. }) => true,
            (before, now) => before == now,
        };
        if !same_process {
            found.push(format!("{} is {:?}, it was {:?}", node.name, now.process, before.process));
        }
        if before.release != now.release {
            found.push(format!("{} has another release", node.name));
        }
        let shared = now.shared.map(|now| (now.sync, now.generation, now.writer));
        if shared.is_some_and(|now| now != (before.sync, before.generation, before.writer)) {
            found.push(format!("{} takes part in file sharing differently", node.name));
        }
        if before.work != now.work {
            found.push(format!("{} pulls work differently", node.name));
        }
        if seen.rows.get(topology.row_layout().rows(index.index())) != Some(start.rows(index)) {
            found.push(format!("{} stands differently on the balancers", node.name));
        }
    }
    if seen.schema.is_some_and(|schema| schema != start.schema) {
        found.push(format!("the schema is not {} any more", start.schema));
    }
    if found.is_empty() { None } else { Some(found.join(", ")) }
}

#[allow(clippy::disallowed_methods, reason = "the one place where wall-clock time enters, for people to read")]
fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
