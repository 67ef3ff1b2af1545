//! Calls that have broken a proven plan, each with its cluster: one line of `cases.jsonl` each.

use ha_core::record::End;
use ha_testkit::simulate::{FaultAt, Outcome, Procedure, simulate_plan};
use ha_testkit::world::{Fault, Operation, Shape, World};
use serde_json::Value;

use super::tally::on_virtual_time;

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
    let procedure = match text("procedure") {
        "patch" => Procedure::Patch,
        "testdomain" => Procedure::PatchInTestDomain,
        "update" => Procedure::Update,
        "upgrade" => Procedure::Upgrade,
        other => panic!("{other}"),
    };
    on_virtual_time(async { run_in(World::from_toml_str(text("toml")).unwrap(), procedure, fault).await })
}

/// Runs a change of a world with one fault, and returns how it ended.
async fn run_in(world: World, procedure: Procedure, fault: FaultAt) -> End {
    let planned = procedure.plan(&world).await.unwrap();
    match simulate_plan(&world, planned, &[fault]).await {
        Outcome::Ran { end, broken, open, .. } => {
            assert!(broken.is_empty(), "{end}, {open:?}: {} broken, first {:?}", broken.len(), broken[0]);
            end
        }
        other => panic!("{other:?}"),
    }
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
fn a_drain_that_comes_after_the_maintenance_is_waited_for_by_a_patch_with_a_test_domain() {
    assert_eq!(run(2), End::AllNew);
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
    assert_eq!(run(8), End::AllNew);
}

/// Found by failing every single call: the release was taken for done while nobody had seen what the writer has.
#[test]
fn a_release_of_shared_files_is_not_done_before_the_writers_set_is_there_though_the_writer_does_not_answer_once() {
    let shape = Shape::active_passive().with_balancers(2).with_files();
    // Among the reads of the writer are those of the guard: one of these is the read behind the release.
    for skip in 30..70 {
        let fault = FaultAt::Call { operation: Operation::Shared, name: "esb2".into(), skip, fault: Fault::LostBefore };
        let end = on_virtual_time(async { run_in(shape.world().unwrap(), Procedure::Update, fault).await });
        assert_eq!(end, End::AllNew, "read {skip}");
    }
}
