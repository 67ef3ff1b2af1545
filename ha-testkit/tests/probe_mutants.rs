//! The proof of the conformance suite for probes: every probe with one defect is caught, and the whole one is not.

#![allow(clippy::panic, clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

mod broken_probes;
mod proof;

use std::sync::Arc;

use async_trait::async_trait;
use broken_probes::model::{Model, ModelSubject};
use broken_probes::{Broken, DEFECTS, Defect};
use ha_core::backend::Probe;
use ha_testkit::conformance::Breach;
use ha_testkit::conformance::probe::{Ability, CASES, ProbeFixture, ProbeSubject};
use proof::every_defect_is_caught;

struct Fixture(Option<Defect>);

#[async_trait]
impl ProbeFixture for Fixture {
    fn name(&self) -> String {
        "a probe in memory".into()
    }

    fn can(&self, _ability: Ability) -> bool {
        true
    }

    async fn fresh(&self, release: &str) -> Result<Box<dyn ProbeSubject>, Breach> {
        let defect = self.0;
        Ok(Box::new(ModelSubject::new(release, |server| match defect {
            Some(defect) => Arc::new(Broken::new(defect, server)) as Arc<dyn Probe>,
            None => Arc::new(Model(server)),
        })))
    }
}

#[tokio::test(start_paused = true)]
async fn every_defect_of_a_probe_is_caught() {
    every_defect_is_caught("probes", CASES, &Fixture(None), DEFECTS, |defect| Box::new(Fixture(Some(defect)))).await;
}
