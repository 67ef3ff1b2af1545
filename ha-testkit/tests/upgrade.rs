//! A version upgrade of the simulated world: how far it goes is what the review of the migration scripts says.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use ha_core::engine::RunError;
use ha_core::procedure::PlanError;
use ha_core::record::End;
use ha_core::report::RunReport;
use ha_core::state::{Schema, SchemaChange, SchemaVerdict};
use ha_testkit::world::{Fault, Operation, Shape, World};

fn world(verdict: SchemaVerdict) -> World {
    let world = Shape::active_passive().with_database().world().unwrap();
    world.set_schema_change(
        SchemaChange::new(verdict, "scripts").with_reason("V5__drop.sql line 3: HA005 drops a column"),
    );
    world
}

async fn upgraded(world: &World) -> (RunReport, u64) {
    let clients = world.clients();
    let planned = world.engine().plan(&world.upgrade_to("2.0")).await.unwrap();
    let report = world.engine().run("upgrade".into(), planned).await.unwrap().wait().await.unwrap();
    (report, clients.stop().await.lost)
}

async fn refusal(world: &World) -> RunError {
    world.engine().plan(&world.upgrade_to("2.0")).await.unwrap_err()
}

fn actions(report: &RunReport) -> Vec<&str> {
    report.steps.iter().map(|step| step.action.as_str()).collect()
}

#[tokio::test(start_paused = true)]
async fn scripts_that_can_be_split_are_expanded_first_and_contracted_last() {
    let world = world(SchemaVerdict::Splittable);
    let (report, lost) = upgraded(&world).await;
    assert_eq!((report.end, lost, world.schema()), (End::AllNew, 0, Schema::Contracted), "{report}");
    let place = |wanted: &str| actions(&report).iter().position(|action| *action == wanted).unwrap();
    assert!(place("expand") < place("backfill") && place("backfill") < place("apply"), "{report}");
    assert_eq!(actions(&report).last(), Some(&"contract"), "{report}");
}

#[tokio::test(start_paused = true)]
async fn scripts_that_only_add_are_not_contracted() {
    let world = world(SchemaVerdict::ExpandOnly);
    let (report, lost) = upgraded(&world).await;
    assert_eq!((report.end, lost, world.schema()), (End::AllNew, 0, Schema::Backfilled), "{report}");
    assert!(!actions(&report).contains(&"contract"), "{report}");
}

#[tokio::test(start_paused = true)]
async fn scripts_that_break_the_old_release_are_refused_with_what_breaks_it() {
    let world = world(SchemaVerdict::NeedsWindow);
    let error = refusal(&world).await.to_string();
    assert!(error.contains("V5__drop.sql line 3: HA005 drops a column") && error.contains("contract phase"), "{error}");
    assert_eq!(world.schema(), Schema::Base);
}

#[tokio::test(start_paused = true)]
async fn scripts_that_cannot_be_reviewed_are_not_planned_over() {
    let world = world(SchemaVerdict::Splittable);
    world.set_lasting_fault(Operation::Review, "database", Fault::LostBefore);
    let RunError::Plan { source: PlanError::NotReady { node, .. }, seen } = refusal(&world).await else {
        panic!("it was planned")
    };
    assert_eq!(node, "the database");
    assert!(seen.iter().any(|note| note.contains("cannot be reviewed")), "{seen:?}");
}

#[tokio::test(start_paused = true)]
async fn a_review_that_fails_once_is_asked_for_again() {
    let world = world(SchemaVerdict::Splittable);
    world.plan_fault(Operation::Review, "database", Fault::LostBefore);
    let planned = world.engine().plan(&world.upgrade_to("2.0")).await.unwrap();
    world.plan_fault(Operation::Review, "database", Fault::Refused);
    let report = world.engine().run("upgrade".into(), planned).await.unwrap().wait().await.unwrap();
    assert_eq!((report.end, world.fired().len()), (End::AllNew, 2), "{report}");
}

#[tokio::test(start_paused = true)]
async fn a_plan_is_stale_once_the_scripts_are_others() {
    let world = world(SchemaVerdict::Splittable);
    let planned = world.engine().plan(&world.upgrade_to("2.0")).await.unwrap();
    world.set_schema_change(SchemaChange::new(SchemaVerdict::NeedsWindow, "others"));
    let error = world.engine().run("upgrade".into(), planned).await.unwrap_err();
    assert!(matches!(error, RunError::StalePlan(_)) && error.to_string().contains("needs a window"), "{error}");
    assert_eq!(world.schema(), Schema::Base);
}

#[tokio::test(start_paused = true)]
async fn an_old_node_that_fails_its_test_on_the_expanded_schema_turns_the_run_back_before_anything_is_filled() {
    let world = world(SchemaVerdict::Splittable);
    // Its first test is that of the observation; the step is tried twice.
    for skip in [1, 0] {
        world.plan_fault_after(Operation::Test, "esb1", skip, Fault::Refused);
    }
    let (report, lost) = upgraded(&world).await;
    assert_eq!((report.end, lost, world.schema()), (End::AllOld, 0, Schema::Expanded), "{report}");
    let actions = actions(&report);
    assert!(!actions.contains(&"backfill") && !actions.contains(&"apply"), "{report}");
}

#[tokio::test(start_paused = true)]
async fn a_schema_that_has_what_the_new_release_needs_is_left_alone() {
    let world = world(SchemaVerdict::Splittable);
    upgraded(&world).await;
    world.set_schema_change(SchemaChange::new(SchemaVerdict::Nothing, "none"));
    let request = world.upgrade_to("3.0");
    let facts = ha_core::procedure::ReleaseFacts::new("2.0").with_schema(ha_core::state::SchemaRange::NEW);
    let change = request.change.with_facts(facts).with_beside("2.0");
    let planned = world.engine().plan(&ha_core::procedure::UpgradeRequest::new(change)).await.unwrap();
    let report = world.engine().run("again".into(), planned).await.unwrap().wait().await.unwrap();
    assert_eq!((report.end, world.schema()), (End::AllNew, Schema::Contracted), "{report}");
    assert!(!actions(&report).iter().any(|action| ["expand", "backfill", "contract"].contains(action)), "{report}");
}
