//! Instances whose process ends, and that may come back meanwhile.

use ha_core::backend::Admin;
use ha_core::machine::rotation::{Goal, Outcome};

use super::instance::{Instance, is_restored, policy, run};

#[test]
fn an_instance_that_comes_back_while_the_others_are_restored_is_restored_too() {
    let mut came_back = 0;
    for gone_at in 0..40 {
        for back_at in gone_at + 1..gone_at + 16 {
            let mut instances = [Instance::held_out(), Instance::held_out()];
            let outcome = run(Goal::Back, &mut instances, policy(), |call, _, instances| {
                instances[1].gone |= call == gone_at;
                if call == back_at {
                    instances[1].come_back();
                }
            });
            // Gone between two looks, it is only another process.
            if let Outcome::Reached { .. } = outcome {
                continue;
            }
            assert!(is_restored(&outcome, ""), "gone at {gone_at}, back at {back_at}: {outcome:?}");
            let there = instances.iter().filter(|instance| !instance.gone);
            // In its first looks it was not touched yet.
            let touched = |instance: &&Instance| gone_at > 3 || instance.process.generation == 1;
            assert!(
                there.filter(touched).all(|instance| instance.admin == Admin::Maint),
                "gone at {gone_at}, back at {back_at}: {instances:?}"
            );
            came_back += u32::from(gone_at > 3 && !instances[1].gone);
        }
    }
    assert!(came_back > 50, "{came_back}");
}

#[test]
fn where_no_instance_is_left_a_rotation_ends() {
    for goal in [Goal::Out, Goal::Back, Goal::HeldOut] {
        for gone_at in 0..30 {
            let begin = if goal == Goal::Out { || Instance::serving(&[500]) } else { Instance::held_out };
            let mut instances = [begin(), begin()];
            if goal == Goal::HeldOut {
                instances.iter_mut().for_each(Instance::reload);
            }
            let outcome = run(goal, &mut instances, policy(), |call, _, instances| {
                instances.iter_mut().for_each(|instance| instance.gone = call >= gone_at);
            });
            let is_over = matches!(outcome, Outcome::Reached { .. }) || is_restored(&outcome, "has ended");
            // It says at once that a node that may not serve may be open, also where it has not asked since the first was gone.
            let open = |outcome: &Outcome| matches!(outcome, Outcome::Stuck { why, .. } if why.contains("has ended"));
            let is_over = is_over || (goal == Goal::HeldOut && open(&outcome));
            assert!(is_over, "{goal:?}, gone at {gone_at}: {outcome:?}");
        }
    }
}

#[test]
fn a_node_that_may_not_serve_is_told_to_be_open_where_a_balancer_is_left() {
    let mut instances = [Instance::serving(&[]), Instance::serving(&[])];
    let outcome = run(Goal::HeldOut, &mut instances, policy(), |call, _, instances| instances[1].gone = call >= 4);
    assert!(matches!(&outcome, Outcome::Stuck { instances, .. } if *instances == [0]), "{outcome:?}");
}
