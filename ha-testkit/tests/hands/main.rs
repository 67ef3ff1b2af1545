//! What people ask of a run, each from another process than the one that drives it.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod approvals;
mod going_on;
mod pauses;
mod points;

use std::time::Duration;

use ha_core::engine::{Answer, Engine, RunError, RunHandle};
use ha_core::journal::{Journal, LeaseError};
use ha_core::record::{Ask, Entry, Operator, Record, RunId};
use ha_testkit::world::World;
use tokio::time::sleep;

const RUN: &str = "patch-1";

fn run() -> RunId {
    RUN.into()
}

fn anna() -> Operator {
    Operator::new("anna", "ticket 4711")
}

/// Begins a patch.
async fn begun(world: &World, engine: &Engine) -> RunHandle {
    let planned = engine.plan(&world.patch_to("2.0")).await.unwrap();
    engine.run(run(), planned).await.unwrap()
}

/// Asks from another process, and waits for what the run says.
async fn asked(world: &World, what: Ask) -> Answer {
    let engine = world.engine();
    let asked = engine.ask(&run(), anna(), what).await.unwrap();
    engine.answer(&asked, Duration::from_secs(60)).await.unwrap()
}

fn pause_of(world: &World, seconds: u64) -> Ask {
    Ask::Pause { until_unix_ms: world.engine().in_unix_ms(Duration::from_secs(seconds)) }
}

fn why(answer: Answer) -> String {
    let Answer::Refused { why } = answer else { panic!("{answer:?}") };
    why
}

async fn entries(world: &World) -> Vec<Entry> {
    world.store().read(&run()).await.unwrap()
}

/// Lists what was begun since an entry, re-applied traffic apart.
fn begun_since(entries: &[Entry], from: usize) -> Vec<String> {
    let order = |entry: &Entry| match &entry.record {
        Record::Intent { order, .. } if !order.name().starts_with("reassert") => Some(order.name().to_string()),
        _ => None,
    };
    entries[from..].iter().filter_map(order).collect()
}

/// Takes a run over once the lease of its dead controller has run out.
async fn taken_over(world: &World) -> RunHandle {
    let engine = world.engine();
    loop {
        match engine.resume(run()).await {
            Err(RunError::Lease(LeaseError::Held { .. })) => sleep(Duration::from_secs(1)).await,
            other => return other.unwrap(),
        }
    }
}
