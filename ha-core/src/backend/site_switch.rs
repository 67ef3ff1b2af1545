use std::fmt::{self, Debug};
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::{Applied, StepError};
use crate::state::LeaseEpoch;

/// Where consumers are led.
#[derive(Clone, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Consumers {
    /// To the site of this name.
    To(String),
    /// To none: they wait for an answer, and none of their requests is in progress in any site.
    Held,
    /// To none: they are refused.
    Nowhere,
}

impl fmt::Display for Consumers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::To(site) => write!(f, "led to {site}"),
            Self::Held => f.write_str("held"),
            Self::Nowhere => f.write_str("led nowhere"),
        }
    }
}

/// Reads where consumers are led.
#[async_trait]
pub trait ObserveSiteSwitch: Debug + Send + Sync + 'static {
    /// Reads it, from everything that leads them.
    ///
    /// # Errors
    /// `Unreachable`, `Denied`, `Timeout`, `Protocol`, and `Conflict` when what leads them does not agree; all without effect.
    /// # Cancel safety
    /// Cancel safe: it only reads.
    async fn consumers(&self) -> Result<Consumers, StepError>;
}

/// Asks to lead consumers elsewhere.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct LeadConsumers {
    /// Where.
    pub to: Consumers,
    /// How long it may take, requests in progress included where they are held. Default 600 s.
    pub deadline: Duration,
}

impl LeadConsumers {
    /// Asks to lead consumers to `to`.
    pub fn new(to: Consumers) -> Self {
        Self { to, deadline: super::DEADLINE }
    }

    /// Limits how long it may take.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }
}

/// Leads consumers to one of the sites.
///
/// # Examples
///
/// ```
/// use ha_core::backend::{Consumers, LeadConsumers, LeaseEpoch, SiteSwitch, StepError};
///
/// async fn lead(front: &dyn SiteSwitch, lease: LeaseEpoch, site: &str) -> Result<bool, StepError> {
///     let to = Consumers::To(site.into());
///     front.lead(lease, LeadConsumers::new(to.clone())).await?;
///     Ok(front.consumers().await? == to)
/// }
/// ```
#[async_trait]
pub trait SiteSwitch: ObserveSiteSwitch {
    /// Leads consumers there, durably: a restart of what leads them keeps it.
    ///
    /// To hold them is two things: new requests wait, and those in progress end; it is done when none is left. Where that is not so
    /// inside the deadline they are led where they were led before.
    ///
    /// # Idempotency
    /// Absolute: twice equals once; what was done in half is gone on with.
    /// # Errors
    /// `Fenced`, `Denied`, `NotFound` (a site that it does not know), `Unsupported` (where it cannot hold): no effect. `Conflict` (it
    /// ended, and they are led elsewhere), `Timeout`, `Unreachable`: unknown, unless the error says that it had no effect; read
    /// `consumers`.
    /// # Cancel safety
    /// Not cancel safe: read `consumers`.
    async fn lead(&self, lease: LeaseEpoch, request: LeadConsumers) -> Result<Applied, StepError>;
}
