//! "Our commands never lower an I1 or I2 sum below the last quiet state's": what a balancer lost is re-applied in an order that
//! keeps what serves.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ha_core::backend::{Admin, Probe, Ready, StepError};
use ha_core::engine::RunHandle;
use ha_core::law::{Invariant, Law};
use ha_core::plan::Degraded;
use ha_core::record::End;
use ha_core::report::Event;
use ha_core::state::{MemberKind, Traffic};
use ha_testkit::world::{Controller, FakeProbe, Shape, World};
use tokio::time::{Instant, sleep};

/// One node serves; the other, ready as well, and the spare are held out in the balancer's own configuration.
fn held_out_at_rest() -> World {
    let world = Shape::active_passive().world().unwrap();
    for (node, admin) in [("esb1", Admin::Ready), ("esb2", Admin::Maint), ("spare1", Admin::Maint)] {
        world.configure(node, MemberKind::Primary, admin);
    }
    world
}

/// A probe that takes its time.
#[derive(Debug)]
struct Slow(FakeProbe, Duration);

#[async_trait]
impl Probe for Slow {
    async fn ready(&self) -> Result<Ready, StepError> {
        sleep(self.1).await;
        self.0.ready().await
    }

    async fn test(&self) -> Result<Box<str>, StepError> {
        self.0.test().await
    }

    async fn missing(&self) -> Result<Vec<String>, StepError> {
        self.0.missing().await
    }
}

/// Begins a patch under which looks at one node take long.
async fn begin(world: &World, slow: &str, takes: Duration) -> RunHandle {
    let controller = Controller::new();
    let probe = Slow(FakeProbe::new(world.clone(), controller.clone(), slow.into()), takes);
    let engine = world.builder(&controller).with_probe(slow, Arc::new(probe)).build().unwrap();
    let planned = engine.plan(&world.patch_to("2.0")).await.unwrap();
    engine.run("patch-1".into(), planned).await.unwrap()
}

async fn until(holds: impl Fn() -> bool) {
    while !holds() {
        sleep(Duration::from_millis(1)).await;
    }
}

/// The active node is out of traffic, and is not stopped before the cluster was looked at, which takes long.
#[tokio::test(start_paused = true)]
async fn what_brings_capacity_is_re_applied_before_what_takes_it() {
    for after in (0..30).map(Duration::from_millis) {
        let world = held_out_at_rest();
        let clients = world.clients_every(Duration::from_millis(1));
        let run = begin(&world, "esb2", Duration::from_millis(500)).await;
        until(|| world.admin("lb1", "esb2") == Some(Admin::Ready)).await;
        until(|| world.admin("lb1", "esb1") == Some(Admin::Maint)).await;
        sleep(after).await;
        world.restart_balancer("lb1");
        let report = run.wait().await.unwrap();
        let served = clients.stop().await;
        assert_eq!((report.end, served.lost), (End::AllNew, 0), "{after:?}: {report}\n{:?}", served.reasons);
    }
}

#[tokio::test(start_paused = true)]
async fn a_command_after_a_fault_that_lowers_what_serves_below_the_last_quiet_state_breaks_the_law() {
    let world = held_out_at_rest();
    let planned = world.engine().plan(&world.patch_to("2.0")).await.unwrap();
    let (topology, plan) = (world.topology(), planned.plan());
    let law = Law::new(topology, plan.facts());
    let node = |name: &str| topology.nodes().find(|(_, node)| node.name.as_str() == name).unwrap().0;
    let (a, p) = (node("esb1"), node("esb2"));
    let with = |a_is: Traffic, p_is: Traffic| {
        let mut state = plan.start().clone();
        state.set_traffic_everywhere(a, |_| a_is);
        state.set_traffic_everywhere(p, |_| p_is);
        state
    };
    // The last quiet state; a balancer loses it; one command after another.
    let (quiet, lost) = (with(Traffic::Out, Traffic::In), with(Traffic::In, Traffic::Out));
    let (both, none) = (with(Traffic::In, Traffic::In), with(Traffic::Out, Traffic::Out));
    assert_eq!(law.keeps(&quiet, &lost, &both), Ok(()));
    assert_eq!(law.keeps(&quiet, &both, &quiet), Ok(()), "what the fault brought may be taken again");
    let broken = law.keeps(&quiet, &lost, &none).unwrap_err();
    assert_eq!(broken.invariant, Invariant::Now, "{broken}");
    assert!(broken.facts.contains("from 1000 to 0"), "{broken}");
    assert_eq!(law.keeps(&quiet, &none, &none), Ok(()), "what the fault has broken was no command");
}

/// Returns how long a balancer that lost its state sends requests to the node under change, and how long the plan says.
async fn exposure(slow: &str, takes: Duration) -> (Duration, Duration) {
    let world = Shape::active_active(4, 1000).world().unwrap();
    let mut run = begin(&world, slow, takes).await;
    let report = loop {
        match run.next_event().await.unwrap() {
            Event::StepStarted { action, target, .. } if action == "apply" => {
                sleep(Duration::from_millis(50)).await;
                world.restart_balancer("lb1");
                let restarted = Instant::now();
                assert_eq!(world.admin("lb1", &target), Some(Admin::Ready));
                until(|| world.admin("lb1", &target) == Some(Admin::Maint)).await;
                let exposed = restarted.elapsed();
                break (exposed, run.wait().await.unwrap());
            }
            _ => {}
        }
    };
    let (exposed, report) = report;
    let window = report.proof.unwrap().windows.into_iter().find(|window| window.what == Degraded::ReloadExposure);
    (exposed, window.unwrap().at_most)
}

#[tokio::test(start_paused = true)]
async fn a_host_that_answers_slowly_does_not_delay_the_reaction_to_a_balancer_that_lost_its_state() {
    for takes in [0, 100, 500, 1_000, 3_000, 4_900].map(Duration::from_millis) {
        let (exposed, declared) = exposure("esb4", takes).await;
        assert!(exposed <= declared, "a host takes {takes:?}: exposed for {exposed:?}, declared {declared:?}");
    }
}
