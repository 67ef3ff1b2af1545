//! A person asks for the rollback at any moment, and one fault comes at any moment of the same run.

use std::time::Duration;

use ha_testkit::simulate::{FaultAt, Random, Scenario};

use super::tally::{Tally, planned_of, runs, try_until};

/// How many moments are tried with one plan, one run each.
const EACH_PLAN: usize = 12;
const FIRST_SEED: u64 = 6_000_000;

#[test]
fn a_rollback_that_a_person_asks_for_together_with_one_fault_breaks_no_law() {
    let wanted = runs("HA_ABORTS", 500);
    try_until("rollbacks asked for, with one fault", wanted, FIRST_SEED, |seed, tally| {
        let scenario = Scenario::from_seed(seed, EACH_PLAN);
        let Some(planned) = planned_of(&scenario) else { return };
        Tally::plan(tally);
        let mut random = Random::new(seed);
        for fault in &scenario.faults {
            let after = Duration::from_millis(u64::try_from(random.below(26_000)).unwrap());
            let kind = match fault {
                FaultAt::Call { operation, fault, .. } => format!("{operation:?} {fault:?}"),
                other => format!("{other:?}").split(' ').next().unwrap_or("").to_string(),
            };
            Tally::run(tally, &scenario, &planned, &[FaultAt::Abort { after }, fault.clone()], kind);
        }
    });
}
