//! The golden table: each literal reading of the procedures is refused with its trace, each corrected order is proven.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use ha_core::safety::prove;
use ha_testkit::golden::{Expected, SPARES, cases, recoveries, spares_needed};

#[tokio::test(start_paused = true)]
async fn each_literal_reading_is_refused_and_each_corrected_order_is_proven() {
    let mut wrong = Vec::new();
    let all = cases().await.unwrap().into_iter().chain(recoveries().await.unwrap());
    for case in all {
        match (case.expected, prove(case.topology(), &case.plan)) {
            (Expected::Proven, Ok(proof)) => ha_testkit::figures!("proven   {}: {proof}", case.name),
            (Expected::Refused(invariant, last), Err(refused))
                if refused.violation.invariant == invariant
                    && refused.trace.last().is_some_and(|event| event.contains(last)) =>
            {
                ha_testkit::figures!("refused  {}: {refused}", case.name);
            }
            (_, Ok(proof)) => wrong.push(format!("{}: {proof}", case.name)),
            (_, Err(refused)) => {
                wrong.push(format!("{}: {refused}\n{}", case.name, case.plan.to_text(case.topology())))
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test(start_paused = true)]
async fn the_table_of_spares_is_derived_from_the_law() {
    for (members, capacity, expected) in SPARES {
        assert_eq!(spares_needed(members, capacity).await.unwrap(), expected, "{members} x {capacity}");
    }
}
