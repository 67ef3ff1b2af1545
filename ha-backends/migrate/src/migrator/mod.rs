//! Brings a database to a phase, and takes it back.

mod accept;
mod apply;
mod ask;
mod blocker;
mod builder;
mod drift;
mod driver;
mod event;
mod prepare;
mod schema;
mod status;
mod tell;
mod undo;

pub use blocker::{Blocker, OldRelease};
pub use builder::MigratorBuilder;
pub(crate) use drift::is_journaled;
pub use event::{Event, Observer};
pub(crate) use schema::{AGAIN, SchemaRange};
pub use status::{ScriptState, ScriptStatus, Status};
pub use undo::Undo;

use std::sync::Arc;
use std::time::Duration;

use ha_core::backend::ContractPermit;

use driver::Driver;

use crate::history::Tables;
use crate::machine::{Goal, Machine, Policy, Resolution, Summary, Unit};
use crate::script::{Phase, Scripts};
use crate::{Connect, MigrateError};

/// What a run is asked for.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use ha_migrate::Run;
/// use ha_migrate::script::Phase;
///
/// let run = Run::to(Phase::Expand).with_deadline(Duration::from_secs(30));
/// assert_eq!(run.phase(), Phase::Expand);
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Run {
    to: Phase,
    permit: Option<ContractPermit>,
    lease: Option<u64>,
    deadline: Option<Duration>,
}

impl Run {
    /// Asks for what is pending of this phase and the ones before it.
    pub fn to(phase: Phase) -> Self {
        Self { to: phase, permit: None, lease: None, deadline: None }
    }

    /// Allows to remove what only the releases of the permit needed. Without one, a pending contract script is refused.
    #[must_use]
    pub fn with_permit(mut self, permit: ContractPermit) -> Self {
        self.permit = Some(permit);
        self
    }

    /// Fences by a controller's lease: a run with a lower one than the highest seen is refused.
    #[must_use]
    pub fn with_lease(mut self, epoch: u64) -> Self {
        self.lease = Some(epoch);
        self
    }

    /// Limits how long it may take. Default the policy's.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// Returns the phase.
    pub fn phase(&self) -> Phase {
        self.to
    }
}

/// What a run did.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Report {
    /// The scripts that were run to their end, in order.
    pub applied: Vec<String>,
    /// Statements of a dead run that were found done.
    pub found_applied: u32,
    /// Statements of a dead run that were found not done, and run.
    pub redone: u32,
    /// Broken indexes that were dropped to be built again.
    pub indexes_dropped: u32,
    /// Lock timeouts and deadlocks that were waited out.
    pub retries: u32,
    /// Connections that were lost and opened again.
    pub reconnects: u32,
    /// How many rows the server says were changed.
    pub rows: u64,
}

/// Runs migration scripts so that any death in the middle is recovered from exactly.
///
/// One connection holds the lock and runs every statement; a journal and the definitions of what is touched tell what a dead run
/// has done. Clones are not needed: share it in an [`Arc`].
///
/// # Guarantees
/// Each statement takes effect exactly once, or the run stops with [`MigrateError::Dirty`] and what is known; nothing is
/// guessed. After a newer run has taken over, nothing is written.
///
/// # Cancel safety
/// Of every call: a dropped future leaves what the next run recovers from.
///
/// # Examples
///
/// ```no_run
/// # async fn f(connect: std::sync::Arc<dyn ha_migrate::Connect>, scripts: ha_migrate::script::Scripts)
/// # -> Result<(), ha_migrate::MigrateError> {
/// use ha_migrate::script::Phase;
/// use ha_migrate::{Migrator, Run};
///
/// let migrator = Migrator::builder(connect, scripts).build()?;
/// let report = migrator.run(&Run::to(Phase::Expand)).await?;
/// println!("{} scripts", report.applied.len());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Migrator {
    pub(crate) connect: Arc<dyn Connect>,
    pub(crate) scripts: Arc<Scripts>,
    units: Arc<[Unit]>,
    undo_scripts: Vec<Unit>,
    tables: Tables,
    policy: Policy,
    owner: String,
    applied_by: String,
    old: Vec<OldRelease>,
    observer: Option<Arc<dyn Observer>>,
    mirror_flyway: bool,
}

impl Migrator {
    /// Runs what is pending.
    ///
    /// # Idempotency
    /// Absolute: twice equals once; a half-run script is gone on with.
    /// # Errors
    /// [`MigrateError`], with what is known of the database.
    pub async fn run(&self, run: &Run) -> Result<Report, MigrateError> {
        self.run_told(run).await.1
    }

    /// The same, and whether anything of the scripts may have been changed.
    pub(crate) async fn run_told(&self, run: &Run) -> (bool, Result<Report, MigrateError>) {
        let goal = Goal::Migrate { to: run.to, permit: run.permit.clone() };
        self.drive_told(goal, run, self.units.clone()).await
    }

    /// Does what a person decided about a half-done statement, and keeps who and why. Runs nothing else.
    ///
    /// # Errors
    /// [`MigrateError::Dirty`] where another statement is half-done; the others as of [`run`](Self::run).
    pub async fn resolve(&self, resolution: Resolution) -> Result<(), MigrateError> {
        self.drive(Goal::Resolve(resolution), &Run::to(Phase::Expand), self.units.clone()).await.map(drop)
    }

    /// Accepts that an applied script says something else now, in a person's name; the history keeps who and why.
    ///
    /// # Errors
    /// As of [`run`](Self::run); [`MigrateError::Script`] where there is no such script.
    pub async fn accept_checksum(&self, version: &str, phase: Phase, who: &str, why: &str) -> Result<(), MigrateError> {
        let unit = self.units.iter().find(|unit| unit.key.version == version && unit.key.phase == phase);
        let Some(unit) = unit else {
            let what = format!("there is no script of version {version} in phase {phase}");
            return Err(MigrateError::Script { script: version.into(), line: 0, what });
        };
        self.accept(unit, &format!("accepted by {who}: {why}")).await
    }

    async fn drive(&self, goal: Goal, run: &Run, units: Arc<[Unit]>) -> Result<Report, MigrateError> {
        self.drive_told(goal, run, units).await.1
    }

    async fn drive_told(&self, goal: Goal, run: &Run, units: Arc<[Unit]>) -> (bool, Result<Report, MigrateError>) {
        let mut policy = self.policy.clone();
        policy.deadline = run.deadline.unwrap_or(policy.deadline);
        let looks = !self.old.is_empty();
        let machine = Machine::new(units.clone(), goal, policy.clone(), looks, driver::seed(), Duration::ZERO);
        let mut driver = Driver::new(self, run, units.clone(), policy.deadline);
        let (summary, outcome) = driver.drive(machine).await;
        (summary.touched, outcome.map(|()| report(&units, &summary)))
    }

    fn owner_of_run(&self) -> String {
        format!("{}/{:x}", self.owner, driver::seed())
    }

    fn tell(&self, event: &Event) {
        if let Some(observer) = &self.observer {
            observer.on(event);
        }
    }
}

fn report(units: &[Unit], summary: &Summary) -> Report {
    let script = |index: &usize| units.get(*index).map(|unit| unit.script.clone());
    Report {
        applied: summary.applied.iter().filter_map(script).collect(),
        found_applied: summary.found_applied,
        redone: summary.redone,
        indexes_dropped: summary.indexes_dropped,
        retries: summary.retries,
        reconnects: summary.reconnects,
        rows: summary.rows,
    }
}
