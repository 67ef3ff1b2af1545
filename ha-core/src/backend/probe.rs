use std::fmt::Debug;

use async_trait::async_trait;

use super::StepError;

/// What a readiness probe saw, asked of the node directly and not through the balancer.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Ready {
    /// The server serves; it said that it runs this release.
    Yes {
        /// The release that answered.
        release: Box<str>,
    },
    /// The server answered that it is not ready, with this message.
    NotYet(String),
    /// Nothing listens there.
    Closed,
}

/// Asks one node directly, past the balancer.
///
/// # Examples
///
/// ```
/// use async_trait::async_trait;
/// use ha_core::backend::{ErrorKind, Probe, Ready, StepError};
///
/// /// Asks a client of one's own.
/// #[derive(Debug)]
/// struct Asked(Option<String>);
///
/// #[async_trait]
/// impl Probe for Asked {
///     async fn ready(&self) -> Result<Ready, StepError> {
///         Ok(self.0.as_deref().map_or(Ready::Closed, |release| Ready::Yes { release: release.into() }))
///     }
///
///     async fn test(&self) -> Result<Box<str>, StepError> {
///         let failed = || StepError::new(ErrorKind::Conflict, "test", "esb1").without_effect();
///         self.0.as_deref().map(Box::from).ok_or_else(failed)
///     }
///
///     async fn missing(&self) -> Result<Vec<String>, StepError> {
///         Ok(Vec::new())
///     }
/// }
/// ```
#[async_trait]
pub trait Probe: Debug + Send + Sync + 'static {
    /// Asks whether the server is ready on its traffic port, and which release answers.
    ///
    /// # Errors
    /// `Timeout`, `Protocol`, `Unreachable`; `NotFound` or `Denied` when what asks is missing or may not be used. All
    /// without effect. A refused connection is `Ready::Closed`, not an error.
    /// # Cancel safety
    /// Cancel safe: it only reads.
    async fn ready(&self) -> Result<Ready, StepError>;

    /// Runs the business test on the node. The answer is the tested release.
    ///
    /// # Errors
    /// `Conflict` when the test ran and failed, or the server is not ready, with what it said; those of
    /// [`ready`](Self::ready) when it could not be run to its end. All without effect: a test must not change business data.
    /// # Cancel safety
    /// Cancel safe.
    async fn test(&self) -> Result<Box<str>, StepError>;

    /// Looks for what later calls need on this side, such as the program that is run, and lists what is not there, one line each,
    /// with the setting and what to do. Empty where nothing is missing, or nothing can be told before the server runs.
    ///
    /// # Errors
    /// `Timeout`, without effect.
    /// # Cancel safety
    /// Cancel safe: it only reads.
    async fn missing(&self) -> Result<Vec<String>, StepError>;
}
