//! Writes that are carried out wrongly.

use ha_core::backend::{Admin, Applied, Closed, ErrorKind, MemberRef, StepError, Weight};
use ha_core::state::LeaseEpoch;

use super::{Broken, Defect};

impl Broken {
    pub(super) async fn broken_set_admin(
        &self,
        epoch: LeaseEpoch,
        row: &MemberRef,
        admin: Admin,
    ) -> Result<Applied, StepError> {
        match self.defect {
            Defect::SaysAppliedAndDoesNothing => self.inner.member(row).await.map(|_| Applied::Applied),
            Defect::AlwaysSaysAlreadySo => self.admin_of(epoch, row, admin).await.map(|_| Applied::AlreadySo),
            Defect::NeverSaysAlreadySo => self.admin_of(epoch, row, admin).await.map(|_| Applied::Applied),
            Defect::RemembersWhatItSetAndAsksNobody => {
                if self.state.lock().unwrap().admins.get(row) == Some(&admin) {
                    return Ok(Applied::AlreadySo);
                }
                let applied = self.admin_of(epoch, row, admin).await?;
                self.state.lock().unwrap().admins.insert(row.clone(), admin);
                Ok(applied)
            }
            Defect::SetsAllMembers => {
                let applied = self.admin_of(epoch, row, admin).await?;
                for (name, _) in self.inner.members(&row.pool).await? {
                    self.admin_of(epoch, &MemberRef::new(row.pool.clone(), name), admin).await?;
                }
                Ok(applied)
            }
            Defect::DrainIsMaintenance if admin == Admin::Drain => self.admin_of(epoch, row, Admin::Maint).await,
            Defect::MaintenanceIsDrain if admin == Admin::Maint => self.admin_of(epoch, row, Admin::Drain).await,
            Defect::TogglesInsteadOfSetting if self.inner.member(row).await?.admin == admin => {
                self.admin_of(epoch, row, Admin::Ready).await.map(|_| Applied::AlreadySo)
            }
            Defect::GoesToMaintenanceOverDrain if admin == Admin::Maint => {
                if self.inner.member(row).await?.admin == Admin::Ready {
                    self.admin_of(epoch, row, Admin::Drain).await?;
                }
                self.admin_of(epoch, row, Admin::Maint).await
            }
            Defect::CountersAreResetByMaintenance if admin == Admin::Maint => {
                let applied = self.admin_of(epoch, row, admin).await?;
                let counters = self.inner.member(row).await?.counters;
                self.state.lock().unwrap().counters.insert(row.clone(), counters);
                Ok(applied)
            }
            Defect::ReadyResetsTheWeight if admin == Admin::Ready => {
                self.weight_of(epoch, row, Weight::new(100)).await?;
                self.admin_of(epoch, row, admin).await
            }
            Defect::ReadyForgetsItsEffect if admin == Admin::Ready => {
                self.admin_of(epoch, row, admin).await.map(|_| Applied::AlreadySo)
            }
            Defect::StateWritesTheWeightBack => {
                let weight = self.inner.member(row).await?.weight;
                let applied = self.admin_of(epoch, row, admin).await?;
                self.weight_of(epoch, row, weight).await?;
                Ok(applied)
            }
            Defect::DrainCutsRequests if admin == Admin::Drain => {
                let applied = self.admin_of(epoch, row, admin).await?;
                self.close_of(epoch, row).await?;
                Ok(applied)
            }
            _ => self.admin_of(epoch, row, admin).await,
        }
    }

    pub(super) async fn broken_set_weight(
        &self,
        epoch: LeaseEpoch,
        row: &MemberRef,
        weight: Weight,
    ) -> Result<Applied, StepError> {
        let number = weight.number();
        let off = |kind| Err(StepError::new(kind, "set_weight", row.to_string()).without_effect());
        match self.defect {
            Defect::ClaimsWeightsAndRefusesThem => off(ErrorKind::Unsupported),
            Defect::WeightIsOneMore => self.weight_of(epoch, row, Weight::new(number + 1)).await,
            Defect::WeightZeroIsOne => self.weight_of(epoch, row, Weight::new(number.max(1))).await,
            Defect::WeightIsCutTo255 => self.weight_of(epoch, row, Weight::new(number.min(255))).await,
            Defect::WeightSaysAlreadySo => self.weight_of(epoch, row, weight).await.map(|_| Applied::AlreadySo),
            Defect::WeightMakesReady => {
                let applied = self.weight_of(epoch, row, weight).await?;
                self.admin_of(epoch, row, Admin::Ready).await?;
                Ok(applied)
            }
            Defect::WeightIsOfAllMembers => {
                let applied = self.weight_of(epoch, row, weight).await?;
                for (name, _) in self.inner.members(&row.pool).await? {
                    self.weight_of(epoch, &MemberRef::new(row.pool.clone(), name), weight).await?;
                }
                Ok(applied)
            }
            _ => self.weight_of(epoch, row, weight).await,
        }
    }

    pub(super) async fn broken_close(&self, epoch: LeaseEpoch, row: &MemberRef) -> Result<Closed, StepError> {
        match self.defect {
            Defect::ClaimsToCloseAndRefuses => {
                Err(StepError::new(ErrorKind::Unsupported, "close_sessions", row.to_string()).without_effect())
            }
            Defect::CloseCountsNothing => self.close_of(epoch, row).await.map(|_| Closed::new(0)),
            Defect::CloseCountsOneTooMany => self.close_of(epoch, row).await.map(|some| Closed::new(some.sessions + 1)),
            Defect::ClosesNothing => {
                let there = self.inner.quiescence(row).await?;
                Ok(Closed::new(there.sessions))
            }
            Defect::ClosesTheNeighboursToo => {
                let closed = self.close_of(epoch, row).await?;
                for (name, _) in self.inner.members(&row.pool).await? {
                    self.close_of(epoch, &MemberRef::new(row.pool.clone(), name)).await?;
                }
                Ok(closed)
            }
            Defect::ClosesAndHoldsOut => {
                let closed = self.close_of(epoch, row).await?;
                self.admin_of(epoch, row, Admin::Maint).await?;
                Ok(closed)
            }
            _ => self.close_of(epoch, row).await,
        }
    }
}
