//! A node in two pools: on a balancer for each, under another name and on another port.

use ha_core::backend::{Admin, MemberRef};
use ha_core::machine::rotation::{Goal, Outcome, Place};

use super::instance::{BACK, DRAINED, Instance, all_are, is_restored, name, policy, run_in};

fn two_pools() -> Vec<Place> {
    let member = |pool, member| MemberRef::new(name(pool), name(member));
    vec![
        Place::new(member("esb", "esb1")).in_pool(name("esb"), "balancer lb1 (pool esb)"),
        Place::new(member("carbon", "console1")).in_pool(name("mgmt"), "balancer lb1 (pool mgmt)"),
    ]
}

fn at(instance: Instance, name: &'static str, port: u16) -> Instance {
    let member = instance.member.with_address(Some(([10, 0, 0, 1], port).into()));
    Instance { name, member, ..instance }
}

fn rotate(goal: Goal, instances: &mut [Instance]) -> Outcome {
    run_in(goal, two_pools(), instances, policy(), |_, _, _| {})
}

#[test]
fn a_node_is_out_when_it_is_idle_and_held_out_in_each_pool() {
    // The second pool has a request of three seconds: maintenance before its end would fail in the instance.
    let mut instances = [at(Instance::serving(&[40]), "esb1", 8280), at(Instance::serving(&[3_000]), "console1", 9443)];
    assert_eq!(rotate(Goal::Out, &mut instances), DRAINED);
    assert!(all_are(&instances, Admin::Maint));
    assert_eq!(rotate(Goal::Back, &mut instances), BACK);
    assert!(all_are(&instances, Admin::Ready));
}

#[test]
fn a_pool_that_has_nothing_else_turns_the_rotation_back_in_all() {
    let mut instances = [at(Instance::serving(&[]), "esb1", 8280), at(Instance::serving(&[]), "console1", 9443)];
    instances[1].other = false;
    let outcome = rotate(Goal::Out, &mut instances);
    assert!(is_restored(&outcome, "balancer lb1 (pool mgmt): console1 is the last usable server there"), "{outcome:?}");
    assert!(all_are(&instances, Admin::Ready));
}

#[test]
fn one_pool_has_one_address_on_all_its_balancers() {
    let mut instances = [at(Instance::serving(&[]), "esb1", 8280), at(Instance::serving(&[]), "esb1", 8281)];
    let places = vec![two_pools().remove(0); 2];
    let outcome = run_in(Goal::Out, places, &mut instances, policy(), |_, _, _| {});
    assert!(is_restored(&outcome, "the name means two servers"), "{outcome:?}");
}
