//! What the engine decides beside the decision core that is explored: `ha_core::manual::beside_the_proof` has the list.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ha_core::engine::RunError;
use ha_core::journal::{Lease, LeaseError, LeaseHolder, MemoryStore, ObserveLease};
use ha_core::record::End;
use ha_core::report::Event;
use ha_core::state::LeaseEpoch;
use ha_testkit::world::{Controller, Fault, Operation, World};
use tokio::time::{Instant, sleep};

/// A lease that cannot be renewed from a moment on.
#[derive(Debug)]
struct Unrenewed {
    store: Arc<MemoryStore>,
    from: Instant,
}

#[async_trait]
impl ObserveLease for Unrenewed {
    async fn holder(&self, cluster: &str) -> Result<Option<LeaseHolder>, LeaseError> {
        self.store.holder(cluster).await
    }
}

#[async_trait]
impl Lease for Unrenewed {
    async fn acquire(&self, cluster: &str, owner: &str, ttl: Duration) -> Result<LeaseEpoch, LeaseError> {
        self.store.acquire(cluster, owner, ttl).await
    }

    async fn renew(&self, cluster: &str, epoch: LeaseEpoch, ttl: Duration) -> Result<(), LeaseError> {
        if Instant::now() >= self.from {
            return Err(LeaseError::Lost { cluster: cluster.into(), epoch });
        }
        self.store.renew(cluster, epoch, ttl).await
    }

    async fn release(&self, cluster: &str, epoch: LeaseEpoch) -> Result<(), LeaseError> {
        self.store.release(cluster, epoch).await
    }
}

/// Resumes a run as soon as the lease is free.
async fn resume(world: &World) -> End {
    loop {
        match world.engine().resume("patch-1".into()).await {
            Ok(run) => return run.wait().await.unwrap().end,
            Err(RunError::Lease(LeaseError::Held { .. })) => sleep(Duration::from_secs(1)).await,
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_controller_that_loses_its_lease_at_any_moment_begins_nothing_more_and_the_next_one_ends_the_run() {
    let mut ends = BTreeMap::<String, u32>::new();
    for after in (0..60).map(|step| Duration::from_millis(400 * step)) {
        let world = World::active_passive();
        let lease = Arc::new(Unrenewed { store: world.store(), from: Instant::now() + after });
        let engine = world.builder(&Controller::new()).with_store(world.store(), lease).build().unwrap();
        let planned = engine.plan(&world.patch_to("2.0")).await.unwrap();
        let clients = world.clients();
        let ended = engine.run("patch-1".into(), planned).await.unwrap().wait().await;
        let end = match ended {
            Ok(report) => format!("{}, kept its lease to the end", report.end),
            Err(RunError::Lease(LeaseError::Lost { .. })) => {
                format!("{}, by the next controller", resume(&world).await)
            }
            Err(error) => panic!("lost after {after:?}: {error}"),
        };
        let served = clients.stop().await;
        assert_eq!(served.lost, 0, "lost after {after:?}, {end}: {:?}", served.reasons);
        *ends.entry(end).or_default() += 1;
    }
    ha_testkit::figures!("a lease lost at 60 moments: {ends:?}");
    assert!(ends.keys().any(|end| end.ends_with("by the next controller")), "{ends:?}");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_for_long_is_waited_for_then_named_and_no_request_is_lost() {
    let mut turned = BTreeMap::<String, u32>::new();
    for after in (0..40).map(|step| Duration::from_millis(500 * step)) {
        let world = World::active_passive();
        let engine = world.engine();
        let planned = engine.plan(&world.patch_to("2.0")).await.unwrap();
        let (clients, began) = (world.clients(), Instant::now());
        let mut run = engine.run("patch-1".into(), planned).await.unwrap();
        let later = world.clone();
        let broken = tokio::spawn(async move {
            sleep(after).await;
            for _ in 0..10_000 {
                later.plan_fault(Operation::Member, "lb1", Fault::Unreachable);
            }
        });
        while let Some(event) = run.next_event().await {
            if let Event::Turned { message } = event {
                assert!(began.elapsed() >= after + Duration::from_secs(5), "{message} {:?} {after:?}", began.elapsed());
                *turned.entry(message).or_default() += 1;
            }
        }
        let (report, served) = (run.wait().await.unwrap(), clients.stop().await);
        broken.abort();
        assert_eq!(served.lost, 0, "unread after {after:?}:\n{report}\n{:?}", served.reasons);
        let left_open = matches!(report.end, End::NeedsOperator(_)) || report.open.is_empty();
        assert!(left_open, "unread after {after:?}:\n{report}");
    }
    ha_testkit::figures!("a balancer that cannot be read for long turns runs back: {turned:?}");
    assert!(turned.keys().any(|message| message.contains("could not be read: ")), "{turned:?}");
}

#[tokio::test(start_paused = true)]
async fn a_run_is_refused_by_name_where_what_its_plan_relies_on_cannot_be_read_and_not_as_a_difference() {
    let world = World::active_passive();
    let engine = world.engine();
    let planned = engine.plan(&world.patch_to("2.0")).await.unwrap();
    for _ in 0..10_000 {
        world.plan_fault(Operation::Member, "lb1", Fault::Unreachable);
    }
    let began = Instant::now();
    let error = engine.run("patch-1".into(), planned).await.unwrap_err();
    let message = error.to_string();
    assert!(matches!(error, RunError::Unread { .. }), "{message}");
    assert!(message.starts_with("esb1 on the balancers, esb2 on the balancers"), "{message}");
    assert!(message.contains("could not be read, and nothing was changed") && !message.contains("stale"), "{message}");
    assert!((2..4).contains(&began.elapsed().as_secs()), "asked again for two seconds: {:?}", began.elapsed());
}
