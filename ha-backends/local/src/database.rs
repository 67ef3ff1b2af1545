use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use ha_core::backend::{
    Applied, CloneDatabase, ContractPermit, Database, Ended, ErrorKind, Migrate, ObserveDatabase, Ran, RunCommand,
    StepError,
};
use ha_core::state::{LeaseEpoch, Schema, SchemaChange, SchemaVerdict};
use ha_core::telemetry::call_span;
use ha_core::topology::{Component, Settings};
use tokio::time::Instant;
use tracing::Instrument;

use crate::ConfigError;
use crate::host::pass;
use crate::runner::{self, REFUSED, done, told, whole};

/// The commands of this machine that change the shared database's schema: a tool of one's own, or a server that migrates itself
/// when it starts.
///
/// All run in `home`. `expand`, `backfill` and `contract` get the state that they are to reach in `HA_SCHEMA` and the lease epoch in
/// `HA_EPOCH`; `contract` gets the releases of which no server is left in `HA_GONE`, separated by blanks.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CommandDatabaseConfig {
    /// The folder in which the commands run, and which keeps the highest lease epoch. One database, one folder.
    pub home: PathBuf,
    /// Prints the schema's state in one word, as [`Schema`] is displayed. It changes nothing.
    pub show: Vec<String>,
    /// Prints the verdict (`nothing`, `expand-only`, `splittable`, `needs-window`), then a digest of what waits, then reasons, a line
    /// each. It changes nothing.
    pub review: Vec<String>,
    /// Adds what the new release needs.
    pub expand: Vec<String>,
    /// Fills it. Empty where there is no such command: then the schema is not brought beyond `expanded`.
    pub backfill: Vec<String>,
    /// Removes what only the old release needed. Empty where there is no such command.
    pub contract: Vec<String>,
    /// How long each of the commands may take. Default 10 min.
    pub command_deadline: Duration,
}

const DEADLINE: Duration = Duration::from_secs(600);

impl CommandDatabaseConfig {
    /// Describes the commands, without a backfill and a contraction, with default limits.
    pub fn new(home: impl Into<PathBuf>, show: Vec<String>, review: Vec<String>, expand: Vec<String>) -> Self {
        let (backfill, contract) = (Vec::new(), Vec::new());
        Self { home: home.into(), show, review, expand, backfill, contract, command_deadline: DEADLINE }
    }

    /// Names the command that fills what was added.
    #[must_use]
    pub fn with_backfill(mut self, argv: Vec<String>) -> Self {
        self.backfill = argv;
        self
    }

    /// Names the command that removes what only the old release needed.
    #[must_use]
    pub fn with_contract(mut self, argv: Vec<String>) -> Self {
        self.contract = argv;
        self
    }

    /// Reads the settings `home`, `show`, `review`, `expand`, and optionally `backfill`, `contract` and `command_deadline`.
    ///
    /// # Errors
    /// [`ConfigError`] with every key that is wrong.
    pub fn from_component(component: &Component) -> Result<Self, ConfigError> {
        let mut settings = Settings::of(component);
        let home = settings.absolute_path("home");
        let (show, review, expand) = (settings.argv("show"), settings.argv("review"), settings.argv("expand"));
        let (backfill, contract) = (settings.optional_argv("backfill"), settings.optional_argv("contract"));
        let deadline = settings.duration("command_deadline", DEADLINE);
        let read = (|| {
            let config = Self::new(home?, show?, review?, expand?).with_backfill(backfill?).with_contract(contract?);
            Ok(Self { command_deadline: deadline?, ..config })
        })();
        settings.finish(read)
    }
}

/// Changes the schema of a shared database by commands of this machine.
///
/// `show` must end with exit code 0; anything else says that nothing could be read. `review` may also end with 3: what waits
/// contradicts what was run. The others end with 0 when it is so; with 3 when they refuse and have changed nothing; with anything
/// else nobody can tell. `show` is asked before each of them, and behind it.
///
/// # Examples
///
/// ```
/// use ha_core::backend::ObserveDatabase;
/// use ha_core::state::Schema;
/// use ha_local::{CommandDatabase, CommandDatabaseConfig};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// let words = |text: &str| text.split(' ').map(String::from).collect::<Vec<_>>();
/// let config = CommandDatabaseConfig::new("/", words("echo expanded"), words("false"), words("false"));
/// assert_eq!(CommandDatabase::new(config).schema().await?, Schema::Expanded);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct CommandDatabase {
    config: CommandDatabaseConfig,
}

const BACKEND: &str = "command";
const MIGRATE: &str = "migrate";

/// A command that leads on, and the state that it is to reach.
struct Next<'a> {
    name: &'static str,
    argv: &'a [String],
    reaches: Schema,
}

impl CommandDatabase {
    /// Changes the schema as `config` says. Nothing is touched yet.
    pub fn new(config: CommandDatabaseConfig) -> Self {
        Self { config }
    }

    fn target(&self) -> String {
        self.config.home.display().to_string()
    }

    fn error(&self, kind: ErrorKind, operation: &'static str, context: String) -> StepError {
        StepError::new(kind, operation, self.target()).with_context(context)
    }

    async fn read(&self, operation: &'static str, name: &str, argv: &[String]) -> Result<Ran, StepError> {
        let command = RunCommand::new(argv.to_vec(), self.config.command_deadline);
        let ran = runner::read(&self.config.home, operation, command).await.map_err(StepError::without_effect)?;
        whole(name, ran, |what| self.error(ErrorKind::Protocol, operation, what).without_effect())
    }

    async fn show(&self, operation: &'static str) -> Result<Schema, StepError> {
        let error = |kind, context| self.error(kind, operation, context).without_effect();
        let ran = self.read(operation, "show", &self.config.show).await?;
        if !ran.is_success() {
            return Err(error(ErrorKind::Unreachable, told("show", &ran)));
        }
        schema_of(&ran.stdout).ok_or_else(|| {
            let printed = ran.stdout.trim();
            error(ErrorKind::Protocol, format!("show printed {printed:?}, and not the state of a schema in one word"))
        })
    }

    async fn reviewed(&self) -> Result<SchemaChange, StepError> {
        let error = |kind, context| self.error(kind, "review", context).without_effect();
        let ran = self.read("review", "review", &self.config.review).await?;
        match ran.ended {
            Ended::Exited(0) => {}
            Ended::Exited(REFUSED) => return Err(error(ErrorKind::Conflict, told("review", &ran))),
            Ended::Exited(_) | Ended::Signaled(_) => return Err(error(ErrorKind::Unreachable, told("review", &ran))),
        }
        change_of(&ran.stdout).map_err(|what| error(ErrorKind::Protocol, format!("review printed {what}")))
    }

    /// Returns what leads on from a state; nothing where the schema is contracted.
    fn next(&self, now: Schema) -> Option<Next<'_>> {
        let (name, argv, reaches) = match now {
            Schema::Base | Schema::Expanding => ("expand", &self.config.expand, Schema::Expanded),
            Schema::Expanded => ("backfill", &self.config.backfill, Schema::Backfilled),
            Schema::Backfilled | Schema::Contracting => ("contract", &self.config.contract, Schema::Contracted),
            Schema::Contracted => return None,
        };
        Some(Next { name, argv, reaches })
    }

    /// Looks before anything is run whether the commands lead from one state to the other.
    fn leads(&self, from: Schema, to: Schema) -> Result<(), StepError> {
        let error = |kind, context| Err(self.error(kind, MIGRATE, context).without_effect());
        if from > to {
            return error(ErrorKind::Conflict, format!("the schema is {from}, nothing leads back to {to}"));
        }
        let mut at = from;
        while at < to {
            let Some(next) = self.next(at) else { break };
            if next.reaches > to {
                let context = format!("the schema is {from}, nothing stops at {to}: ask for a state that it stays in");
                return error(ErrorKind::Conflict, context);
            }
            if next.argv.is_empty() {
                let context = format!("no command {} is given, which leads to {}", next.name, next.reaches);
                return error(ErrorKind::Unsupported, context);
            }
            at = next.reaches;
        }
        Ok(())
    }

    /// Brings the schema to a state, behind the fence.
    async fn change(&self, epoch: LeaseEpoch, request: Migrate) -> Result<Applied, StepError> {
        let until = Instant::now() + request.deadline;
        let to = request.to;
        if to == Schema::Contracted && request.permit.is_none() {
            let context = "a contraction removes what the old release needs: it needs a permit";
            return Err(self.error(ErrorKind::Denied, MIGRATE, context.into()).without_effect());
        }
        let wait = request.deadline.min(self.config.command_deadline);
        let _fence = pass(&self.config.home, epoch, MIGRATE, wait).await?;
        let mut now = self.show(MIGRATE).await?;
        self.leads(now, to)?;
        let mut answer = Applied::AlreadySo;
        while now < to {
            let Some(next) = self.next(now) else { break };
            let left = until.saturating_duration_since(Instant::now());
            let step = self.step(epoch, &next, to, (request.permit.as_ref(), left)).await;
            now = step.map_err(|error| self.behind(answer, error))?;
            answer = Applied::Applied;
        }
        Ok(answer)
    }

    /// Says of an error that commands have been run before it.
    fn behind(&self, before: Applied, error: StepError) -> StepError {
        match before {
            Applied::AlreadySo => error,
            Applied::Applied => {
                let context = format!("a command before it has changed the schema: {error}");
                self.error(error.kind(), MIGRATE, context).caused_by(error)
            }
        }
    }

    /// Runs one command, and reads what has become of the schema.
    async fn step(
        &self,
        epoch: LeaseEpoch,
        next: &Next<'_>,
        to: Schema,
        (permit, left): (Option<&ContractPermit>, Duration),
    ) -> Result<Schema, StepError> {
        let fail = |kind, context| self.error(kind, MIGRATE, context);
        if left.is_zero() {
            let context = format!("no time was left to run {}", next.name);
            return Err(fail(ErrorKind::Timeout, context).without_effect());
        }
        let mut command = RunCommand::new(next.argv.to_vec(), left.min(self.config.command_deadline))
            .with_env("HA_SCHEMA", next.reaches.to_string())
            .with_env("HA_EPOCH", epoch.to_string());
        if let (Schema::Contracted, Some(permit)) = (next.reaches, permit) {
            command = command.with_env("HA_GONE", permit.gone().join(" "));
        }
        let ran = runner::run(&self.config.home, MIGRATE, command).await?;
        done(next.name, &ran, |what| fail(ErrorKind::Conflict, what))?;
        let found = self.show(MIGRATE).await.map_err(|error| {
            fail(ErrorKind::Conflict, format!("{} ended well, and the schema could not be read back", next.name))
                .caused_by(error)
        })?;
        // Further than was asked for is as wrong as not as far: the old release may be in use.
        if found < next.reaches || found > to {
            let context = format!("{} ended well, and show says that the schema is {found}", next.name);
            return Err(fail(ErrorKind::Conflict, context));
        }
        Ok(found)
    }
}

/// Reads what `show` printed.
fn schema_of(printed: &str) -> Option<Schema> {
    let all = [
        Schema::Base,
        Schema::Expanding,
        Schema::Expanded,
        Schema::Backfilled,
        Schema::Contracting,
        Schema::Contracted,
    ];
    all.into_iter().find(|schema| schema.to_string() == printed.trim())
}

/// Reads what `review` printed.
fn change_of(printed: &str) -> Result<SchemaChange, String> {
    let mut lines = printed.lines().map(str::trim);
    let verdict = match lines.next().unwrap_or_default() {
        "nothing" => SchemaVerdict::Nothing,
        "expand-only" => SchemaVerdict::ExpandOnly,
        "splittable" => SchemaVerdict::Splittable,
        "needs-window" => SchemaVerdict::NeedsWindow,
        other => {
            return Err(format!("{other:?} first, and not nothing, expand-only, splittable or needs-window"));
        }
    };
    let digest = lines.next().filter(|digest| !digest.is_empty()).ok_or("no digest in its second line")?;
    let reasons = lines.filter(|reason| !reason.is_empty());
    Ok(reasons.fold(SchemaChange::new(verdict, digest), SchemaChange::with_reason))
}

#[async_trait]
impl ObserveDatabase for CommandDatabase {
    async fn schema(&self) -> Result<Schema, StepError> {
        self.show("schema").instrument(call_span(BACKEND, "schema", self.target())).await
    }

    async fn review(&self) -> Result<SchemaChange, StepError> {
        self.reviewed().instrument(call_span(BACKEND, "review", self.target())).await
    }
}

#[async_trait]
impl Database for CommandDatabase {
    /// Commands that migrate a database say nothing of a clone.
    fn cloning(&self) -> Option<&dyn CloneDatabase> {
        None
    }

    /// In a task of its own: a dropped future does not cut it.
    async fn migrate(&self, epoch: LeaseEpoch, request: Migrate) -> Result<Applied, StepError> {
        let (database, target) = (self.clone(), self.target());
        let span = call_span(BACKEND, MIGRATE, &target);
        let task = tokio::spawn(async move { database.change(epoch, request).await }.instrument(span));
        task.await.unwrap_or_else(|error| Err(StepError::new(ErrorKind::Protocol, MIGRATE, target).caused_by(error)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_is_one_word_and_nothing_else() {
        assert_eq!(schema_of("base\n"), Some(Schema::Base));
        assert_eq!(schema_of(" contracting "), Some(Schema::Contracting));
        for wrong in ["", "\n", "Base", "expanded backfilled", "base\nexpanded", "expand"] {
            assert_eq!(schema_of(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_review_is_a_verdict_a_digest_and_reasons() {
        let expected = SchemaChange::new(SchemaVerdict::NeedsWindow, "9f86").with_reason("V5 drops a column");
        assert_eq!(change_of("needs-window\n9f86\n\nV5 drops a column\n"), Ok(expected));
        assert_eq!(change_of("nothing\n0"), Ok(SchemaChange::new(SchemaVerdict::Nothing, "0")));
        for wrong in ["", "\n", "nothing", "splittable\n\nwhy", "9f86\nsplittable", "expand only\n9f86"] {
            assert!(change_of(wrong).is_err(), "{wrong:?}");
        }
    }
}
