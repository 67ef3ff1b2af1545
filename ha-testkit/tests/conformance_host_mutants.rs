//! The proof of the conformance suite for hosts: every host with one defect is caught, and the whole one is not.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod broken_host;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use broken_host::{Broken, DEFECTS};
use ha_testkit::conformance::host::{CASES, FakeHostFixture, Fixture, LayeredHost};
use tokio::time::timeout;

/// A case that takes longer hangs: virtual time.
const LIMIT: Duration = Duration::from_secs(600);

/// Returns the cases that this fixture breaks, with what is said of it.
async fn broken_cases(fixture: &(dyn Fixture + 'static)) -> BTreeMap<&'static str, String> {
    let mut caught = BTreeMap::new();
    for case in CASES {
        match timeout(LIMIT, case.run(fixture)).await {
            Ok(Ok(_)) => {}
            Ok(Err(breach)) => drop(caught.insert(case.name(), breach.to_string())),
            Err(_) => drop(caught.insert(case.name(), "it hangs".into())),
        }
    }
    caught
}

#[tokio::test(start_paused = true)]
async fn every_defect_of_a_host_is_caught() {
    assert_eq!(broken_cases(&FakeHostFixture::new()).await, BTreeMap::new(), "the whole host");
    let mut survivors = Vec::new();
    let mut idle = BTreeMap::from_iter(CASES.iter().map(|case| (case.name(), ())));
    for defect in DEFECTS {
        let layer = move |inner| Arc::new(Broken::new(*defect, inner)) as Arc<dyn ha_core::backend::Host>;
        let caught = broken_cases(&LayeredHost::new(FakeHostFixture::new(), "a defect", layer)).await;
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
        "defects of hosts: {} tried, {} caught; {} of {} cases caught at least one",
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
