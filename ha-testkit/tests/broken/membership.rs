//! A balancer that changes its members with one defect.

use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use ha_core::backend::{
    AddMember, Admin, Applied, Effect, ErrorKind, LoadBalancer, MemberRef, Membership, ObserveBalancer, SetAdmin,
    StepError, Weight,
};
use ha_core::state::{LeaseEpoch, MemberKind};
use ha_core::topology::Name;
use ha_testkit::conformance::Breach;
use ha_testkit::conformance::balancer::{Ability, HeldRequest, Subject, Trouble, Truth, WaitingRequest};
use ha_testkit::conformance::membership::{FakeMembershipFixture, MembershipFixture, MembershipSubject};

/// What is wrong with changes of members.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum MembershipDefect {
    SaysAddedAndDoesNothing,
    SaysRemovedAndDoesNothing,
    AddNeverSaysAlreadySo,
    RemoveNeverSaysAlreadySo,
    AddedMemberIsReady,
    AddedMemberIsBackup,
    AddForgetsTheWeight,
    AddForgetsTheAddress,
    AddTakesOutWhatServes,
    AnotherAddressIsAlreadySo,
    RemovesWhatServes,
    RemovesWithARequestInFlight,
    ConflictIsOfUnknownEffect,
    UnknownPoolIsAlreadySo,
    EpochIsIgnored,
    TimeoutIsWithoutEffect,
    UnreachableIsAlreadySo,
    AddIsHalfDoneWhenDropped,
    AddRemovesAnotherMember,
}

pub(crate) const MEMBERSHIP_DEFECTS: &[MembershipDefect] = &[
    MembershipDefect::SaysAddedAndDoesNothing,
    MembershipDefect::SaysRemovedAndDoesNothing,
    MembershipDefect::AddNeverSaysAlreadySo,
    MembershipDefect::RemoveNeverSaysAlreadySo,
    MembershipDefect::AddedMemberIsReady,
    MembershipDefect::AddedMemberIsBackup,
    MembershipDefect::AddForgetsTheWeight,
    MembershipDefect::AddForgetsTheAddress,
    MembershipDefect::AddTakesOutWhatServes,
    MembershipDefect::AnotherAddressIsAlreadySo,
    MembershipDefect::RemovesWhatServes,
    MembershipDefect::RemovesWithARequestInFlight,
    MembershipDefect::ConflictIsOfUnknownEffect,
    MembershipDefect::UnknownPoolIsAlreadySo,
    MembershipDefect::EpochIsIgnored,
    MembershipDefect::TimeoutIsWithoutEffect,
    MembershipDefect::UnreachableIsAlreadySo,
    MembershipDefect::AddIsHalfDoneWhenDropped,
    MembershipDefect::AddRemovesAnotherMember,
];

/// Fakes with one defect.
pub(crate) struct BrokenMembershipFixture(pub(crate) MembershipDefect);

#[async_trait]
impl MembershipFixture for BrokenMembershipFixture {
    fn name(&self) -> String {
        format!("{:?}", self.0)
    }

    fn can(&self, ability: Ability) -> bool {
        FakeMembershipFixture.can(ability)
    }

    async fn fresh(&self, pool: &Name, members: &[Name]) -> Result<Box<dyn MembershipSubject>, Breach> {
        let inner = FakeMembershipFixture.fresh(pool, members).await?;
        let membership = BrokenMembership { defect: self.0, inner: inner.membership(), balancer: inner.balancer() };
        Ok(Box::new(BrokenMembershipSubject { inner, membership: Arc::new(membership) }))
    }
}

struct BrokenMembershipSubject {
    inner: Box<dyn MembershipSubject>,
    membership: Arc<BrokenMembership>,
}

impl MembershipSubject for BrokenMembershipSubject {
    fn membership(&self) -> Arc<dyn Membership> {
        self.membership.clone()
    }

    fn spare(&self) -> (Name, SocketAddr) {
        self.inner.spare()
    }
}

#[async_trait]
impl Subject for BrokenMembershipSubject {
    fn balancer(&self) -> Arc<dyn LoadBalancer> {
        self.inner.balancer()
    }

    async fn truth(&self, member: &Name) -> Result<Option<Truth>, Breach> {
        self.inner.truth(member).await
    }

    async fn request(&self) -> Result<Option<Name>, Breach> {
        self.inner.request().await
    }

    async fn hold(&self, member: &Name) -> Result<Box<dyn HeldRequest>, Breach> {
        self.inner.hold(member).await
    }

    async fn queue(&self) -> Result<Box<dyn WaitingRequest>, Breach> {
        self.inner.queue().await
    }

    async fn restart(&self) -> Result<(), Breach> {
        self.inner.restart().await
    }

    async fn trouble(&self, trouble: Option<Trouble>) -> Result<(), Breach> {
        self.inner.trouble(trouble).await
    }
}

#[derive(Debug)]
struct BrokenMembership {
    defect: MembershipDefect,
    inner: Arc<dyn Membership>,
    balancer: Arc<dyn LoadBalancer>,
}

impl BrokenMembership {
    async fn set(&self, epoch: LeaseEpoch, member: &MemberRef, admin: Admin) -> Result<Applied, StepError> {
        self.balancer.set_admin(epoch, SetAdmin::new(member.clone(), admin)).await
    }

    fn epoch(&self, epoch: LeaseEpoch) -> LeaseEpoch {
        if self.defect == MembershipDefect::EpochIsIgnored { LeaseEpoch::new(10) } else { epoch }
    }

    fn ended(&self, answer: Result<Applied, StepError>) -> Result<Applied, StepError> {
        let Err(error) = answer else { return answer };
        let again = StepError::new(error.kind(), error.operation(), error.target());
        match (self.defect, error.kind()) {
            (MembershipDefect::ConflictIsOfUnknownEffect, ErrorKind::Conflict) => Err(again),
            (MembershipDefect::TimeoutIsWithoutEffect, ErrorKind::Timeout) => Err(again.without_effect()),
            (MembershipDefect::UnknownPoolIsAlreadySo, ErrorKind::NotFound)
            | (MembershipDefect::UnreachableIsAlreadySo, ErrorKind::Unreachable)
            | (MembershipDefect::AnotherAddressIsAlreadySo, ErrorKind::Conflict)
                if error.effect() == Effect::None =>
            {
                Ok(Applied::AlreadySo)
            }
            _ => Err(error),
        }
    }
}

ha_core::forward!(impl ObserveBalancer for BrokenMembership, |this| this.inner);

#[async_trait]
impl Membership for BrokenMembership {
    async fn add(&self, epoch: LeaseEpoch, mut request: AddMember) -> Result<Applied, StepError> {
        let (epoch, member) = (self.epoch(epoch), request.member.clone());
        match self.defect {
            MembershipDefect::SaysAddedAndDoesNothing => {
                return self.inner.members(&member.pool).await.map(|_| Applied::Applied);
            }
            MembershipDefect::AddedMemberIsBackup => request.kind = MemberKind::Backup,
            MembershipDefect::AddForgetsTheWeight => request.weight = Weight::ONE,
            MembershipDefect::AddForgetsTheAddress => request.address = ([127, 0, 0, 1], 1).into(),
            MembershipDefect::AddTakesOutWhatServes => drop(self.set(epoch, &member, Admin::Maint).await),
            MembershipDefect::AddIsHalfDoneWhenDropped => {
                // First with the default weight, then with the right one.
                let weight = std::mem::replace(&mut request.weight, Weight::ONE);
                let applied = self.ended(self.inner.add(epoch, request).await)?;
                let right = ha_core::backend::SetWeight::new(member, weight);
                return self.balancer.set_weight(epoch, right).await.map(|_| applied);
            }
            _ => {}
        }
        let mut answer = self.ended(self.inner.add(epoch, request).await);
        match self.defect {
            MembershipDefect::AddNeverSaysAlreadySo => answer = answer.map(|_| Applied::Applied),
            MembershipDefect::AddedMemberIsReady if answer.is_ok() => {
                drop(self.set(epoch, &member, Admin::Ready).await)
            }
            MembershipDefect::AddRemovesAnotherMember if answer.is_ok() => {
                let other = MemberRef::new(member.pool, Name::new("esb1").unwrap());
                self.set(epoch, &other, Admin::Maint).await?;
                self.inner.remove(epoch, other).await?;
            }
            _ => {}
        }
        answer
    }

    async fn remove(&self, epoch: LeaseEpoch, member: MemberRef) -> Result<Applied, StepError> {
        let epoch = self.epoch(epoch);
        match self.defect {
            MembershipDefect::SaysRemovedAndDoesNothing => return Ok(Applied::Applied),
            MembershipDefect::RemovesWhatServes => drop(self.set(epoch, &member, Admin::Maint).await),
            MembershipDefect::RemovesWithARequestInFlight => {
                let consent = ha_core::backend::CutConsent::by("a defect");
                let close = ha_core::backend::CloseSessions::new(member.clone(), consent);
                drop(self.balancer.close_sessions(epoch, close).await);
            }
            _ => {}
        }
        let answer = self.ended(self.inner.remove(epoch, member).await);
        if self.defect == MembershipDefect::RemoveNeverSaysAlreadySo {
            answer.map(|_| Applied::Applied)
        } else {
            answer
        }
    }
}
