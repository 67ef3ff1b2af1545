//! Writes that are carried out wrongly.

use ha_core::backend::{Admin, Applied, Closed, ErrorKind, MemberRef, StepError, Weight};
use ha_core::state::LeaseEpoch;

use super::{Broken, Defect};

impl Broken {
    pub(super) async fn broken_set_admin(
        &self,
        epoch: LeaseEpoch,
        member: &MemberRef,
        admin: Admin,
    ) -> Result<Applied, StepError> {
        match self.defect {
            Defect::SaysAppliedAndDoesNothing => self.inner.member(member).await.map(|_| Applied::Applied),
            Defect::AlwaysSaysAlreadySo => self.admin_of(epoch, member, admin).await.map(|_| Applied::AlreadySo),
            Defect::NeverSaysAlreadySo => self.admin_of(epoch, member, admin).await.map(|_| Applied::Applied),
            Defect::RemembersWhatItSetAndAsksNobody => {
                if self.state.lock().unwrap().admins.get(member) == Some(&admin) {
                    return Ok(Applied::AlreadySo);
                }
                let applied = self.admin_of(epoch, member, admin).await?;
                self.state.lock().unwrap().admins.insert(member.clone(), admin);
                Ok(applied)
            }
            Defect::SetsAllMembers => {
                let applied = self.admin_of(epoch, member, admin).await?;
                for (name, _) in self.inner.members(&member.pool).await? {
                    self.admin_of(epoch, &MemberRef::new(member.pool.clone(), name), admin).await?;
                }
                Ok(applied)
            }
            Defect::DrainIsMaintenance if admin == Admin::Drain => self.admin_of(epoch, member, Admin::Maint).await,
            Defect::MaintenanceIsDrain if admin == Admin::Maint => self.admin_of(epoch, member, Admin::Drain).await,
            Defect::TogglesInsteadOfSetting if self.inner.member(member).await?.admin == admin => {
                self.admin_of(epoch, member, Admin::Ready).await.map(|_| Applied::AlreadySo)
            }
            Defect::GoesToMaintenanceOverDrain if admin == Admin::Maint => {
                if self.inner.member(member).await?.admin == Admin::Ready {
                    self.admin_of(epoch, member, Admin::Drain).await?;
                }
                self.admin_of(epoch, member, Admin::Maint).await
            }
            Defect::CountersAreResetByMaintenance if admin == Admin::Maint => {
                let applied = self.admin_of(epoch, member, admin).await?;
                let counters = self.inner.member(member).await?.counters;
                self.state.lock().unwrap().counters.insert(member.clone(), counters);
                Ok(applied)
            }
            Defect::ReadyResetsTheWeight if admin == Admin::Ready => {
                self.weight_of(epoch, member, Weight::new(100)).await?;
                self.admin_of(epoch, member, admin).await
            }
            Defect::ReadyForgetsItsEffect if admin == Admin::Ready => {
                self.admin_of(epoch, member, admin).await.map(|_| Applied::AlreadySo)
            }
            Defect::StateWritesTheWeightBack => {
                let weight = self.inner.member(member).await?.weight;
                let applied = self.admin_of(epoch, member, admin).await?;
                self.weight_of(epoch, member, weight).await?;
                Ok(applied)
            }
            Defect::DrainCutsRequests if admin == Admin::Drain => {
                let applied = self.admin_of(epoch, member, admin).await?;
                self.close_of(epoch, member).await?;
                Ok(applied)
            }
            _ => self.admin_of(epoch, member, admin).await,
        }
    }

    pub(super) async fn broken_set_weight(
        &self,
        epoch: LeaseEpoch,
        member: &MemberRef,
        weight: Weight,
    ) -> Result<Applied, StepError> {
        let number = weight.number();
        let off = |kind| Err(StepError::new(kind, "set_weight", member.to_string()).without_effect());
        match self.defect {
            Defect::ClaimsWeightsAndRefusesThem => off(ErrorKind::Unsupported),
            Defect::WeightIsOneMore => self.weight_of(epoch, member, Weight::new(number + 1)).await,
            Defect::WeightZeroIsOne => self.weight_of(epoch, member, Weight::new(number.max(1))).await,
            Defect::WeightIsCutTo255 => self.weight_of(epoch, member, Weight::new(number.min(255))).await,
            Defect::WeightSaysAlreadySo => self.weight_of(epoch, member, weight).await.map(|_| Applied::AlreadySo),
            Defect::WeightMakesReady => {
                let applied = self.weight_of(epoch, member, weight).await?;
                self.admin_of(epoch, member, Admin::Ready).await?;
                Ok(applied)
            }
            Defect::WeightIsOfAllMembers => {
                let applied = self.weight_of(epoch, member, weight).await?;
                for (name, _) in self.inner.members(&member.pool).await? {
                    self.weight_of(epoch, &MemberRef::new(member.pool.clone(), name), weight).await?;
                }
                Ok(applied)
            }
            _ => self.weight_of(epoch, member, weight).await,
        }
    }

    pub(super) async fn broken_close(&self, epoch: LeaseEpoch, member: &MemberRef) -> Result<Closed, StepError> {
        match self.defect {
            Defect::ClaimsToCloseAndRefuses => {
                Err(StepError::new(ErrorKind::Unsupported, "close_sessions", member.to_string()).without_effect())
            }
            Defect::CloseCountsNothing => self.close_of(epoch, member).await.map(|_| Closed::new(0)),
            Defect::CloseCountsOneTooMany => {
                self.close_of(epoch, member).await.map(|some| Closed::new(some.sessions + 1))
            }
            Defect::ClosesNothing => {
                let there = self.inner.quiescence(member).await?;
                Ok(Closed::new(there.sessions))
            }
            Defect::ClosesTheNeighboursToo => {
                let closed = self.close_of(epoch, member).await?;
                for (name, _) in self.inner.members(&member.pool).await? {
                    self.close_of(epoch, &MemberRef::new(member.pool.clone(), name)).await?;
                }
                Ok(closed)
            }
            Defect::ClosesAndHoldsOut => {
                let closed = self.close_of(epoch, member).await?;
                self.admin_of(epoch, member, Admin::Maint).await?;
                Ok(closed)
            }
            _ => self.close_of(epoch, member).await,
        }
    }
}
