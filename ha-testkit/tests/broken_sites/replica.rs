use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use ha_core::backend::{
    Applied, DemoteReplica, ErrorKind, FollowReplica, ObserveReplica, PromoteReplica, Replica, ReplicaRole,
    ReplicaSeen, StepError,
};
use ha_core::state::{LeaseEpoch, SiteEpoch};
use ha_testkit::conformance::Breach;
use ha_testkit::conformance::replica::{At, FakeReplicaFixture, ReplicaAbility, ReplicaFixture, ReplicaSubject};

use super::{another_kind, newest, with_unknown_effect};

defects! {
    PromoteDoesNothing PromoteSaysApplied PromoteSaysAlreadySo PromoteKeepsTheEpoch PromoteLeavesAPrimary
    TakesALowerEpoch LowerEpochIsDenied LowerEpochHasAnUnknownEffect StandbyTakesTheEpochOfItsPrimary
    DemoteDoesNothing DemoteSaysApplied DemoteSaysAlreadySo DemoteIsLiftedByARestart DemoteDoesNotWait
    LonelyDemotionHasNoEffect LonelyDemotionIsTimeout DemoteDemotesStandbys
    FollowDoesNothing FollowSaysApplied FollowSaysAlreadySo FollowDiscardsUnasked FollowNeverDiscards
    DivergenceIsDenied DivergenceHasAnUnknownEffect FollowsAnybody UnknownSiteIsConflict
    RoleIsStandby RoleIsPrimary DemotedIsStandby EpochIsZero EpochIsTheFirst PositionStays NoPosition ReplicaPromotes
    UnreachableIsStandby UnreachableIsPromoted
    DeadlineIsIgnored DeadlineHasAnUnknownEffect NoFence FencedIsConflict PromotionIsLostInARestart
}

struct Broken {
    defect: Defect,
    at: At,
    inner: Arc<dyn Replica>,
    subject: Arc<dyn ReplicaSubject>,
    parted: Arc<AtomicBool>,
}

impl std::fmt::Debug for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Broken({:?})", self.defect)
    }
}

fn other(at: At) -> At {
    match at {
        At::North => At::South,
        At::South => At::North,
    }
}

impl Broken {
    fn is(&self, defect: Defect) -> bool {
        self.defect == defect
    }

    fn lease(&self, lease: LeaseEpoch) -> LeaseEpoch {
        if self.is(Defect::NoFence) { newest(lease) } else { lease }
    }

    fn spoil<T>(&self, answer: Result<T, StepError>) -> Result<T, StepError> {
        match self.defect {
            Defect::FencedIsConflict => another_kind(answer, ErrorKind::Fenced, ErrorKind::Conflict),
            Defect::DeadlineHasAnUnknownEffect => with_unknown_effect(answer, ErrorKind::Timeout),
            _ => answer,
        }
    }
}

#[async_trait]
impl ObserveReplica for Broken {
    async fn replica(&self) -> Result<ReplicaSeen, StepError> {
        let told = self.inner.replica().await;
        if self.is(Defect::UnreachableIsStandby) && told.is_err() {
            return Ok(ReplicaSeen::new(ReplicaRole::Standby, SiteEpoch::new(1)));
        }
        let mut seen = told?;
        match self.defect {
            Defect::RoleIsStandby => seen.role = ReplicaRole::Standby,
            Defect::RoleIsPrimary => seen.role = ReplicaRole::Primary,
            Defect::DemotedIsStandby if seen.role == ReplicaRole::ReadOnly => seen.role = ReplicaRole::Standby,
            Defect::EpochIsZero => seen.epoch = SiteEpoch::new(0),
            Defect::EpochIsTheFirst => seen.epoch = SiteEpoch::new(1),
            Defect::PositionStays => seen.position = Some(7),
            Defect::NoPosition => seen.position = None,
            Defect::ReplicaPromotes if seen.role == ReplicaRole::Standby => {
                let higher = PromoteReplica::new(SiteEpoch::new(seen.epoch.number() + 1));
                self.inner.promote(newest(LeaseEpoch::new(0)), higher).await?;
            }
            _ => {}
        }
        Ok(seen)
    }
}

#[async_trait]
impl Replica for Broken {
    async fn promote(&self, lease: LeaseEpoch, mut request: PromoteReplica) -> Result<Applied, StepError> {
        let lease = self.lease(lease);
        let before = self.inner.replica().await.ok();
        match (self.defect, before) {
            (Defect::PromoteDoesNothing, _) => return Ok(Applied::Applied),
            (Defect::PromoteKeepsTheEpoch, Some(seen)) if seen.epoch < request.epoch && seen.epoch.number() > 1 => {
                request.epoch = SiteEpoch::new(seen.epoch.number());
            }
            (Defect::PromoteLeavesAPrimary, Some(seen)) if seen.role == ReplicaRole::Primary => {
                return Ok(if seen.epoch == request.epoch { Applied::AlreadySo } else { Applied::Applied });
            }
            (Defect::TakesALowerEpoch, Some(seen)) if seen.epoch > request.epoch => return Ok(Applied::Applied),
            (Defect::StandbyTakesTheEpochOfItsPrimary, Some(seen))
                if seen.role == ReplicaRole::Standby && seen.epoch == request.epoch =>
            {
                request.epoch = SiteEpoch::new(request.epoch.number() + 1);
            }
            (Defect::DeadlineIsIgnored, _) => request = PromoteReplica::new(request.epoch),
            _ => {}
        }
        let promoted = self.inner.promote(lease, request).await;
        let promoted = match self.defect {
            Defect::UnreachableIsPromoted => promoted.or(Ok(Applied::Applied)),
            Defect::LowerEpochIsDenied => another_kind(promoted, ErrorKind::Conflict, ErrorKind::Denied),
            Defect::LowerEpochHasAnUnknownEffect => with_unknown_effect(promoted, ErrorKind::Conflict),
            _ => self.spoil(promoted),
        }?;
        Ok(match self.defect {
            Defect::PromoteSaysApplied => Applied::Applied,
            Defect::PromoteSaysAlreadySo => Applied::AlreadySo,
            _ => promoted,
        })
    }

    async fn demote(&self, lease: LeaseEpoch, mut request: DemoteReplica) -> Result<Applied, StepError> {
        let lease = self.lease(lease);
        match self.defect {
            Defect::DemoteDoesNothing => return Ok(Applied::Applied),
            Defect::DemoteDoesNotWait if self.parted.load(Ordering::SeqCst) => {
                let at_once = DemoteReplica::new().with_deadline(std::time::Duration::from_millis(1));
                let _ = self.inner.demote(lease, at_once).await;
                return Ok(Applied::Applied);
            }
            Defect::DemoteDemotesStandbys => {
                if self.inner.replica().await?.role == ReplicaRole::Standby {
                    let higher = PromoteReplica::new(SiteEpoch::new(9));
                    self.inner.promote(lease, higher).await?;
                }
            }
            Defect::DeadlineIsIgnored => request = DemoteReplica::new(),
            _ => {}
        }
        let demoted = self.inner.demote(lease, request).await;
        let demoted = match self.defect {
            Defect::LonelyDemotionHasNoEffect => another_kind(demoted, ErrorKind::Conflict, ErrorKind::Conflict),
            Defect::LonelyDemotionIsTimeout => {
                with_unknown_effect(another_kind(demoted, ErrorKind::Conflict, ErrorKind::Timeout), ErrorKind::Timeout)
            }
            _ => self.spoil(demoted),
        }?;
        Ok(match self.defect {
            Defect::DemoteSaysApplied => Applied::Applied,
            Defect::DemoteSaysAlreadySo => Applied::AlreadySo,
            _ => demoted,
        })
    }

    async fn follow(&self, lease: LeaseEpoch, mut request: FollowReplica) -> Result<Applied, StepError> {
        match self.defect {
            Defect::FollowDoesNothing => return Ok(Applied::Applied),
            Defect::FollowDiscardsUnasked => request = request.discarding(),
            Defect::FollowNeverDiscards => request = FollowReplica::new(request.of),
            Defect::FollowsAnybody => request.of = other(self.at).site().into(),
            _ => {}
        }
        let followed = self.inner.follow(self.lease(lease), request).await;
        let followed = match self.defect {
            Defect::DivergenceIsDenied => another_kind(followed, ErrorKind::Conflict, ErrorKind::Denied),
            Defect::DivergenceHasAnUnknownEffect => with_unknown_effect(followed, ErrorKind::Conflict),
            Defect::UnknownSiteIsConflict => another_kind(followed, ErrorKind::NotFound, ErrorKind::Conflict),
            _ => self.spoil(followed),
        }?;
        Ok(match self.defect {
            Defect::FollowSaysApplied => Applied::Applied,
            Defect::FollowSaysAlreadySo => Applied::AlreadySo,
            _ => followed,
        })
    }
}

pub(crate) struct Fixture(pub(crate) Option<Defect>);

struct Subject {
    defect: Defect,
    inner: Arc<dyn ReplicaSubject>,
    copies: Vec<Arc<dyn Replica>>,
    parted: Arc<AtomicBool>,
}

impl Subject {
    fn broken(&self, at: At, inner: Arc<dyn Replica>) -> Arc<dyn Replica> {
        let (subject, parted) = (self.inner.clone(), self.parted.clone());
        Arc::new(Broken { defect: self.defect, at, inner, subject, parted })
    }
}

#[async_trait]
impl ReplicaFixture for Fixture {
    fn name(&self) -> String {
        "copies in memory".into()
    }

    fn can(&self, ability: ReplicaAbility) -> bool {
        FakeReplicaFixture::new().can(ability)
    }

    async fn fresh(&self) -> Result<Box<dyn ReplicaSubject>, Breach> {
        let inner = FakeReplicaFixture::new().fresh().await?;
        let Some(defect) = self.0 else { return Ok(inner) };
        let inner: Arc<dyn ReplicaSubject> = inner.into();
        let mut subject = Subject { defect, inner: inner.clone(), copies: Vec::new(), parted: Arc::default() };
        subject.copies = [At::North, At::South].map(|at| subject.broken(at, inner.replica(at))).into();
        Ok(Box::new(subject))
    }
}

#[async_trait]
impl ReplicaSubject for Subject {
    fn replica(&self, at: At) -> Arc<dyn Replica> {
        self.copies[usize::from(at == At::South)].clone()
    }

    fn another(&self, at: At) -> Arc<dyn Replica> {
        self.broken(at, self.inner.another(at))
    }

    async fn write(&self, at: At) -> Result<bool, Breach> {
        self.inner.write(at).await
    }

    async fn has(&self, at: At) -> Result<u64, Breach> {
        self.inner.has(at).await
    }

    async fn part(&self, parted: bool) -> Result<(), Breach> {
        self.parted.store(parted, Ordering::SeqCst);
        self.inner.part(parted).await
    }

    async fn restart(&self, at: At) -> Result<(), Breach> {
        self.inner.restart(at).await?;
        let copy = self.inner.replica(at);
        let seen = copy.replica().await.unwrap();
        let lease = newest(LeaseEpoch::new(0));
        match self.defect {
            Defect::DemoteIsLiftedByARestart if seen.role == ReplicaRole::ReadOnly => {
                copy.promote(lease, PromoteReplica::new(seen.epoch)).await.unwrap();
            }
            Defect::PromotionIsLostInARestart if seen.role == ReplicaRole::Primary && seen.epoch.number() > 1 => {
                copy.demote(lease, DemoteReplica::new().with_deadline(std::time::Duration::from_millis(1)))
                    .await
                    .unwrap_err();
            }
            _ => {}
        }
        Ok(())
    }

    async fn lose(&self, at: At) -> Result<(), Breach> {
        self.inner.lose(at).await
    }
}
