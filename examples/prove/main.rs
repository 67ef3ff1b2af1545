//! The proofs: each procedure's plan with what was explored to know that it holds, and for each literal reading of the
//! procedures the shortest way to harm and the smallest change of the plan that makes it provable.
//!
//! ```text
//! cargo run --release --example prove
//! ```
//!
//! Needs nothing: the clusters are simulated, and nothing is run. Exit code 1 when a verdict is not the expected one.

use std::error::Error;
use std::process::ExitCode;

use ha_core::procedure::remedy_for;
use ha_core::safety::{margins, prove, prove_with};
use ha_testkit::golden::{Case, Expected, SPARES, SparesNeeded, cases, recoveries, spares_needed};

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    let told = match runtime {
        Ok(runtime) => runtime.block_on(tell()),
        Err(error) => Err(error.into()),
    };
    match told {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("prove: {error}");
            ExitCode::from(2)
        }
    }
}

async fn tell() -> Result<bool, Box<dyn Error>> {
    let mut as_expected = true;
    for case in cases().await?.into_iter().chain(recoveries().await?) {
        as_expected &= tell_case(&case);
    }
    println!("== spares that a patch needs where all members serve (peak 1000, three quarters required after a loss)");
    for (members, capacity, expected) in SPARES {
        let needed = spares_needed(members, capacity).await?;
        let message = match needed {
            SparesNeeded::Spares(count) => format!("{count}"),
            SparesNeeded::RefusedAtRest => "refused: breaks the law at rest".into(),
            _ => "?".into(),
        };
        println!("{members} x {capacity:>4}: {message}");
        as_expected &= needed == expected;
    }
    Ok(as_expected)
}

fn tell_case(case: &Case) -> bool {
    println!("== {}", case.name);
    match prove(case.topology(), &case.plan) {
        Ok(proof) => {
            print!("{}", margins(case.topology(), &case.plan));
            println!("{proof}");
            match prove_with(case.topology(), &case.plan, 2) {
                Ok(proof) => println!("two faults in one run: {} states, the law holds\n", proof.states),
                Err(found) => println!("two faults in one run can break it: {found}"),
            }
            case.expected == Expected::Proven
        }
        Err(counterexample) => {
            println!("REFUSED: {counterexample}remedy: {}\n", remedy_for(case.topology(), &case.plan, &counterexample));
            matches!(case.expected, Expected::Refused(invariant, _) if invariant == counterexample.violation.invariant)
        }
    }
}
