//! Takes a node out of its balancers and puts it back, without losing a request: sans I/O, over the balancer trait's
//! small verbs, on every instance at once.
//!
//! Out: drain, wait until nothing is in flight in two rounds, maintenance, wait until nothing connects. Back: from
//! maintenance to drain where the balancer checks the server, wait for a check passed in full, then ready on one
//! instance after another. Where one instance does not confirm, all that may have been touched go back to what they
//! were. The order was measured: drain alone leaves idle connections that break at the restart, and maintenance alone
//! cuts requests where sessions are shut down on mark-down.

use std::collections::VecDeque;
use std::time::Duration;

use crate::backend::{Admin, Health, Member, Quiescence};

/// Which way the node goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Goal {
    /// Out of every balancer instance.
    Out,
    /// Back into traffic on every balancer instance.
    Back,
}

/// One small call to one balancer instance.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Call {
    /// Read how the member stands.
    ReadMember,
    /// Read what still runs on it.
    ReadQuiescence,
    /// Set its administrative state.
    SetAdmin(Admin),
}

/// The answer to a call.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// How the member stands.
    Member(Member),
    /// What runs on it.
    Quiescence(Quiescence),
    /// The administrative state is set and was read back.
    Set,
    /// The call failed, in these words; a write may have happened all the same.
    Failed(String),
}

/// How a rotation ended.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Outcome {
    /// The goal holds on every instance.
    Reached,
    /// It could not be reached; every instance is as it was before.
    Restored {
        /// Why.
        why: String,
    },
    /// It could not be reached, and these instances could not be put back.
    Stuck {
        /// Why it could not be reached.
        why: String,
        /// The positions of the instances whose state is not known.
        instances: Vec<usize>,
    },
}

/// The pause between two looks at the same instance.
pub const POLL: Duration = Duration::from_millis(20);
/// How long requests may take to be gone from connections after the last one ended, and checks to pass.
const SETTLE: Duration = Duration::from_secs(8);
/// How long the way back may take.
const UNDO: Duration = Duration::from_secs(10);
/// How many rounds without a request in flight count as idle: one can fall between two requests.
const CALM_ROUNDS: u8 = 2;
/// How often somebody else may undo a drain before the rotation gives up.
const INTERFERENCES: u8 = 5;

/// The rotation of one node on all its balancer instances.
///
/// Use: hand out `poll_call`s, feed each answer to `handle`, wait no longer than `poll_timeout`, until `outcome`.
#[derive(Debug)]
pub struct Rotation {
    goal: Goal,
    phase: Phase,
    before: Vec<Option<Admin>>,
    queue: VecDeque<(usize, Call)>,
    open: usize,
    replies: Vec<(usize, Reply)>,
    deadline: Duration,
    wake_at: Option<Duration>,
    calm: u8,
    interferences: u8,
    in_flight: u64,
    why: String,
    outcome: Option<Outcome>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Phase {
    Preflight,
    Draining,
    WaitIdleMember,
    WaitIdle,
    Closing,
    ConfirmClosing,
    WaitClosed,
    PurgeDrain,
    Warming,
    WaitHealthy,
    Readying(usize),
    Confirming(usize),
    Undoing,
    ConfirmUndo,
    Ended,
}

impl Rotation {
    /// Begins at `now`; requests in flight get `drain` to end.
    pub fn new(goal: Goal, instances: usize, now: Duration, drain: Duration) -> Self {
        let limit = match goal {
            Goal::Out => drain,
            Goal::Back => SETTLE,
        };
        let mut rotation = Self {
            goal,
            phase: Phase::Preflight,
            before: vec![None; instances],
            queue: VecDeque::new(),
            open: 0,
            replies: Vec::new(),
            deadline: now.saturating_add(limit),
            wake_at: None,
            calm: 0,
            interferences: 0,
            in_flight: 0,
            why: String::new(),
            outcome: None,
        };
        rotation.ask_all(Call::ReadMember);
        rotation
    }

    /// Returns how the rotation ended, once it has.
    pub fn outcome(&self) -> Option<&Outcome> {
        self.outcome.as_ref()
    }

    /// Returns the requests in flight at the last look.
    pub fn in_flight(&self) -> u64 {
        self.in_flight
    }

    /// Returns the next call, with the position of its instance; calls handed out may run at once.
    pub fn poll_call(&mut self, now: Duration) -> Option<(usize, Call)> {
        if self.wake_at.is_some_and(|at| at <= now) {
            self.wake_at = None;
            self.ask_again();
        }
        let call = self.queue.pop_front()?;
        self.open += 1;
        Some(call)
    }

    /// Returns when `poll_call` must be called again even if no answer comes.
    pub fn poll_timeout(&self) -> Option<Duration> {
        self.wake_at
    }

    /// Takes the answer of one instance in.
    pub fn handle(&mut self, now: Duration, instance: usize, reply: Reply) {
        self.open = self.open.saturating_sub(1);
        self.replies.push((instance, reply));
        if self.open == 0 && self.queue.is_empty() && self.outcome.is_none() {
            let replies = std::mem::take(&mut self.replies);
            self.round(now, &replies);
        }
    }

    fn round(&mut self, now: Duration, replies: &[(usize, Reply)]) {
        match self.phase {
            Phase::Undoing => return self.undone(now, replies),
            Phase::ConfirmUndo => return self.undo_confirmed(now, replies),
            _ => {}
        }
        let failure = replies.iter().find_map(|(instance, reply)| match reply {
            Reply::Failed(why) => Some(format!("balancer {}: {why}", instance + 1)),
            Reply::Member(_) | Reply::Quiescence(_) | Reply::Set => None,
        });
        if let Some(why) = failure {
            return self.turn_back(now, why);
        }
        match self.phase {
            Phase::Preflight => self.preflight(now, replies),
            Phase::Draining => self.enter(Phase::WaitIdleMember, Call::ReadMember),
            Phase::WaitIdleMember => self.still_drained(now, replies),
            Phase::WaitIdle => self.idle(now, replies),
            Phase::Closing => self.enter(Phase::ConfirmClosing, Call::ReadMember),
            Phase::ConfirmClosing => self.closing_confirmed(now, replies),
            Phase::WaitClosed => self.closed(now, replies),
            Phase::PurgeDrain => self.enter(Phase::Closing, Call::SetAdmin(Admin::Maint)),
            Phase::Warming => self.enter(Phase::WaitHealthy, Call::ReadMember),
            Phase::WaitHealthy => self.healthy(now, replies),
            Phase::Readying(instance) => self.enter_one(Phase::Confirming(instance), instance, Call::ReadMember),
            Phase::Confirming(instance) => self.confirmed(now, instance, replies),
            Phase::Undoing | Phase::ConfirmUndo | Phase::Ended => {}
        }
    }

    fn preflight(&mut self, now: Duration, replies: &[(usize, Reply)]) {
        for (instance, member) in members(replies) {
            self.before[instance] = Some(member.admin);
        }
        match self.goal {
            Goal::Out if self.before.iter().all(|admin| *admin == Some(Admin::Maint)) => {
                self.deadline = now.saturating_add(SETTLE);
                self.enter(Phase::WaitClosed, Call::ReadQuiescence);
            }
            Goal::Out => self.enter(Phase::Draining, Call::SetAdmin(Admin::Drain)),
            Goal::Back if members(replies).any(|(_, member)| member.admin == Admin::Maint) => {
                self.phase = Phase::Warming;
                let held = members(replies).filter(|(_, member)| member.admin == Admin::Maint);
                let calls: Vec<_> = held.map(|(instance, _)| (instance, Call::SetAdmin(Admin::Drain))).collect();
                self.queue.extend(calls);
            }
            Goal::Back => self.enter(Phase::WaitHealthy, Call::ReadMember),
        }
    }

    fn still_drained(&mut self, now: Duration, replies: &[(usize, Reply)]) {
        let undone = members(replies).any(|(_, member)| member.admin == Admin::Ready);
        if !undone {
            return self.enter(Phase::WaitIdle, Call::ReadQuiescence);
        }
        self.calm = 0;
        self.interferences += 1;
        if self.interferences > INTERFERENCES {
            return self.turn_back(now, "somebody else keeps admitting the node: find out who".into());
        }
        self.enter(Phase::Draining, Call::SetAdmin(Admin::Drain));
    }

    fn idle(&mut self, now: Duration, replies: &[(usize, Reply)]) {
        self.in_flight = figures(replies).map(|figure| figure.in_flight()).sum();
        self.calm = if self.in_flight == 0 { self.calm + 1 } else { 0 };
        if self.calm >= CALM_ROUNDS {
            self.deadline = now.saturating_add(SETTLE);
            return self.enter(Phase::Closing, Call::SetAdmin(Admin::Maint));
        }
        if now >= self.deadline && self.in_flight > 0 {
            let why = format!("{} requests were still in flight at the drain deadline", self.in_flight);
            return self.turn_back(now, why);
        }
        self.phase = Phase::WaitIdleMember;
        self.wake_at = Some(now.saturating_add(POLL));
    }

    /// What a balancer answered is not believed before it is read.
    fn closing_confirmed(&mut self, now: Duration, replies: &[(usize, Reply)]) {
        if members(replies).all(|(_, member)| member.admin == Admin::Maint) {
            return self.enter(Phase::WaitClosed, Call::ReadQuiescence);
        }
        self.interferences += 1;
        if self.interferences > INTERFERENCES {
            return self.turn_back(now, "a balancer does not hold the node out though it was told to".into());
        }
        // Somebody may have admitted it meanwhile: it is drained anew.
        self.calm = 0;
        self.enter(Phase::Draining, Call::SetAdmin(Admin::Drain));
    }

    fn closed(&mut self, now: Duration, replies: &[(usize, Reply)]) {
        if figures(replies).all(|figure| figure.is_closed()) {
            return self.end(Outcome::Reached);
        }
        if now >= self.deadline {
            return self.turn_back(now, "connections to the node stayed open in maintenance".into());
        }
        let only_idle = figures(replies).all(|figure| figure.in_flight() == 0 && figure.used_connections == 0);
        self.wake_at = Some(now.saturating_add(POLL));
        // Before HAProxy 3.3 a second `maint` does not purge connections that went back to the pool meanwhile;
        // `drain` and `maint` does.
        self.phase = if only_idle { Phase::PurgeDrain } else { Phase::WaitClosed };
    }

    fn healthy(&mut self, now: Duration, replies: &[(usize, Reply)]) {
        let waiting = members(replies).filter(|(_, member)| !matches!(member.health, Health::Up | Health::Unchecked));
        if waiting.count() == 0 {
            return self.enter_one(Phase::Readying(0), 0, Call::SetAdmin(Admin::Ready));
        }
        if now >= self.deadline {
            return self.turn_back(now, "the balancer's own health check did not pass in full".into());
        }
        self.wake_at = Some(now.saturating_add(POLL));
    }

    fn confirmed(&mut self, now: Duration, instance: usize, replies: &[(usize, Reply)]) {
        let admitted = members(replies).all(|(_, member)| {
            member.admin == Admin::Ready && matches!(member.health, Health::Up | Health::Rising | Health::Unchecked)
        });
        if !admitted {
            return self.turn_back(now, format!("balancer {}: the node was made ready and is not up", instance + 1));
        }
        let next = instance + 1;
        if next == self.before.len() {
            return self.end(Outcome::Reached);
        }
        self.enter_one(Phase::Readying(next), next, Call::SetAdmin(Admin::Ready));
    }

    fn turn_back(&mut self, now: Duration, why: String) {
        self.why = why;
        self.deadline = now.saturating_add(UNDO);
        self.phase = Phase::Undoing;
        self.wake_at = None;
        self.queue.clear();
        self.undo();
        if self.queue.is_empty() {
            self.end(Outcome::Restored { why: self.why.clone() });
        }
    }

    fn undo(&mut self) {
        let known = self.before.iter().enumerate();
        let calls = known.filter_map(|(instance, admin)| Some((instance, Call::SetAdmin((*admin)?))));
        let calls: Vec<_> = calls.collect();
        self.queue.extend(calls);
    }

    fn undone(&mut self, now: Duration, replies: &[(usize, Reply)]) {
        let failed = replies.iter().filter(|(_, reply)| matches!(reply, Reply::Failed(_)));
        let instances: Vec<usize> = failed.map(|(instance, _)| *instance).collect();
        if instances.is_empty() {
            self.phase = Phase::ConfirmUndo;
            let known = self.before.iter().enumerate().filter(|(_, admin)| admin.is_some());
            let calls: Vec<_> = known.map(|(instance, _)| (instance, Call::ReadMember)).collect();
            self.queue.extend(calls);
            return;
        }
        self.undo_again(now, instances);
    }

    fn undo_confirmed(&mut self, now: Duration, replies: &[(usize, Reply)]) {
        let stands = |instance: usize, reply: &Reply| match reply {
            Reply::Member(member) => self.before.get(instance).copied().flatten() == Some(member.admin),
            Reply::Quiescence(_) | Reply::Set | Reply::Failed(_) => false,
        };
        let wrong = replies.iter().filter(|(instance, reply)| !stands(*instance, reply));
        let instances: Vec<usize> = wrong.map(|(instance, _)| *instance).collect();
        if instances.is_empty() {
            return self.end(Outcome::Restored { why: self.why.clone() });
        }
        self.undo_again(now, instances);
    }

    fn undo_again(&mut self, now: Duration, instances: Vec<usize>) {
        if now >= self.deadline {
            self.end(Outcome::Stuck { why: self.why.clone(), instances });
        } else {
            self.phase = Phase::Undoing;
            self.wake_at = Some(now.saturating_add(POLL * 5));
        }
    }

    fn ask_again(&mut self) {
        match self.phase {
            Phase::WaitIdleMember | Phase::WaitHealthy => self.ask_all(Call::ReadMember),
            Phase::WaitIdle | Phase::WaitClosed => self.ask_all(Call::ReadQuiescence),
            Phase::PurgeDrain => self.ask_all(Call::SetAdmin(Admin::Drain)),
            Phase::Undoing => self.undo(),
            Phase::Preflight
            | Phase::Draining
            | Phase::Closing
            | Phase::ConfirmClosing
            | Phase::ConfirmUndo
            | Phase::Warming
            | Phase::Readying(_)
            | Phase::Confirming(_)
            | Phase::Ended => {}
        }
    }

    fn ask_all(&mut self, call: Call) {
        self.queue.extend((0..self.before.len()).map(|instance| (instance, call)));
    }

    fn enter(&mut self, phase: Phase, call: Call) {
        self.phase = phase;
        self.ask_all(call);
    }

    fn enter_one(&mut self, phase: Phase, instance: usize, call: Call) {
        self.phase = phase;
        self.queue.push_back((instance, call));
    }

    fn end(&mut self, outcome: Outcome) {
        self.phase = Phase::Ended;
        self.wake_at = None;
        self.outcome = Some(outcome);
    }
}

fn members(replies: &[(usize, Reply)]) -> impl Iterator<Item = (usize, Member)> {
    replies.iter().filter_map(|(instance, reply)| match reply {
        Reply::Member(member) => Some((*instance, *member)),
        Reply::Quiescence(_) | Reply::Set | Reply::Failed(_) => None,
    })
}

fn figures(replies: &[(usize, Reply)]) -> impl Iterator<Item = Quiescence> {
    replies.iter().filter_map(|(_, reply)| match reply {
        Reply::Quiescence(figure) => Some(*figure),
        Reply::Member(_) | Reply::Set | Reply::Failed(_) => None,
    })
}
