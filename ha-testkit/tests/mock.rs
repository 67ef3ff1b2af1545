//! One failure at one place, scripted.

#![cfg(feature = "mock")]
#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::sync::Arc;

use ha_core::backend::{
    Admin, BalancerCapabilities, ConfigFinding, ErrorKind, Health, Instance, Member, MemberRef, MemberSnapshot,
    Quiescence, StepError,
};
use ha_core::state::MemberKind;
use ha_testkit::mock::MockBalancer;
use ha_testkit::world::{Controller, World};

fn seen(member: &MemberRef) -> Member {
    match member.member.as_str() {
        "esb1" => Member::new(Admin::Ready, Health::Up, MemberKind::Primary),
        "esb2" => Member::new(Admin::Ready, Health::Up, MemberKind::Backup),
        _ => Member::new(Admin::Maint, Health::Paused, MemberKind::Backup),
    }
}

/// A balancer at rest that nobody may write to; its configuration is still to be scripted.
fn at_rest() -> MockBalancer {
    let mut mock = MockBalancer::new();
    mock.expect_capabilities().return_const(BalancerCapabilities::none().with_idle_connections(true));
    mock.expect_identify().returning(|| Ok(Instance::new("mock", 1)));
    mock.expect_quiescence().returning(|_| Ok(Quiescence::new(0, 0, 0, 0).with_generation(1)));
    mock.expect_member().returning(|member: &MemberRef| Ok(seen(member)));
    mock.expect_look().returning(|member: &MemberRef| Ok(MemberSnapshot::new(Instance::new("mock", 1), seen(member))));
    mock.expect_set_admin().never();
    mock.expect_set_weight().never();
    mock.expect_close_sessions().never();
    mock
}

#[tokio::test(start_paused = true)]
async fn a_configuration_that_cannot_be_read_refuses_the_plan_and_nothing_is_written() {
    let world = World::active_passive();
    let mut mock = at_rest();
    mock.expect_config_findings()
        .times(1)
        .returning(|_| Err(StepError::new(ErrorKind::Denied, "config_findings", "haproxy.cfg").without_effect()));
    mock.expect_config_findings().times(1).returning(|_| Ok(vec![ConfigFinding::advice("add redispatch")]));
    let engine = world.builder(&Controller::new()).with_balancer("lb1", Arc::new(mock)).build().unwrap();
    let refused = engine.plan(&world.patch_to("2.0")).await.unwrap_err();
    assert!(refused.to_string().contains("lb1: config_findings on haproxy.cfg: denied (no effect)"), "{refused}");
    // Advice is no danger.
    engine.plan(&world.patch_to("2.0")).await.unwrap();
}
