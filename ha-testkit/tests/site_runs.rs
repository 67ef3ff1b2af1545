//! Whole changes of sites in the simulated world, where a copy of the database is not what it seems, or a server is lost at the
//! worst moment.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use ha_core::backend::{
    Applied, Consumers, DemoteReplica, FollowReplica, ObserveReplica, PromoteReplica, Replica, ReplicaRole,
    ReplicaSeen, StepError,
};
use ha_core::engine::Engine;
use ha_core::procedure::{FailBackRequest, Procedure, SiteLossRequest};
use ha_core::record::End;
use ha_core::report::RunReport;
use ha_core::state::{LeaseEpoch, SiteEpoch};
use ha_core::topology::{SiteRole, Topology};
use ha_testkit::world::{Controller, FakeReplica, Shape, World};
use tokio::time::sleep;

/// A copy of the database that says something else than what is so, given how often it was promoted.
#[derive(Debug)]
struct Lying {
    copy: FakeReplica,
    promotions: AtomicU64,
    says: fn(ReplicaSeen, u64) -> ReplicaSeen,
}

impl Lying {
    fn of(world: &World, site: &str, says: fn(ReplicaSeen, u64) -> ReplicaSeen) -> Arc<Self> {
        let copy = FakeReplica::new(world.clone(), Controller::new(), site.into());
        Arc::new(Self { copy, promotions: AtomicU64::new(0), says })
    }
}

#[async_trait]
impl ObserveReplica for Lying {
    async fn replica(&self) -> Result<ReplicaSeen, StepError> {
        let seen = self.copy.replica().await?;
        Ok((self.says)(seen, self.promotions.load(Ordering::SeqCst)))
    }
}

#[async_trait]
impl Replica for Lying {
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

async fn run(engine: &Engine, name: &str, request: &dyn Procedure) -> RunReport {
    let planned = engine.plan(request).await.unwrap();
    engine.run(name.into(), planned).await.unwrap().wait().await.unwrap()
}

/// Loses north, lets south replace it, and brings north back as its own machines do it.
async fn lose_and_restore_north(world: &World) {
    world.lose_site("north");
    sleep(Duration::from_secs(1)).await;
    let loss = SiteLossRequest::of("north").to("south").with_window_accepted_by("tester");
    assert_eq!(run(&world.engine(), "loss", &loss).await.end, End::AllNew);
    world.restore_site("north");
    sleep(Duration::from_secs(1)).await;
}

fn back_to_north() -> FailBackRequest {
    FailBackRequest::to("north").with_discarded_by("tester")
}

#[tokio::test(start_paused = true)]
async fn a_copy_that_takes_writes_without_the_new_epoch_is_not_promoted_yet() {
    let world = Shape::active_passive().with_sites(SiteRole::Warm).world().unwrap();
    // The first promotion was broken off before the epoch was kept.
    let south =
        Lying::of(
            &world,
            "south",
            |seen, promotions| {
                if promotions == 1 { ReplicaSeen::new(seen.role, SiteEpoch::new(1)) } else { seen }
            },
        );
    let engine = world.builder(&Controller::new()).with_replica("south", south.clone()).build().unwrap();
    world.lose_site("north");
    sleep(Duration::from_secs(1)).await;
    let report = run(&engine, "loss", &SiteLossRequest::of("north").with_window_accepted_by("tester")).await;
    assert_eq!((report.end, south.promotions.load(Ordering::SeqCst)), (End::AllNew, 2));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_lost_once_the_database_has_changed_over_leads_consumers_back_without_a_lost_write() {
    let world = Shape::active_active(2, 750).with_sites(SiteRole::Hot).world().unwrap();
    lose_and_restore_north(&world).await;
    let clients = world.clients();
    let planned = world.engine().plan(&back_to_north()).await.unwrap();
    let back = world.engine().run("back".into(), planned).await.unwrap();
    while world.copy_in("north").0 != ReplicaRole::Primary || world.copy_in("south").0 == ReplicaRole::Primary {
        sleep(Duration::from_millis(1)).await;
    }
    // North does not carry what it must any more, and its database has already taken writes of its own.
    world.lose("esb1");
    let report = back.wait().await.unwrap();
    assert_eq!((report.end, report.open), (End::AllOld, Vec::<String>::new()));
    assert_eq!(world.led().0, Consumers::To("south".into()));
    assert_eq!((world.copy_in("south").0, world.copy_in("north").0), (ReplicaRole::Primary, ReplicaRole::ReadOnly));
    sleep(Duration::from_secs(1)).await;
    assert_eq!(clients.stop().await.lost, 0);
    assert_eq!((world.writes_missing_in("south"), world.stale_writes()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_third_copy_that_has_everything_does_not_let_one_be_promoted_that_has_not() {
    let world = World::new(three_sites());
    lose_and_restore_north(&world).await;
    let west = FakeReplica::new(world.clone(), Controller::new(), "west".into());
    west.follow(LeaseEpoch::new(100), FollowReplica::new("south")).await.unwrap();
    // What south took last never gets here.
    let north = Lying::of(&world, "north", |seen, _| {
        let position = seen.position.map(|position| position - 100);
        if seen.role == ReplicaRole::Standby { seen.with_position(position) } else { seen }
    });
    let engine = world.builder(&Controller::new()).with_replica("north", north.clone()).build().unwrap();
    let report = run(&engine, "back", &back_to_north()).await;
    assert_eq!((report.end, north.promotions.load(Ordering::SeqCst)), (End::AllOld, 0), "{report}");
    assert_eq!(world.led().0, Consumers::To("south".into()));
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
