//! What the engine adds to a step: whole patches of a simulated cluster on virtual time, so that waiting costs nothing.
//!
//! Floor, in the same run: the durable writes alone that such a step makes.

#![allow(missing_docs, clippy::unwrap_used, reason = "criterion's macros; a benchmark that cannot go on has failed")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use ha_backends::sqlite::SqliteStore;
use ha_core::engine::Engine;
use ha_core::journal::{Journal, MemoryStore};
use ha_core::procedure::Planned;
use ha_core::record::{End, Entry, Record};
use ha_testkit::world::{Controller, World};
use tempfile::TempDir;
use tokio::runtime::Runtime;

fn virtual_time() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap()
}

/// A fresh cluster with a plan for it, and its journal in SQLite where a folder is given.
async fn prepared(dir: Option<&TempDir>) -> (Engine, Planned, Arc<dyn Journal>) {
    let world = World::active_passive();
    let builder = world.builder(&Controller::new());
    let (builder, journal): (_, Arc<dyn Journal>) = match dir {
        Some(dir) => {
            let store = Arc::new(SqliteStore::open(dir.path().join("journal.db")).unwrap());
            (builder.with_store(store.clone(), store.clone()), store)
        }
        None => {
            let store = Arc::new(MemoryStore::new());
            (builder.with_store(store.clone(), store.clone()), store)
        }
    };
    let engine = builder.build().unwrap();
    let planned = engine.plan(&world.patch_to("2.0")).await.unwrap();
    (engine, planned, journal)
}

/// Runs the plan; returns the time a step took and the records that were written.
async fn run(engine: &Engine, planned: Planned, journal: &dyn Journal) -> (Duration, Vec<Entry>) {
    let steps = u32::try_from(planned.plan().steps()).unwrap();
    let began = Instant::now();
    let report = engine.run("patch".into(), planned).await.unwrap().wait().await.unwrap();
    let took = began.elapsed() / steps;
    assert_eq!(report.end, End::AllNew);
    (took, journal.read(&"patch".into()).await.unwrap())
}

fn whole_runs(iterations: u64, sqlite: bool) -> Duration {
    let mut total = Duration::ZERO;
    for _ in 0..iterations {
        virtual_time().block_on(async {
            let dir = sqlite.then(|| tempfile::tempdir().unwrap());
            let (engine, planned, journal) = prepared(dir.as_ref()).await;
            total += run(&engine, planned, &*journal).await.0;
        });
    }
    total
}

/// Puts together what the engine writes together: an outcome with the intent, or the end, that follows it.
fn writes(entries: Vec<Entry>) -> Vec<Vec<Entry>> {
    let mut writes: Vec<Vec<Entry>> = Vec::new();
    let mut ended = false;
    for entry in entries {
        let is_outcome = matches!(entry.record, Record::Outcome { .. });
        match writes.last_mut().filter(|_| ended) {
            Some(write) => write.push(entry),
            None => writes.push(vec![entry]),
        }
        ended = is_outcome;
    }
    writes
}

/// Writes the records of a run and nothing else.
fn raw_writes(iterations: u64, writes: &[Vec<Entry>], steps: u32) -> Duration {
    let mut total = Duration::ZERO;
    for _ in 0..iterations {
        let dir = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(dir.path().join("journal.db")).unwrap();
        virtual_time().block_on(async {
            let began = Instant::now();
            for write in writes {
                store.append(&"patch".into(), write.clone()).await.unwrap();
            }
            total += began.elapsed() / steps;
        });
    }
    total
}

fn engine(criterion: &mut Criterion) {
    let (writes, steps) = virtual_time().block_on(async {
        let (engine, planned, journal) = prepared(None).await;
        let steps = u32::try_from(planned.plan().steps()).unwrap();
        (writes(run(&engine, planned, &*journal).await.1), steps)
    });
    let mut group = criterion.benchmark_group("a step of a run");
    group.sample_size(20);
    group.bench_function("engine, journal in memory", |bench| {
        bench.iter_custom(|iterations| whole_runs(iterations, false));
    });
    group.bench_function("engine, journal in SQLite", |bench| {
        bench.iter_custom(|iterations| whole_runs(iterations, true));
    });
    group.bench_function("floor: its durable writes to SQLite alone", |bench| {
        bench.iter_custom(|iterations| raw_writes(iterations, &writes, steps));
    });
    group.finish();
}

criterion_group!(benches, engine);
criterion_main!(benches);
