//! When outcomes are written down, and whom looks at the cluster ask, in whole runs on virtual time.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use ha_core::backend::{Admin, Probe, Ready, StepError};
use ha_core::journal::{Journal, JournalError, MemoryStore, Requests};
use ha_core::record::{End, Entry, Operator, Record, Request, RunId};
use ha_core::report::Event;
use ha_testkit::world::{Controller, World};
use tokio::time::{Instant, sleep};

/// A probe of one node, as it is in the world but for what a test asks for.
#[derive(Debug)]
struct Watched {
    world: World,
    node: &'static str,
    takes: Duration,
    /// When it was asked.
    asked: Mutex<Vec<Instant>>,
    is_sick: AtomicBool,
}

impl Watched {
    fn new(world: &World, node: &'static str, takes: Duration) -> Arc<Self> {
        Arc::new(Self { world: world.clone(), node, takes, asked: Mutex::default(), is_sick: AtomicBool::new(false) })
    }
}

#[async_trait]
impl Probe for Watched {
    async fn ready(&self) -> Result<Ready, StepError> {
        self.asked.lock().unwrap().push(Instant::now());
        sleep(self.takes).await;
        if self.is_sick.load(Ordering::Relaxed) {
            return Ok(Ready::NotYet("sick".into()));
        }
        let release = self.world.installed(self.node).filter(|_| self.world.runs(self.node));
        Ok(release.map_or(Ready::Closed, |release| Ready::Yes { release: release.into() }))
    }

    async fn test(&self) -> Result<Box<str>, StepError> {
        Ok(self.world.installed(self.node).unwrap().into())
    }

    async fn missing(&self) -> Result<Vec<String>, StepError> {
        Ok(Vec::new())
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_an_order_changes_is_left_alone_by_looks_at_the_cluster() {
    let world = World::active_passive();
    let probe = Watched::new(&world, "esb2", Duration::ZERO);
    let engine = world.builder(&Controller::new()).with_probe("esb2", probe.clone()).build().unwrap();
    let planned = engine.plan(&world.patch_to("2.0")).await.unwrap();
    let mut run = engine.run("patch-1".into(), planned).await.unwrap();
    let (mut started, mut looks, mut stops) = (Instant::now(), Vec::new(), Vec::new());
    while let Some(event) = run.next_event().await {
        match event {
            Event::Observed { .. } => looks.push(Instant::now()),
            Event::StepStarted { .. } => started = Instant::now(),
            Event::StepEnded { action: verb, took_ms, target: node, .. } if verb == "stop" => {
                stops.push((node, started, started + Duration::from_millis(took_ms)));
            }
            _ => {}
        }
    }
    assert_eq!(run.wait().await.unwrap().end, End::AllNew);
    let asked = probe.asked.lock().unwrap().clone();
    let within = |times: &[Instant], from, to| times.iter().filter(|at| (from..to).contains(*at)).count();
    let seen: Vec<_> = stops
        .iter()
        .map(|(node, from, to)| (node.as_str(), within(&looks, *from, *to), within(&asked, *from, *to)))
        .collect();
    // A look of the guard falls into each stop.
    for (node, looks, asked) in &seen {
        assert!(*looks > 0 && (*asked == 0) == (*node == "esb2"), "{seen:?}");
    }
    assert!(seen.iter().any(|(node, ..)| *node == "esb2"), "{seen:?}");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_fell_sick_while_it_was_taken_out_does_not_come_back_unseen_when_the_run_is_rolled_back() {
    let world = World::active_passive();
    let probe = Watched::new(&world, "esb1", Duration::ZERO);
    let engine = world.builder(&Controller::new()).with_probe("esb1", probe.clone()).build().unwrap();
    let planned = engine.plan(&world.patch_to("2.0")).await.unwrap();
    let clients = world.clients();
    let mut run = engine.run("patch-1".into(), planned).await.unwrap();
    let (mut is_out, mut admitted) = (false, false);
    while let Some(event) = run.next_event().await {
        match event {
            Event::StepStarted { action: verb, target: node, .. } if node == "esb1" && verb == "take out" => {
                probe.is_sick.store(true, Ordering::Relaxed);
                run.roll_back(Operator::new("anna", "it is sick")).await.unwrap();
            }
            Event::StepEnded { action: verb, target: node, .. } if node == "esb1" && verb == "take out" => {
                is_out = true
            }
            Event::StepStarted { action: verb, target: node, .. } => {
                admitted |= is_out && node == "esb1" && verb == "admit"
            }
            _ => {}
        }
    }
    assert!(is_out && !admitted);
    assert_ne!(run.wait().await.unwrap().end, End::AllNew);
    assert_eq!(world.admin("lb1", "esb1"), Some(Admin::Maint));
    assert_eq!(clients.stop().await.lost, 0);
}

#[tokio::test(start_paused = true)]
async fn an_outcome_is_recorded_soon_after_its_step_however_long_the_look_behind_it_takes() {
    let world = World::active_passive();
    let probe = Watched::new(&world, "esb1", Duration::from_millis(1_500));
    let engine = world.builder(&Controller::new()).with_probe("esb1", probe).build().unwrap();
    let planned = engine.plan(&world.patch_to("2.0")).await.unwrap();
    let mut run = engine.run("patch-1".into(), planned).await.unwrap();
    let (mut started, mut waits) = (Instant::now(), Vec::new());
    while let Some(event) = run.next_event().await {
        match event {
            Event::StepStarted { .. } => started = Instant::now(),
            Event::StepEnded { took_ms, .. } => waits.push(started.elapsed() - Duration::from_millis(took_ms)),
            _ => {}
        }
    }
    assert_eq!(run.wait().await.unwrap().end, End::AllNew);
    // Looks take six times as long.
    let most = waits.iter().max().unwrap();
    assert!((200..260).contains(&most.as_millis()), "{waits:?}");
}

/// A journal that keeps what it was given together.
#[derive(Debug, Default)]
struct Together(MemoryStore, Mutex<Vec<Vec<Entry>>>);

#[async_trait]
impl Requests for Together {
    async fn put(&self, run: &RunId, request: Request) -> Result<u64, JournalError> {
        self.0.put(run, request).await
    }

    async fn requests(&self, run: &RunId, after: u64) -> Result<Vec<(u64, Request)>, JournalError> {
        self.0.requests(run, after).await
    }
}

#[async_trait]
impl Journal for Together {
    async fn append(&self, run: &RunId, entries: Vec<Entry>) -> Result<(), JournalError> {
        self.1.lock().unwrap().push(entries.clone());
        self.0.append(run, entries).await
    }

    async fn read(&self, run: &RunId) -> Result<Vec<Entry>, JournalError> {
        self.0.read(run).await
    }

    async fn runs(&self) -> Result<Vec<RunId>, JournalError> {
        self.0.runs().await
    }

    async fn open_runs(&self, cluster: &str) -> Result<Vec<RunId>, JournalError> {
        self.0.open_runs(cluster).await
    }
}

#[tokio::test(start_paused = true)]
async fn an_outcome_is_written_together_with_the_intent_that_follows_it() {
    let world = World::active_passive();
    let journal = Arc::new(Together::default());
    let builder = world.builder(&Controller::new()).with_store(journal.clone(), Arc::new(MemoryStore::new()));
    let engine = builder.build().unwrap();
    let planned = engine.plan(&world.patch_to("2.0")).await.unwrap();
    assert_eq!(engine.run("patch-1".into(), planned).await.unwrap().wait().await.unwrap().end, End::AllNew);
    let writes = journal.1.lock().unwrap().clone();
    let count = |like: fn(&Record) -> bool| writes.iter().flatten().filter(|entry| like(&entry.record)).count();
    let (intents, outcomes) = (
        count(|record| matches!(record, Record::Intent { .. })),
        count(|record| matches!(record, Record::Outcome { .. })),
    );
    assert!(intents > 10 && intents == outcomes, "{writes:?}");
    // One write begins the run, one each step, one ends it with the last outcome.
    assert_eq!(writes.len(), intents + 2, "{writes:?}");
}
