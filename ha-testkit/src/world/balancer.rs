use std::fmt;

use async_trait::async_trait;
use ha_core::backend::{
    Admin, Applied, BalancerCapabilities, ErrorKind, Health, Instance, LoadBalancer, Member, MemberRef,
    ObserveBalancer, Quiescence, SetAdmin, StepError,
};
use ha_core::state::LeaseEpoch;

use super::model::{FakeRow, World, after, before};
use super::{Controller, Fault, Operation};

/// A balancer of the simulated world.
pub struct FakeBalancer {
    world: World,
    controller: Controller,
    name: String,
}

impl FakeBalancer {
    /// Makes the balancer called `name`, as `controller` reaches it.
    pub fn new(world: World, controller: Controller, name: String) -> Self {
        Self { world, controller, name }
    }

    fn row<T>(
        &self,
        operation: &'static str,
        member: &MemberRef,
        use_row: impl FnOnce(&mut FakeRow) -> T,
    ) -> Result<T, StepError> {
        let mut inner = self.world.lock();
        let rows = inner.balancers.get_mut(&self.name);
        let row = rows.and_then(|rows| rows.iter_mut().find(|row| row.node == member.member.as_str()));
        match row {
            Some(row) if member.pool == self.world.topology().pool.name => Ok(use_row(row)),
            Some(_) | None => Err(StepError::new(ErrorKind::NotFound, operation, member.to_string()).without_effect()),
        }
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
        BalancerCapabilities::new(true, true)
    }

    async fn identify(&self) -> Result<Instance, StepError> {
        Ok(Instance::new("fake", 1))
    }

    async fn member(&self, member: &MemberRef) -> Result<Member, StepError> {
        self.controller.round_trip().await;
        before(self.world.take_fault(Operation::Member, &self.name), "member", &self.name)
            .map_err(StepError::without_effect)?;
        let (admin, kind, node) = self.row("member", member, |row| (row.admin, row.kind, row.node.clone()))?;
        let up = self.world.lock().nodes.get(&node).is_some_and(super::model::FakeNode::is_ready);
        let health = match admin {
            Admin::Maint => Health::Paused,
            Admin::Ready | Admin::Drain if up => Health::Up,
            Admin::Ready | Admin::Drain => Health::Down,
        };
        Ok(Member::new(admin, health, kind))
    }

    async fn quiescence(&self, member: &MemberRef) -> Result<Quiescence, StepError> {
        self.controller.round_trip().await;
        self.row("quiescence", member, |row| Quiescence::new(row.in_flight, 0, row.in_flight, row.idle))
    }
}

#[async_trait]
impl LoadBalancer for FakeBalancer {
    async fn set_admin(&self, epoch: LeaseEpoch, request: SetAdmin) -> Result<Applied, StepError> {
        self.controller.round_trip().await;
        self.world.fence(epoch.number(), "set_admin", &self.name)?;
        let fault = self.world.take_fault(Operation::SetAdmin, &self.name);
        if !before(fault, "set_admin", &self.name)? || fault == Some(Fault::Half) {
            return after(fault, "set_admin", &self.name).map(|()| Applied::Applied);
        }
        let applied = self.row("set_admin", &request.member, |row| {
            if row.admin == request.admin {
                return Applied::AlreadySo;
            }
            row.admin = request.admin;
            if row.admin == Admin::Maint {
                row.idle = 0;
            }
            Applied::Applied
        })?;
        after(fault, "set_admin", &self.name).map(|()| applied)
    }
}
