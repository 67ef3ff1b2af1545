use std::fmt::{self, Debug};

use async_trait::async_trait;

use super::{Applied, ErrorKind, RunCommand, StepError};
use crate::state::LeaseEpoch;

/// Names one piece of work on one host, for good: work of one name is started at most once.
///
/// # Examples
///
/// ```
/// use ha_core::backend::WorkId;
///
/// assert!(WorkId::new("patch-2026-07.12").is_ok());
/// assert!(WorkId::new("../patch").is_err());
/// ```
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct WorkId(Box<str>);

/// Refuses a name for a piece of work.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0:?} names no work: use 1 to 100 letters, digits, dots, dashes and underscores, a letter or a digit first")]
pub struct InvalidWorkId(String);

impl WorkId {
    /// Wraps a name that is safe as a file name everywhere.
    ///
    /// # Errors
    /// [`InvalidWorkId`]: 1 to 100 ASCII letters, digits, `.`, `-` and `_`; the first is a letter or a digit.
    pub fn new(text: &str) -> Result<Self, InvalidWorkId> {
        let safe = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
        let begins = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
        if begins && text.len() <= 100 && text.bytes().all(safe) {
            Ok(Self(text.into()))
        } else {
            Err(InvalidWorkId(text.into()))
        }
    }

    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for WorkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The state of a piece of work.
///
/// # Examples
///
/// ```
/// use ha_core::backend::WorkState;
///
/// assert!(WorkState::Exited(0).is_final());
/// assert!(!WorkState::Running.is_final());
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum WorkState {
    /// It has not begun and will not by itself: it is safe to start it.
    Absent,
    /// It is claimed and has not said yet that it runs.
    Starting,
    /// It runs, or waits for a lock that it needs.
    Running,
    /// It ended by itself with this code.
    Exited(i32),
    /// This signal ended it.
    Signaled(i32),
    /// It passed its deadline and was ended with its process group: what it did is unknown.
    Overdue,
    /// It never began its command: `Fenced` or `Busy`.
    Refused(ErrorKind),
    /// It is gone and left no result: its machine was restarted, or somebody killed what kept it.
    Lost,
}

impl WorkState {
    /// Tells whether the work will not change its state any more.
    pub fn is_final(&self) -> bool {
        !matches!(self, Self::Absent | Self::Starting | Self::Running)
    }
}

/// The kept end of what a piece of work has printed so far.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct WorkOutput {
    /// Of its standard output, as text; bytes that are not UTF-8 are replaced.
    pub stdout: String,
    /// Of its standard error, likewise.
    pub stderr: String,
}

impl WorkOutput {
    /// Describes an output.
    pub fn new(stdout: impl Into<String>, stderr: impl Into<String>) -> Self {
        Self { stdout: stdout.into(), stderr: stderr.into() }
    }
}

/// Reads work that outlives the connection it was started over.
#[async_trait]
pub trait ObserveDetachedWork: Debug + Send + Sync + 'static {
    /// Reads the state of a piece of work, whoever started it.
    ///
    /// # Errors
    /// `Denied`, `Unreachable`, `Timeout`, `Protocol`; all without effect.
    /// # Cancel safety
    /// Cancel safe: it only reads.
    async fn state(&self, id: &WorkId) -> Result<WorkState, StepError>;

    /// Reads the last `limit` bytes that it has printed, of each stream.
    ///
    /// # Errors
    /// As [`state`](Self::state); `NotFound` when nothing was started under this name.
    /// # Cancel safety
    /// Cancel safe: it only reads.
    async fn tail(&self, id: &WorkId, limit: usize) -> Result<WorkOutput, StepError>;
}

/// Starts and ends work that outlives the connection and the controller it was started by.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use ha_core::backend::{DetachedWork, LeaseEpoch, RunCommand, StepError, WorkId, WorkState};
///
/// /// Twice under one name is once: another controller that asks again starts nothing.
/// async fn launch(work: &dyn DetachedWork, epoch: LeaseEpoch, id: WorkId) -> Result<WorkState, StepError> {
///     let command = RunCommand::new(vec!["bin/reindex.sh".into()], Duration::from_secs(3_600));
///     work.launch(epoch, id.clone(), command).await?;
///     work.state(&id).await
/// }
/// ```
#[async_trait]
pub trait DetachedWork: ObserveDetachedWork {
    /// Starts a command under a name and returns; it runs behind the host's fence, to its end or its own deadline.
    ///
    /// # Idempotency
    /// At most once: a name that was started before, by whomever, answers `AlreadySo` and starts nothing.
    /// # Errors
    /// `Fenced`, `Unsupported`: no effect. `Timeout`, `Unreachable` after it was sent: unknown; read `state`.
    /// # Cancel safety
    /// Not cancel safe: it may start; read `state`.
    async fn launch(&self, epoch: LeaseEpoch, id: WorkId, command: RunCommand) -> Result<Applied, StepError>;

    /// Ends a piece of work with its process group.
    ///
    /// # Idempotency
    /// Work that has ended, or never was, answers `AlreadySo`.
    /// # Errors
    /// `Fenced`: no effect. `Timeout`, `Unreachable`: unknown; read `state`.
    /// # Cancel safety
    /// Not cancel safe: read `state`.
    async fn cancel(&self, epoch: LeaseEpoch, id: &WorkId) -> Result<Applied, StepError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_work_is_safe_as_a_file_name() {
        for good in ["a", "patch-2026-07.12", "7", "A_b.c-d", &"x".repeat(100)] {
            assert_eq!(WorkId::new(good).unwrap().as_str(), good);
        }
        for bad in ["", ".", "..", "-rf", "_a", "a/b", "a b", "a\nb", "ä", "a'b", &"x".repeat(101)] {
            assert!(WorkId::new(bad).is_err(), "{bad:?}");
        }
    }
}
