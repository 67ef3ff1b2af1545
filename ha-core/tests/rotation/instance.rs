//! Simulated balancer instances that fail, interfere and lag, and a rotation over them on virtual time.

use std::time::Duration;

use ha_core::backend::{
    Admin, Completeness, Counters, Effect, ErrorKind, Health, Instance as Process, Member, MemberRef, MemberSnapshot,
    Quiescence, Weight,
};
use ha_core::machine::rotation::{
    Call, DrainOutcome, Failure, Goal, Outcome, POLL, Place, Reply, Rotation, RotationPolicy,
};
use ha_core::state::MemberKind;
use ha_core::topology::Name;

/// One simulated instance. Requests end as time goes on; a drained or maintained member takes no new ones.
#[derive(Clone, Debug)]
pub(crate) struct Instance {
    /// What it calls the node.
    pub(crate) name: &'static str,
    pub(crate) admin: Admin,
    pub(crate) ends: Vec<Duration>,
    /// Requests that an older process of this balancer still serves.
    pub(crate) older: Vec<Duration>,
    pub(crate) idle: u64,
    pub(crate) weight: Weight,
    pub(crate) member: Member,
    pub(crate) process: Process,
    pub(crate) completeness: Completeness,
    pub(crate) healthy_after: Duration,
    /// Whether another member could take over.
    pub(crate) other: bool,
    pub(crate) broken: bool,
    pub(crate) denied: bool,
    /// Its process has ended.
    pub(crate) gone: bool,
    pub(crate) lies: bool,
    /// Its looks leave out what runs on the member.
    pub(crate) shy: bool,
    pub(crate) cut: u64,
    /// Connections that come back to the pool after the first maintenance.
    pub(crate) refills: u64,
    /// Requests wait in front of the pool all through.
    pub(crate) waiting: u64,
    /// From when on it is given some of those that wait, once it is ready.
    pub(crate) awake_from: Duration,
    /// How many looks at the pool find the other member without a request of its own.
    pub(crate) other_idle_looks: u32,
    /// The other member's address, and its state where that is not `other`'s.
    pub(crate) twin: Option<(std::net::SocketAddr, Admin)>,
    /// The state right before the node was made ready, and how often it was.
    pub(crate) made_ready: u32,
    /// Writes are not answered, and carried out a second later.
    pub(crate) late: bool,
    /// Those that are still to come.
    pub(crate) to_come: Vec<(Duration, Call)>,
}

pub(crate) const WEIGHT: Weight = Weight::new(100);

impl Instance {
    pub(crate) fn serving(ends: &[u64]) -> Self {
        Self {
            name: "esb1",
            admin: Admin::Ready,
            ends: millis(ends),
            older: Vec::new(),
            idle: 2,
            weight: WEIGHT,
            member: Member::new(Admin::Ready, Health::Up, MemberKind::Primary).with_weight(WEIGHT, WEIGHT),
            process: Process::new("test", 1).with_uptime(Duration::from_secs(3_600)),
            completeness: Completeness::Proven,
            healthy_after: Duration::ZERO,
            other: true,
            broken: false,
            denied: false,
            gone: false,
            lies: false,
            shy: false,
            cut: 0,
            refills: 0,
            waiting: 0,
            awake_from: Duration::ZERO,
            other_idle_looks: 0,
            twin: None,
            made_ready: 0,
            late: false,
            to_come: Vec::new(),
        }
    }

    pub(crate) fn held_out() -> Self {
        Self { admin: Admin::Maint, idle: 0, ..Self::serving(&[]) }
    }

    /// Another process answers from now on; the requests of the last one go on there.
    pub(crate) fn reload(&mut self) {
        self.process = Process::new("test", self.process.generation + 1);
        self.older = std::mem::take(&mut self.ends);
        (self.admin, self.weight, self.idle) = (Admin::Ready, WEIGHT, 0);
    }

    /// Its process is there again, in its configured state.
    pub(crate) fn come_back(&mut self) {
        self.reload();
        self.older.clear();
        self.gone = false;
    }

    pub(crate) fn running(&self, now: Duration) -> u64 {
        count(&self.ends, now)
    }

    pub(crate) fn observed(&self, now: Duration) -> Member {
        let health = match self.admin {
            _ if !self.member.checked => Health::Unchecked,
            Admin::Maint => Health::Paused,
            Admin::Ready | Admin::Drain if now >= self.healthy_after => Health::Up,
            Admin::Ready | Admin::Drain => Health::UpInPart,
        };
        let mut member = self.member;
        (member.admin, member.health, member.weight) = (self.admin, health, self.weight);
        let working = self.admin == Admin::Ready && now >= self.awake_from;
        let taken = self.member.counters.taken.saturating_add(u64::from(working));
        member.counters = Counters::new(taken, self.member.counters.failed);
        member.with_queue(self.waiting, u64::from(working).max(self.running(now)))
    }

    /// Carries out what comes late, up to a moment.
    pub(crate) fn catch_up(&mut self, now: Duration) {
        let (due, to_come) = self.to_come.iter().copied().partition(|(at, _)| *at <= now);
        self.to_come = to_come;
        let due: Vec<(Duration, Call)> = due;
        for (_, call) in due {
            match call {
                Call::SetAdmin(admin) => self.admin = admin,
                Call::SetWeight(weight) => self.weight = weight,
                other => unreachable!("{other:?} is not late"),
            }
        }
    }

    pub(crate) fn answer(&mut self, now: Duration, call: Call) -> Reply {
        self.catch_up(now);
        if self.gone {
            return Reply::Failed(Failure::new(ErrorKind::Gone, Effect::None, "its process has ended"));
        }
        if self.late && matches!(call, Call::SetAdmin(_) | Call::SetWeight(_)) {
            self.to_come.push((now + Duration::from_secs(1), call));
            return Reply::Failed(Failure::new(ErrorKind::Timeout, Effect::Unknown, "no answer"));
        }
        if self.broken {
            return Reply::Failed(Failure::new(ErrorKind::Timeout, Effect::Unknown, "it does not answer"));
        }
        let write = matches!(call, Call::SetAdmin(_) | Call::SetWeight(_) | Call::CloseSessions);
        if self.denied && write {
            return Reply::Failed(Failure::new(ErrorKind::Denied, Effect::None, "permission denied"));
        }
        match call {
            Call::SetAdmin(_) | Call::SetWeight(_) if self.lies => Reply::Set,
            Call::SetAdmin(admin) => {
                assert!(
                    admin != Admin::Maint
                        || self.admin == Admin::Maint
                        || self.running(now) == 0
                        || (self.member.persistent && !self.member.cuts_on_maint),
                    "maintenance with requests in flight"
                );
                self.made_ready += u32::from(admin == Admin::Ready && self.admin != Admin::Ready);
                self.admin = admin;
                if admin == Admin::Maint {
                    self.idle = std::mem::take(&mut self.refills);
                }
                Reply::Set
            }
            Call::SetWeight(weight) => {
                self.weight = weight;
                Reply::Set
            }
            Call::CloseSessions => {
                let closed = self.running(now);
                self.ends.clear();
                self.cut += closed;
                Reply::Closed(closed)
            }
            Call::ReadMember => Reply::Member(self.observed(now)),
            Call::Look => {
                let observed = self.observed(now);
                let figures = (observed.admin != Admin::Ready && !self.shy).then(|| self.figures(now));
                Reply::Looked(MemberSnapshot::new(self.process.clone(), observed).with_quiescence(figures))
            }
            Call::ReadPool => {
                let admin = if self.other { Admin::Ready } else { Admin::Maint };
                let other = Member::new(self.twin.map_or(admin, |(_, admin)| admin), Health::Up, MemberKind::Backup)
                    .with_address(self.twin.map(|(address, _)| address))
                    .with_queue(self.waiting, u64::from(self.other_idle_looks == 0));
                self.other_idle_looks = self.other_idle_looks.saturating_sub(1);
                Reply::Pool(vec![(name(self.name), self.observed(now)), (name("esb2"), other)])
            }
            Call::ReadQuiescence => Reply::Quiescence(self.figures(now)),
        }
    }

    pub(crate) fn figures(&self, now: Duration) -> Quiescence {
        let running = self.running(now);
        let older = if self.completeness == Completeness::Proven { count(&self.older, now) } else { 0 };
        let figures = Quiescence::new(running, 0, running, self.idle);
        figures.with_generation(self.process.generation).with_older(older, self.completeness)
    }
}

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// Names where the node is: one pool on so many balancers.
pub(crate) fn places(member: &str, count: usize) -> Vec<Place> {
    vec![Place::new(MemberRef::new(name("esb"), name(member))); count]
}

pub(crate) fn millis(ends: &[u64]) -> Vec<Duration> {
    ends.iter().copied().map(Duration::from_millis).collect()
}

pub(crate) fn count(ends: &[Duration], now: Duration) -> u64 {
    u64::try_from(ends.iter().filter(|end| **end > now).count()).unwrap()
}

pub(crate) fn policy() -> RotationPolicy {
    RotationPolicy::new(DRAIN)
}

/// Runs a rotation to its end on virtual time; `before_call` may change the instances before the call of that number.
pub(crate) fn run(
    goal: Goal,
    instances: &mut [Instance],
    policy: RotationPolicy,
    before_call: impl FnMut(u32, Duration, &mut [Instance]),
) -> Outcome {
    run_in(goal, places("esb1", instances.len()), instances, policy, before_call)
}

/// The same for a node that is in these places.
pub(crate) fn run_in(
    goal: Goal,
    places: Vec<Place>,
    instances: &mut [Instance],
    policy: RotationPolicy,
    mut before_call: impl FnMut(u32, Duration, &mut [Instance]),
) -> Outcome {
    let (mut now, mut calls) = (Duration::ZERO, 0);
    let drain = policy.drain_deadline;
    let mut rotation = Rotation::new(goal, places, now, policy);
    loop {
        while let Some((index, call)) = rotation.poll_call(now) {
            before_call(calls, now, instances);
            calls += 1;
            let reply = instances[index].answer(now, call);
            rotation.handle(now, index, reply);
        }
        if let Some(outcome) = rotation.outcome() {
            return outcome.clone();
        }
        now = rotation.poll_timeout().unwrap_or(now + POLL);
        assert!(now < drain * 2 + Duration::from_secs(60), "the rotation does not end");
    }
}

pub(crate) fn quietly(goal: Goal, instances: &mut [Instance]) -> Outcome {
    run(goal, instances, policy(), |_, _, _| {})
}

pub(crate) const DRAINED: Outcome = Outcome::Reached { drain: Some(DrainOutcome::Drained) };
pub(crate) const BACK: Outcome = Outcome::Reached { drain: None };

pub(crate) const DRAIN: Duration = Duration::from_secs(30);

pub(crate) fn all_are(instances: &[Instance], admin: Admin) -> bool {
    instances.iter().all(|instance| instance.admin == admin)
}

pub(crate) fn is_restored(outcome: &Outcome, message: &str) -> bool {
    matches!(outcome, Outcome::Restored { why, .. } if why.contains(message))
}
