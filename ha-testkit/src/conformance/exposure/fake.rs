use std::sync::Arc;

use async_trait::async_trait;
use ha_core::backend::Exposure;
use ha_core::state::RouteKey;
use ha_core::topology::Name;

use super::{ExposureAbility, ExposureFixture, ExposureSubject};
use crate::conformance::Breach;
use crate::world::{Controller, FakeExposure, Fault, Operation, Shape, World};

/// Builds two balancers of the simulated world, each time others; the truth is the world's inner state.
#[derive(Clone, Copy, Debug, Default)]
pub struct FakeExposureFixture {
    wrap: Option<Wrap>,
}

/// Puts a wrapper around an exposure.
type Wrap = fn(Arc<dyn Exposure>) -> Arc<dyn Exposure>;

impl FakeExposureFixture {
    /// Builds fakes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Wraps each fake: the suite is then held against the wrapper.
    #[must_use]
    pub fn with_wrapper(mut self, wrap: Wrap) -> Self {
        self.wrap = Some(wrap);
        self
    }

    fn exposure(self, world: &World) -> Arc<dyn Exposure> {
        let fake = Arc::new(FakeExposure::new(world.clone(), Controller::new()));
        match self.wrap {
            Some(wrap) => wrap(fake),
            None => fake,
        }
    }
}

struct FakeExposureSubject {
    fixture: FakeExposureFixture,
    world: World,
    exposure: Arc<dyn Exposure>,
}

#[async_trait]
impl ExposureFixture for FakeExposureFixture {
    fn name(&self) -> String {
        "the fake exposure".into()
    }

    fn can(&self, _ability: ExposureAbility) -> bool {
        true
    }

    async fn fresh(&self) -> Result<Box<dyn ExposureSubject>, Breach> {
        let shape = Shape::active_passive().with_files().with_exposure().with_balancers(2);
        let world = shape.world().map_err(|error| Breach::new(error.to_string()))?;
        let exposure = self.exposure(&world);
        Ok(Box::new(FakeExposureSubject { fixture: *self, world, exposure }))
    }
}

impl FakeExposureSubject {
    fn balancers(&self) -> Vec<String> {
        self.world.topology().balancers().map(|(_, balancer)| balancer.name.to_string()).collect()
    }

    fn name(&self, instance: usize) -> Result<String, Breach> {
        self.balancers().into_iter().nth(instance).ok_or_else(|| Breach::new("no such instance"))
    }
}

#[async_trait]
impl ExposureSubject for FakeExposureSubject {
    fn exposure(&self) -> Arc<dyn Exposure> {
        self.exposure.clone()
    }

    fn another(&self) -> Arc<dyn Exposure> {
        self.fixture.exposure(&self.world)
    }

    async fn truth(&self, key: &RouteKey) -> Result<Vec<Option<String>>, Breach> {
        let inner = self.world.lock();
        let leads = |name: &String| inner.routes.get(name)?.running.get(key.as_str()).cloned();
        Ok(self.balancers().iter().map(leads).collect())
    }

    async fn lead(&self, instance: usize, key: &RouteKey, to: Option<&Name>) -> Result<(), Breach> {
        self.world.set_route(&self.name(instance)?, key.as_str(), to.map(Name::as_str), true);
        Ok(())
    }

    async fn tear(&self, instance: usize, key: &RouteKey, to: Option<&Name>) -> Result<(), Breach> {
        self.world.set_route(&self.name(instance)?, key.as_str(), to.map(Name::as_str), false);
        Ok(())
    }

    async fn restart(&self) -> Result<(), Breach> {
        for balancer in self.balancers() {
            self.world.restart_balancer(&balancer);
        }
        Ok(())
    }

    async fn lose_last(&self) -> Result<(), Breach> {
        for operation in [Operation::Expose, Operation::Route] {
            self.world.set_lasting_fault(operation, "exposure", Fault::Unreachable);
        }
        Ok(())
    }
}
