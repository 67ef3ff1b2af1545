use std::sync::Arc;

use async_trait::async_trait;
use ha_core::backend::{Installation, Provisioner};

use super::{ProvisionerAbility, ProvisionerFixture, ProvisionerSubject};
use crate::conformance::Breach;
use crate::world::{Controller, FakeProvisioner, Shape, World};

/// Builds a node of the simulated world, each time another; the truth is the world's inner state.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct FakeProvisionerFixture;

impl FakeProvisionerFixture {
    /// Builds fakes.
    pub fn new() -> Self {
        Self
    }
}

struct FakeProvisionerSubject {
    world: World,
    provisioner: Arc<dyn Provisioner>,
}

const NODE: &str = "esb3";

fn provisioner(world: &World) -> Arc<dyn Provisioner> {
    Arc::new(FakeProvisioner::new(world.clone(), Controller::new(), NODE.into()))
}

#[async_trait]
impl ProvisionerFixture for FakeProvisionerFixture {
    fn name(&self) -> String {
        "the fake provisioner".into()
    }

    fn can(&self, _ability: ProvisionerAbility) -> bool {
        true
    }

    async fn fresh(&self) -> Result<Box<dyn ProvisionerSubject>, Breach> {
        let shape = Shape::active_active(3, 1000).with_provision();
        let world = shape.world().map_err(|error| Breach::new(error.to_string()))?;
        world.not_installed(NODE);
        Ok(Box::new(FakeProvisionerSubject { provisioner: provisioner(&world), world }))
    }
}

#[async_trait]
impl ProvisionerSubject for FakeProvisionerSubject {
    fn provisioner(&self) -> Arc<dyn Provisioner> {
        self.provisioner.clone()
    }

    fn another(&self) -> Arc<dyn Provisioner> {
        provisioner(&self.world)
    }

    fn offers(&self) -> [Installation; 3] {
        [Installation::new("1.0", "c1"), Installation::new("1.0", "c2"), Installation::new("2.0", "c1")]
    }

    async fn truth(&self) -> Result<Option<Installation>, Breach> {
        let release = self.world.installed(NODE);
        Ok(self.world.configuration(NODE).zip(release).map(|(digest, release)| Installation::new(release, digest)))
    }

    async fn is_empty(&self) -> Result<bool, Breach> {
        let world = self.world.truth();
        Ok(world.nodes.get(NODE).is_some_and(|node| node.absent && node.installed.is_empty()))
    }

    async fn install(&self, installation: &Installation) -> Result<(), Breach> {
        let wanted = installation.clone();
        self.world.with_node(NODE, |node| {
            (node.absent, node.damaged) = (false, false);
            (node.installed, node.configuration) = (wanted.release.into(), wanted.configuration.into());
        });
        Ok(())
    }

    async fn tear(&self) -> Result<(), Breach> {
        self.world.with_node(NODE, |node| node.damaged = true);
        Ok(())
    }

    async fn lose(&self) -> Result<(), Breach> {
        self.world.lose(NODE);
        Ok(())
    }
}
