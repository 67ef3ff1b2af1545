//! Random clusters and procedures. A run without a fault tells which calls a plan makes; then, one run each, single calls of
//! them fail in each way.

use std::collections::BTreeMap;

use ha_core::procedure::Planned;
use ha_core::record::End;
use ha_testkit::simulate::{FaultAt, Outcome, Random, Scenario, simulate_plan};
use ha_testkit::world::{Fault, Operation};

use super::tally::{Tally, on_virtual_time, planned_of, runs, try_until};

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

type Calls = BTreeMap<(Operation, String), usize>;

/// Runs the plan of a scenario without a fault, and returns how often it calls what.
async fn calls_of(scenario: &Scenario, planned: Planned) -> Calls {
    let world = scenario.shape.world().unwrap();
    let Outcome::Ran { end, broken, .. } = simulate_plan(&world, planned, &[]).await else { panic!() };
    assert!(end == End::AllNew && broken.is_empty(), "{scenario:?}: {end} {broken:?}");
    world.calls()
}

/// Picks an operation first, so that the few writes are picked as often as the many reads.
fn pick(random: &mut Random, calls: &Calls) -> (FaultAt, String) {
    let mut operations: Vec<Operation> = calls.keys().map(|(operation, _)| *operation).collect();
    operations.dedup();
    let operation = *random.pick(&operations).unwrap();
    let of: Vec<_> = calls.iter().filter(|((known, _), _)| *known == operation).collect();
    let ((_, name), count) = random.pick(&of).unwrap();
    let skip = random.below(**count);
    let faults: &[Fault] = if operation.reads() || operation == Operation::Test { &READS } else { &WRITES };
    let fault = *random.pick(faults).unwrap();
    (FaultAt::Call { operation, name: name.clone(), skip, fault }, format!("{operation:?} {fault:?}"))
}

#[test]
fn no_single_call_that_fails_breaks_a_proven_plan() {
    let wanted = runs("HA_CALLS", 1_000);
    try_until("single calls that fail", wanted, FIRST_SEED, |seed, tally| {
        let scenario = Scenario::from_seed(seed, 0);
        let Some(planned) = planned_of(&scenario) else { return };
        let calls = on_virtual_time(calls_of(&scenario, planned.clone()));
        Tally::plan(tally);
        let mut random = Random::new(seed);
        for _ in 0..EACH_PLAN {
            let (fault, kind) = pick(&mut random, &calls);
            Tally::run(tally, &scenario, &planned, &[fault], kind);
        }
    });
}
