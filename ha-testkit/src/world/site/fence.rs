use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use ha_core::backend::{
    Applied, ErrorKind, Fence, FenceLevel, FenceSite, Fenced, ObserveFence, ReplicaRole, StepError,
};
use ha_core::state::LeaseEpoch;
use tokio::time::sleep;

use crate::world::fault::{after, answer_late, before};
use crate::world::{Controller, Fault, Operation, World};

/// The fence of one site of the simulated world. It works from outside: a site that is lost can be fenced.
///
/// It reaches as far as the setting `level` of the site's fence says, by default to the database.
///
/// # Examples
///
/// ```
/// use ha_core::backend::{Fence, FenceSite, LeaseEpoch};
/// use ha_core::state::SiteEpoch;
/// use ha_core::topology::SiteRole;
/// use ha_testkit::world::{Controller, FakeFence, Shape};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap().block_on(async {
/// let world = Shape::active_passive().with_sites(SiteRole::Warm).world().unwrap();
/// world.lose_site("north");
/// let fence = FakeFence::new(world.clone(), Controller::new(), "north".into());
/// fence.fence(LeaseEpoch::new(1), FenceSite::new(SiteEpoch::new(1))).await.unwrap();
/// assert!(world.is_fenced("north"));
/// # });
/// ```
pub struct FakeFence {
    world: World,
    controller: Controller,
    site: String,
}

/// How long it takes to fence a site.
const FENCING: Duration = Duration::from_millis(200);

impl fmt::Debug for FakeFence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeFence").field("site", &self.site).finish_non_exhaustive()
    }
}

impl FakeFence {
    /// Makes the fence of `site` as `controller` reaches it.
    pub fn new(world: World, controller: Controller, site: String) -> Self {
        Self { world, controller, site }
    }
}

#[async_trait]
impl ObserveFence for FakeFence {
    fn level(&self) -> FenceLevel {
        self.world.site(&self.site, |site| site.level)
    }

    async fn fenced(&self) -> Result<Fenced, StepError> {
        self.controller.round_trip().await;
        self.world.before_read(Operation::Fenced, "fenced", &self.site).await?;
        Ok(if self.world.is_fenced(&self.site) { Fenced::Yes } else { Fenced::No })
    }
}

#[async_trait]
impl Fence for FakeFence {
    async fn fence(&self, lease: LeaseEpoch, request: FenceSite) -> Result<Applied, StepError> {
        self.controller.round_trip().await;
        self.world.fence(lease.number(), "fence", &self.site)?;
        let fault = self.world.take_fault(Operation::FenceSite, &self.site);
        let name = self.site.clone();
        self.world.if_late(fault, move |world| world.fence_site(&name));
        if !before(fault, "fence", &self.site)? || self.world.is_fenced(&self.site) {
            return after(fault, "fence", &self.site).map(|()| Applied::AlreadySo);
        }
        if request.deadline.is_zero() {
            return Err(StepError::new(ErrorKind::Timeout, "fence", self.site.as_str()).without_effect());
        }
        if fault == Some(Fault::Half) {
            self.world.stop_servers_in(&self.site);
        } else {
            sleep(FENCING).await;
            self.controller.lives().await;
            self.world.fence_site(&self.site);
        }
        answer_late(fault).await;
        after(fault, "fence", &self.site).map(|()| Applied::Applied)
    }

    async fn lift(&self, lease: LeaseEpoch) -> Result<Applied, StepError> {
        self.controller.round_trip().await;
        self.world.fence(lease.number(), "lift", &self.site)?;
        let fault = self.world.take_fault(Operation::LiftFence, &self.site);
        let name = self.site.clone();
        self.world.if_late(fault, move |world| world.lift_fence(&name));
        if !before(fault, "lift", &self.site)? || !self.world.is_fenced(&self.site) {
            return after(fault, "lift", &self.site).map(|()| Applied::AlreadySo);
        }
        if fault != Some(Fault::Half) {
            self.world.lift_fence(&self.site);
        }
        answer_late(fault).await;
        after(fault, "lift", &self.site).map(|()| Applied::Applied)
    }
}

impl World {
    /// Fences a site as far as its fence reaches.
    pub fn fence_site(&self, name: &str) {
        let level = self.with_site(name, |site| {
            site.fenced = true;
            if site.level >= FenceLevel::Database {
                (site.copy.role, site.copy.follows) = (ReplicaRole::ReadOnly, None);
            }
            site.level
        });
        if level >= FenceLevel::Servers {
            self.stop_servers_in(name);
        }
        if level >= FenceLevel::Power {
            self.lose_site(name);
        }
    }

    /// Lifts the fence of a site. What has been without power answers again, with nothing started.
    pub fn lift_fence(&self, name: &str) {
        let had_no_power = self.with_site(name, |site| {
            let had_no_power = site.lacks(FenceLevel::Power);
            site.fenced = false;
            if had_no_power {
                site.ran.clear();
            }
            had_no_power
        });
        if had_no_power {
            self.restore_site(name);
        }
    }

    fn stop_servers_in(&self, site: &str) {
        for node in self.nodes_in(site) {
            self.crash(&node);
        }
    }

    /// Tells whether a fence keeps the servers of a node's site from being started.
    pub(crate) fn start_is_fenced(&self, node: &str) -> bool {
        let topology = self.topology();
        let site = topology.nodes().find(|(_, known)| known.name.as_str() == node).and_then(|(_, node)| node.site);
        site.is_some_and(|site| self.site(topology.site(site).name.as_str(), |site| site.lacks(FenceLevel::Servers)))
    }
}
