use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ha_core::backend::Replica;
use ha_core::topology::SiteRole;
use tokio::time::Instant;

use super::{At, ReplicaAbility, ReplicaFixture, ReplicaSubject};
use crate::conformance::Breach;
use crate::world::{Controller, FakeReplica, Shape, World};

/// Builds two sites of the simulated world, each time others; the truth is the world's inner state.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct FakeReplicaFixture;

impl FakeReplicaFixture {
    /// Builds fakes.
    pub fn new() -> Self {
        Self
    }
}

struct FakeReplicaSubject {
    world: World,
    north: Arc<dyn Replica>,
    south: Arc<dyn Replica>,
}

fn replica(world: &World, at: At) -> Arc<dyn Replica> {
    Arc::new(FakeReplica::new(world.clone(), Controller::new(), at.site().into()))
}

#[async_trait]
impl ReplicaFixture for FakeReplicaFixture {
    fn name(&self) -> String {
        "the fake replica".into()
    }

    fn can(&self, _ability: ReplicaAbility) -> bool {
        true
    }

    async fn fresh(&self) -> Result<Box<dyn ReplicaSubject>, Breach> {
        let shape = Shape::active_passive().with_sites(SiteRole::Warm);
        let world = shape.world().map_err(|error| Breach::new(error.to_string()))?;
        let (north, south) = (replica(&world, At::North), replica(&world, At::South));
        Ok(Box::new(FakeReplicaSubject { world, north, south }))
    }
}

#[async_trait]
impl ReplicaSubject for FakeReplicaSubject {
    fn replica(&self, at: At) -> Arc<dyn Replica> {
        match at {
            At::North => self.north.clone(),
            At::South => self.south.clone(),
        }
    }

    fn another(&self, at: At) -> Arc<dyn Replica> {
        replica(&self.world, at)
    }

    async fn write(&self, at: At) -> Result<bool, Breach> {
        let taken = self.world.lock().write_in(at.site(), Instant::now());
        self.world.send_log(at.site());
        Ok(taken.is_ok())
    }

    async fn has(&self, at: At) -> Result<u64, Breach> {
        Ok(self.world.copy_in(at.site()).2)
    }

    async fn part(&self, parted: bool) -> Result<(), Breach> {
        self.world.set_lag((!parted).then_some(Duration::ZERO));
        Ok(())
    }

    async fn restart(&self, at: At) -> Result<(), Breach> {
        self.world.lose_site(at.site());
        self.world.restore_site(at.site());
        Ok(())
    }

    async fn lose(&self, at: At) -> Result<(), Breach> {
        self.world.lose_site(at.site());
        Ok(())
    }
}
