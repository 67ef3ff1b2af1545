use std::time::Duration;

use async_trait::async_trait;
use ha_core::backend::{ErrorKind, Probe, Ready, StepError};
use ha_core::telemetry::call_span;
use ha_core::topology::{Component, Reported, SettingErrors, Settings};
use tracing::Instrument;

use crate::answer::{OpContext, release};
use crate::ports::{PortState, Ports};
use crate::run::{checked, missing, optional_program, run};
use crate::trial::{Tested, trial};

/// What a command probe runs.
#[derive(Clone, Debug)]
pub struct CommandProbeConfig {
    pub(crate) command: Vec<String>,
    pub(crate) test: Vec<String>,
    pub(crate) ports: Ports,
    pub(crate) limits: Limits,
}

/// How long questions may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) ready: Duration,
    pub(crate) test: Duration,
}

impl Limits {
    /// Reads the settings `timeout` and `test_timeout`.
    pub(crate) fn read(settings: &mut Settings<'_>) -> Result<Self, Reported> {
        let ready = settings.duration("timeout", Duration::from_secs(2));
        let test = settings.duration("test_timeout", Duration::from_secs(30));
        Ok(Self { ready: ready?, test: test? })
    }
}

impl CommandProbeConfig {
    /// Reads the settings `command`, `test`, `ports`, `timeout` and `test_timeout`.
    ///
    /// # Errors
    /// [`SettingErrors`] with every key that is wrong.
    pub fn from_component(component: &Component) -> Result<Self, SettingErrors> {
        let mut settings = Settings::of(component);
        let read = Self::read("command", &mut settings, Ports::read);
        settings.finish(read)
    }

    /// Reads the settings under which a program tells the release.
    pub(crate) fn read(
        command: &'static str,
        settings: &mut Settings<'_>,
        ports: impl FnOnce(&mut Settings<'_>) -> Result<Ports, Reported>,
    ) -> Result<Self, Reported> {
        let argv = settings.argv(command);
        let command = checked(settings, command, argv);
        let test = optional_program(settings, "test");
        let (ports, limits) = (ports(settings), Limits::read(settings));
        Ok(Self { command: command?, test: test?, ports: ports?, limits: limits? })
    }
}

/// Runs a program here: exit code 0 is ready, the first line that it prints is the release.
///
/// # Examples
///
/// ```
/// use ha_core::backend::{Probe, Ready};
/// use ha_core::topology::{Component, Name, Setting};
/// use ha_probe::{CommandProbe, CommandProbeConfig};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// let mut component = Component::new(Name::new("command")?);
/// component.settings.insert("command".into(), Setting::List(vec!["echo".into(), "4.2.0".into()]));
/// let probe = CommandProbe::new(CommandProbeConfig::from_component(&component)?);
/// assert_eq!(probe.ready().await?, Ready::Yes { release: "4.2.0".into() });
/// # Ok(())
/// # })
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct CommandProbe {
    config: CommandProbeConfig,
    target: String,
    /// The name that a topology gives it.
    backend: &'static str,
}

impl CommandProbe {
    /// Asks as `config` says.
    pub fn new(config: CommandProbeConfig) -> Self {
        let target = config.command.first().cloned().unwrap_or_default();
        Self { config, target, backend: "command" }
    }

    pub(crate) fn named(self, backend: &'static str, target: String) -> Self {
        Self { target, backend, ..self }
    }

    async fn look(&self, operation: &'static str) -> Result<Ready, StepError> {
        let asked = OpContext { operation, target: &self.target };
        let question = async {
            match self.config.ports.look(asked).await? {
                PortState::Open => said(asked, &self.config.command).await,
                PortState::Partly(message) => Ok(Ready::NotYet(message)),
                PortState::Closed => Ok(Ready::Closed),
            }
        };
        asked.within(self.config.limits.ready, question).await
    }
}

/// Runs a program that tells the release.
pub(crate) async fn said(asked: OpContext<'_>, argv: &[String]) -> Result<Ready, StepError> {
    let ran = run(asked, argv).await?;
    if ran.code != 0 {
        return Ok(Ready::NotYet(ran.message()));
    }
    match release(ran.first_line()) {
        Ok(release) => Ok(Ready::Yes { release }),
        Err(message) => Err(asked.failed(ErrorKind::Protocol, message)),
    }
}

/// Tests a server that `look` looks at by a program, or by the look alone where none is set.
pub(crate) async fn tested<A: Future<Output = Result<Ready, StepError>>>(
    asked: OpContext<'_>,
    argv: &[String],
    limit: Duration,
    look: impl Fn() -> A,
) -> Result<Box<str>, StepError> {
    let passes = async {
        let ran = asked.within(limit, run(asked, argv)).await?;
        Ok(if ran.code == 0 { Tested::Passed } else { Tested::Failed(ran.message()) })
    };
    trial(asked, look, (!argv.is_empty()).then_some(passes)).await
}

#[async_trait]
impl Probe for CommandProbe {
    async fn ready(&self) -> Result<Ready, StepError> {
        async { self.look("ready").await }.instrument(call_span(self.backend, "ready", &self.target)).await
    }

    async fn test(&self) -> Result<Box<str>, StepError> {
        async {
            let asked = OpContext { operation: "test", target: &self.target };
            tested(asked, &self.config.test, self.config.limits.test, || self.look("test")).await
        }
        .instrument(call_span(self.backend, "test", &self.target))
        .await
    }

    async fn missing(&self) -> Result<Vec<String>, StepError> {
        async {
            let key = if self.backend == "tcp" { "release_command" } else { "command" };
            Ok([missing(key, &self.config.command), missing("test", &self.config.test)].into_iter().flatten().collect())
        }
        .instrument(call_span(self.backend, "missing", &self.target))
        .await
    }
}
