//! Plans and requests that contradict themselves, and facts that nobody declared: refused, with the step or the key.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use ha_core::action::{KnownGood, ServerAction};
use ha_core::engine::RunError;
use ha_core::law::Invariant;
use ha_core::plan::{Draft, Plan, Stage, Step};
use ha_core::procedure::{PatchRequest, PlanError, ReleaseFacts, UpgradeRequest};
use ha_core::safety::{Counterexample, prove};
use ha_core::state::{Schema, SchemaRange};
use ha_testkit::world::{Shape, World};

async fn patched(world: &World) -> Draft {
    world.engine().plan(&world.patch_to("2.0")).await.unwrap().plan().clone().into()
}

fn refused(world: &World, plan: &Draft) -> Counterexample {
    *prove(world.topology(), &Plan::from(plan.clone())).unwrap_err()
}

fn commands() -> (Vec<String>, Vec<String>) {
    (vec!["patch".into(), "apply".into()], vec!["patch".into(), "restore".into()])
}

fn unprovable(error: &RunError) -> &Counterexample {
    match error {
        RunError::Plan { source: PlanError::Unprovable { counterexample, .. }, .. } => counterexample,
        other => panic!("{other}"),
    }
}

#[tokio::test(start_paused = true)]
async fn releases_that_nobody_declared_to_serve_side_by_side_are_refused_by_name() {
    let world = World::active_passive();
    let (apply, restore) = commands();
    let error = world.engine().plan(&PatchRequest::new("2.0", apply, restore)).await.unwrap_err();
    let found = unprovable(&error);
    assert_eq!(found.violation.invariant, Invariant::Schema);
    assert!(found.violation.facts.contains("(1.0)") && found.violation.facts.contains("(2.0)"), "{found}");
    assert!(found.trace.last().unwrap().contains("admit esb2"), "{found}");
}

#[tokio::test(start_paused = true)]
async fn a_schema_range_that_nobody_declared_fails_closed() {
    let world = Shape::active_passive().with_database().world().unwrap();
    let request = UpgradeRequest::new(world.patch_to("2.0"));
    let error = world.engine().plan(&request).await.unwrap_err().to_string();
    assert!(error.contains("nothing declares which schema states esb1 (1.0) can use"), "{error}");
    let only_old = world.patch_to("2.0").with_facts(ReleaseFacts::new("1.0").with_schema(SchemaRange::OLD));
    let error = world.engine().plan(&UpgradeRequest::new(only_old)).await.unwrap_err();
    let message = unprovable(&error).violation.facts.clone();
    assert!(message.contains("nothing declares which schema states esb2 (2.0) can use"), "{message}");
    let turned = SchemaRange::new(Schema::Contracted, Schema::Base);
    let turned = world.patch_to("2.0").with_facts(ReleaseFacts::new("2.0").with_schema(turned));
    let error = world.engine().plan(&UpgradeRequest::new(turned)).await.unwrap_err().to_string();
    assert!(error.contains("facts of 2.0"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_request_without_a_way_back_or_with_nothing_to_do_is_refused() {
    let world = World::active_passive();
    let (apply, restore) = commands();
    for (request, message) in [
        (PatchRequest::new("", apply.clone(), restore.clone()), "must not be empty"),
        (PatchRequest::new("2.0", apply.clone(), Vec::new()), "no rollback"),
        (PatchRequest::new("1.0", apply, restore), "nothing to do"),
    ] {
        let error = world.engine().plan(&request).await.unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
    let error = world.engine().plan(&world.upgrade_to("2.0")).await.unwrap_err().to_string();
    assert!(error.contains("no [database]"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_custom_plan_that_contradicts_itself_is_refused_at_the_step() {
    let world = World::active_passive();
    let mut plan = patched(&world).await;
    let policy = world.topology().policy();
    let esb2 = world.topology().find("esb2").unwrap();
    // Files are installed under the running server.
    plan.stages.insert(
        1,
        Stage::new(
            "hot patch",
            vec![esb2],
            vec![Step::new(ServerAction::Apply { to: plan.goal.release.unwrap() }, policy)],
        ),
    );
    let found = refused(&world, &plan);
    assert!(found.trace.last().unwrap().contains("apply 2.0 on esb2"), "{found}");
    assert!(found.violation.facts.contains("must be stopped first"), "{found}");
    assert_eq!(found.faults, 0);
}

#[tokio::test(start_paused = true)]
async fn a_plan_that_does_not_reach_its_goal_or_leaves_something_behind_is_refused() {
    let world = World::active_passive();
    let plan = patched(&world).await;
    let mut short = plan.clone();
    short.stages.remove(2);
    short.point_of_no_return -= 1;
    assert!(
        refused(&world, &short).violation.facts.contains("esb1 has another release"),
        "{}",
        refused(&world, &short)
    );
    let mut spare_left = plan.clone();
    spare_left.stages.pop();
    let found = refused(&world, &spare_left);
    assert!(found.to_string().contains("loans are still open"), "{found}");
    let mut empty = plan;
    empty.stages.clear();
    empty.point_of_no_return = 0;
    assert!(refused(&world, &empty).violation.facts.contains("another release"), "{}", refused(&world, &empty));
}

#[tokio::test(start_paused = true)]
async fn a_way_back_that_is_itself_unsafe_is_refused() {
    let world = World::active_passive();
    let mut plan = patched(&world).await;
    // The recorded known-good target is wrong: the rollback would install the new release again.
    let new = plan.goal.release.unwrap();
    for known in plan.known_good.iter_mut().flatten() {
        *known = KnownGood::new(new, known.admitted);
    }
    let found = refused(&world, &plan);
    assert_eq!(found.violation.invariant, Invariant::Rollback, "{found}");
    assert!(found.trace.iter().any(|event| event.contains("rollback") || event.contains("rolling back")), "{found}");
    // Nothing was recorded at all: what was done cannot be undone.
    let mut plan = patched(&world).await;
    plan.known_good.fill(None);
    refused(&world, &plan);
    // A plan that says it can be rolled back to its end, the spare gone: it is started again, and is not in traffic, where it
    // has to be.
    let world = Shape::active_active(2, 750).with_spares(&[750]).world().unwrap();
    let mut plan = patched(&world).await;
    plan.point_of_no_return = plan.stages.len();
    let found = refused(&world, &plan);
    assert!(found.faults <= 1, "{found}");
    assert!(found.trace.contains(&"take out spare1".to_string()), "{found}");
}

#[tokio::test(start_paused = true)]
async fn a_plan_may_be_rolled_back_to_its_end_where_the_spare_that_is_started_again_is_enough() {
    let world = World::active_passive();
    let mut plan = patched(&world).await;
    plan.point_of_no_return = plan.stages.len();
    prove(world.topology(), &plan.into()).unwrap_or_else(|refused| panic!("{refused}"));
}

#[test]
fn clusters_of_no_node_one_node_and_overflowing_capacity_are_diagnosed_by_key() {
    let error = shape(&[], 1000).topology().unwrap_err().to_string();
    assert!(error.contains("node"), "{error}");
    let error = shape(&[1000], 1000).topology().unwrap_err().to_string();
    assert!(error.contains("pool[0].survive_one") && error.contains("0 is left"), "{error}");
    let huge = shape(&[i64::MAX.unsigned_abs(); 4], i64::MAX.unsigned_abs());
    assert!(huge.topology().is_ok(), "sums saturate");
    let error = shape(&[400, 400], 1000).topology().unwrap_err().to_string();
    assert!(error.contains("at rest the law is broken"), "{error}");
}

fn shape(members: &[u64], peak_load: u64) -> Shape {
    let mut shape = Shape::active_active(members.len().max(1), 1000);
    shape.members = members.to_vec();
    shape.peak_load = peak_load;
    shape
}

#[tokio::test(start_paused = true)]
async fn a_huge_cluster_is_planned_without_overflow() {
    let world = shape(&[i64::MAX.unsigned_abs(); 4], i64::MAX.unsigned_abs()).world().unwrap();
    patched(&world).await;
}
