use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use ha_core::backend::{
    Applied, DemoteReplica, ErrorKind, FollowReplica, ObserveReplica, PromoteReplica, Replica, ReplicaRole,
    ReplicaSeen, StepError,
};
use ha_core::state::{LeaseEpoch, SiteEpoch};
use ha_core::telemetry::call_span;
use ha_core::topology::{Component, Settings, Topology};
use tokio::time::Instant;
use tracing::Instrument;

use super::commands::{Asked, Commands};
use super::{BACKEND, DEADLINE, apart};
use crate::ConfigError;

/// The commands of this machine that drive a site's copy of the database: a database's own tool, or scripts around it.
///
/// All run in `home` with the site's name in `HA_SITE` and, those that change something, the lease epoch in `HA_EPOCH`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CommandReplicaConfig {
    /// The folder in which the commands run, and which keeps the highest lease epoch. One copy, one folder.
    pub home: PathBuf,
    /// The names of the other sites.
    pub others: Vec<String>,
    /// Prints one line: what the copy does (`primary`, `standby` or `read-only`), the epoch with which it takes writes, its position
    /// in bytes, how far it is behind in milliseconds, and the site that it follows. `-` stands for what cannot be told, and the
    /// last words may be missing. It changes nothing.
    pub status: Vec<String>,
    /// Lets the copy take writes with the epoch in `HA_SITE_EPOCH`, and keeps that epoch in the database.
    pub promote: Vec<String>,
    /// Lets it take no more writes, ends its sessions, and waits until a standby has all that it has.
    pub demote: Vec<String>,
    /// Makes it a standby of the site in `HA_OF`. With `HA_DISCARD=no` it must refuse where the copy has writes that the other has
    /// not.
    pub follow: Vec<String>,
    /// How long each of the commands may take. Default 10 min.
    pub command_deadline: Duration,
}

impl CommandReplicaConfig {
    /// Describes the commands, with default limits.
    pub fn new(
        home: impl Into<PathBuf>,
        others: Vec<String>,
        status: Vec<String>,
        [promote, demote, follow]: [Vec<String>; 3],
    ) -> Self {
        Self { home: home.into(), others, status, promote, demote, follow, command_deadline: DEADLINE }
    }

    /// Reads the settings `home`, `status`, `promote`, `demote`, `follow`, and optionally `command_deadline`, of the site `site`.
    ///
    /// # Errors
    /// [`ConfigError`] with every key that is wrong.
    pub fn from_component(component: &Component, topology: &Topology, site: &str) -> Result<Self, ConfigError> {
        let mut settings = Settings::of(component);
        let (home, status) = (settings.absolute_path("home"), settings.argv("status"));
        let changes = ["promote", "demote", "follow"].map(|key| settings.argv(key));
        let deadline = settings.duration("command_deadline", DEADLINE);
        let others = topology.sites().iter().map(|other| other.name.to_string()).filter(|other| other != site);
        let read = (|| {
            let [promote, demote, follow] = changes;
            let config = Self::new(home?, others.collect(), status?, [promote?, demote?, follow?]);
            Ok(Self { command_deadline: deadline?, ..config })
        })();
        settings.finish(read)
    }
}

/// Drives a site's copy of the database by commands of this machine.
///
/// `status` must end with exit code 0; anything else says that nothing could be read. The others end with 0 when it is so; with 3
/// when they refuse and have changed nothing; with anything else nobody can tell. They are run only where `status` says that
/// something is to be changed, and `status` is asked again behind them.
///
/// # Examples
///
/// ```
/// use ha_core::backend::{ObserveReplica, ReplicaRole};
/// use ha_local::{CommandReplica, CommandReplicaConfig};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// let words = |text: &str| text.split(' ').map(String::from).collect::<Vec<_>>();
/// let (status, changes) = (words("echo standby 1 4096 20 north"), ["false"; 3].map(words));
/// let config = CommandReplicaConfig::new("/", vec!["north".into()], status, changes);
/// let seen = CommandReplica::new("south", config).replica().await?;
/// assert_eq!((seen.role, seen.position, seen.behind_ms), (ReplicaRole::Standby, Some(4096), Some(20)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct CommandReplica {
    config: CommandReplicaConfig,
    commands: Commands,
}

/// What `status` says.
#[derive(Debug, Eq, PartialEq)]
struct Status {
    seen: ReplicaSeen,
    follows: Option<String>,
}

impl CommandReplica {
    /// Drives the copy of the site of this name as `config` says. Nothing is touched yet.
    pub fn new(site: impl Into<String>, config: CommandReplicaConfig) -> Self {
        let commands = Commands { home: config.home.clone(), site: site.into(), deadline: config.command_deadline };
        Self { config, commands }
    }

    async fn status(&self, operation: &'static str) -> Result<Status, StepError> {
        self.commands.read(operation, &self.config.status, read).await
    }

    /// Runs a command, and holds what `status` says behind it against what was asked for.
    async fn act(
        &self,
        asked: Asked<'_>,
        until: Instant,
        is_so: impl FnOnce(&Status) -> bool + Send,
    ) -> Result<Applied, StepError> {
        let operation = asked.operation;
        self.commands.act(asked, until).await?;
        let found = self.status(operation).await.map_err(|error| self.commands.changed(operation, error))?;
        if is_so(&found) {
            return Ok(Applied::Applied);
        }
        let (role, epoch) = (found.seen.role, found.seen.epoch.number());
        let context = format!("{operation} ended well, and status says {role:?} with epoch {epoch}");
        Err(self.commands.error(ErrorKind::Conflict, operation, context))
    }

    async fn promoted(&self, lease: LeaseEpoch, request: PromoteReplica) -> Result<Applied, StepError> {
        let until = Instant::now() + request.deadline;
        let _held = self.commands.pass(lease, "promote", until).await?;
        let (wanted, now) = (request.epoch, self.status("promote").await?.seen);
        if now.role == ReplicaRole::Primary && now.epoch == wanted {
            return Ok(Applied::AlreadySo);
        }
        // What was demoted may go on with the epoch that it had; what follows another has that one's.
        if now.epoch > wanted || (now.epoch == wanted && now.role == ReplicaRole::Standby) {
            let context = format!("the copy has epoch {}", now.epoch.number());
            return Err(self.commands.error(ErrorKind::Conflict, "promote", context).without_effect());
        }
        let env = vec![("HA_SITE_EPOCH", wanted.number().to_string()), ("HA_EPOCH", lease.to_string())];
        let asked = Asked { operation: "promote", argv: &self.config.promote, env };
        self.act(asked, until, |now| now.seen.role == ReplicaRole::Primary && now.seen.epoch == wanted).await
    }

    async fn demoted(&self, lease: LeaseEpoch, request: DemoteReplica) -> Result<Applied, StepError> {
        let until = Instant::now() + request.deadline;
        let _held = self.commands.pass(lease, "demote", until).await?;
        if self.status("demote").await?.seen.role != ReplicaRole::Primary {
            return Ok(Applied::AlreadySo);
        }
        let asked =
            Asked { operation: "demote", argv: &self.config.demote, env: vec![("HA_EPOCH", lease.to_string())] };
        self.act(asked, until, |now| now.seen.role != ReplicaRole::Primary).await
    }

    async fn followed(&self, lease: LeaseEpoch, request: FollowReplica) -> Result<Applied, StepError> {
        let until = Instant::now() + request.deadline;
        let _held = self.commands.pass(lease, "follow", until).await?;
        let of = request.of.as_str();
        if !self.config.others.iter().any(|other| other == of) {
            let context = format!("there is no other site {of}");
            return Err(self.commands.error(ErrorKind::NotFound, "follow", context).without_effect());
        }
        let now = self.status("follow").await?;
        if now.seen.role == ReplicaRole::Standby && now.follows.as_deref() == Some(of) {
            return Ok(Applied::AlreadySo);
        }
        let discard = if request.discard { "yes" } else { "no" };
        let env = vec![("HA_OF", of.to_string()), ("HA_DISCARD", discard.into()), ("HA_EPOCH", lease.to_string())];
        let asked = Asked { operation: "follow", argv: &self.config.follow, env };
        let follows = |now: &Status| {
            now.seen.role == ReplicaRole::Standby && now.follows.as_deref().is_none_or(|follows| follows == of)
        };
        self.act(asked, until, follows).await
    }
}

/// Reads what `status` printed.
fn read(printed: &str) -> Result<Status, String> {
    let wrong = || format!("{:?}, and not a role, an epoch, a position, milliseconds and a site", printed.trim());
    let mut lines = printed.lines().filter(|line| !line.trim().is_empty());
    let (Some(line), None) = (lines.next(), lines.next()) else { return Err(wrong()) };
    let mut words = line.split_whitespace();
    let role = match words.next() {
        Some("primary") => ReplicaRole::Primary,
        Some("standby") => ReplicaRole::Standby,
        Some("read-only") => ReplicaRole::ReadOnly,
        Some(_) | None => return Err(wrong()),
    };
    let number = |word: &str| word.parse::<u64>().map_err(|_| wrong());
    let epoch = number(words.next().ok_or_else(wrong)?)?;
    let mut known = || words.next().filter(|word| *word != "-");
    let (position, behind, follows) = (known(), known(), known());
    if words.next().is_some() || (follows.is_some() && role != ReplicaRole::Standby) {
        return Err(wrong());
    }
    let (position, behind) = (position.map(number).transpose()?, behind.map(number).transpose()?);
    let seen = ReplicaSeen::new(role, SiteEpoch::new(epoch)).with_position(position);
    Ok(Status { seen: seen.with_behind(behind.map(Duration::from_millis)), follows: follows.map(String::from) })
}

#[async_trait]
impl ObserveReplica for CommandReplica {
    async fn replica(&self) -> Result<ReplicaSeen, StepError> {
        let span = call_span(BACKEND, "replica", &self.commands.site);
        async { self.status("replica").await.map(|status| status.seen) }.instrument(span).await
    }
}

#[async_trait]
impl Replica for CommandReplica {
    async fn promote(&self, lease: LeaseEpoch, request: PromoteReplica) -> Result<Applied, StepError> {
        let replica = self.clone();
        let change = async move { replica.promoted(lease, request).await };
        apart(BACKEND, ("promote", self.commands.site.clone()), change).await
    }

    async fn demote(&self, lease: LeaseEpoch, request: DemoteReplica) -> Result<Applied, StepError> {
        let replica = self.clone();
        let change = async move { replica.demoted(lease, request).await };
        apart(BACKEND, ("demote", self.commands.site.clone()), change).await
    }

    async fn follow(&self, lease: LeaseEpoch, request: FollowReplica) -> Result<Applied, StepError> {
        let replica = self.clone();
        let change = async move { replica.followed(lease, request).await };
        apart(BACKEND, ("follow", self.commands.site.clone()), change).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_one_line_of_known_words_and_numbers() {
        let seen = |role, epoch| ReplicaSeen::new(role, SiteEpoch::new(epoch));
        let behind = Some(Duration::from_millis(20));
        for (printed, expected, follows) in [
            ("primary 3\n", seen(ReplicaRole::Primary, 3), None),
            ("read-only 0 - -", seen(ReplicaRole::ReadOnly, 0), None),
            (
                "\nstandby 1 4096 20 north\n\n",
                seen(ReplicaRole::Standby, 1).with_position(Some(4096)).with_behind(behind),
                Some("north"),
            ),
            ("standby 1 - 20", seen(ReplicaRole::Standby, 1).with_behind(behind), None),
        ] {
            let expected = Status { seen: expected, follows: follows.map(String::from) };
            assert_eq!(read(printed), Ok(expected), "{printed:?}");
        }
        for wrong in [
            "",
            "\n",
            "primary",
            "Primary 1",
            "primary -1",
            "primary 1.5",
            "primary x",
            "standby 1 2 3 north more",
            "primary 1 2 3 north",
            "primary 1\nstandby 1",
            "standby 99999999999999999999",
            "standby 1 0x10",
        ] {
            assert!(read(wrong).is_err(), "{wrong:?}");
        }
    }
}
