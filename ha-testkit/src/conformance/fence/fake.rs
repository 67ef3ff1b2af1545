use std::sync::Arc;

use async_trait::async_trait;
use ha_core::backend::{Fence, FenceSite, Fenced};
use ha_core::state::{LeaseEpoch, SiteEpoch};
use ha_core::topology::SiteRole;

use super::{FenceAbility, FenceFixture, FenceSubject};
use crate::conformance::Breach;
use crate::world::{Controller, FakeFence, Fault, Operation, Shape, World};

/// Builds two sites of the simulated world, each time others; the truth is the world's inner state.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct FakeFenceFixture;

impl FakeFenceFixture {
    /// Builds fakes.
    pub fn new() -> Self {
        Self
    }
}

struct FakeFenceSubject {
    world: World,
    fence: Arc<dyn Fence>,
}

const SITE: &str = "north";

fn fence(world: &World) -> Arc<dyn Fence> {
    Arc::new(FakeFence::new(world.clone(), Controller::new(), SITE.into()))
}

#[async_trait]
impl FenceFixture for FakeFenceFixture {
    fn name(&self) -> String {
        "the fake fence".into()
    }

    fn can(&self, _ability: FenceAbility) -> bool {
        true
    }

    async fn fresh(&self) -> Result<Box<dyn FenceSubject>, Breach> {
        let shape = Shape::active_passive().with_sites(SiteRole::Warm);
        let world = shape.world().map_err(|error| Breach::new(error.to_string()))?;
        let fence = fence(&world);
        Ok(Box::new(FakeFenceSubject { world, fence }))
    }
}

#[async_trait]
impl FenceSubject for FakeFenceSubject {
    fn fence(&self) -> Arc<dyn Fence> {
        self.fence.clone()
    }

    fn another(&self) -> Arc<dyn Fence> {
        fence(&self.world)
    }

    async fn truth(&self) -> Result<Fenced, Breach> {
        Ok(if self.world.is_fenced(SITE) { Fenced::Yes } else { Fenced::No })
    }

    async fn tear(&self) -> Result<(), Breach> {
        self.world.plan_fault(Operation::FenceSite, SITE, Fault::Half);
        let fence = FakeFence::new(self.world.clone(), Controller::new(), SITE.into());
        let half = fence.fence(LeaseEpoch::new(0), FenceSite::new(SiteEpoch::new(1))).await;
        if half.is_err() { Ok(()) } else { Err(Breach::new("a half fence was whole")) }
    }

    async fn lose_site(&self) -> Result<(), Breach> {
        self.world.lose_site(SITE);
        Ok(())
    }

    async fn restart_site(&self) -> Result<(), Breach> {
        self.world.lose_site(SITE);
        self.world.restore_site(SITE);
        Ok(())
    }

    async fn lose_fence(&self) -> Result<(), Breach> {
        for operation in [Operation::FenceSite, Operation::LiftFence, Operation::Fenced] {
            self.world.set_lasting_fault(operation, SITE, Fault::Unreachable);
        }
        Ok(())
    }
}
