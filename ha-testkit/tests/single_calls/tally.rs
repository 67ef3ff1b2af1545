//! Many runs of random plans, counted.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use ha_core::procedure::Planned;
use ha_core::record::End;
use ha_testkit::simulate::{FaultAt, Outcome, Scenario, simulate_plan};

/// What came of many runs.
#[derive(Default)]
pub(crate) struct Tally {
    plans: u64,
    runs: u64,
    ends: BTreeMap<String, u64>,
    kinds: BTreeMap<String, u64>,
    broken: Vec<String>,
}

/// How many runs a test makes: what the variable says, or a number that a test run can spare.
pub(crate) fn runs(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

pub(crate) fn on_virtual_time<T>(run: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(run)
}

/// Plans the change of a scenario; `None` where there is no cluster, or the plan is refused.
pub(crate) fn planned_of(scenario: &Scenario) -> Option<Planned> {
    on_virtual_time(async { scenario.procedure.plan(&scenario.shape.world().ok()?).await.ok() })
}

/// Tries seeds on all CPUs until there were so many runs; none may have broken the law.
pub(crate) fn try_until(what: &str, wanted: u64, first_seed: u64, try_seed: impl Fn(u64, &Mutex<Tally>) + Sync) {
    let (seed, tally) = (AtomicU64::new(first_seed), Mutex::new(Tally::default()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, std::num::NonZero::get) {
            scope.spawn(|| {
                while tally.lock().unwrap().runs < wanted {
                    try_seed(seed.fetch_add(1, Ordering::Relaxed), &tally);
                }
            });
        }
    });
    let Tally { plans, runs, ends, kinds, mut broken } = tally.into_inner().unwrap();
    broken.sort();
    let (count, different) = (broken.len(), kinds.len());
    ha_testkit::figures!(
        "{what}: {runs} runs of {plans} proven plans, {different} kinds, {count} broken; ends: {ends:?}"
    );
    if std::env::var_os("HA_SHOW_CAUGHT").is_some() {
        ha_testkit::figures!("{what}, by kind: {kinds:?}");
    }
    assert!(broken.is_empty(), "{count} of {runs} runs broke the law:\n{}", broken.join("\n"));
}

impl Tally {
    /// Counts a plan.
    pub(crate) fn plan(tally: &Mutex<Self>) {
        tally.lock().unwrap().plans += 1;
    }

    /// Runs the plan of a scenario with these faults, and counts how it ends.
    pub(crate) fn run(tally: &Mutex<Self>, scenario: &Scenario, planned: &Planned, faults: &[FaultAt], kind: String) {
        let outcome = on_virtual_time(async {
            let world = scenario.shape.world().unwrap();
            simulate_plan(&world, planned.clone(), faults).await
        });
        let Outcome::Ran { end, broken, open, .. } = outcome else { panic!("{outcome:?}") };
        let mut tally = tally.lock().unwrap();
        tally.runs += 1;
        *tally.ends.entry(name(end)).or_default() += 1;
        *tally.kinds.entry(kind).or_default() += 1;
        if !broken.is_empty() {
            let (count, first) = (broken.len(), &broken[..broken.len().min(3)]);
            let message = format!("{scenario:?}\n  {faults:?}\n  {end} {open:?}\n  {count} broken: {first:?}");
            tally.broken.push(message);
        }
    }
}

fn name(end: End) -> String {
    match end {
        End::AllNew | End::AllOld => end.to_string(),
        End::NeedsOperator(why) => format!("needs operator: {why:?}").split('(').next().unwrap_or("").to_string(),
    }
}
