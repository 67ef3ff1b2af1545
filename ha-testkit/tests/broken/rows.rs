//! A balancer that changes its rows with one defect.

use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use ha_core::backend::{
    AddMember, Admin, Applied, Effect, ErrorKind, LoadBalancer, MemberRef, Membership, ObserveBalancer, SetAdmin,
    StepError, Weight,
};
use ha_core::state::{LeaseEpoch, RowKind};
use ha_core::topology::Name;
use ha_testkit::conformance::Breach;
use ha_testkit::conformance::balancer::{Ability, HeldRequest, Subject, Trouble, Truth};
use ha_testkit::conformance::membership::{FakeMembershipFixture, MembershipFixture, MembershipSubject};

/// What is wrong with changes of rows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum RowDefect {
    SaysAddedAndDoesNothing,
    SaysRemovedAndDoesNothing,
    AddNeverSaysAlreadySo,
    RemoveNeverSaysAlreadySo,
    AddedRowIsReady,
    AddedRowIsBackup,
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
    AddRemovesAnotherRow,
}

pub(crate) const ROW_DEFECTS: &[RowDefect] = &[
    RowDefect::SaysAddedAndDoesNothing,
    RowDefect::SaysRemovedAndDoesNothing,
    RowDefect::AddNeverSaysAlreadySo,
    RowDefect::RemoveNeverSaysAlreadySo,
    RowDefect::AddedRowIsReady,
    RowDefect::AddedRowIsBackup,
    RowDefect::AddForgetsTheWeight,
    RowDefect::AddForgetsTheAddress,
    RowDefect::AddTakesOutWhatServes,
    RowDefect::AnotherAddressIsAlreadySo,
    RowDefect::RemovesWhatServes,
    RowDefect::RemovesWithARequestInFlight,
    RowDefect::ConflictIsOfUnknownEffect,
    RowDefect::UnknownPoolIsAlreadySo,
    RowDefect::EpochIsIgnored,
    RowDefect::TimeoutIsWithoutEffect,
    RowDefect::UnreachableIsAlreadySo,
    RowDefect::AddIsHalfDoneWhenDropped,
    RowDefect::AddRemovesAnotherRow,
];

/// Fakes with one defect.
pub(crate) struct BrokenRowsFixture(pub(crate) RowDefect);

#[async_trait]
impl MembershipFixture for BrokenRowsFixture {
    fn name(&self) -> String {
        format!("{:?}", self.0)
    }

    fn can(&self, ability: Ability) -> bool {
        FakeMembershipFixture.can(ability)
    }

    async fn fresh(&self, pool: &Name, members: &[Name]) -> Result<Box<dyn MembershipSubject>, Breach> {
        let inner = FakeMembershipFixture.fresh(pool, members).await?;
        let rows = BrokenRows { defect: self.0, rows: inner.membership(), balancer: inner.balancer() };
        Ok(Box::new(BrokenRowsSubject { inner, rows: Arc::new(rows) }))
    }
}

struct BrokenRowsSubject {
    inner: Box<dyn MembershipSubject>,
    rows: Arc<BrokenRows>,
}

impl MembershipSubject for BrokenRowsSubject {
    fn membership(&self) -> Arc<dyn Membership> {
        self.rows.clone()
    }

    fn spare(&self) -> (Name, SocketAddr) {
        self.inner.spare()
    }
}

#[async_trait]
impl Subject for BrokenRowsSubject {
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

    async fn restart(&self) -> Result<(), Breach> {
        self.inner.restart().await
    }

    async fn trouble(&self, trouble: Option<Trouble>) -> Result<(), Breach> {
        self.inner.trouble(trouble).await
    }
}

#[derive(Debug)]
struct BrokenRows {
    defect: RowDefect,
    rows: Arc<dyn Membership>,
    balancer: Arc<dyn LoadBalancer>,
}

impl BrokenRows {
    async fn set(&self, epoch: LeaseEpoch, row: &MemberRef, admin: Admin) -> Result<Applied, StepError> {
        self.balancer.set_admin(epoch, SetAdmin::new(row.clone(), admin)).await
    }

    fn epoch(&self, epoch: LeaseEpoch) -> LeaseEpoch {
        if self.defect == RowDefect::EpochIsIgnored { LeaseEpoch::new(10) } else { epoch }
    }

    fn ended(&self, answer: Result<Applied, StepError>) -> Result<Applied, StepError> {
        let Err(error) = answer else { return answer };
        let again = StepError::new(error.kind(), error.operation(), error.target());
        match (self.defect, error.kind()) {
            (RowDefect::ConflictIsOfUnknownEffect, ErrorKind::Conflict) => Err(again),
            (RowDefect::TimeoutIsWithoutEffect, ErrorKind::Timeout) => Err(again.without_effect()),
            (RowDefect::UnknownPoolIsAlreadySo, ErrorKind::NotFound)
            | (RowDefect::UnreachableIsAlreadySo, ErrorKind::Unreachable)
            | (RowDefect::AnotherAddressIsAlreadySo, ErrorKind::Conflict)
                if error.effect() == Effect::None =>
            {
                Ok(Applied::AlreadySo)
            }
            _ => Err(error),
        }
    }
}

ha_core::forward!(impl ObserveBalancer for BrokenRows, |this| this.rows);

#[async_trait]
impl Membership for BrokenRows {
    async fn add(&self, epoch: LeaseEpoch, mut request: AddMember) -> Result<Applied, StepError> {
        let (epoch, row) = (self.epoch(epoch), request.member.clone());
        match self.defect {
            RowDefect::SaysAddedAndDoesNothing => return self.rows.members(&row.pool).await.map(|_| Applied::Applied),
            RowDefect::AddedRowIsBackup => request.row = RowKind::Backup,
            RowDefect::AddForgetsTheWeight => request.weight = Weight::ONE,
            RowDefect::AddForgetsTheAddress => request.address = ([127, 0, 0, 1], 1).into(),
            RowDefect::AddTakesOutWhatServes => drop(self.set(epoch, &row, Admin::Maint).await),
            RowDefect::AddIsHalfDoneWhenDropped => {
                // First with the default weight, then with the right one.
                let weight = std::mem::replace(&mut request.weight, Weight::ONE);
                let applied = self.ended(self.rows.add(epoch, request).await)?;
                let right = ha_core::backend::SetWeight::new(row, weight);
                return self.balancer.set_weight(epoch, right).await.map(|_| applied);
            }
            _ => {}
        }
        let mut answer = self.ended(self.rows.add(epoch, request).await);
        match self.defect {
            RowDefect::AddNeverSaysAlreadySo => answer = answer.map(|_| Applied::Applied),
            RowDefect::AddedRowIsReady if answer.is_ok() => drop(self.set(epoch, &row, Admin::Ready).await),
            RowDefect::AddRemovesAnotherRow if answer.is_ok() => {
                let other = MemberRef::new(row.pool, Name::new("esb1").unwrap());
                self.set(epoch, &other, Admin::Maint).await?;
                self.rows.remove(epoch, other).await?;
            }
            _ => {}
        }
        answer
    }

    async fn remove(&self, epoch: LeaseEpoch, row: MemberRef) -> Result<Applied, StepError> {
        let epoch = self.epoch(epoch);
        match self.defect {
            RowDefect::SaysRemovedAndDoesNothing => return Ok(Applied::Applied),
            RowDefect::RemovesWhatServes => drop(self.set(epoch, &row, Admin::Maint).await),
            RowDefect::RemovesWithARequestInFlight => {
                let consent = ha_core::backend::CutConsent::by("a defect");
                let close = ha_core::backend::CloseSessions::new(row.clone(), consent);
                drop(self.balancer.close_sessions(epoch, close).await);
            }
            _ => {}
        }
        let answer = self.ended(self.rows.remove(epoch, row).await);
        if self.defect == RowDefect::RemoveNeverSaysAlreadySo { answer.map(|_| Applied::Applied) } else { answer }
    }
}
