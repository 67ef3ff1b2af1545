//! Requests that wait in front of the pool: who is given some of them serves, whoever else calls it up.

use std::time::Duration;

use ha_core::backend::Admin;
use ha_core::machine::rotation::{Goal, Place};

use super::instance::{BACK, DRAINED, Instance, all_are, is_restored, quietly};

fn queued(instance: Instance) -> Instance {
    Instance { waiting: 8, ..instance }
}

#[test]
fn a_node_that_is_given_none_of_the_waiting_requests_is_held_out_again() {
    let asleep = Duration::MAX;
    let mut instances = [Instance { awake_from: asleep, ..queued(Instance::held_out()) }];
    let outcome = quietly(Goal::Back, &mut instances);
    assert!(is_restored(&outcome, "none of the requests that wait in front of the pool"), "{outcome:?}");
    assert!(all_are(&instances, Admin::Maint));
}

#[test]
fn a_node_is_back_once_it_takes_some_of_the_waiting_requests() {
    let mut instances = [Instance { awake_from: Duration::from_secs(3), ..queued(Instance::held_out()) }];
    assert_eq!(quietly(Goal::Back, &mut instances), BACK);
}

#[test]
fn a_node_without_requests_is_back_where_none_wait() {
    let mut instances = [Instance { awake_from: Duration::MAX, ..Instance::held_out() }];
    assert_eq!(quietly(Goal::Back, &mut instances), BACK);
}

#[test]
fn a_node_that_is_ready_and_asleep_is_not_taken_for_one_that_serves() {
    let mut instances = [Instance { awake_from: Duration::from_millis(60), ..queued(Instance::serving(&[])) }];
    assert_eq!(quietly(Goal::Back, &mut instances), BACK);
    let mut instances = [Instance { awake_from: Duration::MAX, ..queued(Instance::serving(&[])) }];
    let outcome = quietly(Goal::Back, &mut instances);
    assert!(is_restored(&outcome, "none of the requests that wait in front of the pool"), "{outcome:?}");
    // It was ready before, and is so again.
    assert!(all_are(&instances, Admin::Ready));
}

#[test]
fn the_other_server_counts_only_where_it_is_given_some_of_the_waiting_requests() {
    let mut instances = [Instance { other_idle_looks: u32::MAX, ..queued(Instance::serving(&[])) }];
    let outcome = quietly(Goal::Out, &mut instances);
    assert!(is_restored(&outcome, "esb2 is ready and is given none"), "{outcome:?}");
    assert!(all_are(&instances, Admin::Ready));
}

#[test]
fn another_server_between_two_requests_does_not_hold_up_a_take_out() {
    let mut instances = [Instance { other_idle_looks: 2, ..queued(Instance::serving(&[])) }];
    assert_eq!(quietly(Goal::Out, &mut instances), DRAINED);
}

#[test]
fn one_server_entered_twice_is_not_taken_out() {
    let here = ([10, 0, 0, 1], 8280).into();
    let entered = |twin: Admin| {
        let mut instance = Instance::serving(&[]);
        instance.member = instance.member.with_address(Some(here));
        instance.twin = Some((here, twin));
        instance
    };
    let mut instances = [entered(Admin::Ready)];
    let outcome = quietly(Goal::Out, &mut instances);
    assert!(is_restored(&outcome, "esb1 and esb2 are both 10.0.0.1:8280: one server entered twice"), "{outcome:?}");
    assert!(all_are(&instances, Admin::Ready));
    // One in maintenance sends nothing.
    let mut instances = [entered(Admin::Maint), Instance { name: "esb1", ..Instance::serving(&[]) }];
    let places = [("a", 0), ("b", 1)].map(|(pool, _)| {
        let place = super::instance::places("esb1", 1).remove(0);
        Place::in_pool(place, super::instance::name(pool), pool)
    });
    let outcome =
        super::instance::run_in(Goal::Out, places.into(), &mut instances, super::instance::policy(), |_, _, _| {});
    assert!(is_restored(&outcome, "a: esb1 is the last usable server"), "{outcome:?}");
}
