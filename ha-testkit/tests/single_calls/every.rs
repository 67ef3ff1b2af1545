//! Random clusters and procedures. A run without a fault tells which calls a plan makes; then, one run each, single calls of
//! them fail in each way.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use ha_core::procedure::Planned;
use ha_core::record::End;
use ha_testkit::simulate::{FaultAt, Outcome, Random, Scenario, simulate_plan};
use ha_testkit::world::{Fault, Operation};

/// How many runs: `HA_CALLS`, or a number that a test run can spare.
fn wanted() -> u64 {
    std::env::var("HA_CALLS").ok().and_then(|text| text.parse().ok()).unwrap_or(2_000)
}

/// How many single calls of one plan fail, one run each.
const EACH_PLAN: usize = 12;
const FIRST_SEED: u64 = 5_000_000;

/// How a read may fail.
const READS: [Fault; 4] = [Fault::Refused, Fault::Unreachable, Fault::LostBefore, Fault::AnswersLate];
/// How a write may fail.
const WRITES: [Fault; 7] = [
    Fault::Refused,
    Fault::Unreachable,
    Fault::LostBefore,
    Fault::LostAfter,
    Fault::Late,
    Fault::AnswersLate,
    Fault::Lies,
];

#[derive(Default)]
struct Tally {
    plans: u64,
    runs: u64,
    ends: BTreeMap<String, u64>,
    failed: BTreeMap<(Operation, String), u64>,
    broken: Vec<String>,
}

type Calls = BTreeMap<(Operation, String), usize>;

fn on_virtual_time<T>(run: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(run)
}

/// Plans the change of a seed and runs it without a fault: the plan, and how often it calls what. `None` where it is refused.
async fn calls_of(scenario: &Scenario) -> Option<(Planned, Calls)> {
    let world = scenario.shape.world().ok()?;
    let planned = scenario.procedure.plan(&world).await.ok()?;
    let before = world.calls();
    let Outcome::Ran { end, broken, .. } = simulate_plan(&world, planned.clone(), &[]).await else { panic!() };
    assert!(end == End::AllNew && broken.is_empty(), "{scenario:?}: {end} {broken:?}");
    let mut calls = world.calls();
    for (call, count) in &mut calls {
        *count -= before.get(call).copied().unwrap_or(0);
    }
    calls.retain(|_, count| *count > 0);
    Some((planned, calls))
}

/// Picks an operation first, so that the few writes are picked as often as the many reads.
fn pick(random: &mut Random, calls: &Calls) -> FaultAt {
    let operations: Vec<Operation> = calls.keys().map(|(operation, _)| *operation).collect();
    let mut operations = operations;
    operations.dedup();
    let operation = *random.pick(&operations).unwrap();
    let of: Vec<_> = calls.iter().filter(|((known, _), _)| *known == operation).collect();
    let ((_, name), count) = random.pick(&of).unwrap();
    let skip = random.below(**count);
    let faults: &[Fault] = if operation.reads() || operation == Operation::Test { &READS } else { &WRITES };
    FaultAt::Call { operation, name: name.clone(), skip, fault: *random.pick(faults).unwrap() }
}

fn try_seed(seed: u64, tally: &Mutex<Tally>) {
    let scenario = Scenario::from_seed(seed, 0);
    let Some((planned, calls)) = on_virtual_time(calls_of(&scenario)) else { return };
    tally.lock().unwrap().plans += 1;
    let mut random = Random::new(seed);
    for _ in 0..EACH_PLAN {
        let fault = pick(&mut random, &calls);
        let outcome = on_virtual_time(async {
            let world = scenario.shape.world().unwrap();
            simulate_plan(&world, planned.clone(), std::slice::from_ref(&fault)).await
        });
        let Outcome::Ran { end, broken, open, .. } = outcome else { panic!("{outcome:?}") };
        let mut tally = tally.lock().unwrap();
        tally.runs += 1;
        let end = end.to_string();
        *tally.ends.entry(end.split([':', ';']).take(2).collect::<Vec<_>>().join(":")).or_default() += 1;
        if let FaultAt::Call { operation, fault, .. } = &fault {
            *tally.failed.entry((*operation, format!("{fault:?}"))).or_default() += 1;
        }
        if !broken.is_empty() {
            let (count, first) = (broken.len(), &broken[..broken.len().min(3)]);
            let message =
                format!("seed {seed} {scenario:?}\n  {fault:?}\n  {end} {open:?}\n  {count} broken: {first:?}");
            tally.broken.push(message);
        }
    }
}

#[test]
fn no_single_call_that_fails_breaks_a_proven_plan() {
    let (wanted, seed, tally) = (wanted(), AtomicU64::new(FIRST_SEED), Mutex::new(Tally::default()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, std::num::NonZero::get) {
            scope.spawn(|| {
                while tally.lock().unwrap().runs < wanted {
                    try_seed(seed.fetch_add(1, Ordering::Relaxed), &tally);
                }
            });
        }
    });
    let Tally { plans, runs, ends, failed, mut broken } = tally.into_inner().unwrap();
    broken.sort();
    let kinds = failed.len();
    ha_testkit::figures!(
        "single calls that fail: {runs} runs of {plans} proven plans, {kinds} kinds of failure, {} broken; ends: {ends:?}",
        broken.len()
    );
    if std::env::var_os("HA_SHOW_CAUGHT").is_some() {
        ha_testkit::figures!("single calls by kind: {failed:?}");
    }
    assert!(broken.is_empty(), "{} of {runs} runs broke the law:\n{}", broken.len(), broken.join("\n"));
}
