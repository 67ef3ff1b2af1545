//! The program of the nodes, run there by their hosts.

use std::sync::Arc;
use std::time::Duration;

use ha_core::backend::{Ended, ErrorKind, Host, Ran, RunCommand, StepError};
use ha_core::state::LeaseEpoch;
use ha_core::topology::Name;

use crate::config::{Publish, RsyncConfig, SharedNode};
use crate::exit::RsyncExit;
use crate::status::Status;

/// What runs on the nodes: POSIX shell, flock, coreutils, findutils and rsync.
pub(crate) const PROGRAM: &str = concat!(
    include_str!("sh/state.sh"),
    include_str!("sh/sets.sh"),
    include_str!("sh/gate.sh"),
    include_str!("sh/releases.sh"),
    include_str!("sh/artifacts.sh"),
    include_str!("sh/sync.sh"),
    include_str!("sh/hold.sh"),
    include_str!("sh/main.sh"),
);

/// How long a question to a node may take: a tree of a hundred thousand files is read in it.
pub(crate) const READ: Duration = Duration::from_secs(20);
/// How long a small change of a node's state may take.
pub(crate) const WRITE: Duration = Duration::from_secs(20);
/// How long a transfer waits for another one's end before it gives up, in seconds.
const BUSY: u32 = 5;

/// One node and what drives its host.
#[derive(Clone, Debug)]
pub(crate) struct Remote {
    pub(crate) node: SharedNode,
    pub(crate) host: Arc<dyn Host>,
    env: Vec<(String, String)>,
    readers: String,
}

impl Remote {
    pub(crate) fn new(config: &RsyncConfig, node: &SharedNode, host: Arc<dyn Host>) -> Self {
        let seconds = config.timeout.as_secs() + u64::from(config.timeout.subsec_nanos() > 0);
        let mode = match config.publish {
            Publish::InPlace => "in-place",
            Publish::Switch => "switch",
        };
        let pair = |name: &str, value: String| (name.to_string(), value);
        let path = |path: std::path::PathBuf| path.display().to_string();
        let env = vec![
            pair("HA_STATE", path(RsyncConfig::state_of(node))),
            pair("HA_TREE", path(config.tree_of(node))),
            pair("HA_MODE", mode.into()),
            pair("HA_LOCAL_ONLY", config.local_only.join("\n")),
            pair("HA_RSH", config.rsh.join("\n")),
            pair("HA_TIMEOUT", seconds.max(1).to_string()),
            pair("HA_BWLIMIT", config.bwlimit.to_string()),
            pair("HA_BUDGET", config.delete_budget.to_string()),
            pair("HA_BUSY", BUSY.to_string()),
            pair("HA_KEEP", config.keep.to_string()),
            pair("HA_FIRST_WRITER", u8::from(node.name == config.writer).to_string()),
        ];
        let reader = |other: &SharedNode| {
            let (state, tree) = (RsyncConfig::state_of(other), config.tree_of(other));
            format!("{} {} {} {}\n", other.name, other.destination, state.display(), tree.display())
        };
        let readers = config.nodes.iter().filter(|other| other.name != node.name).map(reader).collect();
        Self { node: node.clone(), host, env, readers }
    }

    /// Returns the tree's path on the node.
    pub(crate) fn tree(&self) -> &str {
        self.env.iter().find(|(name, _)| name == "HA_TREE").map_or("", |(_, tree)| tree)
    }

    /// Tells whether the node keeps the sets that it had.
    pub(crate) fn keeps_releases(&self) -> bool {
        self.env.iter().any(|(name, mode)| name == "HA_MODE" && mode == "switch")
    }

    fn command(&self, arguments: &[&str], deadline: Duration) -> RunCommand {
        let fixed = ["sh", "-c", PROGRAM, "ha-files"].into_iter();
        let argv = fixed.chain(arguments.iter().copied()).map(String::from).collect();
        let command = RunCommand::new(argv, deadline);
        self.env.iter().fold(command, |command, (name, value)| command.with_env(name, value))
    }

    /// Asks the node something that changes nothing.
    pub(crate) async fn ask(&self, op: &'static str, arguments: &[&str], deadline: Duration) -> Result<Ran, StepError> {
        let asked = self.host.ask(self.command(arguments, deadline)).await;
        asked.map_err(|error| self.through(op, error).without_effect())
    }

    /// Has the node do something.
    pub(crate) async fn tell(
        &self,
        epoch: LeaseEpoch,
        op: &'static str,
        arguments: &[&str],
        deadline: Duration,
    ) -> Result<Ran, StepError> {
        let told = self.host.run(epoch, self.command(arguments, deadline)).await;
        told.map_err(|error| self.through(op, error))
    }

    /// Puts the program and its settings where the gate and the timer find them.
    pub(crate) async fn install(&self, epoch: LeaseEpoch, op: &'static str) -> Result<(), StepError> {
        let ran = self.tell(epoch, op, &["install", PROGRAM, &self.readers], WRITE).await?;
        if ran.is_success() { Ok(()) } else { Err(self.refused(op, &ran).without_effect()) }
    }

    /// An error of the node's host, as one of the file sync.
    fn through(&self, op: &'static str, error: StepError) -> StepError {
        let wrapped = StepError::new(error.kind(), op, self.node.name.as_str());
        let wrapped = match error.effect() {
            ha_core::backend::Effect::None => wrapped.without_effect(),
            ha_core::backend::Effect::Unknown => wrapped,
        };
        wrapped.caused_by(error)
    }

    /// The error of a program that ended with a code of its own.
    pub(crate) fn refused(&self, op: &'static str, ran: &Ran) -> StepError {
        let message = message(ran);
        let (kind, message) = match ran.ended {
            Ended::Exited(64) => (ErrorKind::NotFound, message),
            Ended::Exited(65) => (ErrorKind::Conflict, message),
            Ended::Exited(66) => (ErrorKind::Denied, message),
            Ended::Exited(70) => {
                let exit = copy_exit(ran);
                (exit.kind(), format!("rsync: {}: {message}", exit.advice()))
            }
            Ended::Exited(75) => (ErrorKind::Timeout, message),
            Ended::Exited(76) => (ErrorKind::Unsupported, message),
            Ended::Exited(77) => (ErrorKind::Conflict, message),
            ended @ (Ended::Exited(_) | Ended::Signaled(_)) => {
                (ErrorKind::Protocol, format!("it ended with {ended}: {message}"))
            }
        };
        self.error(kind, op, message)
    }

    pub(crate) fn error(&self, kind: ErrorKind, op: &'static str, message: impl Into<String>) -> StepError {
        StepError::new(kind, op, self.node.name.as_str()).with_context(message.into())
    }

    /// Reads what its program says of it.
    pub(crate) async fn status(&self, op: &'static str) -> Result<Status, StepError> {
        let ran = self.ask(op, &["status"], READ).await?;
        if !ran.is_success() {
            return Err(self.refused(op, &ran).without_effect());
        }
        let odd =
            || self.error(ErrorKind::Protocol, op, format!("unexpected status {:?}", ran.stdout)).without_effect();
        Status::parse(&ran.stdout).ok_or_else(odd)
    }
}

/// Reads the exit code of rsync that the program has printed.
pub(crate) fn copy_exit(ran: &Ran) -> RsyncExit {
    let code = ran.stdout.lines().rev().find_map(|line| line.strip_prefix("rsync ")?.trim().parse().ok());
    code.map_or(RsyncExit::Other, RsyncExit::of)
}

/// The node's words, in one line of bounded length.
fn message(ran: &Ran) -> String {
    let lines = ran.stderr.lines().map(|line| line.strip_prefix("ha-files: ").unwrap_or(line).trim());
    let text: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
    text.join("; ").chars().take(600).collect()
}

/// Names a node that is none of those that share files.
pub(crate) fn unknown(op: &'static str, node: &Name) -> StepError {
    StepError::new(ErrorKind::NotFound, op, node.as_str()).with_context("it shares no files here").without_effect()
}
