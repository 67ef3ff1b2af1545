//! The suite for workloads is proven itself: it runs on workloads with one defect each, and fails if one survives.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[macro_use]
mod proof;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use ha_core::backend::{Applied, ErrorKind, ObserveWorkload, StepError, Workload};
use ha_core::state::{LeaseEpoch, Work};
use ha_testkit::conformance::Breach;
use ha_testkit::conformance::workload::{
    CASES, FakeWorkloadFixture, Pulling, WorkloadAbility, WorkloadFixture, WorkloadSubject,
};
use proof::every_defect_is_caught;

defects! {
    QuiesceDoesNothing QuiesceSaysApplied QuiesceSaysAlreadySo QuiesceLivesInTheValue QuiesceIsUndoneByARestart
    QuiesceIsATurn QuiesceComesLate
    ResumeDoesNothing ResumeSaysApplied ResumeSaysAlreadySo ResumeWaitsForWhatIsInProgress
    OffWhenItWasAsked OffAlways OnAlways ReadsTheFirst ReadsItsOwnOrder
    ReadQuiesces ReadResumes ReadEndsWhatIsInProgress
    UnreachableIsOff UnreachableIsOn UnreachableIsTimeout UnreachableHasAnUnknownEffect CountLostIsZero
    NoFenceForQuiesce NoFenceForResume FencedIsConflict
}

struct Broken {
    defect: Defect,
    inner: Arc<dyn Workload>,
    subject: Arc<dyn WorkloadSubject>,
    first: Mutex<Option<Work>>,
    asked: Mutex<Option<Work>>,
    quiesced: AtomicBool,
}

impl std::fmt::Debug for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Broken({:?})", self.defect)
    }
}

const EPOCH: LeaseEpoch = LeaseEpoch::new(11);

impl Broken {
    fn is(&self, defect: Defect) -> bool {
        self.defect == defect
    }

    fn epoch(&self, epoch: LeaseEpoch, unfenced: Defect) -> LeaseEpoch {
        if self.is(unfenced) { LeaseEpoch::new(epoch.number().max(EPOCH.number())) } else { epoch }
    }

    fn spoil<T>(&self, answer: Result<T, StepError>) -> Result<T, StepError> {
        let error = match answer {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        let again = |kind| StepError::new(kind, error.operation(), error.target());
        Err(match (self.defect, error.kind()) {
            (Defect::FencedIsConflict, ErrorKind::Fenced) => again(ErrorKind::Conflict).without_effect(),
            (Defect::UnreachableIsTimeout, ErrorKind::Unreachable) => again(ErrorKind::Timeout).without_effect(),
            (Defect::UnreachableHasAnUnknownEffect, ErrorKind::Unreachable) => again(ErrorKind::Unreachable),
            _ => error,
        })
    }
}

#[async_trait]
impl ObserveWorkload for Broken {
    async fn work(&self) -> Result<Work, StepError> {
        let truth = self.subject.truth().await.unwrap();
        match self.defect {
            Defect::OffAlways => return Ok(Work::Off),
            Defect::OnAlways => return Ok(Work::On),
            Defect::OffWhenItWasAsked if !truth.pulls => return Ok(Work::Off),
            Defect::ReadQuiesces => drop(self.inner.quiesce(EPOCH).await),
            Defect::ReadResumes => drop(self.inner.resume(EPOCH).await),
            Defect::ReadEndsWhatIsInProgress => self.subject.finish().await.unwrap(),
            _ => {}
        }
        let told = self.spoil(self.inner.work().await);
        let asked = *self.asked.lock().unwrap();
        match (self.defect, told) {
            (Defect::UnreachableIsOff, Err(_)) => Ok(Work::Off),
            (Defect::UnreachableIsOn, Err(_)) => Ok(Work::On),
            (Defect::CountLostIsZero, Err(_)) if !truth.pulls => Ok(Work::Off),
            (Defect::ReadsTheFirst, Ok(told)) => Ok(*self.first.lock().unwrap().get_or_insert(told)),
            (Defect::ReadsItsOwnOrder | Defect::QuiesceLivesInTheValue, Ok(told)) => Ok(asked.unwrap_or(told)),
            (_, told) => told,
        }
    }
}

#[async_trait]
impl Workload for Broken {
    async fn quiesce(&self, epoch: LeaseEpoch) -> Result<Applied, StepError> {
        *self.asked.lock().unwrap() = Some(Work::Off);
        match self.defect {
            Defect::QuiesceDoesNothing | Defect::QuiesceLivesInTheValue => return Ok(Applied::Applied),
            Defect::QuiesceIsATurn if self.quiesced.fetch_xor(true, Ordering::SeqCst) => {
                return self.inner.resume(epoch).await;
            }
            Defect::QuiesceComesLate => {
                let inner = self.inner.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_millis(350)).await;
                    inner.quiesce(EPOCH).await
                });
            }
            _ => {}
        }
        let done = self.spoil(self.inner.quiesce(self.epoch(epoch, Defect::NoFenceForQuiesce)).await)?;
        Ok(match self.defect {
            Defect::QuiesceSaysApplied => Applied::Applied,
            Defect::QuiesceSaysAlreadySo => Applied::AlreadySo,
            _ => done,
        })
    }

    async fn resume(&self, epoch: LeaseEpoch) -> Result<Applied, StepError> {
        *self.asked.lock().unwrap() = Some(Work::On);
        let truth = self.subject.truth().await.unwrap();
        match self.defect {
            Defect::ResumeDoesNothing => return Ok(Applied::Applied),
            Defect::ResumeWaitsForWhatIsInProgress if truth.in_progress > 0 => return Ok(Applied::Applied),
            _ => {}
        }
        let done = self.spoil(self.inner.resume(self.epoch(epoch, Defect::NoFenceForResume)).await)?;
        Ok(match self.defect {
            Defect::ResumeSaysApplied => Applied::Applied,
            Defect::ResumeSaysAlreadySo => Applied::AlreadySo,
            _ => done,
        })
    }
}

struct BrokenFixture(Option<Defect>);

struct BrokenSubject {
    defect: Defect,
    inner: Arc<dyn WorkloadSubject>,
    workload: Arc<dyn Workload>,
}

fn broken(defect: Defect, inner: Arc<dyn Workload>, subject: Arc<dyn WorkloadSubject>) -> Arc<dyn Workload> {
    let (first, asked, quiesced) = (Mutex::default(), Mutex::default(), AtomicBool::default());
    Arc::new(Broken { defect, inner, subject, first, asked, quiesced })
}

#[async_trait]
impl WorkloadFixture for BrokenFixture {
    fn name(&self) -> String {
        "a workload in memory".into()
    }

    fn can(&self, ability: WorkloadAbility) -> bool {
        FakeWorkloadFixture::new().can(ability)
    }

    async fn fresh(&self) -> Result<Box<dyn WorkloadSubject>, Breach> {
        let inner = FakeWorkloadFixture::new().fresh().await?;
        let Some(defect) = self.0 else { return Ok(inner) };
        let inner: Arc<dyn WorkloadSubject> = inner.into();
        let workload = broken(defect, inner.workload(), inner.clone());
        Ok(Box::new(BrokenSubject { defect, inner, workload }))
    }
}

#[async_trait]
impl WorkloadSubject for BrokenSubject {
    fn workload(&self) -> Arc<dyn Workload> {
        self.workload.clone()
    }

    fn another(&self) -> Arc<dyn Workload> {
        broken(self.defect, self.inner.another(), self.inner.clone())
    }

    async fn truth(&self) -> Result<Pulling, Breach> {
        self.inner.truth().await
    }

    async fn begin(&self) -> Result<(), Breach> {
        self.inner.begin().await
    }

    async fn finish(&self) -> Result<(), Breach> {
        self.inner.finish().await
    }

    async fn restart(&self) -> Result<(), Breach> {
        if self.defect == Defect::QuiesceIsUndoneByARestart {
            self.inner.workload().resume(EPOCH).await.unwrap();
        }
        self.inner.restart().await
    }

    async fn lose(&self) -> Result<(), Breach> {
        self.inner.lose().await
    }

    async fn lose_count(&self) -> Result<(), Breach> {
        self.inner.lose_count().await
    }
}

#[tokio::test(start_paused = true)]
async fn every_defect_of_a_workload_is_caught() {
    let broken = |defect| Box::new(BrokenFixture(Some(defect))) as Box<dyn WorkloadFixture>;
    every_defect_is_caught("workloads", CASES, &BrokenFixture(None), DEFECTS, broken).await;
}
