mod hands;
mod loss;
mod window;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use hands::Approval;
use loss::Replanning;

use super::RunState;
use super::decide::{Decision, Turn, decide};
use super::hands::Hands;
use super::unread::{unread, unread_whole};
use super::watch::Watches;
use super::words::{Command, Input, Ticket};
use crate::action::{Action, At, Order, ServerAction, TrafficAction};
use crate::law::Law;
use crate::plan::{Degraded, Plan};
use crate::record::{Cursor, End, Evidence, Mode, OutcomeKind, Record, Why};
use crate::state::{CloneFacts, CloneStage, ClusterState, Target};
use crate::topology::{NodeIx, PoolIx, Topology};

/// Runs one plan: the decision core with tickets, deadlines and the order of records around it. Sans I/O.
///
/// Use: `handle` what happened, then drain `poll_command`, then wait no longer than `poll_timeout`.
#[derive(Debug)]
pub struct RunMachine {
    topology: Arc<Topology>,
    plan: Arc<Plan>,
    run: RunState,
    /// The run before the intent that is not durable yet: nothing of that order has happened.
    before_intent: Option<RunState>,
    pending: BTreeMap<Ticket, Pending>,
    /// What waits to be recorded, and until when at most.
    unwritten: Vec<Record>,
    write_by: Option<Duration>,
    /// What may be done once that is durable.
    outbox: VecDeque<Command>,
    next_ticket: u64,
    recording: bool,
    watches: Watches,
    dead_since: Vec<Option<Duration>>,
    /// Since when a balancer says that a node is down.
    down_since: Vec<Option<Duration>>,
    /// Since when something cannot be read that could be when the plan was made.
    unread_since: Option<Duration>,
    /// What the last look at the cluster could not read of what belongs to no node, for people.
    unread_whole: Vec<String>,
    /// Since when each declared window is open, as far as this controller knows.
    open_since: Vec<(Degraded, Duration)>,
    /// Nodes whose gate has passed, and to which nothing was done since.
    gated: BTreeSet<NodeIx>,
    hands: Hands,
    /// What people count as the time at 0 of the machine's.
    unix_ms_at_start: u64,
    replanning: Replanning,
    closed: bool,
    /// Whether a record could not be written: nothing is given out any more.
    unrecorded: bool,
}

#[derive(Debug)]
struct Pending {
    order: Order,
    overdue_at: Duration,
}

/// How often the guard looks at the whole cluster while a run lasts.
pub(crate) const GUARD_INTERVAL: Duration = Duration::from_millis(250);
/// How long a driver may be late with an answer before the outcome counts as unknown.
const GRACE: Duration = Duration::from_secs(5);
/// How long a run waits for what cannot be read. A read that failed says nothing of the cluster: it is asked again, and only
/// after this time does the run decide without it.
const UNREAD_LIMIT: Duration = Duration::from_secs(5);
/// How long a look may take.
const LOOK_DEADLINE: Duration = Duration::from_secs(15);

impl RunMachine {
    /// Begins a plan, or goes on with it where [`fold`](super::fold) says that it is.
    pub fn new(topology: Arc<Topology>, plan: Arc<Plan>, run: RunState) -> Self {
        let closed = matches!(run.cursor.mode, Mode::Ended(_));
        let dead_since = vec![None; topology.nodes().count()];
        let watches = Watches::new(topology.balancers().map(|(balancer, _)| balancer));
        Self {
            topology,
            plan,
            run,
            before_intent: None,
            pending: BTreeMap::new(),
            unwritten: Vec::new(),
            write_by: None,
            outbox: VecDeque::new(),
            next_ticket: 0,
            recording: false,
            watches,
            down_since: dead_since.clone(),
            dead_since,
            unread_since: None,
            unread_whole: Vec::new(),
            open_since: Vec::new(),
            gated: BTreeSet::new(),
            hands: Hands::default(),
            unix_ms_at_start: 0,
            replanning: Replanning::No,
            closed,
            unrecorded: false,
        }
    }

    /// Begins with what people have asked of the run before, at a time that people count as `unix_ms`.
    #[must_use]
    pub fn with_hands(mut self, hands: Hands, unix_ms: u64) -> Self {
        (self.hands, self.unix_ms_at_start) = (hands, unix_ms);
        self
    }

    /// Returns what people have asked of the run.
    pub fn hands(&self) -> &Hands {
        &self.hands
    }

    /// Returns where the run is, as far as it knows.
    pub fn run(&self) -> &RunState {
        &self.run
    }

    /// Returns the plan that it runs: after a loss it may be another one than it began with.
    pub fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// Lists the open loans, for people.
    pub fn open_loans(&self) -> Vec<String> {
        self.law().open_loans(&self.run.cluster)
    }

    /// Lists what the run leaves for an operator to do in his own time, for people.
    pub fn left_behind(&self) -> Vec<String> {
        left_behind(&self.plan, &self.run.cluster)
    }

    /// Lists the orders of which nobody knows whether they happened, for people.
    pub fn unsettled(&self) -> Vec<String> {
        self.run.targets.unsettled().map(|order| order.message(&self.topology, &self.plan.facts)).collect()
    }

    /// Tells whether orders or looks are under way.
    pub fn is_waiting(&self) -> bool {
        !self.pending.is_empty()
    }

    fn law(&self) -> Law<'_> {
        Law::new(&self.topology, &self.plan.facts)
    }

    /// Takes one input in.
    pub fn handle(&mut self, now: Duration, input: Input) {
        match input {
            Input::Recorded => {
                self.recording = false;
                self.before_intent = None;
            }
            Input::NotRecorded => {
                self.recording = false;
                (self.closed, self.unrecorded) = (true, true);
                self.outbox.clear();
                self.unwritten.clear();
                if let Some(before) = self.before_intent.take() {
                    self.run = before;
                }
            }
            Input::Observed(seen) => {
                // What was seen while an order ended may be from before its end: it is seen anew.
                if !self.watches.hosts_answered(now) {
                    return;
                }
                if !seen.members.is_empty() {
                    for (balancer, _) in self.topology.balancers() {
                        self.watches.balancer_answered(now, balancer);
                    }
                }
                let targets = &self.run.targets;
                self.run.cluster.absorb(&seen, |target| targets.is_changing(target));
                self.suspect(now);
                self.note_down(now);
                self.note_unread(now);
                self.unread_whole = unread_whole(&self.topology, &self.plan, &self.run.cluster, &seen);
            }
            Input::Watched { balancer, members } => {
                if self.watches.balancer_answered(now, balancer) {
                    for (seat, seen) in self.topology.seats_on(balancer).zip(members) {
                        if !self.run.targets.is_changing(Target::Traffic(seat.node)) {
                            self.run.cluster.set_member(seat.member, seen);
                        }
                    }
                    self.note_down(now);
                    self.note_unread(now);
                }
            }
            Input::Finished { ticket, outcome, evidence } => {
                if let Some(pending) = self.pending.remove(&ticket) {
                    self.finish(pending.order, outcome, evidence);
                }
            }
            Input::Replanned(plan) => self.replanned(plan),
            Input::Requested { number, request, late, unix_ms } => {
                self.catch_up(now, unix_ms);
                self.requested(now, number, request, late);
            }
        }
    }

    /// Returns the next thing to do at `now`, or `None` until something happens.
    pub fn poll_command(&mut self, now: Duration) -> Option<Command> {
        self.expire(now);
        self.note_windows(now);
        loop {
            if self.recording || self.unrecorded {
                return None;
            }
            if !self.unwritten.is_empty() {
                let by = *self.write_by.get_or_insert(now.saturating_add(GUARD_INTERVAL));
                if now >= by || !self.outbox.is_empty() {
                    return self.write();
                }
            }
            if let Some(command) = self.outbox.pop_front() {
                if let Command::Act { ticket, order, deadline } = command {
                    let overdue_at = now.saturating_add(deadline).saturating_add(GRACE);
                    self.pending.insert(ticket, Pending { order, overdue_at });
                }
                return Some(command);
            }
            if self.closed {
                return None;
            }
            if let Some(due) = self.watches.due(now) {
                return Some(due);
            }
            if self.waits_for_a_plan(now) {
                return None;
            }
            let unseen = self.watches.is_unseen() && self.pending.is_empty();
            if self.is_suspicious(now) && !self.reasserts() {
                return if unseen { self.watches.missing() } else { self.write() };
            }
            self.end_pause_if_late(now);
            self.turn_back_if_asked();
            self.turn_back_if_late(now);
            let decision = decide(&self.topology, &self.plan, &self.run);
            if self.waits_for_reads(now, decision) {
                return if unseen { self.watches.missing() } else { self.write() };
            }
            if unseen && !self.needs_no_look(now, decision) {
                return self.watches.missing();
            }
            if let Decision::End(end) = decision
                && self.lose_what_does_not_answer(end)
            {
                continue;
            }
            if self.stop_if_asked(now, decision) {
                continue;
            }
            if self.is_held_back(decision) {
                return self.write();
            }
            if let Some(back) = self.carries_on_instead(decision) {
                return self.ask_for_a_plan(now, back);
            }
            match self.approval_for(now, decision) {
                Approval::Given => {}
                Approval::Waits => return self.write(),
                Approval::Turned => continue,
                Approval::Missed => {
                    self.hold(Why::NotApproved);
                    continue;
                }
            }
            match decision {
                Decision::Await => return self.write(),
                Decision::Move(to, turn) => self.go(to, turn),
                Decision::Act(order) => self.act(now, order),
                Decision::Look(order) => {
                    if !self.unwritten.is_empty() {
                        return self.write();
                    }
                    if self.pending.values().any(|pending| pending.order.target() == order.target()) {
                        return None;
                    }
                    let ticket = self.ticket();
                    // A command whose controller has died may still run: the look waits for its end.
                    let deadline =
                        if order.is_command() { self.deadline_of(order).max(LOOK_DEADLINE) } else { LOOK_DEADLINE };
                    let overdue_at = now.saturating_add(deadline).saturating_add(GRACE);
                    self.pending.insert(ticket, Pending { order, overdue_at });
                    self.watches.order_began();
                    return Some(Command::Look { ticket, order, deadline });
                }
                Decision::End(end) => self.end(end),
            }
        }
    }

    /// Returns when `poll_command` must be called again even if nothing happens.
    pub fn poll_timeout(&self) -> Option<Duration> {
        let overdue = self.pending.values().map(|pending| pending.overdue_at).chain(self.write_by).min();
        let look = self.watches.next_at().filter(|_| !self.closed);
        overdue.into_iter().chain(look).chain(self.replanning.until()).min()
    }

    /// Writes down what waits for it. An outcome waits for the intent that follows it, and both become durable in one write;
    /// for longer than the guard's interval it does not wait, however long a look at the cluster takes. A controller that dies
    /// meanwhile leaves an intent without an outcome, as one that died a moment earlier: whoever goes on looks.
    fn write(&mut self) -> Option<Command> {
        self.write_by = None;
        self.recording = !self.unwritten.is_empty();
        self.recording.then(|| Command::Record(std::mem::take(&mut self.unwritten)))
    }

    /// Tells whether what a balancer has lost is re-applied next, which waits for nothing.
    fn reasserts(&self) -> bool {
        is_reassert(decide(&self.topology, &self.plan, &self.run))
    }

    /// Tells whether the last look at the cluster is enough, though it is from before the end of the step before: not if it is
    /// older than the guard's interval.
    fn needs_no_look(&self, now: Duration, decision: Decision) -> bool {
        match decision {
            // The balancer has told it, whatever else is being looked at.
            decision if is_reassert(decision) => true,
            Decision::Act(order) => {
                (!order.needs_fresh_observation() || self.comes_from_its_gate(order)) && self.watches.is_fresh(now)
            }
            Decision::Move(_, turn) => turn == Turn::NextStep,
            Decision::Look(_) | Decision::Await | Decision::End(_) => false,
        }
    }

    /// Tells whether an order admits a node that its gate has just seen, ready and with the release that is to serve: a look
    /// would tell nothing new of it, and whatever else has failed meanwhile, capacity that comes back is wanted. Only a look
    /// tells the schema, which a server may have changed at its start.
    fn comes_from_its_gate(&self, order: Order) -> bool {
        matches!(order.action(), Action::Traffic(TrafficAction::Admit))
            && order.node().is_some_and(|node| self.gated.contains(&node))
            && self.topology.database().is_none()
    }

    /// Notes whether something cannot be read.
    fn note_unread(&mut self, now: Duration) {
        self.unread_since = match unread(&self.topology, &self.plan, &self.run) {
            list if list.is_empty() => None,
            _ => Some(self.unread_since.unwrap_or(now)),
        };
    }

    /// Tells whether a decision waits until what cannot be read is read: nothing turns or begins over it. What a balancer has
    /// lost is re-applied all the same, unknown outcomes are looked at, and the reaction to a loss does not wait.
    fn waits_for_reads(&self, now: Duration, decision: Decision) -> bool {
        let waits = match decision {
            Decision::Look(_) | Decision::Await => false,
            Decision::Act(order) => !matches!(order.action(), Action::Traffic(TrafficAction::Reassert { .. })),
            Decision::Move(_, turn) => turn != Turn::DomainLost,
            Decision::End(_) => true,
        };
        let in_time = |since: Duration| now.saturating_sub(since) < UNREAD_LIMIT;
        waits && self.run.cursor.mode != Mode::Reacting && self.unread_since.is_some_and(in_time)
    }

    fn act(&mut self, now: Duration, order: Order) {
        self.before_intent = Some(self.run.clone());
        self.record(Record::Intent { order, at: self.run.cursor });
        self.run.begin_order(Law::new(&self.topology, &self.plan.facts), order);
        if let Some(node) = order.node() {
            self.gated.remove(&node);
        }
        let ticket = self.ticket();
        let deadline = self.deadline_of(order).min(self.window_left(now, order));
        self.outbox.push_back(Command::Act { ticket, order, deadline });
        self.watches.order_began();
    }

    /// Returns the deadline of an order: the step's own, or the policy's for a compensation or a reaction.
    fn deadline_of(&self, order: Order) -> Duration {
        let cursor = self.run.cursor;
        let step = self.plan.step(usize::from(cursor.stage), usize::from(cursor.step));
        match step {
            Some(step) if cursor.mode == Mode::Forward && step.action == order.action() => step.deadline,
            Some(_) | None => order.deadline(self.topology.policy()),
        }
    }

    fn go(&mut self, to: Cursor, turn: Turn) {
        self.run.enter(to, turn);
        if turn == Turn::NextStep {
            return;
        }
        let unread = unread(&self.topology, &self.plan, &self.run);
        let why = if unread.is_empty() { String::new() } else { format!("; could not be read: {}", unread.join(", ")) };
        let only = if to.mode == Mode::Withdrawing { " this stage only" } else { "" };
        self.record(Record::Turned { to, message: format!("{turn}{only}{why}") });
    }

    fn close(&mut self, end: End) {
        let open = self.open_loans();
        self.run.cursor.mode = Mode::Ended(end);
        self.closed = true;
        self.record(Record::Closed { end, open });
        self.outbox.push_back(Command::Close { end });
    }

    fn finish(&mut self, order: Order, outcome: OutcomeKind, evidence: Evidence) {
        let law = Law::new(&self.topology, &self.plan.facts);
        let (outcome, evidence) = match self.run.resolve(law, order, outcome) {
            Ok(()) => (outcome, evidence),
            // Somebody else has changed what the order changed: nobody knows, so it is looked for.
            Err(rejected) => {
                let _ = self.run.resolve(law, order, OutcomeKind::Unknown);
                (OutcomeKind::Unknown, Evidence::failed(format!("{evidence}; and yet {rejected}")))
            }
        };
        if let (Action::Server(ServerAction::Gate), OutcomeKind::Done, Some(node)) =
            (order.action(), outcome, order.node())
        {
            self.gated.insert(node);
        }
        self.watches.order_ended();
        self.record(Record::Outcome { order, result: outcome, evidence });
    }

    fn expire(&mut self, now: Duration) {
        let overdue: Vec<Ticket> =
            self.pending.iter().filter(|(_, pending)| pending.overdue_at <= now).map(|(ticket, _)| *ticket).collect();
        for ticket in overdue {
            if let Some(pending) = self.pending.remove(&ticket) {
                let evidence = Evidence::failed("no answer came inside the deadline");
                self.finish(pending.order, OutcomeKind::Unknown, evidence);
            }
        }
    }

    fn record(&mut self, record: Record) {
        self.hands.on(&record);
        self.unwritten.push(record);
    }

    fn ticket(&mut self) -> Ticket {
        self.next_ticket += 1;
        Ticket(self.next_ticket)
    }

    /// Lists for each pool what serves now and what is required; nothing while something cannot be read.
    pub fn capacities(&self) -> impl Iterator<Item = (PoolIx, u64, u64)> {
        let read = self.unread_since.is_none();
        let lost = !self.run.cluster.lost().is_empty();
        self.topology.pools().filter(move |_| read).map(move |(index, pool)| {
            let required = if lost { pool.required_after_loss() } else { pool.required_now() };
            (index, self.law().capacity(&self.run.cluster, index), required)
        })
    }
}

/// Lists what a run of this plan that left the cluster so leaves for an operator to do in his own time, for people.
pub(crate) fn left_behind(plan: &Plan, cluster: &ClusterState) -> Vec<String> {
    let clone = plan.facts.clone.as_ref().filter(|clone| clone.release.is_some());
    let opened = clone.filter(|_| cluster.copies.clone == CloneStage::Open);
    let note = |clone: &CloneFacts| {
        format!(
            "the database is {} now: once this run has ended, set url of [database] to it, and remove clone_url; the one before \
             it is kept and refuses writes, drop it when it is not needed any more",
            clone.url
        )
    };
    opened.map(note).into_iter().collect()
}

fn is_reassert(decision: Decision) -> bool {
    matches!(decision, Decision::Act(Order::Traffic(At { action: TrafficAction::Reassert { .. }, .. })))
}
