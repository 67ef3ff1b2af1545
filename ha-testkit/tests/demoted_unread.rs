//! A site that was demoted cannot be read when the other is to be promoted.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use ha_core::backend::{
    Applied, Consumers, DemoteReplica, ErrorKind, FollowReplica, ObserveReplica, PromoteReplica, Replica, ReplicaSeen,
    StepError,
};
use ha_core::procedure::{FailBackRequest, SiteLossRequest};
use ha_core::record::End;
use ha_core::report::{Event, RunReport};
use ha_core::state::LeaseEpoch;
use ha_core::topology::{SiteRole, Topology};
use ha_testkit::world::{Controller, FakeReplica, Shape, World};
use tokio::time::sleep;

/// A copy of the database that counts its promotions, and cannot be read for a while.
#[derive(Debug)]
struct Copy {
    copy: FakeReplica,
    promotions: AtomicU64,
    unread: AtomicBool,
}

impl Copy {
    fn of(world: &World, site: &str) -> Arc<Self> {
        let copy = FakeReplica::new(world.clone(), Controller::new(), site.into());
        Arc::new(Self { copy, promotions: AtomicU64::new(0), unread: AtomicBool::new(false) })
    }
}

#[async_trait]
impl ObserveReplica for Copy {
    async fn replica(&self) -> Result<ReplicaSeen, StepError> {
        if self.unread.load(Ordering::SeqCst) {
            return Err(StepError::new(ErrorKind::Unreachable, "replica", "south").without_effect());
        }
        self.copy.replica().await
    }
}

#[async_trait]
impl Replica for Copy {
    async fn promote(&self, lease: LeaseEpoch, request: PromoteReplica) -> Result<Applied, StepError> {
        self.promotions.fetch_add(1, Ordering::SeqCst);
        self.copy.promote(lease, request).await
    }

    async fn demote(&self, lease: LeaseEpoch, request: DemoteReplica) -> Result<Applied, StepError> {
        self.copy.demote(lease, request).await
    }

    async fn follow(&self, lease: LeaseEpoch, request: FollowReplica) -> Result<Applied, StepError> {
        self.copy.follow(lease, request).await
    }
}

/// Loses north, lets south replace it, and leads back to north; while north is promoted south cannot be read. Returns also how
/// often north was promoted.
async fn lead_back(world: &World, west: bool) -> (RunReport, u64) {
    world.lose_site("north");
    sleep(Duration::from_secs(1)).await;
    let loss = SiteLossRequest::of("north").to("south").with_window_accepted_by("tester");
    let planned = world.engine().plan(&loss).await.unwrap();
    assert_eq!(world.engine().run("loss".into(), planned).await.unwrap().wait().await.unwrap().end, End::AllNew);
    world.restore_site("north");
    sleep(Duration::from_secs(1)).await;
    if west {
        let west = FakeReplica::new(world.clone(), Controller::new(), "west".into());
        west.follow(LeaseEpoch::new(1), FollowReplica::new("south")).await.unwrap();
    }
    let (north, south) = (Copy::of(world, "north"), Copy::of(world, "south"));
    let builder = world.builder(&Controller::new());
    let engine = builder.with_replica("north", north.clone()).with_replica("south", south.clone()).build().unwrap();
    let planned = engine.plan(&FailBackRequest::to("north").with_discarded_by("tester")).await.unwrap();
    let mut run = engine.run("back".into(), planned).await.unwrap();
    while let Some(event) = run.next_event().await {
        match event {
            Event::StepStarted { action, target, .. } if action == "promote" && target.contains("north") => {
                south.unread.store(true, Ordering::SeqCst);
            }
            Event::StepEnded { action, .. } if action == "promote" => south.unread.store(false, Ordering::SeqCst),
            _ => {}
        }
    }
    (run.wait().await.unwrap(), north.promotions.load(Ordering::SeqCst))
}

#[tokio::test(start_paused = true)]
async fn where_there_are_three_nobody_knows_which_copy_has_all_and_none_is_promoted() {
    let world = World::new(three_sites());
    let (report, promotions) = lead_back(&world, true).await;
    assert_eq!((report.end, promotions), (End::AllOld, 0), "{report}");
    assert!(report.to_string().contains("nobody can tell whether the other copy"), "{report}");
    assert_eq!(world.led().0, Consumers::To("south".into()));
}

#[tokio::test(start_paused = true)]
async fn where_there_are_two_the_demotion_has_proven_that_very_copy() {
    let world = Shape::active_active(2, 750).with_sites(SiteRole::Hot).world().unwrap();
    let (report, promotions) = lead_back(&world, false).await;
    assert_eq!((report.end, promotions), (End::AllNew, 1), "{report}");
    assert_eq!(world.led().0, Consumers::To("north".into()));
}

/// North and south with two servers each, and a third site that has a copy of the database and nothing else.
fn three_sites() -> Topology {
    let site = |name: &str, role: &str| {
        format!(
            "[[site]]\nname = \"{name}\"\nrole = \"{role}\"\nfence.backend = \"fake\"\nreplica.backend = \"fake\"\n"
        )
    };
    let pool = |name: &str, site: &str, balancer: &str| {
        format!(
            "[[pool]]\nname = \"{name}\"\nserve = 1\npeak_load = 1000\nsite = \"{site}\"\nbalancers = [\"{balancer}\"]\n\
             [[balancer]]\nname = \"{balancer}\"\nbackend = \"fake\"\n"
        )
    };
    let node = |name: &str, site: &str| {
        format!(
            "[[node]]\nname = \"{name}\"\ncapacity = 1000\nsite = \"{site}\"\nhost.backend = \"fake\"\n\
             probe.backend = \"fake\"\n"
        )
    };
    let text = [
        "[cluster]\nname = \"orders\"\n[policy]\nready_deadline = \"30s\"\ncommand_deadline = \"30s\"\n".to_string(),
        "[switch]\nbackend = \"fake\"\n".to_string(),
        site("north", "serving") + &site("south", "hot") + &site("west", "hot"),
        pool("esb", "north", "lb1") + &pool("esb-south", "south", "lb-south1"),
        node("esb1", "north") + &node("esb2", "north") + &node("south1", "south") + &node("south2", "south"),
    ];
    Topology::from_toml_str(&text.concat()).unwrap()
}
