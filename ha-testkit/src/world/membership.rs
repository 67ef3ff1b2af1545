use async_trait::async_trait;
use ha_core::backend::{AddMember, Admin, Applied, ErrorKind, MemberRef, Membership, StepError};
use ha_core::state::LeaseEpoch;

use super::fault::{after, before};
use super::model::{FakeMember, Members};
use super::{FakeBalancer, Fault, Operation};

impl FakeBalancer {
    /// Changes the members of the pool, unless a fault was planned for it.
    async fn change_members(
        &self,
        epoch: LeaseEpoch,
        operation: &'static str,
        member: &MemberRef,
        change: impl FnOnce(&mut Members) -> Result<Applied, &'static str> + Send,
    ) -> Result<Applied, StepError> {
        self.controller.round_trip().await;
        self.world.fence(epoch.number(), operation, &self.name)?;
        let fault = self.world.take_fault(Operation::SetAdmin, &self.name);
        if !before(fault, operation, &self.name)? || fault == Some(Fault::Half) {
            return after(fault, operation, &self.name).map(|()| Applied::Applied);
        }
        let refused = |kind: ErrorKind, message: &str| {
            StepError::new(kind, operation, member.to_string()).with_context(message).without_effect()
        };
        if !self.world.topology().pools().any(|(_, pool)| pool.backend == member.pool) {
            return Err(refused(ErrorKind::NotFound, "there is no such pool"));
        }
        let changed = self.world.lock().balancers.get_mut(&self.name).map(change);
        let applied = changed.unwrap_or(Err("there is no such balancer"));
        let applied = applied.map_err(|message| refused(ErrorKind::Conflict, message))?;
        after(fault, operation, &self.name).map(|()| applied)
    }
}

#[async_trait]
impl Membership for FakeBalancer {
    async fn add(&self, epoch: LeaseEpoch, request: AddMember) -> Result<Applied, StepError> {
        let (node, pool) = (request.member.member.to_string(), request.member.pool.to_string());
        let member = request.member.clone();
        let add = move |members: &mut Members| {
            if let Some(fake) = members.iter().find(|fake| fake.pool == pool && fake.member == node) {
                let same = fake.added == Some(request.address);
                return if same { Ok(Applied::AlreadySo) } else { Err("a member of this name has another address") };
            }
            members.push(FakeMember {
                member: node.clone(),
                node,
                pool,
                kind: request.kind,
                admin: Admin::Maint,
                configured: Admin::Maint,
                in_flight: 0,
                idle: 0,
                weight: request.weight,
                configured_weight: request.weight,
                counters: (0, 0),
                added: Some(request.address),
                cuts_on_maint: false,
                cuts: 0,
            });
            Ok(Applied::Applied)
        };
        self.change_members(epoch, "add", &member, add).await
    }

    async fn remove(&self, epoch: LeaseEpoch, member: MemberRef) -> Result<Applied, StepError> {
        let (name, pool) = (member.member.to_string(), member.pool.to_string());
        let remove = move |members: &mut Members| {
            let place = members.iter().position(|fake| fake.pool == pool && fake.member == name);
            let Some(index) = place else { return Ok(Applied::AlreadySo) };
            let fake = &members[index];
            if fake.admin != Admin::Maint {
                return Err("the member is not in maintenance");
            }
            if fake.in_flight > 0 || fake.idle > 0 {
                return Err("the member still has connections");
            }
            members.remove(index);
            Ok(Applied::Applied)
        };
        self.change_members(epoch, "remove", &member, remove).await
    }
}
