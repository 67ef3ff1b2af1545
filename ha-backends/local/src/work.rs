use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ha_core::backend::{Applied, ErrorKind, Host, ObserveWorkload, RunCommand, StepError, Workload};
use ha_core::state::{LeaseEpoch, Work};
use ha_core::telemetry::call_span;
use ha_core::topology::{Component, Settings};
use tokio::sync::Mutex;
use tokio::time::timeout;
use tracing::Instrument;

use crate::ConfigError;
use crate::runner::{done, told};

/// The commands of a node's host that stop its server from pulling work, let it again, and count what is left.
///
/// They run as the host's commands do, in its folder, each with the node's name in `HA_NODE`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CommandWorkloadConfig {
    /// Prints one word: `on` while the node pulls work, `ending` where it pulls none and some is in progress, `off` where none is. It
    /// changes nothing.
    pub status: Vec<String>,
    /// Lets the node pull no more work, durably: a restart of its server does not undo it. What is in progress goes on.
    pub quiesce: Vec<String>,
    /// Lets it pull work again.
    pub resume: Vec<String>,
    /// Prints how many pieces of work are in progress, as one number; asked where `status` says `off`. Empty: `status` knows.
    pub left: Vec<String>,
    /// How long each of the commands may take. Default 15 s.
    pub command_deadline: Duration,
}

impl CommandWorkloadConfig {
    /// Describes the commands, with the default limit and without a count.
    pub fn new(status: Vec<String>, quiesce: Vec<String>, resume: Vec<String>) -> Self {
        Self { status, quiesce, resume, left: Vec::new(), command_deadline: Duration::from_secs(15) }
    }

    /// Counts what is in progress by a command.
    #[must_use]
    pub fn with_left(mut self, argv: Vec<String>) -> Self {
        self.left = argv;
        self
    }

    /// Reads the settings `status`, `quiesce`, `resume`, and optionally `left` and `command_deadline`.
    ///
    /// # Errors
    /// [`ConfigError`] with every key that is wrong.
    pub fn from_component(component: &Component) -> Result<Self, ConfigError> {
        let mut settings = Settings::of(component);
        let (status, quiesce) = (settings.argv("status"), settings.argv("quiesce"));
        let (resume, left) = (settings.argv("resume"), settings.optional_argv("left"));
        let deadline = settings.duration("command_deadline", Duration::from_secs(15));
        let read = (|| {
            let config = Self::new(status?, quiesce?, resume?).with_left(left?);
            Ok(Self { command_deadline: deadline?, ..config })
        })();
        settings.finish(read)
    }
}

/// The work that a node pulls, by commands of its host, of whatever kind that is.
///
/// `status` and `left` must end with exit code 0; anything else says that nothing could be read. `quiesce` and `resume` end with 0 when
/// it is so; with 3 when they refuse and have changed nothing; with anything else nobody can tell. They are run only where `status`
/// says that something is to be changed, and `status` is asked again behind them. The host fences them.
#[derive(Clone, Debug)]
pub struct CommandWorkload {
    node: String,
    host: Arc<dyn Host>,
    config: CommandWorkloadConfig,
    /// One change at a time: each begins with what it reads.
    changing: Arc<Mutex<()>>,
}

const BACKEND: &str = "command";

/// What `status` says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Pulls {
    On,
    Ending,
    Off,
}

impl CommandWorkload {
    /// Drives the work of `node` over its host. Nothing is touched yet.
    pub fn new(node: impl Into<String>, host: Arc<dyn Host>, config: CommandWorkloadConfig) -> Self {
        Self { node: node.into(), host, config, changing: Arc::default() }
    }

    fn command(&self, argv: &[String]) -> RunCommand {
        RunCommand::new(argv.to_vec(), self.config.command_deadline).with_env("HA_NODE", self.node.as_str())
    }

    fn fail(&self, kind: ErrorKind, operation: &'static str, context: String) -> StepError {
        StepError::new(kind, operation, self.node.as_str()).with_context(context)
    }

    /// Runs a command that only reads, and reads what it printed.
    async fn ask<T>(
        &self,
        operation: &'static str,
        (name, argv): (&str, &[String]),
        read: fn(&str) -> Result<T, String>,
    ) -> Result<T, StepError> {
        let ran = self.host.ask(self.command(argv)).await.map_err(StepError::without_effect)?;
        let failed = |context| self.fail(ErrorKind::Protocol, operation, context).without_effect();
        if !ran.is_success() {
            return Err(failed(told(name, &ran)));
        }
        read(&ran.stdout).map_err(|what| failed(format!("{name} printed {what}")))
    }

    async fn pulls(&self, operation: &'static str) -> Result<Pulls, StepError> {
        self.ask(operation, ("status", &self.config.status), read_status).await
    }

    async fn look(&self) -> Result<Work, StepError> {
        match self.pulls("work").await? {
            Pulls::On | Pulls::Ending => Ok(Work::On),
            Pulls::Off if self.config.left.is_empty() => Ok(Work::Off),
            Pulls::Off => {
                let left = self.ask("work", ("left", &self.config.left), read_count).await?;
                Ok(if left == 0 { Work::Off } else { Work::On })
            }
        }
    }

    async fn change(&self, epoch: LeaseEpoch, operation: &'static str, on: bool) -> Result<Applied, StepError> {
        if (self.pulls(operation).await? == Pulls::On) == on {
            return Ok(Applied::AlreadySo);
        }
        let argv = if on { &self.config.resume } else { &self.config.quiesce };
        let ran = self.host.run(epoch, self.command(argv)).await?;
        done(operation, &ran, |what| self.fail(ErrorKind::Conflict, operation, what))?;
        let found = self.pulls(operation).await.map_err(|error| {
            self.fail(
                ErrorKind::Conflict,
                operation,
                "it was changed, and could not be read back: read it again".into(),
            )
            .caused_by(error)
        })?;
        if (found == Pulls::On) == on {
            return Ok(Applied::Applied);
        }
        let context = format!("{operation} ended well, and status says {found:?}: correct the command");
        Err(self.fail(ErrorKind::Conflict, operation, context))
    }

    /// The same in a task of its own: a dropped future does not cut it, and what is asked for later waits for it. While it waits
    /// itself it has not begun.
    async fn change_apart(&self, epoch: LeaseEpoch, operation: &'static str, on: bool) -> Result<Applied, StepError> {
        let (workload, span) = (self.clone(), call_span(BACKEND, operation, &self.node));
        // As long as the one before may take: its status, its command, and its status again.
        let turn = timeout(self.config.command_deadline * 3, self.changing.clone().lock_owned());
        let Ok(one_at_a_time) = turn.await else {
            let context = "another change of this node has not ended, nothing was begun: read its work, then ask again";
            return Err(self.fail(ErrorKind::Timeout, operation, context.into()).without_effect());
        };
        let change = async move {
            let _one_at_a_time = one_at_a_time;
            workload.change(epoch, operation, on).await
        };
        let ended = tokio::spawn(change.instrument(span)).await;
        let node = self.node.as_str();
        ended.unwrap_or_else(|error| Err(StepError::new(ErrorKind::Protocol, operation, node).caused_by(error)))
    }
}

/// Reads what `status` printed.
fn read_status(printed: &str) -> Result<Pulls, String> {
    match printed.trim() {
        "on" => Ok(Pulls::On),
        "ending" => Ok(Pulls::Ending),
        "off" => Ok(Pulls::Off),
        other => Err(format!("{other:?}, and none of on, ending and off")),
    }
}

/// Reads what `left` printed: what is missing is no zero.
fn read_count(printed: &str) -> Result<u64, String> {
    let printed = printed.trim();
    let digits = !printed.is_empty() && printed.bytes().all(|byte| byte.is_ascii_digit());
    let number = digits.then(|| printed.parse().ok()).flatten();
    number.ok_or_else(|| format!("{printed:?}, and not one number"))
}

#[async_trait]
impl ObserveWorkload for CommandWorkload {
    async fn work(&self) -> Result<Work, StepError> {
        self.look().instrument(call_span(BACKEND, "work", &self.node)).await
    }
}

#[async_trait]
impl Workload for CommandWorkload {
    async fn quiesce(&self, epoch: LeaseEpoch) -> Result<Applied, StepError> {
        self.change_apart(epoch, "quiesce", false).await
    }

    async fn resume(&self, epoch: LeaseEpoch) -> Result<Applied, StepError> {
        self.change_apart(epoch, "resume", true).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_one_of_three_words_and_a_count_one_number_and_nothing_else_is_taken_for_one() {
        assert_eq!((read_status("on\n"), read_status(" ending "), read_status("off")), {
            (Ok(Pulls::On), Ok(Pulls::Ending), Ok(Pulls::Off))
        });
        for wrong in ["", "On", "on off", "on\noff", "0", "stopped", "off\0"] {
            assert!(read_status(wrong).is_err(), "{wrong:?}");
        }
        assert_eq!((read_count("0\n"), read_count(" 17 ")), (Ok(0), Ok(17)));
        for wrong in ["", "\n", "-1", "+1", "0 0", "none", "1e3", "0x0", "99999999999999999999999"] {
            assert!(read_count(wrong).is_err(), "{wrong:?}");
        }
    }
}
