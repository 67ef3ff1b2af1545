//! The proof of the conformance suite for hosts: every host with one defect is caught, and the whole one is not.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod broken_host;
mod proof;

use std::sync::Arc;

use broken_host::{Broken, DEFECTS};
use ha_core::backend::Host;
use ha_testkit::conformance::host::{CASES, FakeHostFixture, Fixture, LayeredHost};
use proof::every_defect_is_caught;

#[tokio::test(start_paused = true)]
async fn every_defect_of_a_host_is_caught() {
    let whole: Box<dyn Fixture> = Box::new(FakeHostFixture::new());
    every_defect_is_caught("hosts", CASES, &*whole, DEFECTS, |defect| {
        let layer = move |inner| Arc::new(Broken::new(defect, inner)) as Arc<dyn Host>;
        Box::new(LayeredHost::new(FakeHostFixture::new(), "a defect", layer))
    })
    .await;
}
