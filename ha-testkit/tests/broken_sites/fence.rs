use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use async_trait::async_trait;
use ha_core::backend::{Applied, ErrorKind, Fence, FenceLevel, FenceSite, Fenced, ObserveFence, StepError};
use ha_core::state::LeaseEpoch;
use ha_testkit::conformance::Breach;
use ha_testkit::conformance::fence::{FakeFenceFixture, FenceAbility, FenceFixture, FenceSubject};

use super::{another_kind, newest, with_unknown_effect};

defects! {
    FenceDoesNothing FenceSaysApplied FenceSaysAlreadySo FenceIsDoneInHalf FenceLivesInTheValue
    LiftDoesNothing LiftSaysApplied LiftSaysAlreadySo
    LostSiteIsFencedByThat LostSiteCannotBeFenced RestartLiftsIt
    FencedIsYes FencedIsNo FencedLifts HalfIsWhole LevelGrows
    DeadlineIsIgnored DeadlineHasAnUnknownEffect NoFence FencedIsConflict UnreachableIsNo UnreachableIsFenced
}

struct Broken {
    defect: Defect,
    inner: Arc<dyn Fence>,
    subject: Arc<dyn FenceSubject>,
    lost: Arc<AtomicBool>,
    torn: Arc<AtomicBool>,
    fenced_here: AtomicBool,
    asked: AtomicU64,
}

impl std::fmt::Debug for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Broken({:?})", self.defect)
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
impl ObserveFence for Broken {
    fn level(&self) -> FenceLevel {
        let asked = self.asked.fetch_add(1, Ordering::SeqCst);
        if self.is(Defect::LevelGrows) && asked > 0 { FenceLevel::Power } else { self.inner.level() }
    }

    async fn fenced(&self) -> Result<Fenced, StepError> {
        let told = self.inner.fenced().await;
        match self.defect {
            Defect::FencedIsYes => Ok(Fenced::Yes),
            Defect::FencedIsNo => Ok(Fenced::No),
            Defect::UnreachableIsNo => told.or(Ok(Fenced::No)),
            Defect::LostSiteIsFencedByThat if self.lost.load(Ordering::SeqCst) => Ok(Fenced::Yes),
            Defect::HalfIsWhole if self.torn.load(Ordering::SeqCst) => Ok(Fenced::Yes),
            Defect::FenceLivesInTheValue if self.fenced_here.load(Ordering::SeqCst) => Ok(Fenced::Yes),
            Defect::FencedLifts => {
                self.inner.lift(newest(LeaseEpoch::new(0))).await?;
                told
            }
            _ => told,
        }
    }
}

#[async_trait]
impl Fence for Broken {
    async fn fence(&self, lease: LeaseEpoch, mut request: FenceSite) -> Result<Applied, StepError> {
        if self.is(Defect::FenceDoesNothing) {
            return Ok(Applied::Applied);
        }
        if self.is(Defect::FenceLivesInTheValue) {
            let was = self.fenced_here.swap(true, Ordering::SeqCst);
            return Ok(if was { Applied::AlreadySo } else { Applied::Applied });
        }
        if self.is(Defect::FenceIsDoneInHalf) {
            self.subject.tear().await.unwrap();
            return Ok(Applied::Applied);
        }
        if self.is(Defect::LostSiteCannotBeFenced) && self.lost.load(Ordering::SeqCst) {
            return Err(StepError::new(ErrorKind::Unreachable, "fence", "north").without_effect());
        }
        if self.is(Defect::DeadlineIsIgnored) {
            request = FenceSite::new(request.epoch);
        }
        let fenced = self.inner.fence(self.lease(lease), request).await;
        if self.is(Defect::UnreachableIsFenced) && fenced.is_err() {
            return Ok(Applied::Applied);
        }
        let fenced = self.spoil(fenced)?;
        self.torn.store(false, Ordering::SeqCst);
        Ok(match self.defect {
            Defect::FenceSaysApplied => Applied::Applied,
            Defect::FenceSaysAlreadySo => Applied::AlreadySo,
            _ => fenced,
        })
    }

    async fn lift(&self, lease: LeaseEpoch) -> Result<Applied, StepError> {
        if self.is(Defect::LiftDoesNothing) {
            return Ok(Applied::Applied);
        }
        if self.is(Defect::FenceLivesInTheValue) {
            let was = self.fenced_here.swap(false, Ordering::SeqCst);
            return Ok(if was { Applied::Applied } else { Applied::AlreadySo });
        }
        let lifted = self.spoil(self.inner.lift(self.lease(lease)).await)?;
        Ok(match self.defect {
            Defect::LiftSaysApplied => Applied::Applied,
            Defect::LiftSaysAlreadySo => Applied::AlreadySo,
            _ => lifted,
        })
    }
}

pub(crate) struct Fixture(pub(crate) Option<Defect>);

struct Subject {
    defect: Defect,
    inner: Arc<dyn FenceSubject>,
    fence: Arc<dyn Fence>,
    lost: Arc<AtomicBool>,
    torn: Arc<AtomicBool>,
}

impl Subject {
    fn broken(&self, inner: Arc<dyn Fence>) -> Arc<dyn Fence> {
        Arc::new(Broken {
            defect: self.defect,
            inner,
            subject: self.inner.clone(),
            lost: self.lost.clone(),
            torn: self.torn.clone(),
            fenced_here: AtomicBool::new(false),
            asked: AtomicU64::new(0),
        })
    }
}

#[async_trait]
impl FenceFixture for Fixture {
    fn name(&self) -> String {
        "a fence in memory".into()
    }

    fn can(&self, ability: FenceAbility) -> bool {
        FakeFenceFixture::new().can(ability)
    }

    async fn fresh(&self) -> Result<Box<dyn FenceSubject>, Breach> {
        let inner = FakeFenceFixture::new().fresh().await?;
        let Some(defect) = self.0 else { return Ok(inner) };
        let (inner, lost, torn): (Arc<dyn FenceSubject>, _, _) = (inner.into(), Arc::default(), Arc::default());
        let mut subject = Subject { defect, fence: inner.fence(), inner, lost, torn };
        subject.fence = subject.broken(subject.fence.clone());
        Ok(Box::new(subject))
    }
}

#[async_trait]
impl FenceSubject for Subject {
    fn fence(&self) -> Arc<dyn Fence> {
        self.fence.clone()
    }

    fn another(&self) -> Arc<dyn Fence> {
        self.broken(self.inner.another())
    }

    async fn truth(&self) -> Result<Fenced, Breach> {
        self.inner.truth().await
    }

    async fn tear(&self) -> Result<(), Breach> {
        self.torn.store(true, Ordering::SeqCst);
        self.inner.tear().await
    }

    async fn lose_site(&self) -> Result<(), Breach> {
        self.lost.store(true, Ordering::SeqCst);
        self.inner.lose_site().await
    }

    async fn restart_site(&self) -> Result<(), Breach> {
        self.inner.restart_site().await?;
        if self.defect == Defect::RestartLiftsIt {
            self.inner
                .fence()
                .lift(newest(LeaseEpoch::new(0)))
                .await
                .map_err(|error| Breach::new(error.to_string()))?;
        }
        Ok(())
    }

    async fn lose_fence(&self) -> Result<(), Breach> {
        self.inner.lose_fence().await
    }
}
