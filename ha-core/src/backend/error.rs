use std::error::Error;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Says what a caller can do about a backend failure.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ErrorKind {
    /// The target is there and asks to be called later (a full socket backlog, a lock held by another).
    Busy,
    /// The target is in another state than the call presumed, or refused the change in its present state.
    Conflict,
    /// The target refuses this caller: permissions, a read-only socket, a level that is too low.
    Denied,
    /// The target has seen a higher lease epoch: this controller must stop.
    Fenced,
    /// The target itself is not there any more, and that is proven: nothing that it had begun goes on, nothing of it can come.
    /// What merely does not answer is `Unreachable`, or `Timeout`.
    Gone,
    /// The named thing does not exist at the target.
    NotFound,
    /// The target answered something that this backend does not understand.
    Protocol,
    /// No answer came inside the deadline.
    Timeout,
    /// The target could not be reached.
    Unreachable,
    /// The target or this backend cannot do this.
    Unsupported,
}

/// What one failed call did to the target. Closed on purpose: both must be handled.
///
/// # Examples
///
/// ```
/// use ha_core::backend::{Effect, ErrorKind, StepError};
///
/// let refused = StepError::new(ErrorKind::Denied, "stop", "esb1").without_effect();
/// let lost = StepError::new(ErrorKind::Timeout, "stop", "esb1");
/// assert_eq!([refused.effect(), lost.effect()], [Effect::None, Effect::Unknown]);
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Effect {
    /// Proven: the call changed nothing.
    None,
    /// The call may have changed the target; read it back.
    Unknown,
}

/// When the same call may be made again.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use ha_core::backend::{ErrorKind, Retry, StepError};
///
/// let busy = StepError::new(ErrorKind::Busy, "member", "esb/esb1").without_effect();
/// assert_eq!(busy.retry(), Retry::Never);
/// assert_eq!(busy.retry_after(Duration::from_secs(1)).retry(), Retry::After(Duration::from_secs(1)));
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Retry {
    /// Not by itself; something has to change first.
    Never,
    /// After this pause.
    After(Duration),
}

/// Reports a failed backend call: what was asked, of whom, and what is known of its effect.
///
/// Pessimism is the default: a new error has [`Effect::Unknown`] and [`Retry::Never`]; a backend calls
/// [`without_effect`](Self::without_effect) only where it can prove it. The value is one pointer wide.
///
/// # Examples
///
/// ```
/// use ha_core::backend::{Effect, ErrorKind, StepError};
///
/// let error = StepError::new(ErrorKind::NotFound, "set_admin", "app/esb9")
///     .with_context("HAProxy answered: No such server.")
///     .without_effect();
/// assert_eq!(error.effect(), Effect::None);
/// assert_eq!(
///     error.to_string(),
///     "set_admin on app/esb9: not found (no effect): HAProxy answered: No such server."
/// );
/// // With its causes:
/// let error = StepError::new(ErrorKind::Conflict, "move", "esb").caused_by(error);
/// assert_eq!(
///     format!("{error:#}"),
///     "move on esb: conflict (effect unknown): \
///      set_admin on app/esb9: not found (no effect): HAProxy answered: No such server."
/// );
/// ```
pub struct StepError(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    effect: Effect,
    retry: Retry,
    operation: &'static str,
    target: String,
    context: Option<String>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl StepError {
    /// Builds an error about `operation` on `target`, with an unknown effect and no retry.
    pub fn new(kind: ErrorKind, operation: &'static str, target: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            effect: Effect::Unknown,
            retry: Retry::Never,
            operation,
            target: target.into(),
            context: None,
            source: None,
        }))
    }

    /// States that the call changed nothing. Only for what can be proven.
    #[must_use]
    pub fn without_effect(mut self) -> Self {
        self.0.effect = Effect::None;
        self
    }

    /// States that the same call may be made again after `pause`.
    #[must_use]
    pub fn retry_after(mut self, pause: Duration) -> Self {
        self.0.retry = Retry::After(pause);
        self
    }

    /// Adds what was seen and what to do, as plain text. No secrets: this is printed.
    #[must_use]
    pub fn with_context(mut self, context: impl Into<String>) -> Self {
        self.0.context = Some(context.into());
        self
    }

    /// Adds the underlying cause, shown by `source()` and, behind the message, by `{:#}`; not by the message alone. No secrets.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Returns what the caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Returns what is known of this one call's effect.
    pub fn effect(&self) -> Effect {
        self.0.effect
    }

    /// Returns when the same call may be made again.
    pub fn retry(&self) -> Retry {
        self.0.retry
    }

    /// Returns the operation that failed, as the trait names it.
    pub fn operation(&self) -> &'static str {
        self.0.operation
    }

    /// Returns the target of the operation.
    pub fn target(&self) -> &str {
        &self.0.target
    }
}

impl fmt::Display for StepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if f.alternate() {
            return f.write_str(&with_causes(self));
        }
        let kind = match self.0.kind {
            ErrorKind::Busy => "busy",
            ErrorKind::Conflict => "conflict",
            ErrorKind::Denied => "denied",
            ErrorKind::Fenced => "fenced",
            ErrorKind::Gone => "gone",
            ErrorKind::NotFound => "not found",
            ErrorKind::Protocol => "unexpected answer",
            ErrorKind::Timeout => "timed out",
            ErrorKind::Unreachable => "unreachable",
            ErrorKind::Unsupported => "unsupported",
        };
        let effect = match self.0.effect {
            Effect::None => "no effect",
            Effect::Unknown => "effect unknown",
        };
        write!(f, "{} on {}: {kind} ({effect})", self.0.operation, self.0.target)?;
        match &self.0.context {
            Some(context) => write!(f, ": {context}"),
            None => Ok(()),
        }
    }
}

/// Joins an error's text and its causes, but for those that the text tells already.
fn with_causes(error: &dyn Error) -> String {
    let (mut told, mut cause) = (error.to_string(), error.source());
    while let Some(error) = cause {
        let text = error.to_string();
        if !told.contains(&text) {
            told.push_str(": ");
            told.push_str(&text);
        }
        cause = error.source();
    }
    told
}

impl fmt::Debug for StepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StepError")
            .field("kind", &self.0.kind)
            .field("effect", &self.0.effect)
            .field("retry", &self.0.retry)
            .field("operation", &self.0.operation)
            .field("target", &self.0.target)
            .field("context", &self.0.context)
            .field("source", &self.0.source)
            .finish()
    }
}

impl Error for StepError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source.as_ref().map(|source| &**source as &(dyn Error + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_pointer_wide_and_can_cross_threads() {
        fn crosses<T: Send + Sync + 'static>() {}
        crosses::<StepError>();
        assert_eq!(size_of::<Result<(), StepError>>(), size_of::<usize>());
    }

    #[test]
    fn a_new_error_presumes_that_something_happened() {
        let error = StepError::new(ErrorKind::Timeout, "stop", "esb1");
        assert_eq!((error.effect(), error.retry()), (Effect::Unknown, Retry::Never));
    }
}
