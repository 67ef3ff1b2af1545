//! How the tests of the conformance suites prove a suite: with subjects of one defect each.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::Duration;

use ha_testkit::conformance::Case;
use tokio::time::timeout;

/// Lists the defects once, so that none is left untried.
#[allow(unused_macros, reason = "some list theirs elsewhere")]
macro_rules! defects {
    ($($name:ident)*) => {
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        enum Defect { $($name),* }

        const DEFECTS: &[Defect] = &[$(Defect::$name),*];
    };
}

/// A case that takes longer hangs: virtual time.
const LIMIT: Duration = Duration::from_secs(600);

/// Shows that the suite holds for a whole subject and that some case of it breaks for every defect. `HA_SHOW_CAUGHT` prints
/// which.
pub(crate) async fn every_defect_is_caught<F: ?Sized + 'static, D: Copy + Debug>(
    what: &str,
    cases: &[Case<F>],
    whole: &F,
    defects: &[D],
    broken: impl Fn(D) -> Box<F>,
) {
    assert_eq!(broken_cases(cases, whole).await, BTreeMap::new(), "{what}, whole");
    let (mut survivors, mut idle) = (Vec::new(), BTreeMap::from_iter(cases.iter().map(|case| (case.name(), ()))));
    for defect in defects {
        let caught = broken_cases(cases, &*broken(*defect)).await;
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
        "defects of {what}: {} tried, {} caught; {} of {} cases caught at least one",
        defects.len(),
        defects.len() - survivors.len(),
        cases.len() - idle.len(),
        cases.len()
    );
    for case in idle.keys() {
        ha_testkit::figures!("caught nothing: {case}");
    }
    assert!(survivors.is_empty(), "survivors: {}", survivors.join(", "));
}

/// Returns the cases that this fixture breaks, with what is said of it.
async fn broken_cases<F: ?Sized + 'static>(cases: &[Case<F>], fixture: &F) -> BTreeMap<&'static str, String> {
    let mut caught = BTreeMap::new();
    for case in cases {
        match timeout(LIMIT, case.run(fixture)).await {
            Ok(Ok(_)) => {}
            Ok(Err(breach)) => drop(caught.insert(case.name(), breach.to_string())),
            Err(_) => drop(caught.insert(case.name(), "it hangs".into())),
        }
    }
    caught
}
