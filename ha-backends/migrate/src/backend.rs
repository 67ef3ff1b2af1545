use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use ha_core::backend::{Applied, CloneDatabase, Database, ErrorKind, LeaseEpoch, Migrate, ObserveDatabase, StepError};
use ha_core::state::{Schema, SchemaChange};

use crate::machine::compare_versions;
use crate::migrator::SchemaRange;
use crate::script::Phase;
use crate::{Cloning, DbErrorKind, MigrateError, Migrator, Run};

/// The shared database of a cluster, changed by migration scripts.
///
/// What the schema is follows from history and scripts: `Base` while nothing of the upgrade is run, `Expanded` when nothing
/// additive is pending, and so on. A phase without scripts is reached when it was asked for.
///
/// # Examples
///
/// ```no_run
/// # async fn f(migrator: ha_migrate::Migrator) -> Result<(), ha_core::backend::StepError> {
/// use ha_core::backend::{Database, LeaseEpoch, Migrate};
/// use ha_core::state::Schema;
/// use ha_migrate::MigrateBackend;
///
/// let database = MigrateBackend::new(migrator).with_base_version("4.2");
/// database.migrate(LeaseEpoch::new(7), Migrate::new(Schema::Expanded)).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct MigrateBackend {
    migrator: Arc<Migrator>,
    base: Option<String>,
    cloning: Option<Arc<Cloning>>,
}

impl fmt::Debug for MigrateBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let target = self.migrator.target();
        f.debug_struct("MigrateBackend").field("target", &target).field("base", &self.base).finish_non_exhaustive()
    }
}

impl MigrateBackend {
    /// Wraps a migrator. All its scripts belong to the upgrade.
    pub fn new(migrator: Migrator) -> Self {
        Self { migrator: Arc::new(migrator), base: None, cloning: None }
    }

    /// Names the highest version of the old release's scripts: only later ones belong to the upgrade, and say what the schema
    /// is. Name it where the database has been migrated before.
    #[must_use]
    pub fn with_base_version(mut self, version: impl Into<String>) -> Self {
        self.base = Some(version.into());
        self
    }

    /// Says how the database is cloned, for scripts that break the release in use.
    #[must_use]
    pub fn with_cloning(mut self, cloning: Cloning) -> Self {
        self.cloning = Some(Arc::new(cloning));
        self
    }

    /// Returns the migrator: for its status, to resolve what is half-done, to take back.
    pub fn migrator(&self) -> &Migrator {
        &self.migrator
    }

    async fn read(&self) -> Result<SchemaRange, MigrateError> {
        let later = |version: &str| self.base.as_ref().is_none_or(|base| compare_versions(version, base).is_gt());
        self.migrator.schema_range(&later).await
    }

    fn error(&self, operation: &'static str, touched: bool, error: MigrateError) -> StepError {
        let kind = match &error {
            MigrateError::Fenced { .. } => ErrorKind::Fenced,
            MigrateError::NoPermit { .. } | MigrateError::OldSessions(_) | MigrateError::PointOfNoReturn { .. } => {
                ErrorKind::Denied
            }
            MigrateError::Locked { .. } | MigrateError::Orphan { .. } => ErrorKind::Busy,
            MigrateError::Deadline { .. } => ErrorKind::Timeout,
            MigrateError::Unsupported(_) => ErrorKind::Unsupported,
            MigrateError::Dirty(_)
            | MigrateError::Invalid(_)
            | MigrateError::Script { .. }
            | MigrateError::Statement(_)
            | MigrateError::Mismatch { .. } => ErrorKind::Conflict,
            MigrateError::Database { error, .. } => match error.kind {
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
            },
        };
        let step = StepError::new(kind, operation, self.migrator.target()).with_context(error.to_string());
        let step = match &error {
            MigrateError::Locked { .. } | MigrateError::Orphan { .. } => step.retry_after(crate::migrator::AGAIN),
            MigrateError::Dirty(_)
            | MigrateError::Fenced { .. }
            | MigrateError::Invalid(_)
            | MigrateError::Script { .. }
            | MigrateError::Statement(_)
            | MigrateError::OldSessions(_)
            | MigrateError::NoPermit { .. }
            | MigrateError::PointOfNoReturn { .. }
            | MigrateError::Mismatch { .. }
            | MigrateError::Deadline { .. }
            | MigrateError::Unsupported(_)
            | MigrateError::Database { .. } => step,
        };
        let step = if touched { step } else { step.without_effect() };
        step.caused_by(error)
    }
}

#[async_trait]
impl ObserveDatabase for MigrateBackend {
    async fn schema(&self) -> Result<Schema, StepError> {
        self.read().await.map(SchemaRange::schema).map_err(|error| self.error("schema", false, error))
    }

    async fn review(&self) -> Result<SchemaChange, StepError> {
        let base = self.base.as_ref();
        let later = |version: &str| base.is_none_or(|base| compare_versions(version, base).is_gt());
        self.migrator.review(&later).await.map_err(|error| self.error("review", false, error))
    }
}

#[async_trait]
impl Database for MigrateBackend {
    fn cloning(&self) -> Option<&dyn CloneDatabase> {
        self.cloning.as_deref().map(|cloning| cloning as &dyn CloneDatabase)
    }

    async fn migrate(&self, epoch: LeaseEpoch, request: Migrate) -> Result<Applied, StepError> {
        const OP: &str = "migrate";
        let phase = match request.to {
            Schema::Base | Schema::Expanding | Schema::Contracting => {
                let is = self.schema().await?;
                return if is == request.to {
                    Ok(Applied::AlreadySo)
                } else {
                    let what = format!(
                        "the schema is {is}, nothing leads to {}: ask for a state that it stays in",
                        request.to
                    );
                    let error = StepError::new(ErrorKind::Conflict, OP, self.migrator.target());
                    Err(error.with_context(what).without_effect())
                };
            }
            Schema::Expanded => Phase::Expand,
            Schema::Backfilled => Phase::Backfill,
            Schema::Contracted => Phase::Contract,
        };
        if phase == Phase::Contract && request.permit.is_none() {
            let what = "a contraction removes what the old release needs: it needs a permit";
            let error = StepError::new(ErrorKind::Denied, OP, self.migrator.target());
            return Err(error.with_context(what).without_effect());
        }
        let before = self.read().await.map_err(|error| self.error(OP, false, error))?;
        if before.schema() > request.to {
            let what = format!("the schema is {}, nothing leads back to {}", before.schema(), request.to);
            let error = StepError::new(ErrorKind::Conflict, OP, self.migrator.target());
            return Err(error.with_context(what).without_effect());
        }
        if request.deadline.is_zero() {
            return if before.schema() >= request.to {
                Ok(Applied::AlreadySo)
            } else {
                let error = StepError::new(ErrorKind::Timeout, OP, self.migrator.target());
                Err(error.with_context("the deadline is zero, and the schema is not there yet").without_effect())
            };
        }
        let mut run = Run::to(phase).with_lease(epoch.number()).with_deadline(request.deadline);
        if let Some(permit) = request.permit {
            run = run.with_permit(permit);
        }
        // Also where nothing is pending: a newer controller's lease has to be seen.
        let (touched, ran) = self.migrator.run_told(&run).await;
        let report = ran.map_err(|error| self.error(OP, touched, error))?;
        let after = self.read().await.map_err(|error| self.error(OP, touched, error))?;
        if after.schema() < request.to {
            // A phase without scripts: that it was reached is kept.
            self.migrator.mark(&run, phase).await.map_err(|error| self.error(OP, true, error))?;
        }
        let same = report.applied.is_empty() && before.schema() >= request.to;
        Ok(if same { Applied::AlreadySo } else { Applied::Applied })
    }
}
