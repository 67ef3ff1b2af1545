//! A clone of the database: the source refuses writes, its tables are copied, compared and migrated in another database, which takes
//! writes in its place then.

mod compare;
mod copy;
mod freeze;
mod stage;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ha_core::backend::{
    CloneDatabase, Cloned, Database, Effect, ErrorKind, LeaseEpoch, Migrate, StepError, TakeCloneStep,
};
use ha_core::state::{CloneStage, CloneStep, Copies, Schema, Source};
use tokio::time::{Instant, timeout_at};

use crate::connect::{UrlConnect, UrlError};
use crate::history::Tables;
use crate::{
    Connect, DbError, DbErrorKind, Dialect, MigrateBackend, MigrateConfig, MigrateError, Session, SessionRole,
};

use crate::script::Scripts;
use freeze::{Freeze, retried};
use stage::Stage;

/// How a database is cloned.
///
/// On PostgreSQL, MariaDB and MySQL the tables are copied by the product's own client programs: `pg_dump` and `pg_restore`, `mariadb-dump`
/// and `mariadb`, `mysqldump` and `mysql`. SQLite needs none.
///
/// Every table of the source refuses writes by triggers of its own: sessions that are open obey them as new ones do, an administrator's
/// too, and a restart changes nothing. Readers go on. `TRUNCATE` is refused by PostgreSQL alone, and definitions can be changed
/// everywhere. Rows that a subscription of PostgreSQL applies fire no such trigger: while one is enabled, nothing is frozen.
#[derive(Clone, Debug)]
pub struct Cloning {
    pub(crate) source: Arc<UrlConnect>,
    pub(crate) clone: Arc<UrlConnect>,
    /// What the scripts are run on the clone with.
    of_clone: MigrateConfig,
    /// Runs the scripts on the clone, once they were given.
    migrates: Option<Box<MigrateBackend>>,
    tables: Tables,
    prefix: String,
    /// Where the client programs are; else on the path.
    tools: Option<PathBuf>,
}

/// Why a database cannot be cloned.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CloningError {
    /// The URL of the clone, or that of the source, cannot be connected to.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// The scripts cannot be run there.
    #[error(transparent)]
    Scripts(#[from] MigrateError),
    /// Both URLs name one database.
    #[error("clone_url names the database that is to be cloned: give the URL of another one, which is empty")]
    Same,
    /// The clone is of another product.
    #[error(
        "the clone is a database of {clone}, and the source of {source_is}: give the URL of one that speaks the same SQL"
    )]
    OtherProduct {
        /// What the clone is.
        clone: String,
        /// What the source is.
        source_is: String,
    },
}

impl Cloning {
    /// Clones the database of a configuration into another one. Every step but the migration of the clone can be taken without its
    /// scripts: what is wrong with them never keeps a database frozen.
    ///
    /// # Errors
    /// [`CloningError`].
    pub fn new(config: &MigrateConfig) -> Result<Self, CloningError> {
        let (source, clone) = Self::ends(config)?;
        let (source, clone) = (Arc::new(source), Arc::new(clone));
        // Sessions of old releases are told by user or application: they use the source, and stay there.
        let of_clone = MigrateConfig { old_sessions: Vec::new(), ..config.clone() };
        let tables = Tables::new(source.dialect(), &config.prefix)
            .map_err(|error| MigrateError::Unsupported(error.to_string()))?;
        let (prefix, tools) = (config.prefix.clone(), config.clone_tools.clone());
        Ok(Self { source, clone, of_clone, migrates: None, tables, prefix, tools })
    }

    /// Runs these scripts on the clone.
    ///
    /// # Errors
    /// [`CloningError`].
    pub fn with_scripts(mut self, scripts: Scripts) -> Result<Self, CloningError> {
        self.migrates = Some(Box::new(self.of_clone.backend(self.clone.clone(), scripts)?));
        Ok(self)
    }

    /// Reads both URLs.
    ///
    /// # Errors
    /// [`CloningError`].
    fn ends(config: &MigrateConfig) -> Result<(UrlConnect, UrlConnect), CloningError> {
        let connect = |url: &str| {
            let connect = UrlConnect::new(url, config.limits)?;
            Ok::<_, UrlError>(connect.with_user(config.user.clone()).with_password(config.password.clone()))
        };
        let source = connect(&config.url)?;
        let clone = connect(config.clone_url.as_deref().unwrap_or_default())?;
        if source.target() == clone.target() {
            return Err(CloningError::Same);
        }
        if source.dialect() != clone.dialect() {
            let (clone, source_is) = (clone.dialect().to_string(), source.dialect().to_string());
            return Err(CloningError::OtherProduct { clone, source_is });
        }
        copy::can_copy(&source)?;
        copy::can_copy(&clone)?;
        Ok((source, clone))
    }

    fn dialect(&self) -> Dialect {
        self.source.dialect()
    }

    fn error(&self, kind: ErrorKind, what: impl Into<String>) -> StepError {
        StepError::new(kind, OP, self.clone.target()).with_context(what.into())
    }

    fn failed(&self, during: &str, error: &DbError) -> StepError {
        let kind = match error.kind {
            DbErrorKind::Denied => ErrorKind::Denied,
            DbErrorKind::ConnectionLost | DbErrorKind::Unreachable => ErrorKind::Unreachable,
            DbErrorKind::Cancelled | DbErrorKind::LockTimeout => ErrorKind::Timeout,
            DbErrorKind::Deadlock
            | DbErrorKind::Full
            | DbErrorKind::Duplicate
            | DbErrorKind::Missing
            | DbErrorKind::OnlineRefused
            | DbErrorKind::ReadOnly
            | DbErrorKind::Refused => ErrorKind::Conflict,
        };
        self.error(kind, format!("{during}: {error}"))
    }

    /// Says of what failed in the middle of a step that something was changed before it, whatever it changed itself.
    fn begun(&self, error: StepError) -> StepError {
        match error.effect() {
            Effect::None => self.error(error.kind(), "the step had begun: read the copies").caused_by(error),
            Effect::Unknown => error,
        }
    }

    async fn open(&self, connect: &UrlConnect) -> Result<Box<dyn Session>, StepError> {
        let failed = |error: DbError| self.failed(connect.target(), &error).without_effect();
        let mut session = connect.open(SessionRole::Migrator).await.map_err(failed)?;
        if self.dialect() == Dialect::Postgres {
            // A dump brings every other schema with it, and takes this one as there.
            let schema = session.query("SELECT current_schema()").await.map_err(failed)?;
            let schema = schema.first().and_then(|row| row.first()?.as_deref()).unwrap_or_default();
            if schema != "public" {
                let what = format!(
                    "{}: its first schema is {schema:?}, and only what has public there can be cloned: leave currentSchema out, \
                     and set no other search_path for the user",
                    connect.target()
                );
                return Err(self.error(ErrorKind::Unsupported, what).without_effect());
            }
        }
        Ok(session)
    }

    async fn read(&self) -> Result<Copies, StepError> {
        let failed = |error: DbError| self.failed("what the databases hold", &error).without_effect();
        let mut source = self.open(&self.source).await?;
        let source = Freeze::read(&mut *source, self.dialect(), &self.own()).await.map_err(failed)?.source();
        Ok(Copies::new(source, Stage::of(self).read().await?))
    }

    /// The tables that are this library's own: they are not frozen, and not compared.
    fn own(&self) -> Vec<String> {
        ["history", "step", "lock", "clone"].map(|table| format!("{}_{table}", self.prefix)).into()
    }

    /// Refuses a lease that is not the highest seen, and keeps it.
    async fn fence(&self, epoch: LeaseEpoch) -> Result<(), StepError> {
        let failed = |error: DbError| self.failed("the lease", &error).without_effect();
        let mut session = self.open(&self.source).await?;
        let there = session.query(&self.tables.count()).await.map_err(failed)?;
        if number(&there, 0) < 3 {
            for statement in self.tables.create() {
                session.execute(&statement).await.map_err(failed)?;
            }
        }
        let (lock, lease) = (self.tables.lock(), epoch.number());
        let raise = format!("UPDATE {lock} SET lease = {lease} WHERE id = 1 AND lease < {lease}");
        session.execute(&raise).await.map_err(failed)?;
        let seen = session.query(&format!("SELECT lease FROM {lock} WHERE id = 1")).await.map_err(failed)?;
        if seen.is_empty() {
            let what = format!(
                "the table {lock} of {} has no row with id 1, which keeps the highest lease: put it back, with the lease {lease} or the \
                 highest one that was given out",
                self.source.target()
            );
            return Err(self.error(ErrorKind::Conflict, what).without_effect());
        }
        if number(&seen, 0) > lease {
            let what = format!("lease {lease} is not the highest: {} was seen", number(&seen, 0));
            return Err(self.error(ErrorKind::Fenced, what).without_effect());
        }
        Ok(())
    }

    async fn take(&self, epoch: LeaseEpoch, request: TakeCloneStep, until: Instant) -> Result<Cloned, StepError> {
        match request.step {
            CloneStep::Freeze => self.freeze(&self.source, true, until).await,
            CloneStep::Thaw => self.freeze(&self.source, false, until).await,
            CloneStep::Copy => {
                Stage::of(self).empty().await?;
                let copied = async {
                    self.copy(epoch, until).await?;
                    self.counted().await
                };
                copied.await.map_err(|error| self.begun(error))
            }
            CloneStep::Compare => {
                let compared = self.compare().await?;
                Stage::of(self).set(CloneStage::Compared).await?;
                Ok(compared)
            }
            CloneStep::Migrate => {
                let Some(migrates) = &self.migrates else {
                    let what = "no scripts were given to run on the clone";
                    return Err(self.error(ErrorKind::Unsupported, what).without_effect());
                };
                Stage::of(self).set(CloneStage::Migrating).await?;
                let migrated = async {
                    // What was broken off may have frozen it already.
                    self.freeze(&self.clone, false, until).await?;
                    let left = until.saturating_duration_since(Instant::now());
                    let mut migrate = Migrate::new(Schema::Contracted).with_deadline(left);
                    migrate.permit = request.permit;
                    run_scripts(migrates, epoch, migrate).await?;
                    let frozen = self.freeze(&self.clone, true, until).await?;
                    Stage::of(self).set(CloneStage::Migrated).await?;
                    Ok(frozen)
                };
                migrated.await.map_err(|error| self.begun(error))
            }
            CloneStep::Open => {
                Stage::of(self).set(CloneStage::Open).await?;
                self.freeze(&self.clone, false, until).await.map_err(|error| self.begun(error))
            }
            CloneStep::Drop => {
                Stage::of(self).drop_all().await?;
                Ok(Cloned::default())
            }
        }
    }

    /// Lets every table of a database refuse writes, or take them.
    async fn freeze(&self, of: &UrlConnect, frozen: bool, until: Instant) -> Result<Cloned, StepError> {
        let failed = |error: DbError| self.failed("the tables", &error);
        let mut session = self.open(of).await?;
        let tables = Freeze::read(&mut *session, self.dialect(), &self.own()).await.map_err(failed)?;
        if frozen && tables.is_empty() {
            return Err(self.error(ErrorKind::Conflict, "the database has no tables").without_effect());
        }
        if let Some(applying) = tables.applying().filter(|_| frozen) {
            let what = format!(
                "the subscription {applying} writes rows that no trigger refuses: ALTER SUBSCRIPTION {applying} DISABLE, and freeze again"
            );
            return Err(self.error(ErrorKind::Conflict, what).without_effect());
        }
        for statement in tables.statements(frozen) {
            retried(&mut *session, &statement.sql, until).await.map_err(|error| {
                let held = error.kind == DbErrorKind::LockTimeout;
                let why = if held { ": a transaction holds it, end it and resume" } else { "" };
                self.failed(&format!("table {}{why}", statement.table), &error)
            })?;
        }
        Ok(Cloned::new(tables.count(), 0))
    }

    /// Counts what the clone holds after a copy.
    async fn counted(&self) -> Result<Cloned, StepError> {
        let failed = |error: DbError| self.failed("the clone", &error);
        let mut session = self.open(&self.clone).await?;
        let tables = Freeze::read(&mut *session, self.dialect(), &self.own()).await.map_err(failed)?;
        let mut rows = 0;
        for table in tables.names() {
            // Of a table with children each has its own rows.
            let only = if self.dialect() == Dialect::Postgres { "ONLY " } else { "" };
            let sql = format!("SELECT count(*) FROM {only}{table}");
            rows += number(&session.query(&sql).await.map_err(failed)?, 0);
        }
        Ok(Cloned::new(tables.count(), rows))
    }
}

const OP: &str = "clone_step";
/// How often a migration is asked for again while another one is at work.
const AGAIN: Duration = Duration::from_millis(100);

/// Runs the scripts, once whoever runs some there has ended: a controller that died, or its session that is not gone yet.
async fn run_scripts(migrates: &MigrateBackend, epoch: LeaseEpoch, migrate: Migrate) -> Result<(), StepError> {
    loop {
        match migrates.migrate(epoch, migrate.clone()).await {
            Err(error) if error.kind() == ErrorKind::Busy => tokio::time::sleep(AGAIN).await,
            migrated => return migrated.map(drop),
        }
    }
}

/// The number in a column of the first row; 0 where there is none.
fn number(rows: &crate::Rows, column: usize) -> u64 {
    rows.first().and_then(|row| row.get(column)?.as_ref()?.parse().ok()).unwrap_or(0)
}

#[async_trait]
impl CloneDatabase for Cloning {
    fn clone_url(&self) -> String {
        self.clone.target().into()
    }

    async fn copies(&self) -> Result<Copies, StepError> {
        self.read().await
    }

    async fn clone_step(&self, epoch: LeaseEpoch, request: TakeCloneStep) -> Result<Cloned, StepError> {
        let (step, deadline) = (request.step, request.deadline);
        let until = Instant::now() + deadline;
        if step == CloneStep::Migrate && request.permit.is_none() {
            let what = "the scripts remove what the old release needs: it needs a permit";
            return Err(self.error(ErrorKind::Denied, what).without_effect());
        }
        self.fence(epoch).await?;
        let copies = self.read().await?;
        let possible = copies.on(step);
        possible.map_err(|rejected| self.error(ErrorKind::Conflict, rejected.to_string()).without_effect())?;
        if copies.has(step) {
            return Ok(Cloned::default());
        }
        match timeout_at(until, self.take(epoch, request, until)).await {
            Ok(taken) => taken,
            Err(_) => Err(self.error(ErrorKind::Timeout, format!("{step} did not end in {deadline:?}"))),
        }
    }
}

impl Freeze {
    fn source(&self) -> Source {
        match self.frozen() {
            0 => Source::Open,
            frozen if frozen == self.count() && self.is_whole() && self.applying().is_none() => Source::Frozen,
            _ => Source::Freezing,
        }
    }
}
