//! The suite for artifact stores is proven itself: it runs on stores with one defect each, and fails if one survives.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[macro_use]
mod proof;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use ha_core::backend::{
    Applied, ArtifactStore, ErrorKind, Kept, ObserveArtifactStore, PruneArtifacts, PutArtifact, StepError,
};
use ha_core::state::{Generation, LeaseEpoch};
use ha_core::topology::Name;
use ha_testkit::conformance::Breach;
use ha_testkit::conformance::artifacts::{
    ArtifactsAbility, ArtifactsFixture, ArtifactsSubject, Built, CASES, FakeArtifactsFixture,
};
use proof::every_defect_is_caught;

defects! {
    PutDoesNothing PutSaysApplied PutSaysAlreadySo PutLivesInTheValue PutIsListedBeforeItIsThere PutSwallowsARefusal
    PutBelievesTheName PutOfNothingIsWell PutOfAnotherSetIsWell PutOfAnotherSetIsDenied AbsentSourceIsConflict
    ConflictHasAnUnknownEffect ChangedSourceIsKept FullDiskIsConflict FullDiskHasAnUnknownEffect
    DamagedIsWhole DamagedIsAbsent WholeIsDamaged AbsentIsWhole NumberIsIgnored DamageIsNotReplaced AllAreDamagedWithOne
    ListIsOldestFirst ListIsEmpty ListHasTwice ListHasWhatIsAbsent
    NobodyHasAPlace PlaceIsOneForAll PlaceIsRelative PlaceOfWhatIsAbsent EverybodyHasAPlace PlaceIsElsewhere
    NoFenceForPut NoFenceForPrune FencedIsConflict FencedHasAnUnknownEffect
    PruneDoesNothing PruneSaysApplied PruneSaysAlreadySo PruneTakesTheNewest PruneTakesWhatIsInUse PruneKeepsOneMore
    PruneTakesOneMore PruneAsksOnlyForTheFirstInUse
    MissingIsTold
}

#[derive(Debug)]
struct Broken {
    defect: Defect,
    inner: Arc<dyn ArtifactStore>,
    /// What was put through this value, with what is known of it, and what was listed of it.
    mine: Mutex<Vec<Generation>>,
}

impl Broken {
    fn new(defect: Defect, inner: Arc<dyn ArtifactStore>) -> Self {
        Self { defect, inner, mine: Mutex::default() }
    }

    fn is(&self, defect: Defect) -> bool {
        self.defect == defect
    }

    fn epoch(&self, epoch: LeaseEpoch, verb: Defect) -> LeaseEpoch {
        if self.is(verb) { LeaseEpoch::new(epoch.number().max(11)) } else { epoch }
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
            (Defect::PutOfAnotherSetIsDenied, ErrorKind::Conflict) => again(ErrorKind::Denied).without_effect(),
            (Defect::ConflictHasAnUnknownEffect, ErrorKind::Conflict) => again(ErrorKind::Conflict),
            (Defect::AbsentSourceIsConflict, ErrorKind::NotFound) => again(ErrorKind::Conflict).without_effect(),
            (Defect::FullDiskIsConflict, ErrorKind::Denied) => again(ErrorKind::Conflict).without_effect(),
            (Defect::FullDiskHasAnUnknownEffect, ErrorKind::Denied) => again(ErrorKind::Denied),
            _ => error,
        })
    }
}

#[async_trait]
impl ObserveArtifactStore for Broken {
    async fn generations(&self) -> Result<Vec<Generation>, StepError> {
        let mut found = self.inner.generations().await?;
        match self.defect {
            Defect::ListIsOldestFirst => found.reverse(),
            Defect::ListIsEmpty => found.clear(),
            Defect::ListHasTwice => found.extend(found.clone()),
            Defect::ListHasWhatIsAbsent => found.push(Generation::new(10, "g10")),
            Defect::PutIsListedBeforeItIsThere | Defect::PutLivesInTheValue => {
                for set in self.mine.lock().unwrap().iter() {
                    if !found.contains(set) {
                        found.push(set.clone());
                    }
                }
            }
            _ => {}
        }
        Ok(found)
    }

    async fn keeps(&self, set: &Generation) -> Result<Kept, StepError> {
        let kept = self.inner.keeps(set).await?;
        let listed = self.inner.generations().await?;
        let named = listed.iter().any(|listed| listed.digest == set.digest);
        Ok(match (self.defect, kept) {
            (Defect::DamagedIsWhole, Kept::Damaged(_)) if listed.contains(set) => Kept::Whole,
            (Defect::DamagedIsAbsent, Kept::Damaged(_)) => Kept::Absent,
            (Defect::WholeIsDamaged, Kept::Whole) => Kept::Damaged("it is old".into()),
            (Defect::AbsentIsWhole, Kept::Absent) => Kept::Whole,
            (Defect::NumberIsIgnored, Kept::Damaged(_)) if named && !listed.contains(set) => Kept::Whole,
            (Defect::PutLivesInTheValue, Kept::Absent) if self.mine.lock().unwrap().contains(set) => Kept::Whole,
            (Defect::AllAreDamagedWithOne, kept) => {
                for other in &listed {
                    if let Kept::Damaged(what) = self.inner.keeps(other).await? {
                        return Ok(Kept::Damaged(what));
                    }
                }
                kept
            }
            (_, kept) => kept,
        })
    }

    async fn place(&self, node: &Name, set: &Generation) -> Result<Option<String>, StepError> {
        let place = self.inner.place(node, set).await?;
        Ok(match self.defect {
            Defect::NobodyHasAPlace => None,
            Defect::PlaceIsOneForAll => place.map(|_| "/artifacts/g10".into()),
            Defect::PlaceIsRelative => place.map(|place| place.trim_start_matches('/').into()),
            Defect::PlaceOfWhatIsAbsent => Some(format!("/artifacts/{}", set.digest)),
            Defect::EverybodyHasAPlace if place.is_none() && self.inner.keeps(set).await? == Kept::Whole => {
                Some(format!("/artifacts/{}", set.digest))
            }
            Defect::PlaceIsElsewhere => place.map(|place| format!("/mnt{place}")),
            _ => place,
        })
    }

    async fn missing(&self, node: &Name) -> Result<Vec<String>, StepError> {
        if self.is(Defect::MissingIsTold) {
            return Ok(vec!["setting folder: something".into()]);
        }
        self.inner.missing(node).await
    }
}

#[async_trait]
impl ArtifactStore for Broken {
    async fn put(&self, epoch: LeaseEpoch, request: PutArtifact) -> Result<Applied, StepError> {
        let set = request.generation.clone();
        match self.defect {
            Defect::PutDoesNothing => return Ok(Applied::Applied),
            Defect::PutLivesInTheValue => {
                let mut mine = self.mine.lock().unwrap();
                if mine.contains(&set) {
                    return Ok(Applied::AlreadySo);
                }
                mine.push(set);
                return Ok(Applied::Applied);
            }
            Defect::PutIsListedBeforeItIsThere => self.mine.lock().unwrap().push(set.clone()),
            Defect::PutBelievesTheName | Defect::DamageIsNotReplaced => {
                let listed = self.inner.generations().await?;
                let by_name = |listed: &Generation| match self.defect {
                    Defect::PutBelievesTheName => listed.digest == set.digest,
                    _ => *listed == set,
                };
                if listed.iter().any(by_name) {
                    return Ok(Applied::AlreadySo);
                }
            }
            _ => {}
        }
        let epoch = self.epoch(epoch, Defect::NoFenceForPut);
        let put = self.spoil(self.inner.put(epoch, request.clone()).await);
        let failed = put.as_ref().err().map(StepError::kind);
        match (self.defect, failed) {
            (Defect::PutSaysApplied, None) => Ok(Applied::Applied),
            (Defect::PutSaysAlreadySo, None) => Ok(Applied::AlreadySo),
            (Defect::PutOfNothingIsWell, Some(ErrorKind::NotFound)) => Ok(Applied::Applied),
            (Defect::PutOfAnotherSetIsWell, Some(ErrorKind::Conflict)) => Ok(Applied::Applied),
            (Defect::PutSwallowsARefusal, Some(ErrorKind::Denied)) => Ok(Applied::Applied),
            // It looked at the source before the copy only.
            (Defect::ChangedSourceIsKept, Some(ErrorKind::Conflict)) => Ok(Applied::AlreadySo),
            _ => put,
        }
    }

    async fn prune(&self, epoch: LeaseEpoch, mut request: PruneArtifacts) -> Result<Applied, StepError> {
        match self.defect {
            Defect::PruneDoesNothing => return Ok(Applied::Applied),
            Defect::PruneTakesTheNewest => {
                let newest = self.inner.generations().await?.into_iter().next();
                let all = self.inner.generations().await?;
                let others = all.into_iter().filter(|set| Some(set) != newest.as_ref());
                request = PruneArtifacts::new(0).with_in_use(others);
            }
            Defect::PruneTakesWhatIsInUse => request.in_use.clear(),
            Defect::PruneAsksOnlyForTheFirstInUse => request.in_use.truncate(1),
            Defect::PruneKeepsOneMore => request.keep += 1,
            Defect::PruneTakesOneMore => request.keep = request.keep.saturating_sub(1),
            _ => {}
        }
        let epoch = self.epoch(epoch, Defect::NoFenceForPrune);
        let pruned = self.spoil(self.inner.prune(epoch, request).await)?;
        Ok(match self.defect {
            Defect::PruneSaysApplied => Applied::Applied,
            Defect::PruneSaysAlreadySo => Applied::AlreadySo,
            _ => pruned,
        })
    }
}

struct BrokenFixture(Option<Defect>);

struct BrokenSubject {
    defect: Defect,
    inner: Box<dyn ArtifactsSubject>,
    store: Arc<dyn ArtifactStore>,
}

#[async_trait]
impl ArtifactsFixture for BrokenFixture {
    fn name(&self) -> String {
        "an artifact store in memory".into()
    }

    fn can(&self, ability: ArtifactsAbility) -> bool {
        FakeArtifactsFixture.can(ability)
    }

    async fn fresh(&self, nodes: &[Name]) -> Result<Box<dyn ArtifactsSubject>, Breach> {
        let inner = FakeArtifactsFixture.fresh(nodes).await?;
        let Some(defect) = self.0 else { return Ok(inner) };
        let store = Arc::new(Broken::new(defect, inner.store()));
        Ok(Box::new(BrokenSubject { defect, inner, store }))
    }
}

#[async_trait]
impl ArtifactsSubject for BrokenSubject {
    fn store(&self) -> Arc<dyn ArtifactStore> {
        self.store.clone()
    }

    fn another(&self) -> Arc<dyn ArtifactStore> {
        Arc::new(Broken::new(self.defect, self.inner.another()))
    }

    async fn build(&self, what: Built, number: u64) -> Result<(String, Generation), Breach> {
        self.inner.build(what, number).await
    }

    async fn change(&self, source: &str) -> Result<(), Breach> {
        self.inner.change(source).await
    }

    async fn truth(&self, node: &Name, place: &str, set: &Generation) -> Result<Option<bool>, Breach> {
        self.inner.truth(node, place, set).await
    }

    async fn flip(&self, set: &Generation) -> Result<(), Breach> {
        self.inner.flip(set).await
    }

    async fn fill(&self, full: bool) -> Result<(), Breach> {
        self.inner.fill(full).await
    }

    async fn put_killed(&self, epoch: LeaseEpoch, request: PutArtifact, after: Duration) -> Result<(), Breach> {
        if self.defect == Defect::PutIsListedBeforeItIsThere {
            let put = self.store.put(epoch, request);
            let _ = tokio::time::timeout(Duration::from_millis(60), put).await;
            return Ok(());
        }
        self.inner.put_killed(epoch, request, after).await
    }
}

#[tokio::test(start_paused = true)]
async fn every_defect_of_an_artifact_store_is_caught() {
    let broken = |defect| Box::new(BrokenFixture(Some(defect))) as Box<dyn ArtifactsFixture>;
    every_defect_is_caught("artifact stores", CASES, &BrokenFixture(None), DEFECTS, broken).await;
}
