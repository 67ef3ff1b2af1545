//! The controller dies at every moment of a run; another one goes on from the journal.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::time::Duration;

use ha_core::engine::{Engine, RunError};
use ha_core::journal::{Journal, LeaseError};
use ha_core::record::{End, Entry, Record};
use ha_core::report::RunReport;
use ha_testkit::world::{Controller, Death, Moment, World};
use tokio::time::sleep;

/// Lets another controller go on, once the dead one's lease has run out; begins anew where nothing was recorded.
async fn take_over(world: &World, engine: &Engine) -> RunReport {
    loop {
        match engine.resume("patch-1".into()).await {
            Ok(run) => return run.wait().await.unwrap(),
            Err(RunError::Lease(LeaseError::Held { .. })) => sleep(Duration::from_secs(1)).await,
            Err(RunError::Fold { .. }) => {
                let planned = engine.plan(&world.patch_to("2.0")).await.unwrap();
                return engine.run("patch-1".into(), planned).await.unwrap().wait().await.unwrap();
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// Runs the patch under a controller that dies, then lets another one end it.
async fn run_through_death(world: &World, controller: &Controller, kill_after: Option<Duration>) -> RunReport {
    let clients = world.clients();
    let engine = world.engine_of(controller);
    let planned = engine.plan(&world.patch_to("2.0")).await.unwrap();
    let _dying = tokio::spawn(async move { engine.run("patch-1".into(), planned).await.unwrap().wait().await });
    if let Some(after) = kill_after {
        sleep(after).await;
        controller.kill();
    }
    while !controller.is_dead() {
        sleep(Duration::from_millis(100)).await;
    }
    let report = take_over(world, &world.engine()).await;
    sleep(Duration::from_secs(3)).await;
    let served = clients.stop().await;
    assert_eq!(served.lost, 0, "{report}\n{:?}", served.reasons);
    report
}

async fn entries(world: &World) -> Vec<Entry> {
    world.store().read(&"patch-1".into()).await.unwrap()
}

/// Every order that was begun has exactly one outcome before the next one begins on its node.
fn assert_no_effect_twice(entries: &[Entry]) {
    let mut done = Vec::new();
    for entry in entries {
        match &entry.record {
            Record::Outcome { order, result: ha_core::record::OutcomeKind::Done, .. } => done.push(*order),
            Record::Intent { order, .. } if order.name() == "apply" => {
                assert!(!done.contains(order), "{order:?} was done and begun again");
            }
            _ => {}
        }
    }
}

async fn length_of_a_run() -> u64 {
    let world = World::active_passive();
    let engine = world.engine();
    let planned = engine.plan(&world.patch_to("2.0")).await.unwrap();
    engine.run("patch-1".into(), planned).await.unwrap().wait().await.unwrap();
    entries(&world).await.len() as u64
}

#[tokio::test(start_paused = true)]
async fn a_controller_that_dies_before_or_after_any_record_is_replaced_without_loss() {
    let length = length_of_a_run().await;
    assert!(length >= 40, "{length}");
    // The last outcome is written with the end of the run: after it there is nothing to take over.
    for sequence in 0..length - 1 {
        for death in [Death::Before(sequence), Death::After(sequence)] {
            if death == Death::After(length - 2) {
                continue;
            }
            let world = World::active_passive();
            let report = run_through_death(&world, &Controller::dying(death), None).await;
            assert_eq!((report.end, report.open.len()), (End::AllNew, 0), "{death:?}\n{report}");
            assert_no_effect_twice(&entries(&world).await);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_controller_that_is_killed_in_the_middle_of_an_act_is_replaced_without_loss() {
    let mut ends: BTreeMap<String, u32> = BTreeMap::new();
    for after in (0..60).map(|step| Duration::from_millis(1 + 217 * step)) {
        let world = World::active_passive();
        let report = run_through_death(&world, &Controller::new(), Some(after)).await;
        assert!(matches!(report.end, End::AllNew | End::AllOld), "{after:?}\n{report}");
        assert!(report.open.is_empty(), "{after:?}\n{report}");
        *ends.entry(report.end_message).or_default() += 1;
    }
    ha_testkit::figures!("ends: {ends:?}");
}

#[tokio::test(start_paused = true)]
async fn a_controller_that_dies_on_the_way_back_is_replaced_and_ends_all_old() {
    for sequence in 14..34 {
        let world = World::active_passive();
        world.fail_test_of("esb2", "2.0");
        let clients = world.clients();
        let controller = Controller::dying(Death::After(sequence));
        let engine = world.engine_of(&controller);
        let planned = engine.plan(&world.patch_to("2.0")).await.unwrap();
        let dying = tokio::spawn(async move { engine.run("patch-1".into(), planned).await.unwrap().wait().await });
        while !controller.is_dead() && !dying.is_finished() {
            sleep(Duration::from_millis(100)).await;
        }
        let report =
            if controller.is_dead() { take_over(&world, &world.engine()).await } else { dying.await.unwrap().unwrap() };
        assert_eq!((report.end, report.open.len()), (End::AllOld, 0), "{sequence}\n{report}");
        assert_eq!(clients.stop().await.lost, 0, "{sequence}\n{report}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_that_has_ended_is_not_resumed_and_an_unfinished_one_blocks_the_next() {
    let world = World::active_passive();
    let controller = Controller::dying(Death::After(12));
    let engine = world.engine_of(&controller);
    let planned = engine.plan(&world.patch_to("2.0")).await.unwrap();
    let again = planned.clone();
    let _dying = tokio::spawn(async move { engine.run("patch-1".into(), planned).await.unwrap().wait().await });
    while !controller.is_dead() {
        sleep(Duration::from_millis(100)).await;
    }
    sleep(Duration::from_secs(60)).await;
    let engine = world.engine();
    let refused = engine.run("patch-2".into(), again).await.unwrap_err();
    assert!(matches!(&refused, RunError::Unfinished { run } if run.as_str() == "patch-1"), "{refused}");
    assert_eq!(take_over(&world, &engine).await.end, End::AllNew);
    let refused = engine.resume("patch-1".into()).await.unwrap_err();
    assert!(matches!(refused, RunError::Ended { end: End::AllNew, .. }), "{refused}");
}

/// A report is of the whole run, whoever ends it; a controller may die at a moment of a step, and whoever waits for it is told.
#[tokio::test(start_paused = true)]
async fn the_report_of_a_resumed_run_has_the_steps_of_the_first_controller_and_the_proof() {
    for moment in [Moment::BeforeIntent, Moment::AfterIntent, Moment::BeforeOutcome, Moment::AfterOutcome] {
        let world = World::active_passive();
        let controller = Controller::dying(Death::In { moment, action: "stop", target: "esb2" });
        let engine = world.engine_of(&controller);
        let planned = engine.plan(&world.patch_to("2.0")).await.unwrap();
        let proof = planned.proof().clone();
        let told = engine.run("patch-1".into(), planned).await.unwrap().wait().await;
        assert!(told.is_err() && controller.is_dead(), "{moment:?}: {told:?}");
        let report = take_over(&world, &world.engine()).await;
        assert_eq!((report.end, report.proof.as_ref()), (End::AllNew, Some(&proof)), "{moment:?}: {report}");
        let step = |target: &str, action: &str| {
            report.steps.iter().filter(|step| step.target == target && step.action == action).count()
        };
        assert_eq!((step("esb2", "take out"), step("esb2", "admit")), (1, 1), "{moment:?}: {report}");
        assert!(step("esb2", "stop") >= 1, "{moment:?}: {report}");
    }
}
