//! Random clusters, procedures and faults: a proven plan that the real engine runs never breaks the law.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use ha_core::record::End;
use ha_testkit::simulate::{Outcome, Scenario, simulate};

/// How many seeds a test takes: `HA_SEEDS`, or a number that a test run can spare.
fn seeds(default: u64) -> u64 {
    std::env::var("HA_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn run(scenario: &Scenario) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(simulate(scenario))
}

fn name(end: End) -> String {
    match end {
        End::AllNew | End::AllOld => end.to_string(),
        End::NeedsOperator(why) => format!("needs operator: {why:?}").split('(').next().unwrap_or("").to_string(),
    }
}

/// Counts how the runs of these seeds end, on all CPUs; none may break what `binds`, whatever went wrong.
fn simulate_seeds(
    range: std::ops::Range<u64>,
    faults: usize,
    binds: impl Fn(&str) -> bool + Sync,
) -> BTreeMap<String, u64> {
    let (next, end) = (AtomicU64::new(range.start), range.end);
    let (mut ends, mut broken) = (BTreeMap::<String, u64>::new(), Vec::new());
    let work = || {
        let mut ended = Vec::new();
        loop {
            match next.fetch_add(1, Ordering::Relaxed) {
                seed if seed < end => ended.push((seed, simulate_seed(seed, faults, &binds))),
                _ => return ended,
            }
        }
    };
    std::thread::scope(|scope| {
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        for (seed, (kind, message)) in threads.into_iter().flat_map(|thread| thread.join().unwrap()) {
            *ends.entry(kind).or_default() += 1;
            broken.extend(message.map(|message| (seed, message)));
        }
    });
    broken.sort();
    ha_testkit::figures!("{faults} faults: {ends:?}");
    let messages: Vec<&str> = broken.iter().map(|(_, message)| message.as_str()).collect();
    assert!(broken.is_empty(), "{} runs broke the law:\n{}", broken.len(), messages.join("\n"));
    ends
}

/// Returns how the run of a seed ended, and what it broke.
fn simulate_seed(seed: u64, faults: usize, binds: impl Fn(&str) -> bool) -> (String, Option<String>) {
    let scenario = Scenario::from_seed(seed, faults);
    match run(&scenario) {
        Outcome::NoCluster(_) => ("no cluster".into(), None),
        Outcome::Refused { harm, counterexample, plan } => {
            let message = harm.is_empty().then(|| {
                let topology = scenario.shape.topology().unwrap();
                let plan = plan.to_text(&topology);
                format!("seed {seed}: refused, and no harm was seen: {counterexample}{plan}")
            });
            ("refused".into(), message)
        }
        Outcome::Ran { end, broken: mut found, .. } => {
            found.retain(|broken| binds(&broken.what));
            let message = (!found.is_empty())
                .then(|| format!("seed {seed} {scenario:?}\n  {end}\n  {:?}", &found[..found.len().min(6)]));
            (name(end), message)
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_proven_plan_without_a_fault_ends_all_new() {
    let ends = simulate_seeds(0..seeds(750), 0, |_| true);
    assert!(ends.keys().all(|end| ["all new", "refused", "no cluster"].contains(&end.as_str())), "{ends:?}");
}

#[test]
fn a_proven_plan_never_breaks_the_law_under_any_single_fault() {
    // Not every seed is a cluster that can be changed; 18,500 of them make more than 10,000 whole runs: a long job.
    let wanted = seeds(2_500);
    let ends = simulate_seeds(1_000_000..1_000_000 + wanted, 1, |_| true);
    let is_run = |end: &&str| !["no cluster", "refused"].contains(end);
    let runs: u64 = ends.iter().filter(|(end, _)| is_run(&end.as_str())).map(|(_, count)| *count).sum();
    ha_testkit::figures!("{runs} whole runs under a single fault, 0 of them broke an invariant");
    assert!(wanted < 18_500 || runs >= 10_000, "{runs} whole runs");
}

/// What several faults at once may break is capacity, and what is exposed by them; never who writes, and never the truth
/// of how a run ended.
#[test]
fn a_run_under_several_faults_at_once_ends_in_a_named_state_and_tells_the_truth() {
    simulate_seeds(3_000_000..3_000_000 + seeds(500), 3, |what| what.starts_with("I3") || what.starts_with("the run"));
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in 2_000_000..2_000_020 {
        let scenario = Scenario::from_seed(seed, 2);
        let (first, second) = (run(&scenario), run(&scenario));
        match (&first, &second) {
            (Outcome::Ran { trace: one, .. }, Outcome::Ran { trace: other, .. }) => assert_eq!(one, other, "{seed}"),
            _ => assert_eq!(format!("{first:?}"), format!("{second:?}"), "{seed}"),
        }
    }
}
