//! Whole changes of sites in the simulated world, where a copy of the database is not what it seems, or a server is lost at the
//! worst moment.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use ha_core::backend::{
    Applied, Consumers, DemoteReplica, DetachedWork, ErrorKind, Fence, FenceLevel, FenceSite, Fenced, Fencing,
    FollowReplica, Host, HostCapabilities, HostFiles, HostIdentity, Incarnation, Installed, ObserveFence, ObserveHost,
    ObserveReplica, PromoteReplica, Ran, Replica, ReplicaRole, ReplicaSeen, RunCommand, ServerProcess, StepError,
};
use ha_core::engine::Engine;
use ha_core::procedure::{FailBackRequest, Procedure, SiteLossRequest};
use ha_core::record::{End, Operator, Why};
use ha_core::report::{Event, RunReport};
use ha_core::state::{LeaseEpoch, ServerDomain, SiteEpoch};
use ha_core::topology::{SiteRole, Topology};
use ha_testkit::world::{Controller, FakeFence, FakeReplica, Shape, World};
use tokio::time::sleep;

/// When what was asked of a copy that promotes late is carried out: long after every deadline.
const LATE: Duration = Duration::from_secs(3600);

/// A copy of the database that says something else than what is so, given how often it was promoted, or cannot be read.
#[derive(Debug)]
struct Lying {
    copy: Arc<FakeReplica>,
    promotions: AtomicU64,
    says: fn(ReplicaSeen, u64) -> ReplicaSeen,
    unread: AtomicBool,
    promotes: Promotes,
}

/// What becomes of a promotion.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Promotes {
    Well,
    /// It is carried out, nobody is told so, and the copy cannot be read from then on.
    Unheard,
    /// It is carried out long after the caller was told that nobody knows.
    Late,
}

impl Lying {
    fn of(world: &World, site: &str, says: fn(ReplicaSeen, u64) -> ReplicaSeen) -> Arc<Self> {
        Self::promoting(world, site, says, Promotes::Well)
    }

    fn promoting(
        world: &World,
        site: &str,
        says: fn(ReplicaSeen, u64) -> ReplicaSeen,
        promotes: Promotes,
    ) -> Arc<Self> {
        let copy = Arc::new(FakeReplica::new(world.clone(), Controller::new(), site.into()));
        Arc::new(Self { copy, promotions: AtomicU64::new(0), says, unread: AtomicBool::new(false), promotes })
    }
}

#[async_trait]
impl ObserveReplica for Lying {
    async fn replica(&self) -> Result<ReplicaSeen, StepError> {
        if self.unread.load(Ordering::SeqCst) {
            return Err(StepError::new(ErrorKind::Unreachable, "replica", "a copy").without_effect());
        }
        let seen = self.copy.replica().await?;
        Ok((self.says)(seen, self.promotions.load(Ordering::SeqCst)))
    }
}

#[async_trait]
impl Replica for Lying {
    async fn promote(&self, lease: LeaseEpoch, request: PromoteReplica) -> Result<Applied, StepError> {
        self.promotions.fetch_add(1, Ordering::SeqCst);
        match self.promotes {
            Promotes::Well => return self.copy.promote(lease, request).await,
            Promotes::Unheard => {
                self.copy.promote(lease, request).await?;
                self.unread.store(true, Ordering::SeqCst);
            }
            Promotes::Late => {
                let copy = self.copy.clone();
                tokio::spawn(async move {
                    sleep(LATE).await;
                    copy.promote(lease, request).await
                });
            }
        }
        Err(StepError::new(ErrorKind::Timeout, "promote", "a copy"))
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

/// Lets a third copy follow south, as its own site does it.
async fn follow_south(world: &World, site: &str) {
    let copy = FakeReplica::new(world.clone(), Controller::new(), site.into());
    copy.follow(LeaseEpoch::new(1), FollowReplica::new("south")).await.unwrap();
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
    follow_south(&world, "west").await;
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

/// Leads back to north, whose promotions it counts; while it is promoted south cannot be read.
async fn lead_back_unread(world: &World) -> (RunReport, u64) {
    let [north, south] = ["north", "south"].map(|site| Lying::of(world, site, |seen, _| seen));
    let builder = world.builder(&Controller::new());
    let engine = builder.with_replica("north", north.clone()).with_replica("south", south.clone()).build().unwrap();
    let planned = engine.plan(&back_to_north()).await.unwrap();
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
async fn where_there_are_three_nobody_knows_which_copy_has_all_of_one_that_cannot_be_read_and_none_is_promoted() {
    let world = World::new(three_sites());
    lose_and_restore_north(&world).await;
    follow_south(&world, "west").await;
    let (report, promotions) = lead_back_unread(&world).await;
    assert_eq!((report.end, promotions), (End::AllOld, 0), "{report}");
    assert!(report.to_string().contains("nobody can tell whether the other copy"), "{report}");
    assert_eq!(world.led().0, Consumers::To("south".into()));
}

#[tokio::test(start_paused = true)]
async fn where_there_are_two_the_demotion_of_one_that_cannot_be_read_has_proven_the_other() {
    let world = Shape::active_active(2, 750).with_sites(SiteRole::Hot).world().unwrap();
    lose_and_restore_north(&world).await;
    let (report, promotions) = lead_back_unread(&world).await;
    assert_eq!((report.end, promotions), (End::AllNew, 1), "{report}");
    assert_eq!(world.led().0, Consumers::To("north".into()));
}

/// Leads back to north, whose promotion nobody hears of, until a person is needed.
async fn lead_back_unheard(world: &World, promotes: Promotes) -> (Engine, Arc<Lying>) {
    lose_and_restore_north(world).await;
    let north = Lying::promoting(world, "north", |seen, _| seen, promotes);
    let engine = world.builder(&Controller::new()).with_replica("north", north.clone()).build().unwrap();
    let report = run(&engine, "back", &back_to_north()).await;
    assert_eq!(report.end, End::NeedsOperator(Why::OutcomeUnknown), "{report}");
    (engine, north)
}

#[tokio::test(start_paused = true)]
async fn while_nobody_knows_of_a_promotion_no_other_copy_is_promoted_whoever_asks_for_the_way_back() {
    let world = Shape::active_active(2, 750).with_sites(SiteRole::Hot).world().unwrap();
    let (engine, north) = lead_back_unheard(&world, Promotes::Unheard).await;
    for _ in 0..2 {
        let report = engine.roll_back("back".into(), Operator::new("tester", "")).await.unwrap().wait().await.unwrap();
        assert!(matches!(report.end, End::NeedsOperator(_)), "{report}");
        assert_eq!((world.copy_in("north").0, world.copy_in("south").0), (ReplicaRole::Primary, ReplicaRole::ReadOnly));
    }
    north.unread.store(false, Ordering::SeqCst);
    let report = engine.resume("back".into()).await.unwrap().wait().await.unwrap();
    let roles = (world.copy_in("north").0, world.copy_in("south").0);
    assert!(matches!(report.end, End::AllNew | End::AllOld), "{report}");
    let led =
        if report.end == End::AllNew { ("north", ReplicaRole::Primary) } else { ("south", ReplicaRole::ReadOnly) };
    assert_eq!((world.led().0, roles.0), (Consumers::To(led.0.into()), led.1), "{report}");
    assert_eq!(world.stale_writes(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_promotion_that_may_still_come_is_waited_for_by_a_person_and_no_other_copy_is_promoted() {
    let world = Shape::active_active(2, 750).with_sites(SiteRole::Hot).world().unwrap();
    let (engine, _north) = lead_back_unheard(&world, Promotes::Late).await;
    sleep(2 * LATE).await;
    assert_eq!((world.copy_in("north").0, world.copy_in("south").0), (ReplicaRole::Primary, ReplicaRole::ReadOnly));
    let report = engine.resume("back".into()).await.unwrap().wait().await.unwrap();
    assert_eq!(report.end, End::AllNew, "{report}");
    assert_eq!((world.led().0, world.stale_writes()), (Consumers::To("north".into()), 0));
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

/// A host that does not answer: nobody refuses a connection to it.
#[derive(Debug)]
struct Silent;

#[async_trait]
impl ObserveHost for Silent {
    fn capabilities(&self) -> HostCapabilities {
        HostCapabilities::new(Fencing::Guarded, false)
    }

    async fn identify(&self) -> Result<HostIdentity, StepError> {
        pending().await
    }

    async fn process(&self) -> Result<ServerProcess, StepError> {
        pending().await
    }

    async fn installed(&self) -> Result<Installed, StepError> {
        pending().await
    }

    async fn stop_budget(&self) -> Result<Option<Duration>, StepError> {
        pending().await
    }

    async fn missing(&self, _programs: &[String]) -> Result<Vec<String>, StepError> {
        pending().await
    }

    async fn ask(&self, _command: RunCommand) -> Result<Ran, StepError> {
        pending().await
    }
}

#[async_trait]
impl Host for Silent {
    fn files(&self) -> Option<&dyn HostFiles> {
        None
    }

    fn work(&self) -> Option<&dyn DetachedWork> {
        None
    }

    async fn start(&self, _epoch: LeaseEpoch, _domain: ServerDomain) -> Result<Applied, StepError> {
        pending().await
    }

    async fn stop(&self, _epoch: LeaseEpoch) -> Result<Applied, StepError> {
        pending().await
    }

    async fn kill(&self, _epoch: LeaseEpoch, _life: Incarnation) -> Result<Applied, StepError> {
        pending().await
    }

    async fn run(&self, _epoch: LeaseEpoch, _command: RunCommand) -> Result<Ran, StepError> {
        pending().await
    }
}

/// The database of a site whose machines are lost, which lives on: it still takes writes.
#[derive(Debug)]
struct Survivor;

#[async_trait]
impl ObserveReplica for Survivor {
    async fn replica(&self) -> Result<ReplicaSeen, StepError> {
        Ok(ReplicaSeen::new(ReplicaRole::Primary, SiteEpoch::new(1)))
    }
}

#[async_trait]
impl Replica for Survivor {
    async fn promote(&self, _: LeaseEpoch, _: PromoteReplica) -> Result<Applied, StepError> {
        pending().await
    }

    async fn demote(&self, _: LeaseEpoch, _: DemoteReplica) -> Result<Applied, StepError> {
        pending().await
    }

    async fn follow(&self, _: LeaseEpoch, _: FollowReplica) -> Result<Applied, StepError> {
        pending().await
    }
}

/// A fence that takes longer to say that it holds than what is lost is waited for.
#[derive(Debug)]
struct SlowFence(FakeFence);

#[async_trait]
impl ObserveFence for SlowFence {
    fn level(&self) -> FenceLevel {
        self.0.level()
    }

    async fn fenced(&self) -> Result<Fenced, StepError> {
        sleep(Duration::from_millis(400)).await;
        self.0.fenced().await
    }
}

#[async_trait]
impl Fence for SlowFence {
    async fn fence(&self, lease: LeaseEpoch, request: FenceSite) -> Result<Applied, StepError> {
        self.0.fence(lease, request).await
    }

    async fn lift(&self, lease: LeaseEpoch) -> Result<Applied, StepError> {
        self.0.lift(lease).await
    }
}

#[tokio::test(start_paused = true)]
async fn the_fence_of_a_lost_site_whose_database_lives_on_has_its_time_to_say_that_it_holds() {
    let world = Shape::active_passive().with_sites(SiteRole::Hot).world().unwrap();
    world.lose_site("north");
    sleep(Duration::from_secs(1)).await;
    let fence = SlowFence(FakeFence::new(world.clone(), Controller::new(), "north".into()));
    let builder = world.builder(&Controller::new()).with_fence("north", Arc::new(fence));
    let engine = builder.with_replica("north", Arc::new(Survivor)).build().unwrap();
    let report = run(&engine, "loss", &SiteLossRequest::of("north").with_window_accepted_by("tester")).await;
    assert_eq!((report.end, world.led().0), (End::AllNew, Consumers::To("south".into())), "{report}");
    assert!(!report.to_string().contains("the fence of site north cannot be read"), "{report}");
}

#[tokio::test(start_paused = true)]
async fn a_lost_site_whose_hosts_do_not_even_refuse_a_connection_costs_a_step_no_more_than_a_moment() {
    let mut took = Vec::new();
    for is_silent in [false, true] {
        let world = Shape::active_passive().with_sites(SiteRole::Hot).world().unwrap();
        world.lose_site("north");
        sleep(Duration::from_secs(1)).await;
        let mut builder = world.builder(&Controller::new());
        for node in ["esb1", "esb2"].into_iter().filter(|_| is_silent) {
            builder = builder.with_host(node, Arc::new(Silent));
        }
        let engine = builder.build().unwrap();
        let report = run(&engine, "loss", &SiteLossRequest::of("north").with_window_accepted_by("tester")).await;
        assert_eq!(report.end, End::AllNew, "{report}");
        took.push((report.took_ms, report.steps.len()));
    }
    let [(refused, steps), (silent, _)] = took[..] else { unreachable!() };
    // 250 ms before each of its steps, and once more at its begin and at its end.
    assert!(silent <= refused + 300 * (u64::try_from(steps).unwrap() + 2), "{steps} steps: {silent} and {refused} ms");
}
