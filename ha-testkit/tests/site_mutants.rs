//! The suites for what sites need are proven themselves: they run on values with one defect each, and fail if one survives.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod broken_sites;
mod proof;

use ha_testkit::conformance::{fence, replica, site_switch};
use proof::every_defect_is_caught;

#[tokio::test(start_paused = true)]
async fn every_defect_of_a_fence_is_caught() {
    let broken = |defect| Box::new(broken_sites::fence::Fixture(Some(defect))) as Box<dyn fence::FenceFixture>;
    let whole = broken_sites::fence::Fixture(None);
    every_defect_is_caught("fences", fence::CASES, &whole, broken_sites::fence::DEFECTS, broken).await;
}

#[tokio::test(start_paused = true)]
async fn every_defect_of_a_replica_is_caught() {
    let broken = |defect| Box::new(broken_sites::replica::Fixture(Some(defect))) as Box<dyn replica::ReplicaFixture>;
    let whole = broken_sites::replica::Fixture(None);
    every_defect_is_caught("replicas", replica::CASES, &whole, broken_sites::replica::DEFECTS, broken).await;
}

#[tokio::test(start_paused = true)]
async fn every_defect_of_a_site_switch_is_caught() {
    let broken =
        |defect| Box::new(broken_sites::switch::Fixture(Some(defect))) as Box<dyn site_switch::SiteSwitchFixture>;
    let whole = broken_sites::switch::Fixture(None);
    every_defect_is_caught("site switches", site_switch::CASES, &whole, broken_sites::switch::DEFECTS, broken).await;
}
