use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;

use super::{ContractPermit, StepError};
use crate::state::{CloneStep, Copies, LeaseEpoch};

/// A database that can be cloned: its tables are copied into another database, while it refuses writes.
///
/// # Examples
///
/// ```
/// use ha_core::backend::{CloneDatabase, LeaseEpoch, StepError, TakeCloneStep};
/// use ha_core::state::CloneStep;
///
/// /// Copies a database, and gives it back to its writers.
/// async fn keep_a_copy(database: &dyn CloneDatabase, epoch: LeaseEpoch) -> Result<(), StepError> {
///     for step in [CloneStep::Freeze, CloneStep::Copy, CloneStep::Compare, CloneStep::Thaw] {
///         database.clone_step(epoch, TakeCloneStep::new(step)).await?;
///     }
///     Ok(())
/// }
/// ```
#[async_trait]
pub trait CloneDatabase: Debug + Send + Sync + 'static {
    /// Returns where the clone is to be, as servers are told: a URL without user and password.
    fn clone_url(&self) -> String;

    /// Reads how both copies stand. What no step of this trait has put into the clone is `Occupied`.
    ///
    /// # Errors
    /// `Unreachable`, `Denied`, `Timeout`, `Protocol`, of either database; all without effect.
    /// # Cancel safety
    /// Cancel safe: it only reads.
    async fn copies(&self) -> Result<Copies, StepError>;

    /// Takes one step to its end.
    ///
    /// # Guarantees
    /// After `Freeze` no write is accepted by any table of the source, from any session, also from one that is opened later and after
    /// a restart of the server, until `Thaw`; reads go on. It returns when no transaction that has written is open.
    /// After `Migrate` the same is true of the clone, until `Open`.
    /// # Idempotency
    /// Absolute: twice equals once; a step that was broken off is gone on with, and half a copy is dropped before it is made again.
    /// # Errors
    /// `Fenced`, `Unsupported`, `Denied`; `Conflict` where the step cannot follow how the copies stand, as [`Copies::on`] says, and for a
    /// `Migrate` without a permit: no effect where the step has not begun, and unknown in the middle of a `Copy`, a `Migrate` or an
    /// `Open`. `Conflict` of a comparison names the table that differs. `Timeout` past the deadline of the
    /// request, with who holds a table where that can be told, `Unreachable`: unknown; read [`copies`](Self::copies).
    /// # Cancel safety
    /// Not cancel safe: read [`copies`](Self::copies).
    async fn clone_step(&self, epoch: LeaseEpoch, request: TakeCloneStep) -> Result<Cloned, StepError>;
}

/// Asks for one step of a clone.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct TakeCloneStep {
    /// Which.
    pub step: CloneStep,
    /// Says that no server of the old releases uses the clone: `Migrate` runs every script there. Default none.
    pub permit: Option<ContractPermit>,
    /// How long that may take. Default 600 s.
    pub deadline: Duration,
}

impl TakeCloneStep {
    /// Asks for a step.
    pub fn new(step: CloneStep) -> Self {
        Self { step, permit: None, deadline: super::DEADLINE }
    }

    /// Allows to remove from the clone what only the releases of the permit needed.
    #[must_use]
    pub fn with_permit(mut self, permit: ContractPermit) -> Self {
        self.permit = Some(permit);
        self
    }

    /// Limits how long it may take.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }
}

/// What a step of a clone has dealt with.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Cloned {
    /// So many tables.
    pub tables: u64,
    /// So many rows, where they were copied or compared.
    pub rows: u64,
}

impl Cloned {
    /// Counts tables and rows.
    pub fn new(tables: u64, rows: u64) -> Self {
        Self { tables, rows }
    }
}
