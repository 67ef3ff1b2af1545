use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use ha_core::backend::{
    Admin, Applied, BalancerCapabilities, CloseSessions, Closed, ConfigFinding, Counters, ErrorKind, Expectations,
    Health, Instance, LoadBalancer, Member, MemberCheck, MemberRef, MemberSnapshot, ObserveBalancer, Quiescence,
    SetAdmin, SetWeight, StepError, look_by_parts,
};
use ha_core::state::LeaseEpoch;
use ha_core::topology::Name;
use tokio::time::Instant;

use super::World;
use super::clients::find_member;
use super::fault::{after, answer_late, before};
use super::model::{FakeMember, FakeNode};
use super::{Controller, Fault, Operation};

/// A balancer of the simulated world.
///
/// # Examples
///
/// ```
/// use ha_core::backend::{Admin, LeaseEpoch, LoadBalancer, MemberRef, SetAdmin};
/// use ha_core::topology::Name;
/// use ha_testkit::world::{Controller, FakeBalancer, World};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap().block_on(async {
/// let world = World::active_passive();
/// let balancer = FakeBalancer::new(world.clone(), Controller::new(), "lb1".into());
/// let member = MemberRef::new(Name::new("esb").unwrap(), Name::new("esb1").unwrap());
/// balancer.set_admin(LeaseEpoch::new(1), SetAdmin::new(member, Admin::Drain)).await.unwrap();
/// assert_eq!(world.admin("lb1", "esb1"), Some(Admin::Drain));
/// # });
/// ```
#[derive(Clone)]
pub struct FakeBalancer {
    pub(super) world: World,
    pub(super) controller: Controller,
    pub(super) name: String,
}

impl FakeBalancer {
    /// Makes the balancer called `name`, as `controller` reaches it.
    pub fn new(world: World, controller: Controller, name: String) -> Self {
        Self { world, controller, name }
    }

    fn with_member<T>(
        &self,
        operation: &'static str,
        member: &MemberRef,
        use_member: impl FnOnce(&mut FakeMember) -> T,
    ) -> Result<T, StepError> {
        let mut inner = self.world.lock();
        match find_member(&mut inner, &self.name, member.pool.as_str(), member.member.as_str()) {
            Some(fake) => Ok(use_member(fake)),
            None => Err(StepError::new(ErrorKind::NotFound, operation, member.to_string()).without_effect()),
        }
    }
}

impl FakeBalancer {
    /// Writes to one member, unless a fault was planned for it.
    async fn write(
        &self,
        epoch: LeaseEpoch,
        operation: &'static str,
        member: &MemberRef,
        change: impl FnOnce(&mut FakeMember) -> Applied + Send + 'static,
    ) -> Result<Applied, StepError> {
        self.controller.round_trip().await;
        self.world.fence(epoch.number(), operation, &self.name)?;
        let fault = self.world.take_fault(Operation::SetAdmin, &self.name);
        if fault == Some(Fault::Late) {
            let (late, member) = (self.clone(), member.clone());
            self.world.if_late(fault, move |_| drop(late.with_member(operation, &member, change)));
            return before(fault, operation, &self.name).map(|_| Applied::Applied);
        }
        if fault == Some(Fault::Ignored) {
            let read_back = StepError::new(ErrorKind::Conflict, operation, member.to_string());
            return Err(read_back.with_context("the write was answered with success and had no effect"));
        }
        self.world.balancer_answers(&self.name, operation)?;
        if !before(fault, operation, &self.name)? || fault == Some(Fault::Half) {
            return after(fault, operation, &self.name).map(|()| Applied::AlreadySo);
        }
        let applied = self.with_member(operation, member, change)?;
        answer_late(fault).await;
        after(fault, operation, &self.name).map(|()| applied)
    }

    fn describe(&self, fake: &FakeMember) -> Member {
        let said_up =
            |node: &FakeNode| node.is_ready() && node.said_down_until.is_none_or(|until| Instant::now() >= until);
        let up = self.world.lock().nodes.get(&fake.node).is_some_and(said_up);
        let health = match fake.admin {
            Admin::Maint => Health::Paused,
            Admin::Ready | Admin::Drain if up => Health::Up,
            Admin::Ready | Admin::Drain => Health::Down,
        };
        let waiting = self.world.lock().waiting.get(&(self.name.clone(), fake.pool.clone())).copied().unwrap_or(0);
        Member::new(fake.admin, health, fake.kind)
            .with_queue(waiting, fake.in_flight)
            .with_weight(fake.weight, fake.configured_weight)
            .with_address(fake.added)
            .with_persistence(false, fake.cuts_on_maint)
            .with_counters(Counters::new(fake.counters.0, fake.counters.1))
    }

    fn generation(&self) -> u64 {
        1 + self.world.lock().restarts.get(&self.name).copied().unwrap_or(0)
    }
}

impl fmt::Debug for FakeBalancer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeBalancer").field("name", &self.name).finish_non_exhaustive()
    }
}

#[async_trait]
impl ObserveBalancer for FakeBalancer {
    fn capabilities(&self) -> BalancerCapabilities {
        BalancerCapabilities::none()
            .with_fences(true)
            .with_idle_connections(true)
            .with_older_generations(true)
            .with_weights(true)
            .with_close(true)
            .with_added_members(true)
    }

    async fn identify(&self) -> Result<Instance, StepError> {
        self.controller.round_trip().await;
        self.world.before_read(Operation::Member, "identify", &self.name).await?;
        let began = self.world.lock().began.get(&self.name).copied();
        let uptime = began.map_or(Duration::ZERO, |began| began.elapsed());
        Ok(Instance::new("fake", self.generation()).with_uptime(uptime))
    }

    async fn member(&self, member: &MemberRef) -> Result<Member, StepError> {
        self.controller.round_trip().await;
        self.world.before_read(Operation::Member, "member", &self.name).await?;
        let fake = self.with_member("member", member, |fake| fake.clone())?;
        Ok(self.describe(&fake))
    }

    async fn look(&self, member: &MemberRef) -> Result<MemberSnapshot, StepError> {
        // The product answers a look from one moment, the last of it; figures that could not be read stay unread.
        let parts = look_by_parts(self, member).await?;
        let fake = self.with_member("look", member, |fake| fake.clone())?;
        let began = self.world.lock().began.get(&self.name).copied();
        let process =
            Instance::new("fake", self.generation()).with_uptime(began.map_or(Duration::ZERO, |at| at.elapsed()));
        let figures = parts.quiescence.map(|_| figures(&fake).with_generation(process.generation));
        Ok(MemberSnapshot::new(process, self.describe(&fake)).with_quiescence(figures))
    }

    async fn members(&self, pool: &Name) -> Result<Vec<(Name, Member)>, StepError> {
        self.controller.round_trip().await;
        self.world.before_read(Operation::Member, "members", &self.name).await?;
        let known = self.world.topology().pools().any(|(_, declared)| declared.backend == *pool);
        if !known {
            return Err(StepError::new(ErrorKind::NotFound, "members", pool.to_string()).without_effect());
        }
        let members = self.world.lock().balancers.get(&self.name).cloned();
        let members = members.into_iter().flatten().filter(|fake| fake.pool == pool.as_str());
        let named = members.filter_map(|fake| Some((Name::new(&fake.member).ok()?, fake)));
        Ok(named.map(|(name, fake)| (name, self.describe(&fake))).collect())
    }

    async fn config_findings(&self, _expect: &Expectations) -> Result<Vec<ConfigFinding>, StepError> {
        self.world.balancer_answers(&self.name, "config_findings")?;
        Ok(self.world.lock().health.config_findings.get(&self.name).cloned().unwrap_or_default())
    }

    async fn check_of(&self, member: &MemberRef) -> Result<MemberCheck, StepError> {
        self.world.balancer_answers(&self.name, "check_of")?;
        let node = self.with_member("check_of", member, |fake| fake.node.clone())?;
        self.world
            .lock()
            .health
            .check(&self.name, &node)
            .ok_or_else(|| StepError::new(ErrorKind::Unsupported, "check_of", member.to_string()).without_effect())
    }

    async fn quiescence(&self, member: &MemberRef) -> Result<Quiescence, StepError> {
        self.controller.round_trip().await;
        self.world.before_read(Operation::Quiescence, "quiescence", &self.name).await?;
        let generation = self.generation();
        self.with_member("quiescence", member, |fake| figures(fake)).map(|figures| figures.with_generation(generation))
    }
}

fn figures(fake: &FakeMember) -> Quiescence {
    Quiescence::new(fake.in_flight, 0, fake.in_flight, fake.idle)
}

#[async_trait]
impl LoadBalancer for FakeBalancer {
    async fn set_admin(&self, epoch: LeaseEpoch, request: SetAdmin) -> Result<Applied, StepError> {
        self.write(epoch, "set_admin", &request.member, move |fake| {
            if fake.admin == request.admin {
                return Applied::AlreadySo;
            }
            fake.admin = request.admin;
            if fake.admin == Admin::Maint {
                fake.idle = 0;
                if fake.cuts_on_maint {
                    fake.cuts += u64::from(std::mem::take(&mut fake.in_flight) > 0);
                }
            }
            Applied::Applied
        })
        .await
    }

    async fn set_weight(&self, epoch: LeaseEpoch, request: SetWeight) -> Result<Applied, StepError> {
        self.write(epoch, "set_weight", &request.member, move |fake| {
            let before = std::mem::replace(&mut fake.weight, request.weight);
            if before == request.weight { Applied::AlreadySo } else { Applied::Applied }
        })
        .await
    }

    async fn close_sessions(&self, epoch: LeaseEpoch, request: CloseSessions) -> Result<Closed, StepError> {
        let sessions = Arc::new(AtomicU64::new(0));
        let closed = sessions.clone();
        self.write(epoch, "close_sessions", &request.member, move |fake| {
            closed.store(std::mem::take(&mut fake.in_flight), Ordering::SeqCst);
            fake.cuts += 1;
            Applied::Applied
        })
        .await?;
        Ok(Closed::new(sessions.load(Ordering::SeqCst)))
    }
}
