use std::sync::Arc;

use async_trait::async_trait;
use ha_core::backend::Database;
use ha_core::state::{Schema, SchemaChange, SchemaVerdict};

use super::{DatabaseAbility, DatabaseFixture, DatabaseSubject, ScriptPhase, Waiting};
use crate::conformance::Breach;
use crate::world::{Controller, FakeDatabase, Fault, Operation, Shape, World};

/// Builds the database of the simulated world, each time another one; the truth is the world's inner state.
#[derive(Clone, Copy, Debug, Default)]
pub struct FakeDatabaseFixture {
    wrap: Option<Wrap>,
}

/// Puts a wrapper around a database.
type Wrap = fn(Arc<dyn Database>) -> Arc<dyn Database>;

impl FakeDatabaseFixture {
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

    fn database(self, world: &World) -> Arc<dyn Database> {
        let fake = Arc::new(FakeDatabase::new(world.clone(), Controller::new()));
        match self.wrap {
            Some(wrap) => wrap(fake),
            None => fake,
        }
    }
}

struct FakeDatabaseSubject {
    fixture: FakeDatabaseFixture,
    world: World,
    database: Arc<dyn Database>,
}

/// How many rows the table has.
const ROWS: u64 = 3;
/// What is called so does not answer.
const CALLS: [Operation; 3] = [Operation::Schema, Operation::Review, Operation::Migrate];

fn led_to(phase: ScriptPhase) -> Schema {
    match phase {
        ScriptPhase::Expand => Schema::Expanded,
        ScriptPhase::Backfill => Schema::Backfilled,
        ScriptPhase::Contract => Schema::Contracted,
    }
}

#[async_trait]
impl DatabaseFixture for FakeDatabaseFixture {
    fn name(&self) -> String {
        "the fake database".into()
    }

    fn can(&self, _ability: DatabaseAbility) -> bool {
        true
    }

    async fn fresh(&self) -> Result<Box<dyn DatabaseSubject>, Breach> {
        let shape = Shape::active_passive().with_database();
        let world = shape.world().map_err(|error| Breach::new(error.to_string()))?;
        let database = self.database(&world);
        Ok(Box::new(FakeDatabaseSubject { fixture: *self, world, database }))
    }
}

#[async_trait]
impl DatabaseSubject for FakeDatabaseSubject {
    fn database(&self) -> Arc<dyn Database> {
        self.database.clone()
    }

    fn another(&self) -> Arc<dyn Database> {
        self.fixture.database(&self.world)
    }

    async fn columns(&self) -> Result<Vec<String>, Breach> {
        let mut columns = vec!["id".to_owned()];
        if self.applied(ScriptPhase::Expand).await? > 0 {
            columns.push("total".into());
        }
        if self.applied(ScriptPhase::Contract).await? == 0 {
            columns.push("amount".into());
        }
        Ok(columns)
    }

    async fn rows(&self) -> Result<u64, Breach> {
        Ok(ROWS)
    }

    async fn unfilled(&self) -> Result<u64, Breach> {
        Ok(if self.applied(ScriptPhase::Backfill).await? == 0 { ROWS } else { 0 })
    }

    async fn applied(&self, phase: ScriptPhase) -> Result<u32, Breach> {
        let inner = self.world.lock();
        let times = inner.scripts.applied.iter().filter(|applied| **applied == led_to(phase)).count();
        u32::try_from(times).map_err(|error| Breach::new(error.to_string()))
    }

    async fn scripts(&self, waiting: Waiting) -> Result<(), Breach> {
        let change = match waiting {
            Waiting::Split => SchemaChange::new(SchemaVerdict::Splittable, "scripts"),
            Waiting::Nothing => SchemaChange::new(SchemaVerdict::Nothing, "none"),
            Waiting::Additive => SchemaChange::new(SchemaVerdict::ExpandOnly, "additive"),
            Waiting::Breaking => SchemaChange::new(SchemaVerdict::NeedsWindow, "breaking")
                .with_reason("V2__rename.sql line 1: renames the column amount"),
            Waiting::Edited => SchemaChange::new(SchemaVerdict::Splittable, "edited"),
        };
        self.world.set_schema_change(change);
        self.world.lock().scripts.edited = waiting == Waiting::Edited;
        Ok(())
    }

    async fn fail(&self, phase: ScriptPhase) -> Result<(), Breach> {
        self.world.lock().scripts.failing.insert(led_to(phase));
        Ok(())
    }

    async fn mend(&self) -> Result<(), Breach> {
        self.world.lock().scripts.failing.clear();
        Ok(())
    }

    async fn use_old_release(&self, connected: bool) -> Result<(), Breach> {
        self.world.lock().scripts.old_session = connected;
        Ok(())
    }

    async fn lock(&self, held: bool) -> Result<(), Breach> {
        self.world.lock().scripts.held = held;
        Ok(())
    }

    async fn lose(&self) -> Result<(), Breach> {
        for operation in CALLS {
            self.world.set_lasting_fault(operation, "database", Fault::Unreachable);
        }
        Ok(())
    }

    async fn restart(&self) -> Result<(), Breach> {
        let mut inner = self.world.lock();
        for operation in CALLS {
            inner.lasting.remove(&(operation, "database".into()));
        }
        Ok(())
    }
}
