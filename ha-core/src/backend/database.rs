use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;

use super::{Applied, StepError};
use crate::state::{LeaseEpoch, Schema};

/// Reads the state of the shared database's schema.
#[async_trait]
pub trait ObserveDatabase: Debug + Send + Sync + 'static {
    /// Reads the schema's state.
    ///
    /// # Errors
    /// `Unreachable`, `Denied`, `Timeout`, `Protocol`; all without effect.
    /// # Cancel safety
    /// Cancel safe: it only reads.
    async fn schema(&self) -> Result<Schema, StepError>;
}

/// Asks to bring the schema of the shared database to a state.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use ha_core::backend::Migrate;
/// use ha_core::state::Schema;
///
/// let request = Migrate::new(Schema::Expanded).with_deadline(Duration::from_secs(60));
/// assert_eq!(request.to, Schema::Expanded);
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Migrate {
    /// The state it is to have.
    pub to: Schema,
    /// How long that may take. Default 600 s; at 0 only a schema that is there already is.
    pub deadline: Duration,
}

impl Migrate {
    /// Asks to bring the schema to `to`.
    pub fn new(to: Schema) -> Self {
        Self { to, deadline: super::DEADLINE }
    }

    /// Limits how long it may take.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }
}

/// Changes the shared database's schema.
///
/// # Examples
///
/// ```
/// use ha_core::backend::{Database, LeaseEpoch, Migrate, StepError};
/// use ha_core::state::Schema;
///
/// /// Prepares the database for a new release while the old one goes on using it.
/// async fn prepare(database: &dyn Database, epoch: LeaseEpoch) -> Result<Schema, StepError> {
///     for schema in [Schema::Expanded, Schema::Backfilled] {
///         database.migrate(epoch, Migrate::new(schema)).await?;
///     }
///     database.schema().await
/// }
/// ```
#[async_trait]
pub trait Database: ObserveDatabase {
    /// Brings the schema to what is asked for: runs what leads there and has not been run.
    ///
    /// # Idempotency
    /// Absolute: twice equals once; a half-run change is gone on with.
    /// # Errors
    /// `Fenced`, `Denied`, `Unsupported`: no effect. `Timeout` past the deadline of the request, `Unreachable`: unknown;
    /// read `schema`. `Conflict` when a statement failed: read `schema` to see how far it came.
    /// # Cancel safety
    /// Not cancel safe: read `schema`.
    async fn migrate(&self, epoch: LeaseEpoch, request: Migrate) -> Result<Applied, StepError>;
}
