use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use ha_core::backend::{
    Applied, DemoteReplica, ErrorKind, FenceLevel, FollowReplica, ObserveReplica, PromoteReplica, Replica, ReplicaRole,
    ReplicaSeen, StepError,
};
use ha_core::state::{LeaseEpoch, SiteEpoch};
use tokio::time::{Instant, sleep};

use crate::world::fault::{after, answer_late, before};
use crate::world::{Controller, Fault, Operation, World};

/// The copy of the database in one site of the simulated world.
///
/// # Examples
///
/// ```
/// use ha_core::backend::{LeaseEpoch, PromoteReplica, Replica, ReplicaRole};
/// use ha_core::state::SiteEpoch;
/// use ha_core::topology::SiteRole;
/// use ha_testkit::world::{Controller, FakeReplica, Shape};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap().block_on(async {
/// let world = Shape::active_passive().with_sites(SiteRole::Warm).world().unwrap();
/// let south = FakeReplica::new(world.clone(), Controller::new(), "south".into());
/// south.promote(LeaseEpoch::new(1), PromoteReplica::new(SiteEpoch::new(2))).await.unwrap();
/// assert_eq!(world.copy_in("south"), (ReplicaRole::Primary, SiteEpoch::new(2), 0));
/// # });
/// ```
pub struct FakeReplica {
    world: World,
    controller: Controller,
    site: String,
}

/// How long a promotion takes.
const PROMOTION: Duration = Duration::from_millis(500);
/// How long it takes until a copy is a standby.
const COPYING: Duration = Duration::from_secs(1);
/// How often it is looked whether standbys have everything.
const LOOK: Duration = Duration::from_millis(10);

impl fmt::Debug for FakeReplica {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeReplica").field("site", &self.site).finish_non_exhaustive()
    }
}

impl FakeReplica {
    /// Makes the copy in `site` as `controller` reaches it.
    pub fn new(world: World, controller: Controller, site: String) -> Self {
        Self { world, controller, site }
    }

    fn error(&self, kind: ErrorKind, operation: &'static str, context: &str) -> StepError {
        StepError::new(kind, operation, self.site.as_str()).with_context(context)
    }

    fn answers(&self, operation: &'static str) -> Result<(), StepError> {
        if self.world.site(&self.site, |site| site.lost) {
            return Err(self.error(ErrorKind::Unreachable, operation, "the site does not answer").without_effect());
        }
        Ok(())
    }

    async fn begin(
        &self,
        lease: LeaseEpoch,
        of: Operation,
        operation: &'static str,
    ) -> Result<Option<Fault>, StepError> {
        self.controller.round_trip().await;
        self.world.fence(lease.number(), operation, &self.site)?;
        Ok(self.world.take_fault(of, &self.site))
    }

    /// Tells whether a standby that follows this copy has all that it has.
    fn is_everywhere(&self) -> bool {
        let inner = self.world.lock();
        let Some(here) = inner.sites.sites.get(&self.site) else { return false };
        let mut standbys = inner.sites.sites.values().filter(|site| {
            site.copy.role == ReplicaRole::Standby && site.copy.follows.as_deref() == Some(self.site.as_str())
        });
        standbys.any(|site| !site.lost && site.copy.has_all_of(&here.copy))
    }
}

#[async_trait]
impl ObserveReplica for FakeReplica {
    async fn replica(&self) -> Result<ReplicaSeen, StepError> {
        self.controller.round_trip().await;
        self.world.before_read(Operation::Copy, "replica", &self.site).await?;
        self.answers("replica")?;
        Ok(self.world.site(&self.site, |site| {
            let primary = site.copy.role == ReplicaRole::Primary;
            let behind = if primary { Duration::ZERO } else { site.copy.newest.elapsed() };
            ReplicaSeen::new(site.copy.role, SiteEpoch::new(site.copy.epoch()))
                .with_position(Some(site.copy.position()))
                .with_behind(Some(behind))
        }))
    }
}

#[async_trait]
impl Replica for FakeReplica {
    async fn promote(&self, lease: LeaseEpoch, request: PromoteReplica) -> Result<Applied, StepError> {
        let fault = self.begin(lease, Operation::Promote, "promote").await?;
        let (name, epoch) = (self.site.clone(), request.epoch.number());
        self.world.if_late(fault, move |world| world.promote(&name, epoch));
        if !before(fault, "promote", &self.site)? {
            return Ok(Applied::AlreadySo);
        }
        self.answers("promote")?;
        let (role, has, fenced) =
            self.world.site(&self.site, |site| (site.copy.role, site.copy.epoch(), site.lacks(FenceLevel::Database)));
        if role == ReplicaRole::Primary && has == epoch {
            return after(fault, "promote", &self.site).map(|()| Applied::AlreadySo);
        }
        // What was demoted may go on with the epoch that it had; what follows another has that one's.
        if has > epoch || (has == epoch && role != ReplicaRole::ReadOnly) {
            let context = format!("it has epoch {has}");
            return Err(self.error(ErrorKind::Conflict, "promote", &context).without_effect());
        }
        if fenced {
            return Err(self.error(ErrorKind::Denied, "promote", "the site is fenced").without_effect());
        }
        if request.deadline.is_zero() {
            return Err(self.error(ErrorKind::Timeout, "promote", "there is no time").without_effect());
        }
        sleep(PROMOTION).await;
        self.controller.lives().await;
        self.answers("promote")?;
        if fault == Some(Fault::Half) {
            // It follows nobody any more, and does not take writes yet.
            self.world.with_site(&self.site, |site| {
                (site.copy.role, site.copy.follows) = (ReplicaRole::ReadOnly, None);
            });
        } else {
            self.world.promote(&self.site, epoch);
        }
        answer_late(fault).await;
        after(fault, "promote", &self.site).map(|()| Applied::Applied)
    }

    async fn demote(&self, lease: LeaseEpoch, request: DemoteReplica) -> Result<Applied, StepError> {
        let fault = self.begin(lease, Operation::Demote, "demote").await?;
        let name = self.site.clone();
        self.world.if_late(fault, move |world| world.demote(&name));
        if !before(fault, "demote", &self.site)? {
            return Ok(Applied::AlreadySo);
        }
        self.answers("demote")?;
        if self.world.site(&self.site, |site| site.copy.role) != ReplicaRole::Primary {
            return after(fault, "demote", &self.site).map(|()| Applied::AlreadySo);
        }
        if request.deadline.is_zero() {
            return Err(self.error(ErrorKind::Timeout, "demote", "there is no time").without_effect());
        }
        let began = Instant::now();
        self.world.demote(&self.site);
        while fault != Some(Fault::Half) && !self.is_everywhere() {
            if began.elapsed() >= request.deadline {
                return Err(self.error(ErrorKind::Conflict, "demote", "no standby has all that it has"));
            }
            sleep(LOOK).await;
            self.controller.lives().await;
            self.answers("demote").map_err(|_| self.error(ErrorKind::Unreachable, "demote", "it answers no more"))?;
        }
        answer_late(fault).await;
        after(fault, "demote", &self.site).map(|()| Applied::Applied)
    }

    async fn follow(&self, lease: LeaseEpoch, request: FollowReplica) -> Result<Applied, StepError> {
        let fault = self.begin(lease, Operation::Follow, "follow").await?;
        let (name, of) = (self.site.clone(), request.of.clone());
        self.world.if_late(fault, move |world| world.follow(&name, &of));
        if !before(fault, "follow", &self.site)? {
            return Ok(Applied::AlreadySo);
        }
        self.answers("follow")?;
        let (follows, role, own) = {
            let inner = self.world.lock();
            let (here, there) = (&inner.sites.sites[&self.site], inner.sites.sites.get(&request.of));
            let Some(there) = there.filter(|_| request.of != self.site) else {
                let context = format!("there is no other site {}", request.of);
                return Err(self.error(ErrorKind::NotFound, "follow", &context).without_effect());
            };
            if there.lost {
                let context = format!("{} does not answer", request.of);
                return Err(self.error(ErrorKind::Unreachable, "follow", &context).without_effect());
            }
            if there.copy.role != ReplicaRole::Primary {
                let context = format!("the copy in {} takes no writes", request.of);
                return Err(self.error(ErrorKind::Conflict, "follow", &context).without_effect());
            }
            (here.copy.follows.clone(), here.copy.role, there.copy.lacks_of(&here.copy))
        };
        if role == ReplicaRole::Standby && follows.as_deref() == Some(request.of.as_str()) {
            return after(fault, "follow", &self.site).map(|()| Applied::AlreadySo);
        }
        if own > 0 && !request.discard {
            let context = format!("it has {own} writes that {} has not", request.of);
            return Err(self.error(ErrorKind::Conflict, "follow", &context).without_effect());
        }
        if request.deadline.is_zero() {
            return Err(self.error(ErrorKind::Timeout, "follow", "there is no time").without_effect());
        }
        if fault == Some(Fault::Half) {
            // A copy of which only a part is there takes no writes and has nothing that can be used.
            self.world.with_site(&self.site, |site| {
                (site.copy.role, site.copy.follows) = (ReplicaRole::ReadOnly, None);
                site.copy.discarded += own;
                site.copy.log = BTreeMap::new();
            });
            return after(fault, "follow", &self.site).map(|()| Applied::Applied);
        }
        sleep(COPYING).await;
        self.controller.lives().await;
        self.world.follow(&self.site, &request.of);
        answer_late(fault).await;
        after(fault, "follow", &self.site).map(|()| Applied::Applied)
    }
}

impl World {
    fn promote(&self, name: &str, epoch: u64) {
        self.with_site(name, |site| {
            (site.copy.role, site.copy.follows) = (ReplicaRole::Primary, None);
            site.copy.log.entry(epoch).or_default();
        });
        self.send_log(name);
    }

    /// Lets a site's copy take no more writes; what it has is sent on.
    fn demote(&self, name: &str) {
        self.with_site(name, |site| site.copy.role = ReplicaRole::ReadOnly);
        self.send_log(name);
    }

    /// Makes a site's copy that of another, which it follows from then on.
    fn follow(&self, name: &str, of: &str) {
        let mut inner = self.lock();
        let Some(there) = inner.sites.sites.get(of).map(|site| site.copy.clone()) else { return };
        let Some(here) = inner.sites.sites.get_mut(name) else { return };
        here.copy.discarded += there.lacks_of(&here.copy);
        here.copy.role = ReplicaRole::Standby;
        here.copy.follows = Some(of.into());
        (here.copy.log, here.copy.newest) = (there.log, there.newest);
    }
}
