//! A person asks for something at any moment (the rollback, a pause, a stop that is retried, an approval given or not), from a
//! process of his own, and one fault comes at any moment of the same run.

use std::time::Duration;

use ha_core::topology::ApprovalPoint;
use ha_testkit::simulate::{Asks, FaultAt, Random, Scenario};

use super::tally::{Tally, planned_of, runs, try_until};

/// How many moments are tried with one plan, one run each.
const EACH_PLAN: usize = 12;
const FIRST_SEED: u64 = 6_000_000;

#[test]
fn what_a_person_asks_for_together_with_one_fault_breaks_no_law() {
    let wanted = runs("HA_ABORTS", 300);
    try_until("requests of a person, with one fault", wanted, FIRST_SEED, |seed, tally| {
        let mut scenario = Scenario::from_seed(seed, EACH_PLAN);
        let mut random = Random::new(seed);
        // One plan in four asks for approvals.
        if random.once_in(4) {
            scenario.shape.approve = ApprovalPoint::ALL.to_vec();
        }
        let Some(planned) = planned_of(&scenario) else { return };
        Tally::plan(tally);
        for fault in &scenario.faults {
            let mut millis = |most: usize| Duration::from_millis(u64::try_from(random.below(most)).unwrap());
            let (after, lasts, within) = (millis(26_000), millis(8_000), millis(3_000));
            let what = match random.below(3) {
                0 => Asks::RollBack,
                1 => Asks::Pause { lasts },
                _ => Asks::AbortAndRetry,
            };
            let kind = match fault {
                FaultAt::Call { operation, fault, .. } => format!("{operation:?} {fault:?}"),
                other => format!("{other:?}").split(' ').next().unwrap_or("").to_string(),
            };
            let mut faults = vec![FaultAt::Asked { after, what }, fault.clone()];
            // Now and then nobody is there to approve.
            if !planned.plan().approvals().is_empty() && !random.once_in(8) {
                faults.push(FaultAt::Asked { after: Duration::ZERO, what: Asks::Approve { within } });
            }
            let asked = format!("{what:?}").split(' ').next().unwrap_or("").to_string();
            Tally::run(tally, &scenario, &planned, &faults, format!("{asked}, {kind}"));
        }
    });
}
