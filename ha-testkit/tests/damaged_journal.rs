//! A journal that was damaged is refused when a run is to go on, and never a panic.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::sync::Arc;

use ha_core::journal::{Journal, MemoryStore};
use ha_core::machine::{FoldError, fold};
use ha_core::record::Entry;
use ha_testkit::world::{Controller, World};
use serde_json::{Value, json};

/// The entries of a whole run, and its cluster.
async fn recorded() -> (World, Vec<Entry>) {
    let (world, store) = (World::active_passive(), Arc::new(MemoryStore::new()));
    let engine = world.builder(&Controller::new()).with_store(store.clone(), store.clone()).build().unwrap();
    let planned = engine.plan(&world.patch_to("2.0")).await.unwrap();
    engine.run("patch".into(), planned).await.unwrap().wait().await.unwrap();
    let entries = store.read(&"patch".into()).await.unwrap();
    (world, entries)
}

#[tokio::test(start_paused = true)]
async fn a_plan_that_speaks_of_what_the_cluster_does_not_have_is_refused() {
    let (world, entries) = recorded().await;
    assert!(fold(world.topology(), &entries).is_ok());
    for (place, value) in [
        ("/start/layout", json!([0, 9, 1, 3])),
        ("/start/layout", json!([])),
        ("/start/rows", json!([])),
        ("/start/lost", json!([9])),
        ("/start/sites", json!([{ "site": "serving", "epoch": 1 }])),
        ("/known_good/0/writer", json!(9)),
        ("/stages/0/nodes/0", json!(9)),
    ] {
        let mut damaged = serde_json::to_value(&entries).unwrap();
        *damaged.pointer_mut(&format!("/0/record/opened/plan{place}")).unwrap() = value;
        let damaged: Vec<Entry> = serde_json::from_value(damaged).unwrap();
        let refused = fold(world.topology(), &damaged).map(|_| ());
        assert_eq!(refused, Err(FoldError::DoesNotFit { sequence: 0 }), "{place}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_missing_entry_is_noticed() {
    let (world, mut entries) = recorded().await;
    entries.remove(2);
    let refused = fold(world.topology(), &entries).map(|_| ());
    assert_eq!(refused, Err(FoldError::DoesNotFit { sequence: 3 }));
}

#[tokio::test(start_paused = true)]
async fn a_release_past_the_64th_cannot_be_read() {
    let (_, entries) = recorded().await;
    let mut damaged: Value = serde_json::to_value(&entries[0]).unwrap();
    *damaged.pointer_mut("/record/opened/plan/start/nodes/0/release").unwrap() = json!(64);
    let error = serde_json::from_value::<Entry>(damaged).unwrap_err().to_string();
    assert!(error.contains("more than 64 different releases"), "{error}");
}
