//! The rotation over simulated balancer instances that fail, interfere and lag.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::time::Duration;

use ha_core::backend::{Admin, Health, Member, Quiescence};
use ha_core::machine::rotation::{Call, Goal, Outcome, POLL, Reply, Rotation};
use ha_core::state::RowKind;
use proptest::prelude::*;

/// One simulated instance. Requests end as time goes on; a drained or maintained row takes no new ones.
#[derive(Clone, Debug)]
struct Instance {
    admin: Admin,
    ends: Vec<Duration>,
    idle: u64,
    healthy_after: Duration,
    broken: bool,
    lies: bool,
}

impl Instance {
    fn serving(ends: &[u64]) -> Self {
        let ends = ends.iter().copied().map(Duration::from_millis).collect();
        Self { admin: Admin::Ready, ends, idle: 2, healthy_after: Duration::ZERO, broken: false, lies: false }
    }

    fn held_out() -> Self {
        Self { admin: Admin::Maint, idle: 0, ..Self::serving(&[]) }
    }

    fn in_flight(&self, now: Duration) -> u64 {
        let running = self.ends.iter().filter(|end| **end > now).count();
        u64::try_from(running).unwrap()
    }

    fn answer(&mut self, now: Duration, call: Call) -> Reply {
        if self.broken {
            return Reply::Failed("its socket is gone".into());
        }
        match call {
            Call::SetAdmin(_) if self.lies => Reply::Set,
            Call::SetAdmin(admin) => {
                assert!(
                    admin != Admin::Maint || self.admin == Admin::Maint || self.in_flight(now) == 0,
                    "maintenance with requests in flight"
                );
                self.admin = admin;
                if admin == Admin::Maint {
                    self.idle = 0;
                }
                Reply::Set
            }
            Call::ReadMember => {
                let health = match self.admin {
                    Admin::Maint => Health::Paused,
                    Admin::Ready | Admin::Drain if now >= self.healthy_after => Health::Up,
                    Admin::Ready | Admin::Drain => Health::Rising,
                };
                Reply::Member(Member::new(self.admin, health, RowKind::Primary))
            }
            Call::ReadQuiescence => {
                let running = self.in_flight(now);
                Reply::Quiescence(Quiescence::new(running, 0, running, self.idle))
            }
        }
    }
}

/// Runs a rotation to its end on virtual time; `before_call` may change the instances before the call of that number.
fn run(
    goal: Goal,
    instances: &mut [Instance],
    drain: Duration,
    mut before_call: impl FnMut(u32, &mut [Instance]),
) -> Outcome {
    let (mut now, mut calls) = (Duration::ZERO, 0);
    let mut rotation = Rotation::new(goal, instances.len(), now, drain);
    loop {
        while let Some((index, call)) = rotation.poll_call(now) {
            before_call(calls, instances);
            calls += 1;
            let reply = instances[index].answer(now, call);
            rotation.handle(now, index, reply);
        }
        if let Some(outcome) = rotation.outcome() {
            return outcome.clone();
        }
        now = rotation.poll_timeout().unwrap_or(now + POLL);
        assert!(now < drain + Duration::from_secs(60), "the rotation does not end");
    }
}

const DRAIN: Duration = Duration::from_secs(30);

#[test]
fn a_node_leaves_every_instance_once_its_requests_have_ended() {
    let mut instances = [Instance::serving(&[100, 5_000]), Instance::serving(&[20_000])];
    assert_eq!(run(Goal::Out, &mut instances, DRAIN, |_, _| {}), Outcome::Reached);
    assert!(instances.iter().all(|instance| instance.admin == Admin::Maint && instance.idle == 0));
}

#[test]
fn a_request_beyond_the_drain_deadline_brings_the_node_back_everywhere() {
    let mut instances = [Instance::serving(&[]), Instance::serving(&[90_000])];
    let outcome = run(Goal::Out, &mut instances, DRAIN, |_, _| {});
    assert!(matches!(&outcome, Outcome::Restored { why } if why.contains("1 requests")), "{outcome:?}");
    assert!(instances.iter().all(|instance| instance.admin == Admin::Ready));
}

#[test]
fn a_second_take_out_finds_nothing_to_do() {
    let mut instances = [Instance::held_out(), Instance::held_out()];
    assert_eq!(run(Goal::Out, &mut instances, DRAIN, |_, _| {}), Outcome::Reached);
}

#[test]
fn a_node_comes_back_only_after_the_balancers_own_check_has_passed() {
    let mut slow = Instance::held_out();
    slow.healthy_after = Duration::from_secs(3);
    let mut instances = [slow.clone(), Instance::held_out()];
    assert_eq!(run(Goal::Back, &mut instances, DRAIN, |_, _| {}), Outcome::Reached);
    slow.healthy_after = Duration::from_secs(300);
    let mut instances = [slow, Instance::held_out()];
    let outcome = run(Goal::Back, &mut instances, DRAIN, |_, _| {});
    assert!(matches!(outcome, Outcome::Restored { .. }), "{outcome:?}");
    assert!(instances.iter().all(|instance| instance.admin == Admin::Maint));
}

#[test]
fn an_instance_that_stays_broken_is_named() {
    let mut instances = [Instance::serving(&[500]), Instance::serving(&[500])];
    let outcome = run(Goal::Out, &mut instances, DRAIN, |calls, instances| instances[1].broken = calls >= 4);
    assert!(matches!(&outcome, Outcome::Stuck { instances, .. } if *instances == [1]), "{outcome:?}");
    assert_eq!(instances[0].admin, Admin::Ready);
}

#[test]
fn a_balancer_that_answers_well_and_does_nothing_is_not_believed() {
    for lies_at in 0..30 {
        let mut instances = [Instance::serving(&[100]), Instance::serving(&[100])];
        let outcome = run(Goal::Out, &mut instances, DRAIN, |calls, instances| instances[1].lies = calls == lies_at);
        let wanted = match outcome {
            Outcome::Reached => Admin::Maint,
            Outcome::Restored { .. } => Admin::Ready,
            other => unreachable!("{lies_at}: {other:?}"),
        };
        assert!(instances.iter().all(|instance| instance.admin == wanted), "{lies_at}: {instances:?}");
    }
}

#[test]
fn somebody_who_keeps_admitting_the_node_is_not_fought_for_ever() {
    let mut instances = [Instance::serving(&[29_000])];
    let outcome = run(Goal::Out, &mut instances, DRAIN, |_, instances| instances[0].admin = Admin::Ready);
    assert!(matches!(&outcome, Outcome::Restored { why } if why.contains("somebody else")), "{outcome:?}");
}

proptest! {
    /// Whatever fails when: the rotation ends, never takes a node with requests in flight into maintenance (the instance
    /// asserts it), and what it calls restored is restored.
    #[test]
    fn a_rotation_ends_and_tells_the_truth(
        out in any::<bool>(),
        ends in proptest::collection::vec(proptest::collection::vec(0_u64..40_000, 0..4), 1..4),
        failures in proptest::collection::vec((0_u32..60, 0_usize..4, any::<bool>()), 0..4),
    ) {
        let make = |ends: &Vec<u64>| if out { Instance::serving(ends) } else { Instance::held_out() };
        let mut instances: Vec<Instance> = ends.iter().map(make).collect();
        let goal = if out { Goal::Out } else { Goal::Back };
        let outcome = run(goal, &mut instances, DRAIN, |calls, instances| {
            for (at, index, broken) in &failures {
                if let Some(instance) = instances.get_mut(*index)
                    && calls >= *at
                {
                    instance.broken = *broken && calls < at + 6;
                }
            }
        });
        let wanted = match (&outcome, goal) {
            (Outcome::Reached, Goal::Out) | (Outcome::Restored { .. }, Goal::Back) => Some(Admin::Maint),
            (Outcome::Reached, Goal::Back) | (Outcome::Restored { .. }, Goal::Out) => Some(Admin::Ready),
            _ => None,
        };
        if let Some(wanted) = wanted {
            prop_assert!(instances.iter().all(|instance| instance.admin == wanted), "{outcome:?} {instances:?}");
        }
    }
}
