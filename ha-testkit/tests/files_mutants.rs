//! The suite for file syncs is proven itself: it runs on syncs with one defect each, and fails if one survives.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[macro_use]
mod proof;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::Mutex;

use async_trait::async_trait;
use ha_core::backend::{
    Applied, ErrorKind, FileSync, HandWriter, HoldFiles, ObserveFileSync, ReleaseFiles, Shared, StepError,
};
use ha_core::state::{Generation, LeaseEpoch, Sync, WriterEpoch};
use ha_core::topology::Name;
use ha_testkit::conformance::Breach;
use ha_testkit::conformance::files::{CASES, FakeFilesFixture, FilesAbility, FilesFixture, FilesSubject};
use proof::every_defect_is_caught;

defects! {
    HoldDoesNothing HoldSaysApplied HoldLivesInTheValue HoldHoldsAll
    ReleaseDoesNothing ReleaseSaysApplied
    HandOverDoesNothing HandOverSaysApplied LowerWriterIsTaken HandOverIgnoresTheEpoch
    NoFenceForHold NoFenceForRelease NoFenceForHandOver FencedIsConflict FencedHasAnUnknownEffect
    UnknownNodesAreOpen UnknownIsUnreachable
    SyncIsAlwaysActive SyncIsAlwaysHeld WriterIsNobody WriterIsEverybody SeenIsForgotten
    GenerationIsConstant GenerationIsOfTheWriter DigestIsTheNumberOfLooks
}

#[derive(Debug)]
struct Broken {
    defect: Defect,
    inner: Arc<dyn FileSync>,
    held: Mutex<BTreeSet<Name>>,
    looks: Mutex<u64>,
}

impl Broken {
    fn new(defect: Defect, inner: Arc<dyn FileSync>) -> Self {
        Self { defect, inner, held: Mutex::default(), looks: Mutex::default() }
    }

    fn is(&self, defect: Defect) -> bool {
        self.defect == defect
    }

    fn epoch(&self, epoch: LeaseEpoch, verb: Defect) -> LeaseEpoch {
        if self.is(verb) { LeaseEpoch::new(epoch.number().max(10)) } else { epoch }
    }

    fn spoil<T>(&self, answer: Result<T, StepError>) -> Result<T, StepError> {
        let error = match answer {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        let again = |kind| StepError::new(kind, error.operation(), error.target());
        Err(match (self.defect, error.kind()) {
            (Defect::FencedIsConflict, ErrorKind::Fenced) => again(ErrorKind::Conflict).without_effect(),
            (Defect::FencedHasAnUnknownEffect, ErrorKind::Fenced) => again(ErrorKind::Fenced),
            (Defect::UnknownIsUnreachable, ErrorKind::NotFound) => again(ErrorKind::Unreachable).without_effect(),
            _ => error,
        })
    }
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

#[async_trait]
impl ObserveFileSync for Broken {
    async fn shared(&self, node: &Name) -> Result<Shared, StepError> {
        let found = self.spoil(self.inner.shared(node).await);
        if self.is(Defect::UnknownNodesAreOpen) && found.is_err() {
            return Ok(Shared::new(Sync::Active, None));
        }
        let mut seen = found?;
        match self.defect {
            Defect::SyncIsAlwaysActive if seen.sync == Sync::Held => seen.sync = Sync::Active,
            Defect::SyncIsAlwaysHeld if seen.sync == Sync::Active => seen.sync = Sync::Held,
            Defect::HoldLivesInTheValue if self.held.lock().unwrap().contains(node) => seen.sync = Sync::Held,
            Defect::WriterIsNobody => seen.writer = WriterEpoch::default(),
            Defect::WriterIsEverybody => seen.writer = seen.seen,
            Defect::SeenIsForgotten => seen.seen = WriterEpoch::new(1),
            Defect::GenerationIsConstant => seen.generation = Some(Generation::new(1, "g1")),
            Defect::GenerationIsOfTheWriter => seen.generation = self.inner.shared(&name("esb1")).await?.generation,
            Defect::DigestIsTheNumberOfLooks => {
                let mut looks = self.looks.lock().unwrap();
                *looks += 1;
                seen.generation = seen.generation.map(|set| Generation::new(set.sequence, looks.to_string()));
            }
            _ => {}
        }
        Ok(seen)
    }

    async fn missing(&self, node: &Name) -> Result<Vec<String>, StepError> {
        self.inner.missing(node).await
    }
}

#[async_trait]
impl FileSync for Broken {
    async fn hold(&self, epoch: LeaseEpoch, request: HoldFiles) -> Result<Applied, StepError> {
        match self.defect {
            Defect::HoldDoesNothing => return Ok(Applied::Applied),
            Defect::HoldLivesInTheValue => {
                let new = self.held.lock().unwrap().insert(request.node);
                return Ok(if new { Applied::Applied } else { Applied::AlreadySo });
            }
            Defect::HoldHoldsAll => {
                for other in ["esb2", "esb3"] {
                    let _ = self.inner.hold(epoch, HoldFiles::new(name(other))).await;
                }
            }
            _ => {}
        }
        let held = self.spoil(self.inner.hold(self.epoch(epoch, Defect::NoFenceForHold), request).await)?;
        Ok(if self.is(Defect::HoldSaysApplied) { Applied::Applied } else { held })
    }

    async fn release(&self, epoch: LeaseEpoch, request: ReleaseFiles) -> Result<Applied, StepError> {
        self.held.lock().unwrap().remove(&request.node);
        if matches!(self.defect, Defect::ReleaseDoesNothing) {
            return Ok(Applied::Applied);
        }
        let released = self.spoil(self.inner.release(self.epoch(epoch, Defect::NoFenceForRelease), request).await)?;
        Ok(if self.is(Defect::ReleaseSaysApplied) { Applied::Applied } else { released })
    }

    async fn hand_writer(&self, epoch: LeaseEpoch, request: HandWriter) -> Result<Applied, StepError> {
        let HandWriter { node, writer, .. } = request;
        let writer = match self.defect {
            Defect::HandOverDoesNothing => return Ok(Applied::Applied),
            Defect::LowerWriterIsTaken => writer.max(self.inner.shared(&node).await?.seen.next()),
            Defect::HandOverIgnoresTheEpoch => self.inner.shared(&node).await?.seen.next(),
            _ => writer,
        };
        let epoch = self.epoch(epoch, Defect::NoFenceForHandOver);
        let handed = self.spoil(self.inner.hand_writer(epoch, HandWriter::new(node, writer)).await)?;
        Ok(if self.is(Defect::HandOverSaysApplied) { Applied::Applied } else { handed })
    }
}

struct BrokenFixture(Option<Defect>);

struct BrokenSubject {
    defect: Defect,
    inner: Box<dyn FilesSubject>,
    files: Arc<dyn FileSync>,
}

#[async_trait]
impl FilesFixture for BrokenFixture {
    fn name(&self) -> String {
        "a file sync in memory".into()
    }

    fn can(&self, ability: FilesAbility) -> bool {
        FakeFilesFixture.can(ability)
    }

    async fn fresh(&self, nodes: &[Name]) -> Result<Box<dyn FilesSubject>, Breach> {
        let inner = FakeFilesFixture.fresh(nodes).await?;
        let Some(defect) = self.0 else { return Ok(inner) };
        let files = Arc::new(Broken::new(defect, inner.files()));
        Ok(Box::new(BrokenSubject { defect, inner, files }))
    }
}

#[async_trait]
impl FilesSubject for BrokenSubject {
    fn files(&self) -> Arc<dyn FileSync> {
        self.files.clone()
    }

    fn another(&self) -> Arc<dyn FileSync> {
        Arc::new(Broken::new(self.defect, self.inner.another()))
    }

    async fn truth(&self, node: &Name) -> Result<Option<u64>, Breach> {
        self.inner.truth(node).await
    }

    async fn put(&self, node: &Name, number: u64) -> Result<(), Breach> {
        self.inner.put(node, number).await
    }

    async fn settle(&self) -> Result<(), Breach> {
        self.inner.settle().await
    }
}

#[tokio::test(start_paused = true)]
async fn every_defect_of_a_file_sync_is_caught() {
    let broken = |defect| Box::new(BrokenFixture(Some(defect))) as Box<dyn FilesFixture>;
    every_defect_is_caught("file syncs", CASES, &BrokenFixture(None), DEFECTS, broken).await;
}
