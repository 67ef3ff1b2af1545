use std::fmt::Debug;

use async_trait::async_trait;

use super::{Applied, StepError};
use crate::state::{LeaseEpoch, Work};

/// Reads whether one node pulls work by itself.
#[async_trait]
pub trait ObserveWorkload: Debug + Send + Sync + 'static {
    /// Reads it: `Off` only when it pulls none and none is in progress.
    ///
    /// # Errors
    /// `Unreachable`, `Denied`, `Timeout`, `Protocol`; all without effect.
    /// # Cancel safety
    /// Cancel safe: it only reads.
    async fn work(&self) -> Result<Work, StepError>;
}

/// Stops one node from pulling work, and lets it again.
///
/// # Examples
///
/// ```
/// use ha_core::backend::{LeaseEpoch, StepError, Workload};
/// use ha_core::state::Work;
///
/// async fn quiesce(workload: &dyn Workload, epoch: LeaseEpoch) -> Result<bool, StepError> {
///     workload.quiesce(epoch).await?;
///     // What is in progress ends by itself.
///     Ok(workload.work().await? == Work::Off)
/// }
/// ```
#[async_trait]
pub trait Workload: ObserveWorkload {
    /// Asks the node to pull no more work, durably; what is in progress ends by itself. Absolute: twice equals once.
    ///
    /// # Errors
    /// `Fenced`, `NotFound`, `Denied`: no effect. `Timeout`, `Unreachable`: unknown; read `work`.
    /// # Cancel safety
    /// Not cancel safe: read `work`.
    async fn quiesce(&self, epoch: LeaseEpoch) -> Result<Applied, StepError>;

    /// Lets the node pull work again. Absolute: twice equals once.
    ///
    /// # Errors
    /// As [`quiesce`](Self::quiesce).
    /// # Cancel safety
    /// Not cancel safe: read `work`.
    async fn resume(&self, epoch: LeaseEpoch) -> Result<Applied, StepError>;
}
