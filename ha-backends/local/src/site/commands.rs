use std::path::PathBuf;
use std::time::Duration;

use ha_core::backend::{ErrorKind, RunCommand, StepError};
use ha_core::state::LeaseEpoch;
use tokio::time::Instant;

use crate::fence::Fence;
use crate::host::pass;
use crate::runner::{self, done, told, whole};

/// The commands of one site, or of what leads consumers to one: where they run, and what all of them get.
#[derive(Clone, Debug)]
pub(super) struct Commands {
    pub(super) home: PathBuf,
    /// The site's name, for what a site has one of.
    pub(super) site: String,
    pub(super) deadline: Duration,
}

/// What is asked for: for an error's words.
pub(super) struct Asked<'a> {
    pub(super) operation: &'static str,
    pub(super) argv: &'a [String],
    pub(super) env: Vec<(&'static str, String)>,
}

impl Commands {
    pub(super) fn error(&self, kind: ErrorKind, operation: &'static str, context: impl Into<String>) -> StepError {
        StepError::new(kind, operation, self.site.as_str()).with_context(context.into())
    }

    /// Keeps the folder for one change, and refuses a lower lease than was seen there.
    pub(super) async fn pass(
        &self,
        lease: LeaseEpoch,
        operation: &'static str,
        until: Instant,
    ) -> Result<Fence, StepError> {
        pass(&self.home, lease, operation, self.left(until)).await
    }

    /// Returns how long a command may take that is to end before `until`.
    fn left(&self, until: Instant) -> Duration {
        until.saturating_duration_since(Instant::now()).min(self.deadline)
    }

    fn command(&self, asked: &Asked<'_>, deadline: Duration) -> RunCommand {
        let command = RunCommand::new(asked.argv.to_vec(), deadline).with_env("HA_SITE", &self.site);
        asked.env.iter().fold(command, |command, (name, value)| command.with_env(*name, value))
    }

    /// Runs a command that only reads, and reads what it printed.
    pub(super) async fn read<T>(
        &self,
        operation: &'static str,
        argv: &[String],
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<T, StepError> {
        let asked = Asked { operation, argv, env: Vec::new() };
        let ran = runner::read(&self.home, operation, self.command(&asked, self.deadline)).await;
        let ran = ran.map_err(StepError::without_effect)?;
        let fail = |what| self.error(ErrorKind::Protocol, operation, what).without_effect();
        let ran = whole("status", ran, fail)?;
        if !ran.is_success() {
            return Err(self.error(ErrorKind::Unreachable, operation, told("status", &ran)).without_effect());
        }
        parse(&ran.stdout).map_err(|what| fail(format!("status printed {what}")))
    }

    /// Runs a command that changes something, and must have ended before `until`.
    pub(super) async fn act(&self, asked: Asked<'_>, until: Instant) -> Result<(), StepError> {
        let deadline = self.left(until);
        if deadline.is_zero() {
            let context = "no time was left to change anything";
            return Err(self.error(ErrorKind::Timeout, asked.operation, context).without_effect());
        }
        let ran = runner::run(&self.home, asked.operation, self.command(&asked, deadline)).await?;
        done(asked.operation, &ran, |what| self.error(ErrorKind::Conflict, asked.operation, what))
    }

    /// Says of a read-back that something was changed before it.
    pub(super) fn changed(&self, operation: &'static str, error: StepError) -> StepError {
        let context = "it was changed, and could not be read back: read it again";
        self.error(ErrorKind::Conflict, operation, context).caused_by(error)
    }
}
