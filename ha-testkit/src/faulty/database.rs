use std::sync::Arc;

use async_trait::async_trait;
use ha_core::backend::{Applied, CloneDatabase, Database, Migrate, ObserveDatabase, StepError};
use ha_core::state::{LeaseEpoch, Schema, SchemaChange};

use super::{BalancerFault, Faults};

/// A call of a database, for [`FaultyDatabase`].
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum DatabaseCall {
    /// `schema`.
    Schema,
    /// `review`.
    Review,
    /// `migrate`.
    Migrate,
}

/// A database with faults that a test plans. Without any it behaves as the database inside, which the conformance suite proves.
/// Clones share plans and counts.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use ha_core::backend::{Database, ErrorKind, ObserveDatabase};
/// use ha_testkit::faulty::{BalancerFault, DatabaseCall, FaultyDatabase};
/// # async fn example(real: Arc<dyn Database>) {
/// let faulty = FaultyDatabase::new(real);
/// faulty.plan(DatabaseCall::Schema, 0, BalancerFault::Refused(ErrorKind::Unreachable));
/// let refused = faulty.schema().await.unwrap_err();
/// assert_eq!((refused.kind(), faulty.calls(DatabaseCall::Schema)), (ErrorKind::Unreachable, 1));
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct FaultyDatabase {
    inner: Arc<dyn Database>,
    faults: Faults<DatabaseCall>,
}

impl FaultyDatabase {
    /// Wraps a database; nothing is planned.
    pub fn new(inner: Arc<dyn Database>) -> Self {
        Self { inner, faults: Faults::none() }
    }

    /// Plans a fault for this call after `skip` more of its kind that go well.
    pub fn plan(&self, call: DatabaseCall, skip: u64, fault: BalancerFault) {
        self.faults.plan(call, skip, fault);
    }

    /// Returns how often this was called so far.
    pub fn calls(&self, call: DatabaseCall) -> u64 {
        self.faults.calls(call)
    }
}

const TARGET: &str = "database";

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl ObserveDatabase for FaultyDatabase {
    async fn schema(&self) -> Result<Schema, StepError> {
        self.faults.through(DatabaseCall::Schema, ("schema", true), TARGET.into(), self.inner.schema()).await
    }

    async fn review(&self) -> Result<SchemaChange, StepError> {
        self.faults.through(DatabaseCall::Review, ("review", true), TARGET.into(), self.inner.review()).await
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl Database for FaultyDatabase {
    /// The steps of a clone are those of the database inside: no fault is planned for them here.
    fn cloning(&self) -> Option<&dyn CloneDatabase> {
        self.inner.cloning()
    }

    async fn migrate(&self, epoch: LeaseEpoch, request: Migrate) -> Result<Applied, StepError> {
        let migrated = self.inner.migrate(epoch, request);
        self.faults.through(DatabaseCall::Migrate, ("migrate", false), TARGET.into(), migrated).await
    }
}

#[cfg(test)]
mod tests {
    use ha_core::backend::{Effect, ErrorKind};

    use super::*;
    use crate::world::{Controller, FakeDatabase, Shape};

    #[tokio::test(start_paused = true)]
    async fn a_lost_answer_of_a_migration_leaves_the_schema_changed_and_a_lost_question_does_not() {
        let world = Shape::active_passive().with_database().world().unwrap();
        let faulty = FaultyDatabase::new(Arc::new(FakeDatabase::new(world.clone(), Controller::new())));
        faulty.plan(DatabaseCall::Migrate, 0, BalancerFault::LostBefore);
        faulty.plan(DatabaseCall::Migrate, 1, BalancerFault::LostAfter);
        for left in [Schema::Base, Schema::Expanded] {
            let lost = faulty.migrate(LeaseEpoch::new(1), Migrate::new(Schema::Expanded)).await.unwrap_err();
            assert_eq!((lost.kind(), lost.effect()), (ErrorKind::Timeout, Effect::Unknown));
            assert_eq!(world.schema(), left);
        }
    }
}
