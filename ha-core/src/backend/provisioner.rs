use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;

use super::{Applied, StepError};
use crate::state::LeaseEpoch;

/// What is installed on a node, by digest: two nodes are the same installation exactly when these are equal. The shared files are
/// no part of it: they come over the file sync.
///
/// # Examples
///
/// ```
/// use ha_core::backend::Installation;
///
/// let (member, other) = (Installation::new("4.2.1", "9f86d081"), Installation::new("4.2.1", "60303ae2"));
/// assert_ne!(member, other); // the same release with another configuration
/// assert_eq!(other.to_string(), "release 4.2.1 with configuration 60303ae2");
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Installation {
    /// The release, as the server's version command prints it.
    pub release: Box<str>,
    /// The digest of its configuration, of all that has to be equal on every member and of nothing else.
    pub configuration: Box<str>,
}

impl Installation {
    /// Describes an installation.
    pub fn new(release: impl Into<Box<str>>, configuration: impl Into<Box<str>>) -> Self {
        Self { release: release.into(), configuration: configuration.into() }
    }
}

impl std::fmt::Display for Installation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "release {} with configuration {}", self.release, self.configuration)
    }
}

/// Asks that a node has an installation.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use ha_core::backend::{Installation, Provision};
///
/// let request = Provision::new(Installation::new("4.2.1", "9f86d081")).with_deadline(Duration::from_secs(300));
/// # drop(request);
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Provision {
    /// What it has afterwards.
    pub installation: Installation,
    /// How long it may take. Default 600 s; at 0 only what is there already is.
    pub deadline: Duration,
}

impl Provision {
    /// Asks for this installation.
    pub fn new(installation: Installation) -> Self {
        Self { installation, deadline: super::DEADLINE }
    }

    /// Limits how long it may take.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }
}

/// Asks that nothing is installed on a node any more.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use ha_core::backend::Deprovision;
///
/// assert!(Deprovision::new().deadline > Duration::ZERO);
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Deprovision {
    /// How long it may take. Default 600 s; at 0 only what is gone already is.
    pub deadline: Duration,
}

impl Deprovision {
    /// Asks for it.
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

impl Default for Deprovision {
    fn default() -> Self {
        Self::new()
    }
}

/// Reads what is installed on one node.
#[async_trait]
pub trait ObserveProvisioner: Debug + Send + Sync + 'static {
    /// Reads it; `None` where nothing is, or only a part of an installation.
    ///
    /// # Errors
    /// `Unreachable`, `Denied`, `Timeout`, `Protocol`; all without effect.
    /// # Cancel safety
    /// Cancel safe: it only reads.
    async fn installation(&self) -> Result<Option<Installation>, StepError>;

    /// Looks for what later calls need on the node, and lists what is not there, one line each, with what to do. Empty where
    /// nothing is missing, or nothing can be told without an effect.
    ///
    /// # Errors
    /// As [`installation`](Self::installation).
    /// # Cancel safety
    /// Cancel safe: it only reads.
    async fn missing(&self) -> Result<Vec<String>, StepError>;
}

/// Brings one node to an installation, and takes it away again. The node's server is stopped meanwhile: neither starts nor stops it.
///
/// # Examples
///
/// ```
/// use ha_core::backend::{LeaseEpoch, Provision, Provisioner, StepError};
///
/// /// Makes a node what a member is.
/// async fn copy(member: &dyn Provisioner, node: &dyn Provisioner, epoch: LeaseEpoch) -> Result<bool, StepError> {
///     let Some(wanted) = member.installation().await? else { return Ok(false) };
///     node.provision(epoch, Provision::new(wanted.clone())).await?;
///     Ok(node.installation().await? == Some(wanted))
/// }
/// ```
#[async_trait]
pub trait Provisioner: ObserveProvisioner {
    /// Brings the node to an installation, whatever is there, and reads it back.
    ///
    /// # Idempotency
    /// Absolute: twice equals once. What an interrupted call has left is replaced.
    /// # Errors
    /// `Fenced`, `Denied`, `NotFound` where what it runs is not there: no effect. `Conflict` where another installation is there
    /// afterwards, `Timeout`, `Unreachable`: unknown, unless they say that nothing was changed; read `installation`.
    /// # Cancel safety
    /// Not cancel safe: it may be there in part; read `installation`.
    async fn provision(&self, epoch: LeaseEpoch, request: Provision) -> Result<Applied, StepError>;

    /// Takes the installation away, with what it holds elsewhere: licences, monitoring, registrations.
    ///
    /// # Idempotency
    /// As [`provision`](Self::provision).
    /// # Errors
    /// As [`provision`](Self::provision).
    /// # Cancel safety
    /// Not cancel safe: a part of it may be there; read `installation`.
    async fn deprovision(&self, epoch: LeaseEpoch, request: Deprovision) -> Result<Applied, StepError>;
}
