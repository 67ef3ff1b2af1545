use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ha_core::backend::{
    Applied, Deprovision, ErrorKind, Host, Installation, ObserveProvisioner, Provision, Provisioner, Ran, RunCommand,
    StepError,
};
use ha_core::state::LeaseEpoch;
use ha_core::telemetry::call_span;
use ha_core::topology::{Component, Settings};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};
use tracing::Instrument;

use crate::ConfigError;
use crate::runner::{done, told, whole};

/// The commands of a node's host that install its server, and take it away.
///
/// They run as the host's commands do, in its folder, and must be there before anything is installed. Each of them gets the node's
/// name in `HA_NODE`; `install` also gets the release in `HA_RELEASE` and the digest of the configuration in `HA_CONFIGURATION`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CommandProvisionerConfig {
    /// Prints one line: the release and the digest of the configuration, or `-` where nothing whole is installed. It changes nothing.
    pub show: Vec<String>,
    /// Brings release and configuration there, whatever is there.
    pub install: Vec<String>,
    /// Takes the installation away, whatever of it is there; the host's folder stays.
    pub remove: Vec<String>,
    /// How long `show` may take. Default 15 s.
    pub command_deadline: Duration,
}

impl CommandProvisionerConfig {
    /// Describes the commands, with the default limit.
    pub fn new(show: Vec<String>, install: Vec<String>, remove: Vec<String>) -> Self {
        Self { show, install, remove, command_deadline: Duration::from_secs(15) }
    }

    /// Reads the settings `show`, `install`, `remove`, and optionally `command_deadline`.
    ///
    /// # Errors
    /// [`ConfigError`] with every key that is wrong.
    pub fn from_component(component: &Component) -> Result<Self, ConfigError> {
        let mut settings = Settings::of(component);
        let (show, install, remove) = (settings.argv("show"), settings.argv("install"), settings.argv("remove"));
        let deadline = settings.duration("command_deadline", Duration::from_secs(15));
        let read = (|| Ok(Self { show: show?, install: install?, remove: remove?, command_deadline: deadline? }))();
        settings.finish(read)
    }
}

/// Installs on a node by commands of its host, of whatever kind that is.
///
/// `show` must end with exit code 0; anything else says that nothing could be read. `install` and `remove` end with 0 when it is so;
/// with 3 when they refuse and have changed nothing; with anything else nobody can tell. They are run only where `show` says that
/// something is to be changed, and `show` is asked again behind them. The host fences them.
#[derive(Clone, Debug)]
pub struct CommandProvisioner {
    node: String,
    host: Arc<dyn Host>,
    config: CommandProvisionerConfig,
    /// One change at a time: each begins with what it reads.
    changing: Arc<Mutex<()>>,
}

/// What `show` prints where nothing whole is installed.
const NOTHING: &str = "-";
const BACKEND: &str = "command";

impl CommandProvisioner {
    /// Installs on `node` over its host. Nothing is touched yet.
    pub fn new(node: impl Into<String>, host: Arc<dyn Host>, config: CommandProvisionerConfig) -> Self {
        Self { node: node.into(), host, config, changing: Arc::default() }
    }

    fn command(&self, argv: &[String], deadline: Duration) -> RunCommand {
        RunCommand::new(argv.to_vec(), deadline).with_env("HA_NODE", self.node.as_str())
    }

    fn fail(&self, kind: ErrorKind, operation: &'static str, context: String) -> StepError {
        StepError::new(kind, operation, self.node.as_str()).with_context(context)
    }

    async fn show(&self, operation: &'static str) -> Result<Option<Installation>, StepError> {
        let ran = self.host.ask(self.command(&self.config.show, self.config.command_deadline)).await;
        let ran = ran.map_err(StepError::without_effect)?;
        let failed = |kind, context| self.fail(kind, operation, context).without_effect();
        let ran = whole("show", ran, |what| failed(ErrorKind::Protocol, what))?;
        if !ran.is_success() {
            return Err(failed(ErrorKind::Protocol, told("show", &ran)));
        }
        read(&ran.stdout).map_err(|what| failed(ErrorKind::Protocol, format!("show printed {what}")))
    }

    async fn change(
        &self,
        epoch: LeaseEpoch,
        operation: &'static str,
        wanted: Option<Installation>,
        deadline: Duration,
    ) -> Result<Applied, StepError> {
        // What is there in part is shown as nothing: a removal is run all the same.
        let is_so = self.show(operation).await? == wanted;
        if is_so && (wanted.is_some() || deadline.is_zero()) {
            return Ok(Applied::AlreadySo);
        }
        if deadline.is_zero() {
            let context = "no time was left to change anything".into();
            return Err(self.fail(ErrorKind::Timeout, operation, context).without_effect());
        }
        let command = match &wanted {
            Some(wanted) => self
                .command(&self.config.install, deadline)
                .with_env("HA_RELEASE", &*wanted.release)
                .with_env("HA_CONFIGURATION", &*wanted.configuration),
            None => self.command(&self.config.remove, deadline),
        };
        let ran: Ran = self.host.run(epoch, command).await?;
        done(operation, &ran, |what| self.fail(ErrorKind::Conflict, operation, what))?;
        let found = self.show(operation).await.map_err(|error| {
            self.fail(ErrorKind::Conflict, operation, "it was changed, and could not be read back".into())
                .caused_by(error)
        })?;
        if found == wanted {
            return Ok(if is_so { Applied::AlreadySo } else { Applied::Applied });
        }
        let found = found.map_or_else(|| "nothing whole is installed".into(), |found| format!("{found} is there"));
        Err(self.fail(ErrorKind::Conflict, operation, format!("{operation} ended well, and {found}")))
    }

    /// The same in a task of its own: a dropped future does not cut it, and what is asked for later waits for it. While it waits
    /// itself it has not begun.
    async fn change_apart(
        &self,
        epoch: LeaseEpoch,
        operation: &'static str,
        wanted: Option<Installation>,
        deadline: Duration,
    ) -> Result<Applied, StepError> {
        let until = Instant::now() + deadline;
        let (provisioner, span) = (self.clone(), call_span(BACKEND, operation, &self.node));
        let Ok(one_at_a_time) = timeout_at(until, self.changing.clone().lock_owned()).await else {
            let context = "another change of this node did not end before the deadline".into();
            return Err(self.fail(ErrorKind::Timeout, operation, context).without_effect());
        };
        let act = async move {
            let _one_at_a_time = one_at_a_time;
            let left = until.saturating_duration_since(Instant::now());
            provisioner.change(epoch, operation, wanted, left).await
        };
        let ended = tokio::spawn(act.instrument(span)).await;
        let node = self.node.as_str();
        ended.unwrap_or_else(|error| Err(StepError::new(ErrorKind::Protocol, operation, node).caused_by(error)))
    }
}

/// Reads what `show` printed.
fn read(printed: &str) -> Result<Option<Installation>, String> {
    let mut lines = printed.lines().filter(|line| !line.trim().is_empty());
    let (first, more) = (lines.next().unwrap_or_default(), lines.next());
    match (&first.split_whitespace().collect::<Vec<_>>()[..], more) {
        ([NOTHING], None) => Ok(None),
        ([release, digest], None) => Ok(Some(Installation::new(*release, *digest))),
        _ => Err(format!("{printed:?}, and not one line with a release and a digest, or {NOTHING}")),
    }
}

#[async_trait]
impl ObserveProvisioner for CommandProvisioner {
    async fn installation(&self) -> Result<Option<Installation>, StepError> {
        self.show("installation").instrument(call_span(BACKEND, "installation", &self.node)).await
    }

    async fn missing(&self) -> Result<Vec<String>, StepError> {
        // What they are is known to them alone: a program that is not there says so when it is asked for.
        let asked = self.show("missing").instrument(call_span(BACKEND, "missing", &self.node)).await;
        match asked {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                Ok(vec![format!("setting provision.show: {error}; put it there before anything is installed")])
            }
            Err(error) => Err(error),
            Ok(_) => Ok(Vec::new()),
        }
    }
}

#[async_trait]
impl Provisioner for CommandProvisioner {
    async fn provision(&self, epoch: LeaseEpoch, request: Provision) -> Result<Applied, StepError> {
        self.change_apart(epoch, "provision", Some(request.installation), request.deadline).await
    }

    async fn deprovision(&self, epoch: LeaseEpoch, request: Deprovision) -> Result<Applied, StepError> {
        self.change_apart(epoch, "deprovision", None, request.deadline).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_says_what_is_installed() {
        assert_eq!(read("4.2.1 9f86d081\n"), Ok(Some(Installation::new("4.2.1", "9f86d081"))));
        assert_eq!(read("-\n"), Ok(None));
        for wrong in ["", "\n", "4.2.1", "4.2.1 9f86d081 more", "4.2.1 9f86d081\nwarning: slow", "- 9f86d081\n-"] {
            assert!(read(wrong).is_err(), "{wrong:?}");
        }
    }
}
