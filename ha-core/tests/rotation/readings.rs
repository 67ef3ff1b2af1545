//! What looks and readings tell: taken once, asked for where it is left out, and not believed where it is of two moments.

use std::time::Duration;

use ha_core::backend::{Admin, Effect, ErrorKind, MemberSnapshot};
use ha_core::machine::rotation::{Call, Failure, Goal, Outcome, Reply, Rotation};

use super::instance::{BACK, DRAIN, DRAINED, Instance, all_are, is_restored, places, policy, quietly, run};

#[test]
fn what_a_look_has_told_is_not_asked_again_and_what_it_leaves_out_is() {
    use Call::{Look, ReadPool, ReadQuiescence};
    let (drain, maint) = (Call::SetAdmin(Admin::Drain), Call::SetAdmin(Admin::Maint));
    // Idle is believed after two rounds, closed after one.
    let calls = asked(Goal::Out, &mut [Instance::serving(&[])]);
    assert_eq!(calls, [Look, ReadPool, drain, Look, ReadQuiescence, Look, maint, Look].map(|call| (0, call)));
    let calls = asked(Goal::Out, &mut [Instance { shy: true, ..Instance::serving(&[]) }]);
    let figures = ReadQuiescence;
    let expected = [Look, ReadPool, drain, Look, figures, figures, Look, maint, Look, figures];
    assert_eq!(calls, expected.map(|call| (0, call)));
}

#[test]
fn a_node_is_admitted_on_one_instance_after_the_other_and_the_last_look_is_at_all_of_them() {
    use Call::ReadMember;
    let ready = Call::SetAdmin(Admin::Ready);
    let calls = asked(Goal::Back, &mut [Instance::held_out(), Instance::held_out()]);
    let at = calls.iter().position(|(_, call)| *call == ready).unwrap();
    assert_eq!(calls[at..], [(0, ready), (0, ReadMember), (1, ready), (0, ReadMember), (1, ReadMember)]);
}

/// Runs a rotation to the end that it is to have; returns its calls.
fn asked(goal: Goal, instances: &mut [Instance]) -> Vec<(usize, Call)> {
    let mut rotation = Rotation::new(goal, places("esb1", instances.len()), Duration::ZERO, policy());
    let mut calls = Vec::new();
    for now in (0..).map(Duration::from_millis).take_while(|now| *now < DRAIN) {
        while let Some((instance, call)) = rotation.poll_call(now) {
            calls.push((instance, call));
            rotation.handle(now, instance, instances[instance].answer(now, call));
        }
    }
    assert_eq!(rotation.outcome(), Some(if goal == Goal::Back { &BACK } else { &DRAINED }));
    calls
}

#[test]
fn of_two_instances_of_which_one_leaves_out_what_runs_both_are_asked() {
    let shy = Instance { shy: true, refills: 3, ..Instance::serving(&[5_000]) };
    let mut instances = [Instance::serving(&[]), shy];
    // The instance asserts that nothing ran when maintenance came.
    assert_eq!(quietly(Goal::Out, &mut instances), DRAINED);
    assert!(instances.iter().all(|instance| instance.admin == Admin::Maint && instance.idle == 0));
}

#[test]
fn what_is_open_right_after_maintenance_is_asked_for_once_more_before_it_is_purged() {
    use Call::{Look, ReadPool, ReadQuiescence};
    let (drain, maint) = (Call::SetAdmin(Admin::Drain), Call::SetAdmin(Admin::Maint));
    let calls = asked(Goal::Out, &mut [Instance { refills: 1, ..Instance::serving(&[]) }]);
    let closes = [Look, ReadPool, drain, Look, ReadQuiescence, Look, maint, Look];
    let purges = [ReadQuiescence, drain, maint, Look];
    assert_eq!(calls, closes.into_iter().chain(purges).map(|call| (0, call)).collect::<Vec<_>>());
}

#[test]
fn connections_that_come_back_for_ever_bring_the_node_back_when_their_time_is_over() {
    let mut instances = [Instance::serving(&[])];
    let outcome = run(Goal::Out, &mut instances, policy(), |_, _, instances| instances[0].refills = 3);
    assert!(is_restored(&outcome, "stayed open in maintenance"), "{outcome:?}");
    assert_eq!(instances[0].admin, Admin::Ready);
}

#[test]
fn a_reload_right_before_any_call_to_an_instance_that_held_a_node_out_is_seen() {
    // Whom each call is to: a look at the node and a reading of its pool, then a look that confirms.
    let to = [0, 0, 1, 1, 0, 1];
    for (goal, calls) in [(Goal::Out, 4), (Goal::HeldOut, 6)] {
        for at in 0..calls {
            let mut instances = [Instance::held_out(), Instance::held_out()];
            let outcome = run(goal, &mut instances, policy(), |call, _, instances| {
                if call == at {
                    instances[to[usize::try_from(at).unwrap()]].reload();
                }
            });
            assert_eq!(outcome, DRAINED, "{goal:?}, reload at call {at}");
            assert!(all_are(&instances, Admin::Maint), "{goal:?}, reload at call {at}");
        }
    }
}

/// Begins a rotation; answers its reading of the pool, then its look with `look`.
fn after_preflight(
    goal: Goal,
    instance: &mut Instance,
    look: impl FnOnce(&mut Instance) -> MemberSnapshot,
) -> Rotation {
    let now = Duration::ZERO;
    let mut rotation = Rotation::new(goal, places("esb1", 1), now, policy());
    assert_eq!(rotation.poll_call(now), Some((0, Call::Look)));
    let (_, pool) = rotation.poll_call(now).unwrap();
    let pool = instance.answer(now, pool);
    let look = look(instance);
    rotation.handle(now, 0, pool);
    rotation.handle(now, 0, Reply::Looked(look));
    rotation
}

#[test]
fn what_a_look_tells_beside_another_process_ends_no_take_out() {
    let mut instance = Instance::held_out();
    // The process and the state are the old process's; the new one, which has forgotten all, says that nothing runs.
    let rotation = after_preflight(Goal::Out, &mut instance, |instance| {
        let (process, observed) = (instance.process.clone(), instance.observed(Duration::ZERO));
        instance.reload();
        MemberSnapshot::new(process, observed).with_quiescence(Some(instance.figures(Duration::ZERO)))
    });
    assert_eq!(rotation.outcome(), None);
    assert_eq!(to_its_end(rotation, &mut instance), DRAINED);
    assert_eq!((instance.admin, instance.process.generation), (Admin::Maint, 2));
}

#[test]
fn what_confirms_a_drain_beside_another_process_is_no_round_of_calm() {
    let mut instance = Instance::serving(&[]);
    let now = Duration::ZERO;
    let plain = |instance: &mut Instance| MemberSnapshot::new(instance.process.clone(), instance.observed(now));
    let mut rotation = after_preflight(Goal::Out, &mut instance, plain);
    let (_, drain) = rotation.poll_call(now).unwrap();
    rotation.handle(now, 0, instance.answer(now, drain));
    assert_eq!(rotation.poll_call(now), Some((0, Call::Look)));
    let look = plain(&mut instance);
    instance.reload();
    rotation.handle(now, 0, Reply::Looked(look.with_quiescence(Some(instance.figures(now)))));
    // It is asked at once, and sees who answers.
    assert_eq!(rotation.poll_call(now), Some((0, Call::ReadQuiescence)));
    rotation.handle(now, 0, instance.answer(now, Call::ReadQuiescence));
    assert_eq!(to_its_end(rotation, &mut instance), DRAINED);
    assert_eq!((instance.admin, instance.process.generation), (Admin::Maint, 2));
}

#[test]
fn a_reading_of_the_pool_counts_more_than_a_look_that_ends_after_it() {
    // A backend reads what is declared of a pool with the pool: that clients are persistent, here.
    let mut instance = Instance::held_out();
    let plain = instance.observed(Duration::ZERO);
    instance.member = instance.member.with_persistence(true, false);
    let mut rotation = after_preflight(Goal::Back, &mut instance, |instance| {
        MemberSnapshot::new(instance.process.clone(), plain).with_quiescence(Some(instance.figures(Duration::ZERO)))
    });
    // The way to the checks lets such clients in: no call before connections to the server's last life are dead.
    assert_eq!(rotation.poll_call(Duration::ZERO), None);
    assert!(rotation.poll_timeout().is_some_and(|at| at >= Duration::from_millis(50)));
}

#[test]
fn a_node_that_may_not_serve_is_held_out_whatever_its_readings_say() {
    let mut instance = Instance::serving(&[]);
    let mut rotation = after_preflight(Goal::HeldOut, &mut instance, |instance| {
        let mut observed = instance.observed(Duration::ZERO);
        observed.admin = Admin::Maint;
        MemberSnapshot::new(instance.process.clone(), observed)
    });
    assert_eq!(rotation.poll_call(Duration::ZERO), Some((0, Call::SetAdmin(Admin::Maint))));
}

/// Answers all calls of a rotation until it ends.
fn to_its_end(mut rotation: Rotation, instance: &mut Instance) -> Outcome {
    for now in (0..).map(Duration::from_millis).take_while(|now| *now < DRAIN * 2) {
        while let Some((_, call)) = rotation.poll_call(now) {
            rotation.handle(now, 0, instance.answer(now, call));
        }
        if rotation.outcome().is_some() {
            break;
        }
    }
    rotation.outcome().unwrap().clone()
}

#[test]
fn a_balancer_that_never_settles_is_left_alone() {
    let mut instances = [Instance::serving(&[])];
    let outcome = run(Goal::Out, &mut instances, policy(), |call, _, instances| {
        // Each look sees another state than the reading of the pool behind it.
        instances[0].admin = if call.is_multiple_of(2) { Admin::Ready } else { Admin::Drain };
    });
    assert!(is_restored(&outcome, "changes while it is observed"), "{outcome:?}");
}

#[test]
fn an_admission_that_was_lost_is_written_again_and_the_node_is_not_held_out() {
    let mut instances = [Instance::held_out(), Instance::held_out()];
    let mut rotation = Rotation::new(Goal::Back, places("esb1", 2), Duration::ZERO, policy());
    let (mut lost, ready) = (false, Call::SetAdmin(Admin::Ready));
    for now in (0..).map(Duration::from_millis).take_while(|now| *now < DRAIN) {
        while let Some((instance, call)) = rotation.poll_call(now) {
            let reply = if (instance, call) == (1, ready) && !std::mem::replace(&mut lost, true) {
                Reply::Failed(Failure::new(ErrorKind::Timeout, Effect::Unknown, "no answer"))
            } else {
                instances[instance].answer(now, call)
            };
            rotation.handle(now, instance, reply);
        }
    }
    assert!(lost && rotation.outcome() == Some(&BACK), "{:?}", rotation.outcome());
    assert!(all_are(&instances, Admin::Ready));
}
