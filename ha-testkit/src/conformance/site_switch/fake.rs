use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ha_core::backend::{Consumers, SiteSwitch};
use ha_core::topology::SiteRole;
use tokio::time::sleep;

use super::{HeldConsumer, RequestInProgress, SiteSwitchAbility, SiteSwitchFixture, SiteSwitchSubject};
use crate::conformance::Breach;
use crate::world::{Controller, FakeSwitch, Fault, Operation, Shape, World};

/// Builds two sites of the simulated world, each time others; the truth is the world's inner state.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct FakeSwitchFixture;

impl FakeSwitchFixture {
    /// Builds fakes.
    pub fn new() -> Self {
        Self
    }
}

struct FakeSwitchSubject {
    world: World,
    switch: Arc<dyn SiteSwitch>,
}

fn switch(world: &World) -> Arc<dyn SiteSwitch> {
    Arc::new(FakeSwitch::new(world.clone(), Controller::new()))
}

struct InProgress(World, String);

struct Waits(World);

/// How long a request waits for an answer.
const PATIENCE: Duration = Duration::from_secs(30);
const TRY_AGAIN: Duration = Duration::from_millis(10);

#[async_trait]
impl SiteSwitchFixture for FakeSwitchFixture {
    fn name(&self) -> String {
        "the fake site switch".into()
    }

    fn can(&self, _ability: SiteSwitchAbility) -> bool {
        true
    }

    async fn fresh(&self) -> Result<Box<dyn SiteSwitchSubject>, Breach> {
        let shape = Shape::active_passive().with_sites(SiteRole::Hot);
        let world = shape.world().map_err(|error| Breach::new(error.to_string()))?;
        let switch = switch(&world);
        Ok(Box::new(FakeSwitchSubject { world, switch }))
    }
}

#[async_trait]
impl SiteSwitchSubject for FakeSwitchSubject {
    fn switch(&self) -> Arc<dyn SiteSwitch> {
        self.switch.clone()
    }

    fn another(&self) -> Arc<dyn SiteSwitch> {
        switch(&self.world)
    }

    async fn truth(&self) -> Result<Consumers, Breach> {
        Ok(self.world.led().0)
    }

    async fn begin(&self) -> Result<Box<dyn RequestInProgress>, Breach> {
        let Consumers::To(site) = self.world.led().0 else { return Err(Breach::new("they are led to no site")) };
        self.world.change_in_progress(&site, 1);
        Ok(Box::new(InProgress(self.world.clone(), site)))
    }

    async fn wait(&self) -> Result<Box<dyn HeldConsumer>, Breach> {
        Ok(Box::new(Waits(self.world.clone())))
    }

    async fn tear(&self) -> Result<(), Breach> {
        let mut inner = self.world.lock();
        (inner.sites.running, inner.sites.written) = (Consumers::To("north".into()), Consumers::To("south".into()));
        Ok(())
    }

    async fn restart(&self) -> Result<(), Breach> {
        self.world.restart_switch();
        Ok(())
    }

    async fn lose(&self) -> Result<(), Breach> {
        for operation in [Operation::Lead, Operation::Consumers] {
            self.world.set_lasting_fault(operation, "switch", Fault::Unreachable);
        }
        Ok(())
    }
}

#[async_trait]
impl RequestInProgress for InProgress {
    async fn end(self: Box<Self>) -> Result<bool, Breach> {
        self.0.change_in_progress(&self.1, -1);
        Ok(true)
    }
}

#[async_trait]
impl HeldConsumer for Waits {
    async fn answer(self: Box<Self>) -> Result<Option<String>, Breach> {
        for _ in 0..PATIENCE.as_millis() / TRY_AGAIN.as_millis() {
            match self.0.led().0 {
                Consumers::To(site) => return Ok(Some(site)),
                Consumers::Nowhere => return Ok(None),
                _ => sleep(TRY_AGAIN).await,
            }
        }
        Ok(None)
    }
}
