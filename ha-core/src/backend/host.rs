use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::{Applied, StepError};
use crate::state::{LeaseEpoch, ServerDomain};

/// Identifies one life of a server process, so that a restart is proven by a changed value and never by a pid alone.
///
/// Opaque text: two values are of the same life exactly when they are equal (Linux: boot id, pid and start time).
#[derive(Clone, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
pub struct Incarnation(Box<str>);

impl Incarnation {
    /// Wraps the identity that a host has put together.
    pub fn new(text: impl Into<Box<str>>) -> Self {
        Self(text.into())
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for Incarnation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether the server's process exists on its host.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ServerProcess {
    /// No process of this server exists.
    Stopped,
    /// The process exists; whether it serves is the probe's to say.
    Running(Incarnation),
}

/// The release that is installed on disk.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Installed {
    /// The server is not installed here.
    Absent,
    /// This release, as the server's version command prints it.
    Release(Box<str>),
}

/// A command for one host: an argument vector, never a shell line.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct RunCommand {
    /// Program and arguments, each passed as it is.
    pub argv: Vec<String>,
    /// Environment added to the command's.
    pub env: Vec<(String, String)>,
    /// When the command is ended with its whole process group; its effect is then unknown.
    pub deadline: Duration,
    /// Bytes of output that are kept, of standard output and of standard error each; the rest is read and counted.
    pub output_limit: usize,
}

impl RunCommand {
    /// Runs `argv` with a `deadline`; 64 KiB of output are kept.
    pub fn new(argv: Vec<String>, deadline: Duration) -> Self {
        Self { argv, env: Vec::new(), deadline, output_limit: 64 * 1024 }
    }

    /// Adds a variable to the command's environment.
    #[must_use]
    pub fn with_env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }
}

/// How a command ended. A command that was not seen to end is an error with an unknown effect instead.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Ran {
    /// Its exit code, or `None` when a signal ended it.
    pub code: Option<i32>,
    /// The kept end of its standard output, as text; bytes that are not UTF-8 are replaced.
    pub stdout: String,
    /// The kept end of its standard error, likewise.
    pub stderr: String,
}

impl Ran {
    /// Describes an ended command.
    pub fn new(code: Option<i32>, stdout: impl Into<String>, stderr: impl Into<String>) -> Self {
        Self { code, stdout: stdout.into(), stderr: stderr.into() }
    }
}

/// Reads the server of one node.
#[async_trait]
pub trait ObserveHost: Debug + Send + Sync + 'static {
    /// Reads whether the server's process exists, by its identity and not by its pid alone.
    ///
    /// # Errors
    /// `Unreachable`, `Timeout`, `Protocol`; all without effect.
    /// # Cancel safety
    /// Cancel safe: it only reads.
    async fn process(&self) -> Result<ServerProcess, StepError>;

    /// Reads the installed release from disk, running server or not.
    ///
    /// # Errors
    /// `Unreachable`, `Timeout`; `Protocol` when the version command fails or prints nothing; all without effect.
    /// # Cancel safety
    /// Cancel safe: it only reads.
    async fn installed(&self) -> Result<Installed, StepError>;
}

/// Changes the server of one node. Start and stop are requests: that they return proves nothing, since the scripts of
/// real servers return at once; the caller waits for what [`ObserveHost::process`] and the probe show.
#[async_trait]
pub trait Host: ObserveHost {
    /// Asks the server to start, in one of the servers' own cluster domains.
    ///
    /// # Idempotency
    /// A running server is left alone and answers `AlreadySo`. A stale pid file is moved aside first.
    /// # Errors
    /// `Fenced`, `NotFound` (no start command there), `Unsupported` (no such domain): no effect. `Timeout`: effect
    /// unknown.
    /// # Cancel safety
    /// Not cancel safe: the server may start; read `process`.
    async fn start(&self, epoch: LeaseEpoch, domain: ServerDomain) -> Result<Applied, StepError>;

    /// Asks the server to stop, gracefully.
    ///
    /// # Idempotency
    /// A stopped server answers `AlreadySo`. A process that is not this server is never signalled.
    /// # Errors
    /// `Fenced`: no effect. `Timeout`: effect unknown.
    /// # Cancel safety
    /// Not cancel safe: the server may stop; read `process`.
    async fn stop(&self, epoch: LeaseEpoch) -> Result<Applied, StepError>;

    /// Runs a command to its end.
    ///
    /// # Idempotency
    /// That of the command. The engine repeats it only after it has looked (`installed`).
    /// # Errors
    /// `Fenced`, `NotFound` (no such program): no effect. `Timeout`: the process group was ended, effect unknown.
    /// # Cancel safety
    /// Not cancel safe: the command may go on; look at what it changes.
    async fn run(&self, epoch: LeaseEpoch, command: RunCommand) -> Result<Ran, StepError>;
}
