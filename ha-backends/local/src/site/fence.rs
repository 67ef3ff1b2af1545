use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use ha_core::backend::{Applied, ErrorKind, Fence, FenceLevel, FenceSite, Fenced, ObserveFence, StepError};
use ha_core::state::LeaseEpoch;
use ha_core::telemetry::call_span;
use ha_core::topology::{Component, SettingError, Settings};
use tokio::time::Instant;
use tracing::Instrument;

use super::commands::{Asked, Commands};
use super::{BACKEND, DEADLINE, apart};
use crate::ConfigError;

/// The commands of this machine that fence a site: a power switch's tool, a firewall's, or a script around several.
///
/// All run in `home` with the site's name in `HA_SITE`. `fence` gets the highest epoch that any site has had in `HA_SITE_EPOCH` and
/// the lease epoch in `HA_EPOCH`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CommandFenceConfig {
    /// The folder in which the commands run, and which keeps the highest lease epoch. One site's fence, one folder.
    pub home: PathBuf,
    /// How far `fence` reaches.
    pub level: FenceLevel,
    /// Prints `fenced` or `free`. It asks what fences the site, not the site, and changes nothing.
    pub status: Vec<String>,
    /// Fences the site, durably.
    pub fence: Vec<String>,
    /// Lifts the fence.
    pub lift: Vec<String>,
    /// How long each of the commands may take. Default 10 min.
    pub command_deadline: Duration,
}

impl CommandFenceConfig {
    /// Describes the commands, with default limits.
    pub fn new(
        home: impl Into<PathBuf>,
        level: FenceLevel,
        status: Vec<String>,
        fence: Vec<String>,
        lift: Vec<String>,
    ) -> Self {
        Self { home: home.into(), level, status, fence, lift, command_deadline: DEADLINE }
    }

    /// Reads the settings `home`, `level` (`consumers`, `servers`, `database` or `power`), `status`, `fence`, `lift`, and optionally
    /// `command_deadline`.
    ///
    /// # Errors
    /// [`ConfigError`] with every key that is wrong.
    pub fn from_component(component: &Component) -> Result<Self, ConfigError> {
        let mut settings = Settings::of(component);
        let (home, level) = (settings.absolute_path("home"), settings.required_text("level"));
        let level = level.and_then(|text| settings.keep(level_of(&text)));
        let (status, fence, lift) = (settings.argv("status"), settings.argv("fence"), settings.argv("lift"));
        let deadline = settings.duration("command_deadline", DEADLINE);
        let read = (|| {
            let config = Self::new(home?, level?, status?, fence?, lift?);
            Ok(Self { command_deadline: deadline?, ..config })
        })();
        settings.finish(read)
    }
}

fn level_of(text: &str) -> Result<FenceLevel, SettingError> {
    let levels = [FenceLevel::Consumers, FenceLevel::Servers, FenceLevel::Database, FenceLevel::Power];
    let found = levels.into_iter().find(|level| level.to_string() == text);
    found.ok_or_else(|| SettingError::new("level", "give consumers, servers, database or power"))
}

/// Fences a site by commands of this machine.
///
/// `status` must end with exit code 0; anything else says that nothing could be read. `fence` and `lift` end with 0 when it is so;
/// with 3 when they refuse and have changed nothing; with anything else nobody can tell. They are run only where `status` says that
/// something is to be changed, and `status` is asked again behind them.
///
/// # Examples
///
/// ```
/// use ha_core::backend::{FenceLevel, Fenced, ObserveFence};
/// use ha_local::{CommandFence, CommandFenceConfig};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// let words = |text: &str| text.split(' ').map(String::from).collect::<Vec<_>>();
/// let (status, change) = (words("echo free"), words("false"));
/// let config = CommandFenceConfig::new("/", FenceLevel::Power, status, change.clone(), change);
/// assert_eq!(CommandFence::new("north", config).fenced().await?, Fenced::No);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct CommandFence {
    config: CommandFenceConfig,
    commands: Commands,
}

impl CommandFence {
    /// Fences the site of this name as `config` says. Nothing is touched yet.
    pub fn new(site: impl Into<String>, config: CommandFenceConfig) -> Self {
        let commands = Commands { home: config.home.clone(), site: site.into(), deadline: config.command_deadline };
        Self { config, commands }
    }

    async fn read(&self, operation: &'static str) -> Result<Fenced, StepError> {
        self.commands.read(operation, &self.config.status, read).await
    }

    async fn change(
        &self,
        lease: LeaseEpoch,
        to: Fenced,
        asked: Asked<'_>,
        deadline: Duration,
    ) -> Result<Applied, StepError> {
        let (operation, until) = (asked.operation, Instant::now() + deadline);
        let _held = self.commands.pass(lease, operation, until).await?;
        if self.read(operation).await? == to {
            return Ok(Applied::AlreadySo);
        }
        self.commands.act(asked, until).await?;
        let found = self.read(operation).await.map_err(|error| self.commands.changed(operation, error))?;
        if found == to {
            return Ok(Applied::Applied);
        }
        let context = format!("{operation} ended well, and status says {found:?} to whether the site is fenced");
        Err(self.commands.error(ErrorKind::Conflict, operation, context))
    }
}

/// Reads what `status` printed.
fn read(printed: &str) -> Result<Fenced, String> {
    match printed.trim() {
        "fenced" => Ok(Fenced::Yes),
        "free" => Ok(Fenced::No),
        other => Err(format!("{other:?}, and neither fenced nor free")),
    }
}

#[async_trait]
impl ObserveFence for CommandFence {
    fn level(&self) -> FenceLevel {
        self.config.level
    }

    async fn fenced(&self) -> Result<Fenced, StepError> {
        self.read("fenced").instrument(call_span(BACKEND, "fenced", &self.commands.site)).await
    }
}

#[async_trait]
impl Fence for CommandFence {
    async fn fence(&self, lease: LeaseEpoch, request: FenceSite) -> Result<Applied, StepError> {
        let fence = self.clone();
        apart(BACKEND, ("fence", self.commands.site.clone()), async move {
            let env = vec![("HA_SITE_EPOCH", request.epoch.number().to_string()), ("HA_EPOCH", lease.to_string())];
            let asked = Asked { operation: "fence", argv: &fence.config.fence, env };
            fence.change(lease, Fenced::Yes, asked, request.deadline).await
        })
        .await
    }

    async fn lift(&self, lease: LeaseEpoch) -> Result<Applied, StepError> {
        let fence = self.clone();
        apart(BACKEND, ("lift", self.commands.site.clone()), async move {
            let env = vec![("HA_EPOCH", lease.to_string())];
            let asked = Asked { operation: "lift", argv: &fence.config.lift, env };
            fence.change(lease, Fenced::No, asked, DEADLINE).await
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_one_of_two_words_and_nothing_else_is_taken_for_one() {
        assert_eq!((read("fenced\n"), read(" free ")), (Ok(Fenced::Yes), Ok(Fenced::No)));
        for wrong in ["", "\n", "Fenced", "fenced free", "fenced\nfree", "yes", "0", "free\0", "unfenced"] {
            assert!(read(wrong).is_err(), "{wrong:?}");
        }
    }
}
