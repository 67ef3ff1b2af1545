use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ha_core::backend::{Probe, Ready, StepError};
use ha_core::engine::{Loss, MonitorEvent, MonitorHandle, MonitorPolicy, OnLoss};
use ha_core::record::End;
use ha_testkit::world::{Controller, Fault, Operation, Shape, World};
use tokio::time::{Instant, advance, sleep, timeout};

const INTERVAL: Duration = Duration::from_millis(500);
const DEAD_AFTER: Duration = Duration::from_secs(2);

fn seconds(number: u64) -> Duration {
    Duration::from_secs(number)
}

/// Takes the events of some time.
async fn during(monitor: &mut MonitorHandle, time: Duration) -> Vec<MonitorEvent> {
    let (until, mut events) = (Instant::now() + time, Vec::new());
    while let Ok(Some(event)) = timeout(until.saturating_duration_since(Instant::now()), monitor.next_event()).await {
        events.push(event);
    }
    events
}

fn kinds(events: &[MonitorEvent]) -> Vec<&'static str> {
    events.iter().map(MonitorEvent::kind).collect()
}

/// Waits for the next loss; returns it and how long it took.
async fn next_loss(monitor: &mut MonitorHandle) -> (String, Loss, Duration) {
    let began = Instant::now();
    loop {
        let event = timeout(seconds(120), monitor.next_event()).await.unwrap().unwrap();
        if let MonitorEvent::NodeLost { node, loss, .. } = event {
            return (node, loss, began.elapsed());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_killed_server_and_a_lost_host_are_found_in_time() {
    let mut worst = Duration::ZERO;
    for offset in (0..10).map(|step| Duration::from_millis(55 * step)) {
        for (server, expected) in [(true, Loss::Server), (false, Loss::Unreachable)] {
            let world = Shape::active_active(3, 1000).with_balancers(2).world().unwrap();
            let mut monitor = world.engine().monitor(MonitorPolicy::default());
            assert_eq!(during(&mut monitor, seconds(5) + offset).await, []);
            if server {
                world.crash("esb2")
            } else {
                world.lose("esb2")
            };
            let (node, loss, took) = next_loss(&mut monitor).await;
            assert_eq!((node.as_str(), loss), ("esb2", expected));
            assert!(took >= DEAD_AFTER && took <= DEAD_AFTER + 2 * INTERVAL, "{offset:?}: {took:?}");
            worst = worst.max(took);
        }
    }
    ha_testkit::figures!(
        "the engine's monitor: a loss is found after {worst:?} at most, where the balancer says so at once"
    );
}

#[tokio::test(start_paused = true)]
async fn a_balancer_that_is_gone_makes_no_node_lost() {
    for fault in [Fault::Unreachable, Fault::LostBefore, Fault::AnswersLate] {
        let world = Shape::active_active(3, 1000).world().unwrap();
        let mut monitor = world.engine().monitor(MonitorPolicy::default());
        world.set_lasting_fault(Operation::Member, "lb1", fault);
        assert_eq!(kinds(&during(&mut monitor, seconds(600)).await), [""; 0], "{fault:?}");
        // The probe and the host agree without it.
        world.crash("esb1");
        let (node, _, took) = next_loss(&mut monitor).await;
        assert!(node == "esb1" && took <= DEAD_AFTER + 2 * INTERVAL, "{fault:?}: {node} after {took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_observer_that_answers_late_delays_no_other() {
    let world = Shape::active_active(3, 1000).with_balancers(2).world().unwrap();
    world.set_lasting_fault(Operation::Process, "esb1", Fault::AnswersLate);
    world.set_lasting_fault(Operation::Member, "lb1", Fault::AnswersLate);
    let mut monitor = world.engine().monitor(MonitorPolicy::default());
    assert_eq!(kinds(&during(&mut monitor, seconds(60)).await), [""; 0]);
    world.lose("esb2");
    let (node, _, took) = next_loss(&mut monitor).await;
    assert!(node == "esb2" && took <= DEAD_AFTER + 2 * INTERVAL, "{node} after {took:?}");
}

#[tokio::test(start_paused = true)]
async fn what_the_balancers_say_alone_is_disputed() {
    let world = Shape::active_active(3, 1000).world().unwrap();
    let mut monitor = world.engine().monitor(MonitorPolicy::default());
    sleep(seconds(5)).await;
    world.flap("esb1", Duration::from_millis(1_500));
    assert_eq!(kinds(&during(&mut monitor, seconds(60)).await), [""; 0], "one flap is no news");
    world.flap("esb1", seconds(60));
    assert_eq!(kinds(&during(&mut monitor, seconds(120)).await), ["disputed", "cleared"]);
}

#[tokio::test(start_paused = true)]
async fn a_planned_patch_of_every_node_is_no_outage() {
    for shape in [Shape::active_passive(), Shape::active_active(4, 1000)] {
        let world = shape.world().unwrap();
        let engine = world.engine();
        let mut monitor = engine.monitor(MonitorPolicy::default().with_on_loss(OnLoss::Run));
        sleep(seconds(2)).await;
        let planned = engine.plan(&world.patch_to("2.0")).await.unwrap();
        let report = engine.run("patch-1".into(), planned).await.unwrap().wait().await.unwrap();
        assert_eq!(report.end, End::AllNew, "{report}");
        let events = during(&mut monitor, seconds(60)).await;
        assert!(!kinds(&events).contains(&"node-lost"), "{events:?}");
        assert_eq!(kinds(&events), [""; 0], "{events:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_proposed_is_what_the_policy_lets_run() {
    let world = Shape::active_active(3, 1000).world().unwrap();
    let mut monitor = world.engine().monitor(MonitorPolicy::default().with_on_loss(OnLoss::Run));
    sleep(seconds(2)).await;
    world.lose("esb1");
    let events = during(&mut monitor, seconds(60)).await;
    assert_eq!(kinds(&events), ["suspected", "node-lost", "proposed"]);
    let MonitorEvent::Proposed { procedure, nodes, domains, act } = &events[2] else { panic!("{events:?}") };
    assert_eq!(
        (procedure.as_str(), nodes.join(" ").as_str(), domains.join(" ").as_str()),
        ("outage", "esb1", "rack-esb1")
    );
    assert!(*act);
    // A second failure domain needs a person.
    world.crash("esb2");
    let events = during(&mut monitor, seconds(60)).await;
    assert!(matches!(events.last(), Some(MonitorEvent::Proposed { act: false, .. })), "{events:?}");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_taken_back_is_watched_again() {
    let world = Shape::active_active(3, 1000).world().unwrap();
    let mut monitor = world.engine().monitor(MonitorPolicy::default());
    sleep(seconds(2)).await;
    world.crash("esb1");
    assert_eq!(next_loss(&mut monitor).await.0, "esb1");
    assert!(monitor.take_back("esb1") && !monitor.take_back("esb9"));
    assert_eq!(next_loss(&mut monitor).await.0, "esb1", "it is still dead");
}

#[tokio::test(start_paused = true)]
async fn a_process_that_was_stalled_says_so_and_nothing_else() {
    let world = Shape::active_active(3, 1000).world().unwrap();
    let mut monitor = world.engine().monitor(MonitorPolicy::default());
    sleep(seconds(5)).await;
    world.crash("esb1");
    sleep(Duration::from_millis(1_900)).await;
    // It wakes up ten seconds later, and its timers are late.
    advance(seconds(10)).await;
    let events = during(&mut monitor, Duration::from_millis(1_500)).await;
    assert_eq!(kinds(&events), ["suspected", "stalled"], "{events:?}");
    assert_eq!(next_loss(&mut monitor).await.0, "esb1");
}

#[tokio::test(start_paused = true)]
async fn whoever_drops_the_handle_ends_the_watching() {
    let world = Shape::active_active(3, 1000).world().unwrap();
    let monitor = world.engine().monitor(MonitorPolicy::default());
    sleep(seconds(5)).await;
    let calls = |world: &World| world.calls().values().sum::<usize>();
    let before = calls(&world);
    sleep(seconds(5)).await;
    assert!(calls(&world) > before);
    drop(monitor);
    sleep(seconds(1)).await;
    let before = calls(&world);
    sleep(seconds(60)).await;
    assert_eq!(calls(&world), before);
}

#[tokio::test(start_paused = true)]
async fn watching_changes_nothing() {
    let world = Shape::active_active(3, 1000).world().unwrap();
    let mut monitor = world.engine().monitor(MonitorPolicy::default());
    world.lose("esb1");
    assert_eq!(next_loss(&mut monitor).await.0, "esb1");
    let called: Vec<_> = world.calls().into_keys().map(|(operation, _)| operation).collect();
    assert!(called.iter().all(|operation| operation.reads()), "{called:?}");
}

/// A probe that panics.
#[derive(Debug)]
struct Panics;

#[async_trait]
impl Probe for Panics {
    async fn ready(&self) -> Result<Ready, StepError> {
        panic!("a probe that is broken")
    }

    async fn test(&self) -> Result<Box<str>, StepError> {
        panic!("a probe that is broken")
    }

    async fn missing(&self) -> Result<Vec<String>, StepError> {
        Ok(Vec::new())
    }
}

#[tokio::test(start_paused = true)]
async fn an_observer_that_panics_gives_no_answer_and_is_asked_again() {
    let world = Shape::active_active(3, 1000).world().unwrap();
    let engine = world.builder(&Controller::new()).with_probe("esb1", Arc::new(Panics)).build().unwrap();
    let mut monitor = engine.monitor(MonitorPolicy::default());
    assert_eq!(kinds(&during(&mut monitor, seconds(60)).await), [""; 0]);
    world.lose("esb1");
    assert_eq!(next_loss(&mut monitor).await.0, "esb1");
}
