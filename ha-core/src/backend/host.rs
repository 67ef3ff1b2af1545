use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::{Applied, DetachedWork, HostFiles, StepError, WorkId};
use crate::state::{LeaseEpoch, ServerDomain};

/// How far a host keeps an older controller from acting.
///
/// # Examples
///
/// ```
/// use ha_core::backend::{Fencing, HostCapabilities};
///
/// let claimed = HostCapabilities::new(Fencing::Guarded, true);
/// assert_eq!(claimed.fencing, Fencing::Guarded);
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Fencing {
    /// It refuses no epoch by itself: an effect is over when its deadline is, and a new controller waits that long.
    TimeBounded,
    /// It refuses lower epochs, durably, and lets one effect at a time through: a new controller's waits for the old one's.
    Guarded,
}

/// What a host value can do, its layers included. Constant for the value's life.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct HostCapabilities {
    /// How it keeps an older controller from acting.
    pub fencing: Fencing,
    /// A command goes on, and its end is found again, when the connection or the controller is lost.
    pub survives_connection: bool,
}

impl HostCapabilities {
    /// States the capabilities.
    pub fn new(fencing: Fencing, survives_connection: bool) -> Self {
        Self { fencing, survives_connection }
    }
}

/// Which machine answers, and what is found on it.
///
/// # Examples
///
/// ```
/// use ha_core::backend::HostIdentity;
///
/// let identity = HostIdentity::new("1b4e28ba", "2fa1").with_tools(vec!["rsync".into(), "curl".into()]);
/// assert!(identity.has("curl") && !identity.has("wget"));
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct HostIdentity {
    /// Names the machine, whatever its address (Linux: the machine id). A changed value is another machine.
    pub machine: Box<str>,
    /// Names this boot of it. A changed value means that every process seen before is gone.
    pub boot: Box<str>,
    /// How far its clock is ahead of the controller's, in milliseconds, give or take the time of the question.
    pub clock_ahead_ms: Option<i64>,
    /// The programs that were looked for and found, sorted.
    pub tools: Vec<Box<str>>,
}

impl HostIdentity {
    /// Describes a machine.
    pub fn new(machine: impl Into<Box<str>>, boot: impl Into<Box<str>>) -> Self {
        Self { machine: machine.into(), boot: boot.into(), clock_ahead_ms: None, tools: Vec::new() }
    }

    /// Adds how far its clock is ahead of the controller's.
    #[must_use]
    pub fn with_clock_ahead_ms(mut self, ahead: i64) -> Self {
        self.clock_ahead_ms = Some(ahead);
        self
    }

    /// Adds the programs that were found.
    #[must_use]
    pub fn with_tools(mut self, mut tools: Vec<Box<str>>) -> Self {
        tools.sort();
        self.tools = tools;
        self
    }

    /// Tells whether a program was found.
    pub fn has(&self, tool: &str) -> bool {
        self.tools.iter().any(|found| **found == *tool)
    }
}

/// Identifies one life of a server process, so that a restart is proven by a changed value and never by a pid alone.
///
/// Opaque text: two values are of the same life exactly when they are equal (Linux: boot id, pid and start
/// time; boot id and invocation where systemd runs it).
///
/// # Examples
///
/// ```
/// use ha_core::backend::Incarnation;
///
/// // Another start of the same pid is another life.
/// assert_ne!(Incarnation::new("boot1:4711:98765"), Incarnation::new("boot1:4711:99001"));
/// ```
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
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use ha_core::backend::{RunCommand, WorkId};
///
/// let command = RunCommand::new(vec!["bin/patch.sh".into(), "apply".into()], Duration::from_secs(600))
///     .with_env("HA_RELEASE", "4.2.1")
///     .with_id(WorkId::new("patch-1.7")?);
/// assert_eq!(command.output_limit, 64 * 1024);
/// # Ok::<(), ha_core::backend::InvalidWorkId>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct RunCommand {
    /// Program and arguments, each passed as it is.
    pub argv: Vec<String>,
    /// Environment added to the command's.
    pub env: Vec<(String, String)>,
    /// When the command is ended with its whole process group; its effect is then unknown.
    pub deadline: Duration,
    /// Bytes of output that are kept, of standard output and of standard error each; the rest is read and dropped.
    pub output_limit: usize,
    /// Names this one execution, where the host can find it again under that name. Default: a name of its own.
    pub id: Option<WorkId>,
}

impl RunCommand {
    /// Runs `argv` with a `deadline`; 64 KiB of output are kept.
    pub fn new(argv: Vec<String>, deadline: Duration) -> Self {
        Self { argv, env: Vec::new(), deadline, output_limit: 64 * 1024, id: None }
    }

    /// Names this one execution: a host that survives its connection runs it at most once under this name.
    #[must_use]
    pub fn with_id(mut self, id: WorkId) -> Self {
        self.id = Some(id);
        self
    }

    /// Adds a variable to the command's environment.
    #[must_use]
    pub fn with_env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }
}

/// What ended a command.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Ended {
    /// It ended by itself, with this code.
    Exited(i32),
    /// This signal ended it.
    Signaled(i32),
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exited(code) => write!(f, "exit code {code}"),
            Self::Signaled(signal) => write!(f, "signal {signal}"),
        }
    }
}

/// How a command ended. A command that was not seen to end is an error with an unknown effect instead.
///
/// # Examples
///
/// ```
/// use ha_core::backend::{Ended, Ran};
///
/// let ran = Ran::new(Ended::Exited(1), "", "no such release");
/// assert!(!ran.is_success());
/// assert_eq!(ran.ended.to_string(), "exit code 1");
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Ran {
    /// What ended it.
    pub ended: Ended,
    /// The kept end of its standard output, as text; bytes that are not UTF-8 are replaced.
    pub stdout: String,
    /// The kept end of its standard error, likewise.
    pub stderr: String,
}

impl Ran {
    /// Describes an ended command.
    pub fn new(ended: Ended, stdout: impl Into<String>, stderr: impl Into<String>) -> Self {
        Self { ended, stdout: stdout.into(), stderr: stderr.into() }
    }

    /// Tells whether it ended by itself with code 0.
    pub fn is_success(&self) -> bool {
        self.ended == Ended::Exited(0)
    }
}

/// Reads the server of one node.
///
/// # Examples
///
/// ```
/// use ha_core::backend::{Installed, ObserveHost, ServerProcess, StepError};
///
/// async fn line(host: &dyn ObserveHost) -> Result<String, StepError> {
///     let runs = matches!(host.process().await?, ServerProcess::Running(_));
///     Ok(match host.installed().await? {
///         Installed::Absent => "not installed".into(),
///         Installed::Release(release) => format!("release {release}, {}", if runs { "running" } else { "stopped" }),
///     })
/// }
/// ```
#[async_trait]
pub trait ObserveHost: Debug + Send + Sync + 'static {
    /// Returns what this value can do.
    fn capabilities(&self) -> HostCapabilities;

    /// Reads which machine answers.
    ///
    /// # Errors
    /// `Unreachable`, `Denied`, `Timeout`, `Protocol`; all without effect.
    /// # Cancel safety
    /// Cancel safe: it only reads.
    async fn identify(&self) -> Result<HostIdentity, StepError>;

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

    /// Reads how long a stopping server is left alone before its supervisor kills it; `None` where nobody does.
    ///
    /// # Errors
    /// As [`process`](Self::process).
    /// # Cancel safety
    /// Cancel safe: it only reads.
    async fn stop_budget(&self) -> Result<Option<Duration>, StepError>;

    /// Looks for what later calls need, and lists what is not there, one line each, with the setting and what to do: the server's
    /// home, the programs of its own commands and `programs`, those of a change's, and the pid file of a server that runs.
    /// What is there may still fail. Empty where nothing is missing, or nothing can be told without an effect.
    ///
    /// # Errors
    /// As [`process`](Self::process).
    /// # Cancel safety
    /// Cancel safe: it only reads.
    async fn missing(&self, programs: &[String]) -> Result<Vec<String>, StepError>;

    /// Runs a command that only reads, to its end: outside of the host's fence, whoever leads.
    ///
    /// # Errors
    /// `NotFound` (no such program), `Timeout` past its deadline, `Unreachable`, `Denied`; all without effect, as the command
    /// has none.
    /// # Cancel safety
    /// Cancel safe: it only reads.
    async fn ask(&self, command: RunCommand) -> Result<Ran, StepError>;
}

/// Changes the server of one node. Start and stop are requests: that they return proves nothing, since the scripts of
/// real servers return at once; the caller waits for what [`ObserveHost::process`] and the probe show.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use ha_core::backend::{Host, LeaseEpoch, RunCommand, StepError};
/// use ha_core::state::ServerDomain;
///
/// async fn clear_cache(host: &dyn Host, epoch: LeaseEpoch) -> Result<bool, StepError> {
///     let command = RunCommand::new(vec!["bin/clear-cache.sh".into()], Duration::from_secs(60));
///     let cleared = host.run(epoch, command).await?.is_success();
///     // A request only: what follows is seen by `process` and by the probe.
///     host.start(epoch, ServerDomain::Production).await?;
///     Ok(cleared)
/// }
/// ```
#[async_trait]
pub trait Host: ObserveHost {
    /// Returns its files, where this value can reach them.
    fn files(&self) -> Option<&dyn HostFiles>;

    /// Returns its work that outlives a connection, where [`HostCapabilities::survives_connection`] says so.
    fn work(&self) -> Option<&dyn DetachedWork>;

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

    /// Ends one life of the server by force, its process group with it, after it was asked to write down what it does:
    /// for a server that does not stop. Whoever calls this reports the stop as forced.
    ///
    /// # Idempotency
    /// A life that is over answers `AlreadySo`; another life is never signalled.
    /// # Errors
    /// `Fenced`, `Denied`: no effect. `Timeout`, `Unreachable`: effect unknown; read `process`.
    /// # Cancel safety
    /// Not cancel safe: the server may end; read `process`.
    async fn kill(&self, epoch: LeaseEpoch, life: Incarnation) -> Result<Applied, StepError>;

    /// Runs a command to its end.
    ///
    /// # Idempotency
    /// That of the command; under one [`RunCommand::id`] a host with [`work`](Self::work) runs it at most once, and
    /// another call waits for the first one's end. The engine repeats it only after it has looked (`installed`).
    /// # Errors
    /// `Fenced`, `Busy`, `NotFound` (no such program): no effect. `Timeout`: the process group was ended, effect
    /// unknown. `Unreachable` after the command was sent: effect unknown; look for its id in [`work`](Self::work).
    /// # Cancel safety
    /// Not cancel safe: the command may go on; look at what it changes.
    async fn run(&self, epoch: LeaseEpoch, command: RunCommand) -> Result<Ran, StepError>;
}
