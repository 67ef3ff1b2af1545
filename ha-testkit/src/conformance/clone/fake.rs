use std::sync::Arc;

use async_trait::async_trait;
use ha_core::backend::Database;

use super::{CloneAbility, CloneFixture, CloneSubject, Side};
use crate::conformance::Breach;
use crate::world::clone::FakeTable;
use crate::world::{Controller, FakeDatabase, Shape, World};

/// Builds the database of the simulated world, each time another one; the truth is the world's inner state.
///
/// # Examples
///
/// ```
/// use ha_testkit::conformance::clone::{CASES, FakeCloneFixture};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap().block_on(async {
/// for case in CASES {
///     case.run(&FakeCloneFixture::new()).await.unwrap();
/// }
/// # });
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct FakeCloneFixture;

impl FakeCloneFixture {
    /// Builds fakes.
    pub fn new() -> Self {
        Self
    }
}

struct FakeCloneSubject {
    world: World,
    database: Arc<dyn Database>,
}

fn fake(world: &World) -> Arc<dyn Database> {
    Arc::new(FakeDatabase::new(world.clone(), Controller::new()))
}

#[async_trait]
impl CloneFixture for FakeCloneFixture {
    fn name(&self) -> String {
        "the fake database".into()
    }

    fn can(&self, _ability: CloneAbility) -> bool {
        true
    }

    async fn fresh(&self) -> Result<Box<dyn CloneSubject>, Breach> {
        let world = Shape::active_passive().with_clone().world().map_err(|error| Breach::new(error.to_string()))?;
        let database = fake(&world);
        Ok(Box::new(FakeCloneSubject { world, database }))
    }
}

#[async_trait]
impl CloneSubject for FakeCloneSubject {
    fn database(&self) -> Arc<dyn Database> {
        self.database.clone()
    }

    fn another(&self) -> Arc<dyn Database> {
        fake(&self.world)
    }

    async fn write(&self, side: Side) -> Result<bool, Breach> {
        let mut inner = self.world.lock();
        let tables = if side == Side::Clone { &inner.copies.clone } else { &inner.copies.source };
        let next = tables.iter().flat_map(|table| &table.rows).max().map_or(1, |row| row + 1);
        Ok(inner.copies.write(side == Side::Clone, next))
    }

    async fn rows(&self, side: Side) -> Result<Option<Vec<u64>>, Breach> {
        let inner = self.world.lock();
        let tables = if side == Side::Clone { &inner.copies.clone } else { &inner.copies.source };
        let mut rows = tables.iter().find(|table| table.name == "orders").map(|table| table.rows.clone());
        if let Some(rows) = &mut rows {
            rows.sort_unstable();
        }
        Ok(rows)
    }

    async fn has_total(&self, side: Side) -> Result<bool, Breach> {
        let inner = self.world.lock();
        Ok(side == Side::Clone && !inner.copies.clone.is_empty() && inner.copies.migrated > 0)
    }

    async fn occupy(&self) -> Result<(), Breach> {
        self.world.occupy_clone();
        Ok(())
    }

    async fn spoil(&self) -> Result<(), Breach> {
        let mut inner = self.world.lock();
        let orders = inner.copies.clone.iter_mut().find(|table: &&mut FakeTable| table.name == "orders");
        let row = orders.and_then(|table| table.rows.last_mut()).ok_or_else(|| Breach::new("there is no row"))?;
        *row += 1000;
        Ok(())
    }

    async fn hold(&self, held: bool) -> Result<(), Breach> {
        self.world.hold_write(held);
        Ok(())
    }

    async fn restart(&self) -> Result<(), Breach> {
        Ok(())
    }
}
