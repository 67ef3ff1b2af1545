//! While an order is in flight, everything that it does not change is observed as ever: a loss is noticed within `lost_after`
//! and the guard's interval, whatever is in flight. And a journal that fails strands nobody.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use ha_core::backend::{
    Admin, Applied, CloneDatabase, Database, FileSync, HandWriter, HoldFiles, Migrate, ObserveDatabase,
    ObserveFileSync, ReleaseFiles, Shared, StepError,
};
use ha_core::engine::{Engine, RunError};
use ha_core::journal::{Journal, JournalError, MemoryStore, Requests};
use ha_core::procedure::Procedure;
use ha_core::record::{End, Entry, Record, Request, RunId};
use ha_core::report::Event;
use ha_core::state::{LeaseEpoch, Schema, SchemaChange, Sync};
use ha_core::topology::Name;
use ha_testkit::world::{Controller, FakeDatabase, FakeFiles, Shape, World};
use tokio::time::{Instant, sleep};

/// How long a slow backend takes.
const SLOW: Duration = Duration::from_secs(20);

#[derive(Debug)]
struct SlowDatabase(FakeDatabase);

#[async_trait]
impl ObserveDatabase for SlowDatabase {
    async fn schema(&self) -> Result<Schema, StepError> {
        self.0.schema().await
    }

    async fn review(&self) -> Result<SchemaChange, StepError> {
        self.0.review().await
    }
}

#[async_trait]
impl Database for SlowDatabase {
    fn cloning(&self) -> Option<&dyn CloneDatabase> {
        self.0.cloning()
    }

    async fn migrate(&self, epoch: LeaseEpoch, request: Migrate) -> Result<Applied, StepError> {
        sleep(SLOW).await;
        self.0.migrate(epoch, request).await
    }
}

/// Takes long for a hold; while it `copies`, a transfer into each reader is under way.
#[derive(Debug)]
struct SlowFiles {
    files: FakeFiles,
    copies: AtomicBool,
}

impl SlowFiles {
    fn of(world: &World, controller: &Controller) -> Arc<Self> {
        let files = FakeFiles::new(world.clone(), controller.clone());
        Arc::new(Self { files, copies: AtomicBool::new(false) })
    }
}

#[async_trait]
impl ObserveFileSync for SlowFiles {
    async fn shared(&self, node: &Name) -> Result<Shared, StepError> {
        let mut seen = self.files.shared(node).await?;
        if self.copies.load(Ordering::SeqCst) && seen.sync == Sync::Active {
            seen.sync = Sync::Running;
        }
        Ok(seen)
    }

    async fn missing(&self, node: &Name) -> Result<Vec<String>, StepError> {
        self.files.missing(node).await
    }
}

#[async_trait]
impl FileSync for SlowFiles {
    async fn hold(&self, epoch: LeaseEpoch, request: HoldFiles) -> Result<Applied, StepError> {
        sleep(SLOW).await;
        self.files.hold(epoch, request).await
    }

    async fn release(&self, epoch: LeaseEpoch, request: ReleaseFiles) -> Result<Applied, StepError> {
        self.files.release(epoch, request).await
    }

    async fn hand_writer(&self, epoch: LeaseEpoch, request: HandWriter) -> Result<Applied, StepError> {
        self.files.hand_writer(epoch, request).await
    }
}

/// Runs the procedure, loses the node a second after the step has begun, and returns how long it took to be noticed.
async fn noticed_after(world: &World, engine: &Engine, procedure: &dyn Procedure, step: &str, node: &str) -> Duration {
    let planned = engine.plan(procedure).await.unwrap();
    let mut run = engine.run("run-1".into(), planned).await.unwrap();
    let mut lost_at = None;
    while let Some(event) = run.next_event().await {
        match event {
            Event::StepStarted { action, .. } if action == step && lost_at.is_none() => {
                sleep(Duration::from_secs(1)).await;
                world.lose(node);
                lost_at = Some(Instant::now());
            }
            Event::DomainLost { .. } => return lost_at.unwrap().elapsed(),
            _ => {}
        }
    }
    panic!("the loss of {node} was never noticed");
}

/// The guard looks every 250 ms: a loss that comes right after a look is seen by the next, and again when `lost_after` is over.
fn bound(world: &World) -> Duration {
    world.topology().policy().lost_after + 2 * Duration::from_millis(250) + Duration::from_millis(100)
}

#[tokio::test(start_paused = true)]
async fn a_loss_is_noticed_while_a_migration_takes_long_whichever_node_it_is() {
    for node in ["esb1", "esb2"] {
        let world = Shape::active_passive().with_database().world().unwrap();
        let controller = Controller::new();
        let database = SlowDatabase(FakeDatabase::new(world.clone(), controller.clone()));
        let engine = world.builder(&controller).with_database(Arc::new(database)).build().unwrap();
        let took = noticed_after(&world, &engine, &world.upgrade_to("2.0"), "expand", node).await;
        assert!(took <= bound(&world), "{node}: {took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_loss_of_the_active_node_is_noticed_while_its_file_sync_is_being_held() {
    let world = Shape::active_passive().with_files().world().unwrap();
    let controller = Controller::new();
    let engine = world.builder(&controller).with_files(SlowFiles::of(&world, &controller)).build().unwrap();
    let took = noticed_after(&world, &engine, &world.update_to(2), "hold sync", "esb1").await;
    assert!(took <= bound(&world), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_copy_that_begins_or_ends_between_a_plan_and_its_run_does_not_make_the_plan_stale() {
    for begins in [true, false] {
        let world = Shape::active_passive().with_files().world().unwrap();
        let controller = Controller::new();
        let files = SlowFiles::of(&world, &controller);
        let engine = world.builder(&controller).with_files(files.clone()).build().unwrap();
        files.copies.store(!begins, Ordering::SeqCst);
        let planned = engine.plan(&world.update_to(2)).await.unwrap();
        files.copies.store(begins, Ordering::SeqCst);
        let run = engine.run("run-1".into(), planned).await.unwrap();
        files.copies.store(false, Ordering::SeqCst);
        assert_eq!(run.wait().await.unwrap().end, End::AllNew);
    }
}

/// A journal whose disk is full from the second take-out on.
#[derive(Debug)]
struct FullJournal {
    store: Arc<MemoryStore>,
}

#[async_trait]
impl Requests for FullJournal {
    async fn put(&self, run: &RunId, request: Request) -> Result<u64, JournalError> {
        self.store.put(run, request).await
    }

    async fn requests(&self, run: &RunId, after: u64) -> Result<Vec<(u64, Request)>, JournalError> {
        self.store.requests(run, after).await
    }
}

#[async_trait]
impl Journal for FullJournal {
    async fn append(&self, run: &RunId, entries: Vec<Entry>) -> Result<(), JournalError> {
        let take_out =
            |entry: &Entry| matches!(&entry.record, Record::Intent { order, .. } if order.name() == "take out");
        let before = self.store.read(run).await?.iter().filter(|entry| take_out(entry)).count();
        if before == 1 {
            return Err(JournalError::Broken { what: "no space left on device".into() });
        }
        self.store.append(run, entries).await
    }

    async fn read(&self, run: &RunId) -> Result<Vec<Entry>, JournalError> {
        self.store.read(run).await
    }

    async fn runs(&self) -> Result<Vec<RunId>, JournalError> {
        self.store.runs().await
    }

    async fn open_runs(&self, cluster: &str) -> Result<Vec<RunId>, JournalError> {
        self.store.open_runs(cluster).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_journal_that_fails_strands_nobody_a_rotation_under_way_is_brought_to_its_end() {
    let world = Shape::active_active(4, 1000).world().unwrap();
    let store = world.store();
    let journal = Arc::new(FullJournal { store: store.clone() });
    let engine = world.builder(&Controller::new()).with_store(journal, store.clone()).build().unwrap();
    let planned = engine.plan(&world.patch_to("2.0")).await.unwrap();
    assert_eq!(planned.plan().stages()[0].nodes.len(), 2, "two are taken out at once");
    let clients = world.clients();
    let mut run = engine.run("run-1".into(), planned).await.unwrap();
    let mut last = None;
    while let Some(event) = run.next_event().await {
        last = Some(event);
    }
    let error = run.wait().await.unwrap_err();
    assert!(error.to_string().contains("no space left on device"), "{error}");
    let RunError::Unrecorded { open, unknown, .. } = error else { panic!("{error}") };
    assert_eq!((open.clone(), unknown), (vec!["esb1: held out of traffic".to_string()], Vec::new()));
    assert!(matches!(last, Some(Event::Interrupted { open: told, .. }) if told == open), "{open:?}");
    assert_eq!(world.admins("esb1"), [Admin::Maint], "the rotation under way ended");
    assert_eq!(world.admins("esb2"), [Admin::Ready], "nothing new began");
    // The disk has space again: the run goes on, and nothing was lost.
    let report = world.engine().resume("run-1".into()).await.unwrap().wait().await.unwrap();
    assert_eq!((report.end_message.as_str(), report.open.len()), ("all new", 0));
    assert_eq!(clients.stop().await.lost, 0);
}
