use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::{Applied, StepError};
use crate::state::{FenceLevel, LeaseEpoch, SiteEpoch};

/// Whether a site is fenced.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fenced {
    /// It can no longer act, as far as the fence's level says.
    Yes,
    /// It can act.
    No,
}

/// Reads whether a site is fenced.
#[async_trait]
pub trait ObserveFence: Debug + Send + Sync + 'static {
    /// Returns how far the fence reaches. Declared, and the same at all times.
    fn level(&self) -> FenceLevel;

    /// Reads whether the site is fenced, from outside of it: a site that does not answer is not fenced by that.
    ///
    /// # Errors
    /// `Unreachable`, `Denied`, `Timeout`, `Protocol`; all without effect.
    /// # Cancel safety
    /// Cancel safe: it only reads.
    async fn fenced(&self) -> Result<Fenced, StepError>;
}

/// Asks to fence a site.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct FenceSite {
    /// The highest epoch that any site has had: the site must not write with it, or with one before it, any more.
    pub epoch: SiteEpoch,
    /// How long it may take. Default 600 s.
    pub deadline: Duration,
}

impl FenceSite {
    /// Asks to fence a site that may have this epoch.
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

/// Makes sure that a site can no longer act, and lets it act again.
///
/// # Examples
///
/// ```
/// use ha_core::backend::{Fence, FenceSite, Fenced, LeaseEpoch, StepError};
/// use ha_core::state::SiteEpoch;
///
/// async fn fence(site: &dyn Fence, lease: LeaseEpoch, epoch: SiteEpoch) -> Result<bool, StepError> {
///     site.fence(lease, FenceSite::new(epoch)).await?;
///     Ok(site.fenced().await? == Fenced::Yes)
/// }
/// ```
#[async_trait]
pub trait Fence: ObserveFence {
    /// Fences the site, durably: a restart there does not lift it. It must work while nothing in the site answers.
    ///
    /// # Idempotency
    /// Absolute: twice equals once; a fence that holds in half is gone on with.
    /// # Errors
    /// `Fenced` (the lease), `Denied`, `Unsupported`: no effect. `Conflict` (it ended, and does not hold), `Timeout`, `Unreachable`:
    /// unknown, unless the error says that it had no effect; read `fenced`.
    /// # Cancel safety
    /// Not cancel safe: read `fenced`.
    async fn fence(&self, lease: LeaseEpoch, request: FenceSite) -> Result<Applied, StepError>;

    /// Lifts the fence: the site may be reached and started. What it does then is not this call's concern. Absolute: twice equals
    /// once.
    ///
    /// # Errors
    /// As [`fence`](Self::fence).
    /// # Cancel safety
    /// Not cancel safe: read `fenced`.
    async fn lift(&self, lease: LeaseEpoch) -> Result<Applied, StepError>;
}
