//! A plan that was edited by hand is refused with the step and the reason, where it is proven and where it is resumed; nothing
//! panics.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use ha_core::journal::Journal;
use ha_core::law::Invariant;
use ha_core::machine::{FoldError, fold};
use ha_core::plan::Plan;
use ha_core::record::Entry;
use ha_core::safety::prove;
use ha_testkit::world::World;
use serde_json::{Value, json};

/// What is edited, and what the refusal says of it.
fn edits() -> Vec<(&'static str, Value, &'static str)> {
    vec![
        ("/stages/0/steps", json!([]), "stage 1 (bring a spare as the members are now) has no steps"),
        ("/stages/1/nodes", json!([]), "stage 2 (change a passive node), step 1 (take out): it has no target"),
        ("/stages/1/nodes", json!([1, 1]), "stage 2 (change a passive node) has esb2 twice among its targets"),
        (
            "/stages/1/nodes/0",
            json!(9),
            "stage 2 (change a passive node) has a target that the topology does not have, number 9",
        ),
        (
            "/stages/1/steps/1/deadline_ms",
            json!(0),
            "stage 2 (change a passive node), step 2 (stop): its deadline is 0",
        ),
        (
            "/stages/1/steps/0/attempts",
            json!(0),
            "stage 2 (change a passive node), step 1 (take out): it may be tried 0 times",
        ),
        ("/format", json!(99), "format 99"),
        ("/topology", json!("00"), "another topology"),
        ("/phase", json!("settled"), "the plan's phase"),
        ("/phase", json!("shaken"), "the plan's phase"),
        ("/point_of_no_return", json!(99), "the point of no return is behind the last stage"),
        ("/start/lost", json!([9]), "the state that the plan starts from"),
        ("/start/rows", json!([]), "the state that the plan starts from"),
        ("/known_good", json!([]), "the state that the plan starts from"),
    ]
}

#[tokio::test(start_paused = true)]
async fn a_plan_that_was_edited_by_hand_is_refused_with_the_step_and_the_reason() {
    let world = World::active_passive();
    let planned = world.engine().plan(&world.patch_to("2.0")).await.unwrap();
    for (place, value, expected) in edits() {
        let mut edited = serde_json::to_value(planned.plan()).unwrap();
        *edited.pointer_mut(place).unwrap() = value.clone();
        let plan: Plan = serde_json::from_value(edited).unwrap();
        let refused = prove(world.topology(), &plan).unwrap_err();
        assert_eq!(refused.violation.invariant, Invariant::Order, "{place} {value}: {refused}");
        assert!(refused.violation.facts.contains(expected), "{place} {value}: {refused}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_recorded_plan_that_was_edited_by_hand_is_not_resumed() {
    let world = World::active_passive();
    let planned = world.engine().plan(&world.patch_to("2.0")).await.unwrap();
    world.engine().run("patch".into(), planned).await.unwrap().wait().await.unwrap();
    let entries = world.store().read(&"patch".into()).await.unwrap();
    for (place, value, expected) in edits() {
        let mut edited = serde_json::to_value(&entries).unwrap();
        *edited.pointer_mut(&format!("/0/record/opened/plan{place}")).unwrap() = value.clone();
        let edited: Vec<Entry> = serde_json::from_value(edited).unwrap();
        let refused = fold(world.topology(), &edited).map(|_| ()).unwrap_err();
        let named = refused == FoldError::DoesNotFit { sequence: 0 } || refused.to_string().contains(expected);
        assert!(named, "{place} {value}: {refused}");
    }
}

/// A number where a name should be, a list where a number should be, a key that is missing: refused when it is read.
#[tokio::test(start_paused = true)]
async fn a_plan_of_another_shape_cannot_be_read() {
    let world = World::active_passive();
    let planned = world.engine().plan(&world.patch_to("2.0")).await.unwrap();
    let whole = serde_json::to_value(planned.plan()).unwrap();
    for (place, value) in [
        ("/stages/0/steps/0/action", json!("take everything out")),
        ("/stages/0/steps/0/deadline_ms", json!(-1)),
        ("/stages/0/nodes/0", json!("esb1")),
        ("/point_of_no_return", json!(-1)),
        ("/start/nodes/0/release", json!(64)),
        ("/cluster", json!("")),
    ] {
        let mut edited = whole.clone();
        *edited.pointer_mut(place).unwrap() = value;
        assert!(serde_json::from_value::<Plan>(edited).is_err(), "{place}");
    }
    // How nodes were reached is not in plans of a format before 4.
    for key in whole.as_object().unwrap().keys().filter(|key| *key != "reach") {
        let mut edited = whole.clone();
        edited.as_object_mut().unwrap().remove(key);
        assert!(serde_json::from_value::<Plan>(edited).is_err(), "without {key}");
    }
}
