use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ha_core::backend::Probe;
use tokio::time::Instant;

use super::{Ability, ProbeFixture, ProbeSubject, Stance};
use crate::conformance::Breach;
use crate::world::model::Life;
use crate::world::{Controller, FakeProbe, World};

/// Builds probes of the simulated world, each in a world of its own. They do not hang: the engine's deadlines are tested
/// with dead controllers.
#[derive(Clone, Copy, Debug, Default)]
pub struct FakeProbeFixture;

impl FakeProbeFixture {
    /// Builds fakes.
    pub fn new() -> Self {
        Self
    }
}

#[async_trait]
impl ProbeFixture for FakeProbeFixture {
    fn name(&self) -> String {
        "the fake probe".into()
    }

    fn can(&self, ability: Ability) -> bool {
        match ability {
            Ability::Message => true,
            Ability::Open => false,
            Ability::Stance(stance) => matches!(
                stance,
                Stance::Serving | Stance::NotReady | Stance::Closed | Stance::FailingTest | Stance::Unreachable
            ),
        }
    }

    async fn fresh(&self, release: &str) -> Result<Box<dyn ProbeSubject>, Breach> {
        let world = World::active_passive();
        let node = world.truth().nodes.keys().next().cloned();
        let node = node.ok_or_else(|| Breach::new("the world has no node"))?;
        let probe = Arc::new(FakeProbe::new(world.clone(), Controller::new(), node.clone()));
        let subject = FakeProbeSubject { world, node, probe };
        subject.set_stance(Stance::Serving, release).await?;
        Ok(Box::new(subject))
    }
}

struct FakeProbeSubject {
    world: World,
    node: String,
    probe: Arc<FakeProbe>,
}

#[async_trait]
impl ProbeSubject for FakeProbeSubject {
    fn probe(&self) -> Arc<dyn Probe> {
        self.probe.clone()
    }

    fn deadline(&self) -> Duration {
        Duration::from_secs(1)
    }

    async fn set_stance(&self, stance: Stance, release: &str) -> Result<(), Breach> {
        let mut world = self.world.truth();
        let node = world.nodes.get_mut(&self.node).ok_or_else(|| Breach::new("the node is gone"))?;
        node.host_lost = stance == Stance::Unreachable;
        node.never_ready = stance == Stance::NotReady;
        node.fails_test_of = (stance == Stance::FailingTest).then(|| release.to_string());
        let life = Life { number: 1, release: release.into(), ready_at: Instant::now() };
        node.process = (stance != Stance::Closed).then_some(life);
        Ok(())
    }

    async fn open(&self) -> Result<usize, Breach> {
        Err(Breach::new("fakes do not count open questions"))
    }
}
