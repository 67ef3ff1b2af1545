//! The proof of the conformance suite for probes: every probe with one defect is caught, and the whole one is not.

#![allow(clippy::panic, clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

mod broken_probes;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use broken_probes::model::{Model, ModelSubject};
use broken_probes::{Broken, DEFECTS, Defect};
use ha_core::backend::Probe;
use ha_testkit::conformance::probe::{Ability, CASES, ProbeFixture, ProbeSubject};
use ha_testkit::conformance::{Breach, Verdict};
use tokio::time::timeout;

/// A case that takes longer hangs: virtual time.
const LIMIT: Duration = Duration::from_secs(600);

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

/// Returns the cases that this fixture breaks, with what is said of it.
async fn broken_cases(fixture: &Fixture) -> BTreeMap<&'static str, String> {
    let mut caught = BTreeMap::new();
    for case in CASES {
        match timeout(LIMIT, case.run(fixture)).await {
            Ok(Ok(Verdict::Held)) => {}
            Ok(Ok(Verdict::Skipped(reason))) => drop(caught.insert(case.name(), format!("skipped: {reason}"))),
            Ok(Err(breach)) => drop(caught.insert(case.name(), breach.to_string())),
            Err(_) => drop(caught.insert(case.name(), "it hangs".into())),
        }
    }
    caught
}

#[tokio::test(start_paused = true)]
async fn every_defect_of_a_probe_is_caught() {
    assert_eq!(broken_cases(&Fixture(None)).await, BTreeMap::new(), "the whole probe");
    let (mut survivors, mut idle) = (Vec::new(), BTreeMap::from_iter(CASES.iter().map(|case| (case.name(), ()))));
    for defect in DEFECTS {
        let caught = broken_cases(&Fixture(Some(*defect))).await;
        idle.retain(|case, ()| !caught.contains_key(case));
        match caught.first_key_value() {
            Some((case, why)) if std::env::var_os("HA_SHOW_CAUGHT").is_some() => {
                ha_testkit::figures!("{defect:?}: {} cases, {case}: {why}", caught.len());
            }
            Some(_) => {}
            None => survivors.push(format!("{defect:?}")),
        }
    }
    ha_testkit::figures!(
        "defects of probes: {} tried, {} caught; {} of {} cases caught at least one",
        DEFECTS.len(),
        DEFECTS.len() - survivors.len(),
        CASES.len() - idle.len(),
        CASES.len()
    );
    for case in idle.keys() {
        ha_testkit::figures!("caught nothing: {case}");
    }
    assert!(survivors.is_empty(), "survivors: {}", survivors.join(", "));
}
