//! The sites of the simulated world: what its clients see of a switch, of a loss and of a site that comes back.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::time::Duration;

use ha_core::backend::{
    Consumers, DemoteReplica, Effect, ErrorKind, Fence, FenceLevel, FenceSite, Fenced, FollowReplica, Host,
    LeadConsumers, MemberRef, ObserveBalancer, ObserveFence, ObserveReplica, ObserveSiteSwitch, PromoteReplica,
    Replica, ReplicaRole, SiteSwitch,
};
use ha_core::state::{LeaseEpoch, ServerDomain, SiteEpoch};
use ha_core::topology::{Name, SiteRole};
use ha_testkit::world::{
    Controller, FakeBalancer, FakeFence, FakeHost, FakeReplica, FakeSwitch, Fault, Operation, Shape, World,
};
use tokio::time::sleep;

const LEASE: LeaseEpoch = LeaseEpoch::new(1);
const EVERY: Duration = Duration::from_millis(10);

struct Sites {
    world: World,
    switch: FakeSwitch,
    fence: FakeFence,
    north: FakeReplica,
    south: FakeReplica,
}

impl Sites {
    fn of(shape: &Shape) -> Self {
        let world = shape.world().unwrap();
        let replica = |site: &str| FakeReplica::new(world.clone(), Controller::new(), site.into());
        let (north, south) = (replica("north"), replica("south"));
        let switch = FakeSwitch::new(world.clone(), Controller::new());
        let fence = FakeFence::new(world.clone(), Controller::new(), "north".into());
        Self { world, switch, fence, north, south }
    }

    fn hot() -> Self {
        Self::of(&Shape::active_passive().with_balancers(2).with_sites(SiteRole::Hot))
    }

    async fn lead(&self, to: Consumers) {
        self.switch.lead(LEASE, LeadConsumers::new(to)).await.unwrap();
    }

    async fn promote_south(&self) {
        self.south.promote(LEASE, PromoteReplica::new(SiteEpoch::new(2))).await.unwrap();
    }

    fn taken(&self, site: &str) -> u64 {
        self.world.writes_taken(site).values().sum()
    }
}

fn south() -> Consumers {
    Consumers::To("south".into())
}

#[tokio::test(start_paused = true)]
async fn a_planned_switch_between_two_sites_loses_no_request_and_no_write() {
    let sites = Sites::hot();
    sites.world.set_lag(Some(Duration::from_millis(70)));
    let clients = sites.world.clients();
    sleep(Duration::from_secs(5)).await;
    sites.lead(Consumers::Held).await;
    sites.north.demote(LEASE, DemoteReplica::new()).await.unwrap();
    sites.promote_south().await;
    sites.lead(south()).await;
    sites.north.follow(LEASE, FollowReplica::new("south")).await.unwrap();
    sleep(Duration::from_secs(5)).await;
    let served = clients.stop().await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!((served.lost, served.reasons), (0, BTreeMap::new()));
    assert!(served.by_site["north"] > 100 && served.by_site["south"] > 100, "{:?}", served.by_site);
    assert_eq!(served.by_site["north"], sites.taken("north"));
    assert_eq!((sites.world.writes_missing_in("south"), sites.world.writes_missing_in("north")), (0, 0));
    assert_eq!(sites.world.stale_writes(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_a_lost_site_took_last_and_nobody_received_is_what_is_lost_of_it() {
    let sites = Sites::hot();
    sites.world.set_lag(Some(Duration::from_secs(1)));
    let clients = sites.world.clients();
    sleep(Duration::from_secs(5)).await;
    sites.world.lose_site("north");
    let gone = sites.north.replica().await.unwrap_err();
    assert_eq!((gone.kind(), gone.effect()), (ErrorKind::Unreachable, Effect::None));
    sites.fence.fence(LEASE, FenceSite::new(SiteEpoch::new(1))).await.unwrap();
    let behind = sites.south.replica().await.unwrap();
    sites.promote_south().await;
    sites.lead(south()).await;
    sleep(Duration::from_secs(5)).await;
    let served = clients.stop().await;
    let missing = sites.world.writes_missing_in("south");
    // Two balancers with a request each every 10 ms, for a second.
    assert!((150..=210).contains(&missing), "{missing} writes are lost");
    assert!(behind.behind_ms >= Some(1000), "{behind:?}");
    assert!(served.lost > 0 && served.reasons.contains_key("north does not answer"), "{:?}", served.reasons);
    assert_eq!(sites.world.stale_writes(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_site_that_comes_back_takes_writes_unless_its_fence_reaches_the_database() {
    for (level, stale) in [(FenceLevel::Servers, false), (FenceLevel::Consumers, false), (FenceLevel::Database, false)]
    {
        let shape = Shape::active_passive().with_sites(SiteRole::Hot).with_fence_level(level);
        let sites = Sites::of(&shape);
        let (late, clients) = (sites.world.clients_of_site("north", EVERY), sites.world.clients());
        sleep(Duration::from_secs(1)).await;
        sites.world.lose_site("north");
        sites.fence.fence(LEASE, FenceSite::new(SiteEpoch::new(1))).await.unwrap();
        sites.promote_south().await;
        sites.lead(south()).await;
        sites.world.restore_site("north");
        sleep(Duration::from_secs(5)).await;
        late.stop().await;
        clients.stop().await;
        assert_eq!(sites.world.stale_writes(), 0, "{level}");
        let (role, ..) = sites.world.copy_in("north");
        assert_eq!(role == ReplicaRole::Primary, level < FenceLevel::Database, "{level}");
        assert_eq!(sites.world.runs("esb1"), level < FenceLevel::Servers, "{level}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_site_that_comes_back_without_a_fence_is_a_split_brain_and_its_writes_are_not_discarded_unasked() {
    let sites = Sites::hot();
    let (late, clients) = (sites.world.clients_of_site("north", EVERY), sites.world.clients());
    sleep(Duration::from_secs(1)).await;
    sites.world.lose_site("north");
    sites.promote_south().await;
    sites.lead(south()).await;
    sleep(Duration::from_secs(1)).await;
    sites.world.restore_site("north");
    sleep(Duration::from_secs(5)).await;
    late.stop().await;
    clients.stop().await;
    assert!(sites.world.stale_writes() > 0, "two sites took writes at once");
    let refused = sites.north.follow(LEASE, FollowReplica::new("south")).await.unwrap_err();
    assert_eq!((refused.kind(), refused.effect()), (ErrorKind::Conflict, Effect::None));
    let only_there = sites.world.writes_missing_in("south");
    sites.north.follow(LEASE, FollowReplica::new("south").discarding()).await.unwrap();
    assert_eq!(sites.world.discarded("north"), only_there);
    assert_eq!(sites.world.copy_in("north"), (ReplicaRole::Standby, SiteEpoch::new(2), sites.world.copy_in("south").2));
}

#[tokio::test(start_paused = true)]
async fn without_power_a_site_answers_nothing_until_its_fence_is_lifted() {
    let sites = Sites::of(&Shape::active_passive().with_sites(SiteRole::Warm).with_fence_level(FenceLevel::Power));
    assert_eq!(sites.fence.level(), FenceLevel::Power);
    sites.fence.fence(LEASE, FenceSite::new(SiteEpoch::new(1))).await.unwrap();
    sites.world.restore_site("north");
    assert_eq!(sites.north.replica().await.unwrap_err().kind(), ErrorKind::Unreachable);
    let balancer = FakeBalancer::new(sites.world.clone(), Controller::new(), "lb1".into());
    let member = MemberRef::new(Name::new("esb").unwrap(), Name::new("esb1").unwrap());
    assert_eq!(balancer.member(&member).await.unwrap_err().kind(), ErrorKind::Unreachable);
    sites.fence.lift(LEASE).await.unwrap();
    assert_eq!(sites.fence.fenced().await.unwrap(), Fenced::No);
    assert_eq!(sites.north.replica().await.unwrap().role, ReplicaRole::ReadOnly);
    assert!(balancer.member(&member).await.is_ok());
    assert!(!sites.world.runs("esb1"));
}

#[tokio::test(start_paused = true)]
async fn a_server_of_a_fenced_site_is_not_started() {
    let sites = Sites::of(&Shape::active_passive().with_sites(SiteRole::Warm).with_fence_level(FenceLevel::Servers));
    sites.fence.fence(LEASE, FenceSite::new(SiteEpoch::new(1))).await.unwrap();
    let host = FakeHost::new(sites.world.clone(), Controller::new(), "esb1".into());
    let refused = host.start(LEASE, ServerDomain::Production).await.unwrap_err();
    assert_eq!((refused.kind(), refused.effect()), (ErrorKind::Denied, Effect::None));
    sites.fence.lift(LEASE).await.unwrap();
    host.start(LEASE, ServerDomain::Production).await.unwrap();
    assert!(sites.world.runs("esb1"));
}

#[tokio::test(start_paused = true)]
async fn a_half_hold_is_no_hold_and_is_gone_on_with() {
    let sites = Sites::hot();
    let clients = sites.world.clients();
    sleep(Duration::from_secs(1)).await;
    sites.world.plan_fault(Operation::Lead, "switch", Fault::Half);
    let lost = sites.switch.lead(LEASE, LeadConsumers::new(Consumers::Held)).await.unwrap_err();
    assert_eq!(lost.effect(), Effect::Unknown);
    assert_eq!(sites.switch.consumers().await.unwrap_err().kind(), ErrorKind::Conflict);
    sites.lead(Consumers::Held).await;
    assert_eq!(sites.switch.consumers().await.unwrap(), Consumers::Held);
    sites.lead(Consumers::To("north".into())).await;
    assert_eq!(clients.stop().await.lost, 0);
}

#[tokio::test(start_paused = true)]
async fn in_a_warm_site_nothing_runs_and_in_a_hot_one_everything_is_admitted() {
    for (role, runs) in [(SiteRole::Cold, false), (SiteRole::Warm, false), (SiteRole::Hot, true)] {
        let world = Shape::active_active(3, 500).with_second_pool(2).with_sites(role).world().unwrap();
        assert_eq!((world.runs("south1"), world.runs("south3")), (runs, runs));
        let ready = world.admins("south1").iter().all(|admin| *admin == ha_core::backend::Admin::Ready);
        assert_eq!(ready, runs);
        let follows = world.copy_in("south").0 == ReplicaRole::Standby;
        assert_eq!(follows, role != SiteRole::Cold);
        let clients = world.clients();
        sleep(Duration::from_secs(1)).await;
        let served = clients.stop().await;
        assert_eq!((served.lost, served.by_site.contains_key("south")), (0, false));
    }
}
