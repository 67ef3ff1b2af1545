use std::fmt::Debug;

use async_trait::async_trait;

use super::{Applied, StepError};
use crate::state::{LeaseEpoch, Schema};

/// Reads how the shared database's schema stands.
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

/// Changes the shared database's schema.
#[async_trait]
pub trait Database: ObserveDatabase {
    /// Brings the schema to `to`: runs what leads there and has not been run.
    ///
    /// # Idempotency
    /// Absolute: twice equals once; a half-run change is gone on with.
    /// # Errors
    /// `Fenced`, `Denied`, `Unsupported`: no effect. `Timeout`, `Unreachable`: unknown; read `schema`. `Conflict` when a
    /// statement failed: read `schema` to see how far it came.
    /// # Cancel safety
    /// Not cancel safe: read `schema`.
    async fn migrate(&self, epoch: LeaseEpoch, to: Schema) -> Result<Applied, StepError>;
}
