//! Random clusters that grow, shrink or hand their writer over: none of that breaks the law, whatever goes wrong meanwhile; every end
//! is what it is called, and a refusal is true.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use ha_core::record::End;
use ha_testkit::simulate::{Grow, GrowScenario, Grown, Outcome, simulate_grow};

/// How many seeds a test takes: `HA_SEEDS`, or a number that a test run can spare.
fn seeds() -> u64 {
    std::env::var("HA_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(SEEDS)
}

const SEEDS: u64 = 150;
/// So many faults are met where so many seeds are asked for.
const LONG: (u64, u64) = (29_000, 10_000);

fn run(scenario: &GrowScenario) -> Grown {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(simulate_grow(scenario))
}

fn name(end: End) -> String {
    match end {
        End::AllNew | End::AllOld => end.to_string(),
        End::NeedsOperator(why) => format!("needs operator: {why:?}").split('(').next().unwrap_or("").to_string(),
    }
}

/// How a seed went: how it ended, how many faults were met, and what is wrong.
fn of_seed(seed: u64, scenario: &GrowScenario) -> (String, u64, Option<String>) {
    match run(scenario) {
        Grown::NoCluster(_) => ("no cluster".into(), 0, None),
        Grown::Refused { why, untrue } => {
            let message =
                untrue.map(|untrue| format!("seed {seed} {scenario:?}\n  refused: {why}\n  and yet {untrue}"));
            ("refused".into(), 0, message)
        }
        Grown::Ran(Outcome::Ran { end, open, broken, met, took, .. }) => {
            let message = (!broken.is_empty()).then(|| {
                let first = &broken[..broken.len().min(4)];
                format!("seed {seed} {scenario:?}\n  {end} after {took:?}, open {open:?}\n  {first:?}")
            });
            (name(end), u64::try_from(met).unwrap(), message)
        }
        other => panic!("{other:?}"),
    }
}

/// Counts how the runs of these seeds end, on all CPUs; returns that, and how many faults were met. None may break the law.
fn simulate_seeds(
    range: std::ops::Range<u64>,
    of: impl Fn(u64) -> GrowScenario + Sync,
) -> (BTreeMap<String, u64>, u64) {
    let (next, end) = (AtomicU64::new(range.start), range.end);
    let work = || {
        let mut ended = Vec::new();
        loop {
            match next.fetch_add(1, Ordering::Relaxed) {
                seed if seed < end => ended.push((seed, of_seed(seed, &of(seed)))),
                _ => return ended,
            }
        }
    };
    let (mut ends, mut met, mut wrong) = (BTreeMap::<String, u64>::new(), 0, Vec::new());
    std::thread::scope(|scope| {
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        for (seed, (kind, faults, message)) in threads.into_iter().flat_map(|thread| thread.join().unwrap()) {
            *ends.entry(kind).or_default() += 1;
            met += faults;
            wrong.extend(message.map(|message| (seed, message)));
        }
    });
    wrong.sort();
    let messages: Vec<&str> = wrong.iter().map(|(_, message)| message.as_str()).collect();
    assert!(wrong.is_empty(), "{ends:?}, {} runs broke the law:\n{}", wrong.len(), messages.join("\n"));
    (ends, met)
}

const ALL: [(Grow, &str); 3] =
    [(Grow::HandOver, "hand-overs"), (Grow::AddNode, "added nodes"), (Grow::RetireNode, "retired nodes")];

#[test]
fn without_a_fault_each_of_them_ends_as_it_was_asked_for() {
    for (grow, what) in ALL {
        let (ends, _) = simulate_seeds(0..seeds() / 3, |seed| GrowScenario::from_seed(seed, grow, 0));
        ha_testkit::figures!("{what} without a fault: {ends:?}");
        assert!(ends.keys().all(|end| ["all new", "refused", "no cluster"].contains(&end.as_str())), "{ends:?}");
        assert!(ends["all new"] * 4 > ends.values().sum(), "{what}: {ends:?}");
    }
}

#[test]
fn none_of_them_breaks_the_law_under_any_single_fault() {
    for (place, (grow, what)) in (1..).zip(ALL) {
        let range = place * 1_000_000..place * 1_000_000 + seeds();
        let (ends, met) = simulate_seeds(range, |seed| GrowScenario::from_seed(seed, grow, 1));
        ha_testkit::figures!("{what} under a single fault: {met} faults met, 0 broken invariants: {ends:?}");
        assert!(met > 0 && (seeds() < LONG.0 || met >= LONG.1), "{what}: {met} faults were met");
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in 5_000_000..5_000_010 {
        for (grow, _) in ALL {
            let scenario = GrowScenario::from_seed(seed, grow, 1);
            assert_eq!(format!("{:?}", run(&scenario)), format!("{:?}", run(&scenario)), "{seed}");
        }
    }
}
