//! The proof of the conformance suites: every balancer with one defect is caught, and the whole one is not.

#![allow(clippy::panic, clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

mod broken;
mod proof;

use std::sync::Arc;

use broken::membership::{BrokenMembershipFixture, MEMBERSHIP_DEFECTS};
use broken::{Broken, DEFECTS};
use ha_core::backend::LoadBalancer;
use ha_testkit::conformance::balancer::{CASES, FakeFixture, Fixture, Layered};
use ha_testkit::conformance::membership::{self, FakeMembershipFixture, MembershipFixture};
use proof::every_defect_is_caught;

#[tokio::test(start_paused = true)]
async fn every_defect_of_a_balancer_is_caught() {
    let whole: Box<dyn Fixture> = Box::new(FakeFixture::new());
    every_defect_is_caught("balancers", CASES, &*whole, DEFECTS, |defect| {
        let layer = move |inner| Arc::new(Broken::new(defect, inner)) as Arc<dyn LoadBalancer>;
        Box::new(Layered::new(FakeFixture::new(), "a defect", layer))
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn every_defect_of_changes_of_members_is_caught() {
    let whole: Box<dyn MembershipFixture> = Box::new(FakeMembershipFixture);
    let broken = |defect| Box::new(BrokenMembershipFixture(defect)) as Box<dyn MembershipFixture>;
    every_defect_is_caught("changes of members", membership::CASES, &*whole, MEMBERSHIP_DEFECTS, broken).await;
}
