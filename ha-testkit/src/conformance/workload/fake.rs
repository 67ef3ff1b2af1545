use std::sync::Arc;

use async_trait::async_trait;
use ha_core::backend::Workload;

use super::{Pulling, WorkloadAbility, WorkloadFixture, WorkloadSubject};
use crate::conformance::Breach;
use crate::world::{Controller, FakeWorkload, Fault, Operation, Shape, World};

/// Builds a node of the simulated world, each time another; the truth is the world's inner state.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct FakeWorkloadFixture;

impl FakeWorkloadFixture {
    /// Builds fakes.
    pub fn new() -> Self {
        Self
    }
}

struct FakeWorkloadSubject {
    world: World,
    workload: Arc<dyn Workload>,
}

const NODE: &str = "esb1";

fn workload(world: &World) -> Arc<dyn Workload> {
    Arc::new(FakeWorkload::new(world.clone(), Controller::new(), NODE.into()))
}

#[async_trait]
impl WorkloadFixture for FakeWorkloadFixture {
    fn name(&self) -> String {
        "the fake workload".into()
    }

    fn can(&self, _ability: WorkloadAbility) -> bool {
        true
    }

    async fn fresh(&self) -> Result<Box<dyn WorkloadSubject>, Breach> {
        let shape = Shape::active_active(3, 1000).with_work();
        let world = shape.world().map_err(|error| Breach::new(error.to_string()))?;
        Ok(Box::new(FakeWorkloadSubject { workload: workload(&world), world }))
    }
}

#[async_trait]
impl WorkloadSubject for FakeWorkloadSubject {
    fn workload(&self) -> Arc<dyn Workload> {
        self.workload.clone()
    }

    fn another(&self) -> Arc<dyn Workload> {
        workload(&self.world)
    }

    async fn truth(&self) -> Result<Pulling, Breach> {
        let (pulls, in_progress) = self.world.pulling(NODE);
        Ok(Pulling::new(pulls, u64::from(in_progress)))
    }

    async fn begin(&self) -> Result<(), Breach> {
        self.world.hold_work(NODE, true);
        Ok(())
    }

    async fn finish(&self) -> Result<(), Breach> {
        self.world.hold_work(NODE, false);
        Ok(())
    }

    async fn restart(&self) -> Result<(), Breach> {
        self.world.crash(NODE);
        Ok(())
    }

    async fn lose(&self) -> Result<(), Breach> {
        self.world.lose(NODE);
        Ok(())
    }

    async fn lose_count(&self) -> Result<(), Breach> {
        self.world.set_lasting_fault(Operation::Working, NODE, Fault::Unreachable);
        Ok(())
    }
}
