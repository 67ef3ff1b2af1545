use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use ha_core::backend::{ArtifactStore, PutArtifact};
use ha_core::state::{Generation, LeaseEpoch};
use ha_core::topology::Name;

use super::{ArtifactsAbility, ArtifactsFixture, ArtifactsSubject, Built};
use crate::conformance::Breach;
use crate::world::artifact::Artifacts;
use crate::world::{Controller, FakeArtifacts, Fault, Operation, Shape, World};

/// Builds the store of the simulated world, each time another one; the truth is the world's inner state.
#[derive(Clone, Copy, Debug, Default)]
pub struct FakeArtifactsFixture;

impl FakeArtifactsFixture {
    /// Builds fakes.
    pub fn new() -> Self {
        Self
    }
}

struct FakeArtifactsSubject {
    world: World,
    store: Arc<FakeArtifacts>,
    changes: AtomicU64,
}

#[async_trait]
impl ArtifactsFixture for FakeArtifactsFixture {
    fn name(&self) -> String {
        "the fake artifact store".into()
    }

    fn can(&self, _ability: ArtifactsAbility) -> bool {
        true
    }

    async fn fresh(&self, _nodes: &[Name]) -> Result<Box<dyn ArtifactsSubject>, Breach> {
        let shape = Shape::active_passive().with_files().with_artifacts();
        let world = shape.world().map_err(|error| Breach::new(error.to_string()))?;
        world.lock().artifacts = Artifacts::default();
        let store = Arc::new(FakeArtifacts::new(world.clone(), Controller::new()));
        Ok(Box::new(FakeArtifactsSubject { world, store, changes: AtomicU64::new(0) }))
    }
}

impl FakeArtifactsSubject {
    fn hold(&self, source: &str, set: Option<Generation>) {
        let mut inner = self.world.lock();
        inner.artifacts.folders.retain(|(folder, _)| folder != source);
        inner.artifacts.folders.push((source.into(), set));
    }
}

#[async_trait]
impl ArtifactsSubject for FakeArtifactsSubject {
    fn store(&self) -> Arc<dyn ArtifactStore> {
        self.store.clone()
    }

    fn another(&self) -> Arc<dyn ArtifactStore> {
        Arc::new(FakeArtifacts::new(self.world.clone(), Controller::new()))
    }

    async fn build(&self, what: Built, number: u64) -> Result<(String, Generation), Breach> {
        let (source, set) = (format!("/built/{number}"), Generation::new(number, format!("g{number}")));
        self.hold(&source, (what != Built::Numberless).then(|| set.clone()));
        Ok((source, set))
    }

    async fn change(&self, source: &str) -> Result<(), Breach> {
        let change = self.changes.fetch_add(1, Ordering::Relaxed);
        self.hold(source, Some(Generation::new(0, format!("changed-{change}"))));
        Ok(())
    }

    async fn truth(&self, _node: &Name, place: &str, set: &Generation) -> Result<Option<bool>, Breach> {
        let inner = self.world.lock();
        if let Some((_, found)) = inner.artifacts.folders.iter().find(|(folder, _)| folder == place) {
            return Ok(Some(found.as_ref() == Some(set)));
        }
        let digest = place.strip_prefix("/artifacts/").unwrap_or(place);
        let kept = inner.artifacts.sets.iter().find(|kept| &*kept.set.digest == digest);
        Ok(kept.map(|kept| kept.damage.is_none() && kept.set == *set))
    }

    async fn flip(&self, set: &Generation) -> Result<(), Breach> {
        self.world.damage_artifact(&set.digest);
        Ok(())
    }

    async fn fill(&self, full: bool) -> Result<(), Breach> {
        self.world.lock().artifacts.full = full;
        Ok(())
    }

    async fn put_killed(&self, epoch: LeaseEpoch, request: PutArtifact, after: Duration) -> Result<(), Breach> {
        self.world.plan_fault(Operation::Keep, "artifacts", Fault::Half);
        // It was killed, and says nothing.
        let _ = tokio::time::timeout(after.max(Duration::from_secs(1)), self.store.put(epoch, request)).await;
        Ok(())
    }
}
