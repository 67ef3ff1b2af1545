//! The suite for provisioners is proven itself: it runs on provisioners with one defect each, and fails if one survives.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[macro_use]
mod proof;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use ha_core::backend::{
    Applied, Deprovision, ErrorKind, Installation, ObserveProvisioner, Provision, Provisioner, StepError,
};
use ha_core::state::LeaseEpoch;
use ha_testkit::conformance::Breach;
use ha_testkit::conformance::provisioner::{
    CASES, FakeProvisionerFixture, ProvisionerAbility, ProvisionerFixture, ProvisionerSubject,
};
use proof::every_defect_is_caught;

defects! {
    InstallDoesNothing InstallSaysApplied InstallSaysAlreadySo InstallLivesInTheValue InstallsTheReleaseOnly
    InstallComparesTheReleaseOnly InstallComparesTheConfigurationOnly InstallLeavesHalf
    RemoveDoesNothing RemoveSaysApplied RemoveSaysAlreadySo RemoveLeavesHalf HalfIsNotRemoved
    DeadlineIsIgnored DeadlineHasAnUnknownEffect
    NoFenceForInstall NoFenceForRemove FencedIsConflict
    ReadsNothing ReadsTheFirst ReadsTheReleaseOnly ReadsHalfAsWhole ReadInstalls ReadRemoves MissingRemoves
    UnreachableIsNothing UnreachableIsTimeout UnreachableHasAnUnknownEffect
}

struct Broken {
    defect: Defect,
    inner: Arc<dyn Provisioner>,
    subject: Arc<dyn ProvisionerSubject>,
    asked: Mutex<Option<Installation>>,
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

    fn epoch(&self, epoch: LeaseEpoch, unfenced: Defect) -> LeaseEpoch {
        if self.is(unfenced) { LeaseEpoch::new(epoch.number().max(11)) } else { epoch }
    }

    fn deadline(&self, deadline: Duration) -> Duration {
        if self.is(Defect::DeadlineIsIgnored) { deadline.max(Duration::from_secs(1)) } else { deadline }
    }

    fn spoil<T>(&self, answer: Result<T, StepError>) -> Result<T, StepError> {
        let error = match answer {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        let again = |kind| StepError::new(kind, error.operation(), error.target());
        Err(match (self.defect, error.kind()) {
            (Defect::DeadlineHasAnUnknownEffect, ErrorKind::Timeout) => again(ErrorKind::Timeout),
            (Defect::FencedIsConflict, ErrorKind::Fenced) => again(ErrorKind::Conflict).without_effect(),
            (Defect::UnreachableIsTimeout, ErrorKind::Unreachable) => again(ErrorKind::Timeout).without_effect(),
            (Defect::UnreachableHasAnUnknownEffect, ErrorKind::Unreachable) => again(ErrorKind::Unreachable),
            _ => error,
        })
    }

    /// Remembers the first thing that was asked for.
    fn note(&self, wanted: &Installation) {
        self.asked.lock().unwrap().get_or_insert_with(|| wanted.clone());
    }

    /// Does what the defect does instead of an installation; `None` where it is whole.
    async fn instead(&self, wanted: &Installation) -> Option<Applied> {
        let there = self.subject.truth().await.unwrap();
        let same = |compared: &dyn Fn(&Installation) -> bool| there.as_ref().is_some_and(compared);
        match self.defect {
            Defect::InstallDoesNothing | Defect::InstallLivesInTheValue if there.as_ref() != Some(wanted) => {
                Some(Applied::Applied)
            }
            Defect::InstallComparesTheReleaseOnly if same(&|there| there.release == wanted.release) => {
                Some(Applied::AlreadySo)
            }
            Defect::InstallComparesTheConfigurationOnly
                if same(&|there| there.configuration == wanted.configuration) =>
            {
                Some(Applied::AlreadySo)
            }
            Defect::InstallsTheReleaseOnly if there.is_some() => {
                let kept = there.unwrap().configuration;
                self.subject.install(&Installation::new(wanted.release.clone(), kept)).await.unwrap();
                Some(Applied::Applied)
            }
            Defect::InstallLeavesHalf => {
                self.subject.install(wanted).await.unwrap();
                self.subject.tear().await.unwrap();
                Some(Applied::Applied)
            }
            _ => None,
        }
    }
}

#[async_trait]
impl ObserveProvisioner for Broken {
    async fn installation(&self) -> Result<Option<Installation>, StepError> {
        let read = self.spoil(self.inner.installation().await);
        if self.is(Defect::UnreachableIsNothing) && read.is_err() {
            return Ok(None);
        }
        let found = read?;
        let first = self.asked.lock().unwrap().clone();
        Ok(match self.defect {
            Defect::ReadsNothing => None,
            Defect::ReadsTheFirst | Defect::InstallLivesInTheValue => first.or(found),
            Defect::ReadsTheReleaseOnly => found.map(|found| Installation::new(found.release, "")),
            Defect::ReadsHalfAsWhole if found.is_none() => Some(self.subject.offers()[0].clone()),
            Defect::ReadInstalls if found.is_none() => {
                self.subject.install(&self.subject.offers()[0]).await.unwrap();
                found
            }
            Defect::ReadRemoves if found.is_some() => {
                self.inner.deprovision(LeaseEpoch::new(10), Deprovision::new()).await?;
                found
            }
            _ => found,
        })
    }

    async fn missing(&self) -> Result<Vec<String>, StepError> {
        if self.is(Defect::MissingRemoves) {
            self.subject.tear().await.unwrap();
        }
        self.inner.missing().await
    }
}

#[async_trait]
impl Provisioner for Broken {
    async fn provision(&self, epoch: LeaseEpoch, request: Provision) -> Result<Applied, StepError> {
        let wanted = request.installation.clone();
        self.note(&wanted);
        if let Some(done) = self.instead(&wanted).await {
            return Ok(done);
        }
        let deadline = self.deadline(request.deadline);
        let epoch = self.epoch(epoch, Defect::NoFenceForInstall);
        let done = self.spoil(self.inner.provision(epoch, request.with_deadline(deadline)).await)?;
        Ok(match self.defect {
            Defect::InstallSaysApplied => Applied::Applied,
            Defect::InstallSaysAlreadySo => Applied::AlreadySo,
            _ => done,
        })
    }

    async fn deprovision(&self, epoch: LeaseEpoch, request: Deprovision) -> Result<Applied, StepError> {
        let there = self.subject.truth().await.unwrap();
        match self.defect {
            Defect::RemoveDoesNothing if there.is_some() => return Ok(Applied::Applied),
            Defect::HalfIsNotRemoved if there.is_none() => return Ok(Applied::AlreadySo),
            // Its release is gone, and what else belongs to it is there: nobody sees that but the next installation.
            Defect::RemoveLeavesHalf if there.is_some() => {
                self.subject.install(&Installation::new("", there.unwrap().configuration)).await.unwrap();
                return Ok(Applied::Applied);
            }
            _ => {}
        }
        let deadline = self.deadline(request.deadline);
        let epoch = self.epoch(epoch, Defect::NoFenceForRemove);
        let done = self.spoil(self.inner.deprovision(epoch, request.with_deadline(deadline)).await)?;
        Ok(match self.defect {
            Defect::RemoveSaysApplied => Applied::Applied,
            Defect::RemoveSaysAlreadySo => Applied::AlreadySo,
            _ => done,
        })
    }
}

struct BrokenFixture(Option<Defect>);

struct BrokenSubject {
    defect: Defect,
    inner: Arc<dyn ProvisionerSubject>,
    provisioner: Arc<dyn Provisioner>,
}

fn broken(defect: Defect, inner: Arc<dyn Provisioner>, subject: Arc<dyn ProvisionerSubject>) -> Arc<dyn Provisioner> {
    Arc::new(Broken { defect, inner, subject, asked: Mutex::default() })
}

#[async_trait]
impl ProvisionerFixture for BrokenFixture {
    fn name(&self) -> String {
        "a provisioner in memory".into()
    }

    fn can(&self, ability: ProvisionerAbility) -> bool {
        FakeProvisionerFixture::new().can(ability)
    }

    async fn fresh(&self) -> Result<Box<dyn ProvisionerSubject>, Breach> {
        let inner = FakeProvisionerFixture::new().fresh().await?;
        let Some(defect) = self.0 else { return Ok(inner) };
        let inner: Arc<dyn ProvisionerSubject> = inner.into();
        let provisioner = broken(defect, inner.provisioner(), inner.clone());
        Ok(Box::new(BrokenSubject { defect, inner, provisioner }))
    }
}

#[async_trait]
impl ProvisionerSubject for BrokenSubject {
    fn provisioner(&self) -> Arc<dyn Provisioner> {
        self.provisioner.clone()
    }

    fn another(&self) -> Arc<dyn Provisioner> {
        broken(self.defect, self.inner.another(), self.inner.clone())
    }

    fn offers(&self) -> [Installation; 3] {
        self.inner.offers()
    }

    async fn truth(&self) -> Result<Option<Installation>, Breach> {
        self.inner.truth().await
    }

    async fn is_empty(&self) -> Result<bool, Breach> {
        self.inner.is_empty().await
    }

    async fn install(&self, installation: &Installation) -> Result<(), Breach> {
        self.inner.install(installation).await
    }

    async fn tear(&self) -> Result<(), Breach> {
        self.inner.tear().await
    }

    async fn lose(&self) -> Result<(), Breach> {
        self.inner.lose().await
    }
}

#[tokio::test(start_paused = true)]
async fn every_defect_of_a_provisioner_is_caught() {
    let broken = |defect| Box::new(BrokenFixture(Some(defect))) as Box<dyn ProvisionerFixture>;
    every_defect_is_caught("provisioners", CASES, &BrokenFixture(None), DEFECTS, broken).await;
}
