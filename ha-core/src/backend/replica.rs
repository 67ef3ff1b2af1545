use std::fmt::Debug;
use std::time::Duration;

use super::{Applied, StepError};
use crate::state::{LeaseEpoch, ReplicaSeen, SiteEpoch};
use async_trait::async_trait;

/// Reads a site's copy of the database.
#[async_trait]
pub trait ObserveReplica: Debug + Send + Sync + 'static {
    /// Reads it.
    ///
    /// # Errors
    /// `Unreachable`, `Denied`, `Timeout`, `Protocol`; all without effect.
    /// # Cancel safety
    /// Cancel safe: it only reads.
    async fn replica(&self) -> Result<ReplicaSeen, StepError>;
}

/// Asks that a copy takes writes.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct PromoteReplica {
    /// The epoch with which it takes writes: higher than any before. It is kept in the database, where everybody who writes can
    /// read it.
    pub epoch: SiteEpoch,
    /// How long it may take. Default 600 s.
    pub deadline: Duration,
}

impl PromoteReplica {
    /// Asks that a copy takes writes with this epoch.
    pub fn new(epoch: SiteEpoch) -> Self {
        Self { epoch, deadline: super::DEADLINE }
    }

    /// Limits how long it may take.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }
}

/// Asks that a copy takes no more writes.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct DemoteReplica {
    /// How long it may take until a standby has all that it has. Default 600 s.
    pub deadline: Duration,
}

impl DemoteReplica {
    /// Asks that a copy takes no more writes.
    pub fn new() -> Self {
        Self { deadline: super::DEADLINE }
    }

    /// Limits how long it may take.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }
}

impl Default for DemoteReplica {
    fn default() -> Self {
        Self::new()
    }
}

/// Asks that a copy follows another site's.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct FollowReplica {
    /// The name of the site whose copy takes writes.
    pub of: String,
    /// Whether writes that only this copy has may go: a person has said so, or there are none. They are kept beside the copy, where
    /// the backend can keep them.
    pub discard: bool,
    /// How long it may take, a whole copy included. Default 600 s.
    pub deadline: Duration,
}

impl FollowReplica {
    /// Asks that a copy follows that of the site `of`, and that nothing of its own is discarded.
    pub fn new(of: impl Into<String>) -> Self {
        Self { of: of.into(), discard: false, deadline: super::DEADLINE }
    }

    /// Lets what only this copy has go.
    #[must_use]
    pub fn discarding(mut self) -> Self {
        self.discard = true;
        self
    }

    /// Limits how long it may take.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }
}

/// Drives a site's copy of the database.
///
/// # Examples
///
/// ```
/// use ha_core::backend::{LeaseEpoch, PromoteReplica, Replica, StepError};
/// use ha_core::state::SiteEpoch;
///
/// /// Lets the copy of the second site take writes, and says what may be lost, in milliseconds.
/// async fn promote(second: &dyn Replica, lease: LeaseEpoch, epoch: SiteEpoch) -> Result<Option<u64>, StepError> {
///     let before = second.replica().await?;
///     second.promote(lease, PromoteReplica::new(epoch)).await?;
///     Ok(before.behind_ms)
/// }
/// ```
#[async_trait]
pub trait Replica: ObserveReplica {
    /// Lets the copy take writes with a new epoch; a cold site's is restored from its newest backup first. That no other copy takes
    /// writes is the caller's to know.
    ///
    /// # Idempotency
    /// Absolute: a primary with this epoch is left alone, `AlreadySo`.
    /// # Errors
    /// `Fenced`, `Denied`, `Unsupported`, and `Conflict` when it has a higher epoch: no effect. Any other `Conflict`, `Timeout`,
    /// `Unreachable`: unknown, unless the error says that it had no effect; read `replica`.
    /// # Cancel safety
    /// Not cancel safe: read `replica`.
    async fn promote(&self, lease: LeaseEpoch, request: PromoteReplica) -> Result<Applied, StepError>;

    /// Lets the copy take no more writes, durably: its sessions are ended, and a standby that follows it has all that it has.
    ///
    /// # Idempotency
    /// Absolute: a copy that takes no writes is left alone, `AlreadySo`: that says nothing of its standbys.
    /// # Errors
    /// As [`promote`](Self::promote); `Conflict` when no standby has all of it inside the deadline: it takes no writes then, and
    /// `promote` lets it again.
    /// # Cancel safety
    /// Not cancel safe: read `replica`.
    async fn demote(&self, lease: LeaseEpoch, request: DemoteReplica) -> Result<Applied, StepError>;

    /// Makes the copy a standby of another site's, and waits until it has all that the other has: rewound where that can be,
    /// copied whole otherwise.
    ///
    /// # Idempotency
    /// Absolute: a standby of that site is left alone, `AlreadySo`; a copy that was broken off is begun again.
    /// # Errors
    /// As [`promote`](Self::promote); `NotFound` for a site that it does not know: no effect. `Conflict` without effect when it has
    /// writes that the other has not and nothing may be discarded: the error lists them as far as the database can.
    /// # Cancel safety
    /// Not cancel safe: read `replica`.
    async fn follow(&self, lease: LeaseEpoch, request: FollowReplica) -> Result<Applied, StepError>;
}
