//! The artifact store as the engine uses it: what a rollback needs is there before anything is planned, and every deployment is
//! told where.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use ha_core::engine::RunError;
use ha_core::procedure::PlanError;
use ha_core::record::End;
use ha_core::state::Generation;
use ha_testkit::world::{Fault, Operation, Shape, World};

fn world() -> World {
    let world = Shape::active_passive().with_files().with_artifacts().with_exposure().world().unwrap();
    world.keep_artifact(Generation::new(2, "g2"));
    world
}

fn missing<T: std::fmt::Debug>(planned: Result<T, RunError>) -> Vec<String> {
    match planned {
        Err(RunError::Plan { source: PlanError::Missing(missing), .. }) => missing,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn an_update_whose_present_set_is_not_kept_is_refused_with_what_to_do() {
    let world = world();
    world.lose_artifact("g1");
    let told = missing(world.engine().plan(&world.update_to(2)).await);
    let line =
        "artifacts: the set 1 (g1), which a rollback deploys, is not in the store: put a folder that holds it there";
    assert_eq!(told, [line]);
    let told = missing(world.engine().plan(&world.add_service()).await);
    assert_eq!(told, [line], "whatever deploys a set goes back to the present one");
}

#[tokio::test(start_paused = true)]
async fn an_update_whose_present_set_is_damaged_in_the_store_is_refused() {
    let world = world();
    world.damage_artifact("g1");
    let told = missing(world.engine().plan(&world.update_to(2)).await);
    let line = "artifacts: the set 1 (g1), which a rollback deploys, is damaged there (its content has the digest g0): put a \
                whole one in its place";
    assert_eq!(told, [line]);
}

#[tokio::test(start_paused = true)]
async fn the_new_set_must_be_kept_as_well() {
    let world = world();
    world.lose_artifact("g2");
    world.damage_artifact("g1");
    let told = missing(world.engine().plan(&world.update_to(2)).await);
    assert!(told.len() == 2 && told[1].contains("the set 2 (g2), which is to be deployed, is not in"), "{told:?}");
    assert!(world.deployed().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_store_that_cannot_be_read_is_no_store_to_rely_on() {
    let world = world();
    world.set_lasting_fault(Operation::Artifact, "artifacts", Fault::Unreachable);
    let told = missing(world.engine().plan(&world.update_to(2)).await);
    assert!(told.len() == 2 && told.iter().all(|line| line.contains("cannot be read there")), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn a_plan_that_deploys_nothing_needs_no_set() {
    let world = world();
    world.lose_artifact("g1");
    world.engine().plan(&world.patch_to("2.0")).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn each_deployment_is_told_where_its_set_is() {
    let world = world();
    let engine = world.engine();
    let planned = engine.plan(&world.update_to(2)).await.unwrap();
    let report = engine.run("update-1".into(), planned).await.unwrap().wait().await.unwrap();
    assert_eq!(report.end, End::AllNew, "{report}");
    let deployed = world.deployed();
    assert!(!deployed.is_empty());
    for (node, set, place) in deployed {
        assert_eq!((set, place.as_deref()), (2, Some("/artifacts/g2")), "{node}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_rollback_is_told_where_the_old_set_is() {
    let world = world();
    let engine = world.engine();
    // What is deployed first breaks off, and stays broken: the rollback brings the old set back.
    let planned = engine.plan(&world.update_to(2)).await.unwrap();
    for node in ["esb1", "esb2"] {
        world.fail_test_of(node, "1.0");
    }
    let report = engine.run("update-1".into(), planned).await.unwrap().wait().await.unwrap();
    assert_ne!(report.end, End::AllNew, "{report}");
    let deployed = world.deployed();
    let of = |wanted: u64| deployed.iter().filter(|(_, set, _)| *set == wanted).collect::<Vec<_>>();
    assert!(!of(2).is_empty() && !of(1).is_empty(), "{report}: {deployed:?}");
    for (node, set, place) in &deployed {
        assert_eq!(place.as_deref(), Some(&*format!("/artifacts/g{set}")), "{node}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_cannot_read_the_store_is_told_nothing() {
    let world = world();
    ["esb1", "esb2", "spare1"].into_iter().for_each(|node| world.hide_artifacts_from(node));
    let engine = world.engine();
    let planned = engine.plan(&world.update_to(2)).await.unwrap();
    let report = engine.run("update-1".into(), planned).await.unwrap().wait().await.unwrap();
    assert_eq!(report.end, End::AllNew, "{report}");
    assert!(world.deployed().iter().all(|(_, _, place)| place.is_none()));
}

#[tokio::test(start_paused = true)]
async fn a_deployment_whose_place_cannot_be_read_is_not_begun() {
    let world = world();
    let engine = world.engine();
    let planned = engine.plan(&world.update_to(2)).await.unwrap();
    world.set_lasting_fault(Operation::Artifact, "artifacts", Fault::Unreachable);
    let report = engine.run("update-1".into(), planned).await.unwrap().wait().await.unwrap();
    assert_ne!(report.end, End::AllNew, "{report}");
    assert!(world.deployed().is_empty(), "{:?}", world.deployed());
}
