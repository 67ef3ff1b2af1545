//! Calls that have broken a proven plan, each with its cluster: one line of `cases.jsonl` each.

use ha_core::record::End;
use ha_testkit::simulate::{FaultAt, Outcome, Procedure, simulate_plan};
use ha_testkit::world::{Fault, Operation, World};
use serde_json::Value;

const CASES: &str = include_str!("cases.jsonl");

/// Runs a case, and returns how it ended.
fn run(line: usize) -> End {
    let case: Value = serde_json::from_str(CASES.lines().nth(line).unwrap()).unwrap();
    let text = |key: &str| case[key].as_str().unwrap();
    let operation = match text("operation") {
        "member" => Operation::Member,
        "set" => Operation::SetAdmin,
        other => panic!("{other}"),
    };
    let fault = match text("fault") {
        "before" => Fault::LostBefore,
        "refused" => Fault::Refused,
        "unreachable" => Fault::Unreachable,
        "late" => Fault::Late,
        other => panic!("{other}"),
    };
    let skip = usize::try_from(case["call"].as_u64().unwrap()).unwrap();
    let fault = FaultAt::Call { operation, name: text("balancer").into(), skip, fault };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let world = World::from_toml_str(text("toml")).unwrap();
        let procedure = match text("procedure") {
            "patch" => Procedure::Patch,
            "testdomain" => Procedure::PatchInTestDomain,
            "update" => Procedure::Update,
            "upgrade" => Procedure::Upgrade,
            other => panic!("{other}"),
        };
        let planned = procedure.plan(&world).await.unwrap();
        match simulate_plan(&world, planned, &[fault]).await {
            Outcome::Ran { end, broken, open, .. } => {
                assert!(broken.is_empty(), "{end}, {open:?}: {} broken, first {:?}", broken.len(), broken[0]);
                end
            }
            other => panic!("{other:?}"),
        }
    })
}

#[test]
fn an_update_begins_although_a_balancer_does_not_answer_once() {
    assert_eq!(run(0), End::AllNew);
}

#[test]
fn a_patch_with_a_test_domain_loses_nothing_when_the_second_balancer_does_not_answer_once() {
    assert_eq!(run(1), End::AllNew);
}

#[test]
fn a_drain_that_comes_after_the_maintenance_takes_a_patch_with_a_test_domain_back_and_loses_nothing() {
    assert_eq!(run(2), End::AllOld);
}

#[test]
fn a_patch_with_a_test_domain_begins_although_a_balancer_does_not_answer_once() {
    assert_eq!(run(3), End::AllNew);
}

#[test]
fn an_upgrade_begins_although_a_balancer_refuses_to_answer_once() {
    assert_eq!(run(4), End::AllNew);
}

#[test]
fn a_patch_begins_although_a_balancer_is_unreachable_once() {
    assert_eq!(run(5), End::AllNew);
}

#[test]
fn a_wave_of_servers_loses_nothing_when_the_second_balancer_does_not_answer_once() {
    assert_eq!(run(6), End::AllNew);
}

#[test]
fn an_upgrade_loses_nothing_when_a_balancer_refuses_to_answer_once() {
    assert_eq!(run(7), End::AllNew);
}

#[test]
fn a_drain_that_comes_after_the_maintenance_takes_no_capacity_below_what_is_required() {
    assert_eq!(run(8), End::AllOld);
}
