//! Random pairs of sites: the loss of one, the way back and the drill never part the data and lose no request that they promise to
//! keep, whatever goes wrong meanwhile.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use ha_core::record::End;
use ha_testkit::simulate::{SiteOutcome, SiteProcedure, SiteScenario, simulate_site};

/// How many seeds a test takes: `HA_SEEDS`, or a number that a test run can spare.
fn seeds() -> u64 {
    std::env::var("HA_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(SEEDS)
}

const SEEDS: u64 = 60;
/// So many faults are met where so many seeds are asked for.
const LONG: (u64, u64) = (29_000, 10_000);

fn assert_met(met: u64) {
    assert!(met > 0, "no fault was met");
    assert!(seeds() < LONG.0 || met >= LONG.1, "{met} faults were met");
}

fn run(scenario: &SiteScenario) -> SiteOutcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(simulate_site(scenario))
}

fn of_seed(seed: u64, procedure: SiteProcedure, faults: usize) -> (String, u64, Option<String>) {
    let scenario = SiteScenario::from_seed(seed, procedure, faults);
    match run(&scenario) {
        SiteOutcome::NoCluster(why) => ("no cluster".into(), 0, Some(format!("seed {seed} {scenario:?}\n  {why}"))),
        SiteOutcome::Refused(why) => ("refused".into(), 0, Some(format!("seed {seed} {scenario:?}\n  refused: {why}"))),
        SiteOutcome::Ran { end, open, broken, met, took, .. } => {
            let message = (!broken.is_empty())
                .then(|| format!("seed {seed} {scenario:?}\n  {end} after {took:?}, open {open:?}\n  {broken:?}"));
            let name = match end {
                End::AllNew | End::AllOld => end.to_string(),
                End::NeedsOperator(why) => format!("needs operator: {why:?}").split('(').next().unwrap_or("").into(),
            };
            (name, u64::try_from(met).unwrap(), message)
        }
        other => panic!("{other:?}"),
    }
}

/// Counts how the runs of so many seeds end, on all CPUs; returns that, and how many faults were met.
fn simulate_seeds(first: u64, procedure: SiteProcedure, faults: usize) -> (BTreeMap<String, u64>, u64) {
    let (next, last) = (AtomicU64::new(first), first + seeds());
    let work = || {
        let mut ended = Vec::new();
        loop {
            match next.fetch_add(1, Ordering::Relaxed) {
                seed if seed < last => ended.push((seed, of_seed(seed, procedure, faults))),
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
    let messages: Vec<&str> = wrong.iter().map(|(_, message)| message.as_str()).take(12).collect();
    assert!(
        wrong.is_empty(),
        "{ends:?}, {met} faults met, {} runs broke a promise:\n{}",
        wrong.len(),
        messages.join("\n")
    );
    (ends, met)
}

#[test]
fn a_change_of_sites_without_a_fault_reaches_its_goal() {
    for (first, procedure) in
        [(0, SiteProcedure::Loss), (10_000_000, SiteProcedure::FailBack), (20_000_000, SiteProcedure::Drill)]
    {
        let (ends, _) = simulate_seeds(first, procedure, 0);
        ha_testkit::figures!("{procedure:?} of a site without a fault: {ends:?}");
        assert!(ends.keys().all(|end| end == "all new"), "{ends:?}");
    }
}

#[test]
fn the_loss_of_a_site_never_parts_the_data_under_any_single_fault() {
    let (ends, met) = simulate_seeds(1_000_000, SiteProcedure::Loss, 1);
    ha_testkit::figures!("losses of a site under a single fault: {met} faults met, 0 broken promises: {ends:?}");
    assert_met(met);
}

#[test]
fn the_way_back_loses_no_request_and_no_write_under_any_single_fault() {
    let (ends, met) = simulate_seeds(2_000_000, SiteProcedure::FailBack, 1);
    ha_testkit::figures!("ways back under a single fault: {met} faults met, 0 broken promises: {ends:?}");
    assert_met(met);
}

#[test]
fn a_drill_moves_no_consumer_under_any_single_fault() {
    let (ends, met) = simulate_seeds(3_000_000, SiteProcedure::Drill, 1);
    ha_testkit::figures!("drills under a single fault: {met} faults met, 0 broken promises: {ends:?}");
    assert_met(met);
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in 4_000_000..4_000_010 {
        for procedure in [SiteProcedure::Loss, SiteProcedure::FailBack, SiteProcedure::Drill] {
            let scenario = SiteScenario::from_seed(seed, procedure, 1);
            let (first, second) = (run(&scenario), run(&scenario));
            assert_eq!(format!("{first:?}"), format!("{second:?}"), "{seed}");
        }
    }
}
