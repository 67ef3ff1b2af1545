//! The proof of the conformance suites: every balancer with one defect is caught, and the whole one is not.

#![allow(clippy::panic, clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

mod broken;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use broken::rows::{BrokenRowsFixture, ROW_DEFECTS};
use broken::{Broken, DEFECTS};
use ha_testkit::conformance::balancer::{CASES, FakeFixture, Fixture, Layered};
use ha_testkit::conformance::membership;
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
async fn every_defect_of_a_balancer_is_caught() {
    assert_eq!(broken_cases(&FakeFixture::new()).await, BTreeMap::new(), "the whole balancer");
    let (mut survivors, mut idle) = (Vec::new(), BTreeMap::from_iter(CASES.iter().map(|case| (case.name(), ()))));
    for defect in DEFECTS {
        let layer = move |inner| Arc::new(Broken::new(*defect, inner)) as Arc<dyn ha_core::backend::LoadBalancer>;
        let caught = broken_cases(&Layered::new(FakeFixture::new(), "a defect", layer)).await;
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
        "defects of balancers: {} tried, {} caught; {} of {} cases caught at least one",
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

#[tokio::test(start_paused = true)]
async fn every_defect_of_changes_of_rows_is_caught() {
    let mut survivors = Vec::new();
    for defect in ROW_DEFECTS {
        let mut caught = 0;
        for case in membership::CASES {
            let ended = timeout(LIMIT, case.run(&BrokenRowsFixture(*defect))).await;
            caught += usize::from(!matches!(ended, Ok(Ok(_))));
        }
        if caught == 0 {
            survivors.push(format!("{defect:?}"));
        }
    }
    let (tried, lived) = (ROW_DEFECTS.len(), survivors.len());
    ha_testkit::figures!("defects of changes of rows: {tried} tried, {} caught", tried - lived);
    assert!(survivors.is_empty(), "survivors: {}", survivors.join(", "));
}
