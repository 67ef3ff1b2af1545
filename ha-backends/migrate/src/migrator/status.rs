use super::{Migrator, ask};
use crate::history::{Flyway, History, RowState};
use crate::machine::{Finding, Unit, UnitKind, baseline_to_run, baseline_version, compare_versions, validate};
use crate::script::Phase;
use crate::{DbErrorKind, MigrateError, Session, SessionRole};

/// What became of a script.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum ScriptState {
    /// It is to be run.
    Pending,
    /// Some of its statements are done: a run goes on with it.
    HalfDone,
    /// It is done.
    Applied,
    /// It is done, and says something else now: a run does it again.
    Outdated,
    /// It is not run: a baseline script makes or made what it would, or it is a baseline script that this schema does not need.
    Skipped,
}

impl ScriptState {
    /// Tells whether a run leaves it alone.
    pub(crate) fn is_settled(self) -> bool {
        match self {
            Self::Applied | Self::Skipped => true,
            Self::Pending | Self::HalfDone | Self::Outdated => false,
        }
    }
}

/// Tells whether a baseline script makes what a versioned one would.
fn covers(baseline: &Unit, unit: &Unit) -> bool {
    let of = baseline_version(&baseline.key.version).unwrap_or_default();
    compare_versions(&unit.key.version, of).is_le()
}

/// A script, and what became of it.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ScriptStatus {
    /// Its file.
    pub script: String,
    /// Its version; `R:` and the description of a repeatable one, `B:` and the version of a baseline.
    pub version: String,
    /// Its phase.
    pub phase: Phase,
    /// What became of it.
    pub state: ScriptState,
    /// When it was applied, by the server's clock; empty where it was not.
    pub finished_at: String,
}

/// What history and scripts say together.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Status {
    /// The scripts, in the order in which they run.
    pub scripts: Vec<ScriptStatus>,
    /// What does not fit.
    pub findings: Vec<Finding>,
}

impl Status {
    /// Tells whether no script of a phase is to be run.
    pub fn is_complete(&self, phase: Phase) -> bool {
        self.of(phase).all(|script| script.state.is_settled())
    }

    /// Lists the scripts of a phase.
    pub fn of(&self, phase: Phase) -> impl Iterator<Item = &ScriptStatus> {
        self.scripts.iter().filter(move |script| script.phase == phase)
    }
}

impl Migrator {
    /// Reads history and journal, without the lock: what a run would find.
    ///
    /// # Errors
    /// [`MigrateError::Database`], [`MigrateError::Deadline`].
    pub async fn status(&self) -> Result<Status, MigrateError> {
        let history = match tokio::time::timeout(self.policy.deadline, self.read_history()).await {
            Ok(history) => history?,
            Err(_) => {
                let (limit, during) = (self.policy.deadline, "reading the history".into());
                return Err(MigrateError::Deadline { limit, during, unknown: false });
            }
        };
        let baseline = baseline_to_run(&self.units, &history).and_then(|index| self.units.get(index));
        let skipped = |unit: &Unit| match unit.kind {
            UnitKind::Baseline => baseline.is_none_or(|baseline| baseline.key != unit.key),
            UnitKind::Versioned => history.is_below_baseline(unit) || baseline.is_some_and(|of| covers(of, unit)),
            UnitKind::Repeatable | UnitKind::Undo => false,
        };
        let state = |unit: &Unit| match history.of(&unit.key) {
            Some(row) if row.state.is_applied() => {
                let changed = unit.kind == UnitKind::Repeatable && row.sha256 != unit.sha256;
                if changed { ScriptState::Outdated } else { ScriptState::Applied }
            }
            Some(_) | None if history.steps_of(&unit.key).next().is_some() => ScriptState::HalfDone,
            Some(_) | None if skipped(unit) => ScriptState::Skipped,
            Some(_) | None => ScriptState::Pending,
        };
        let scripts = self.units.iter().map(|unit| ScriptStatus {
            script: unit.script.clone(),
            version: unit.key.version.clone(),
            phase: unit.key.phase,
            state: state(unit),
            finished_at: history
                .of(&unit.key)
                .filter(|row| matches!(row.state, RowState::Success))
                .map(|row| row.finished_at.clone())
                .unwrap_or_default(),
        });
        Ok(Status { scripts: scripts.collect(), findings: validate(&self.units, &history, &self.policy) })
    }

    pub(super) async fn read_history(&self) -> Result<History, MigrateError> {
        let failed = |during: &str| {
            let during = during.to_owned();
            move |error| MigrateError::Database { during, error }
        };
        let mut session = self.connect.open(SessionRole::Reader).await.map_err(failed("connect"))?;
        let there = self.tables_there(session.as_mut()).await.map_err(failed("look for the tables of the history"))?;
        let mut history = match there {
            true => History::read(session.as_mut(), &self.tables).await.map_err(failed("read the history"))?,
            false => History::default(),
        };
        if history.rows.is_empty() && self.policy.import_flyway {
            // What the first run will take over.
            let flyway = Flyway(self.connect.dialect());
            history.rows = flyway.read(session.as_mut(), &self.units).await.map_err(failed("read Flyway's history"))?;
            history = history.indexed();
        }
        history.schema_is_empty = ask::is_empty(session.as_mut(), &self.tables, &self.units, &history)
            .await
            .map_err(failed("look whether the schema is empty"))?;
        Ok(history)
    }

    pub(super) async fn tables_there(&self, session: &mut dyn Session) -> Result<bool, crate::DbError> {
        match session.query(&self.tables.count()).await {
            Ok(rows) => Ok(ask::first(&rows) == Some("3")),
            // A SQLite file that is not there yet.
            Err(error) if error.kind == DbErrorKind::Missing => Ok(false),
            Err(error) => Err(error),
        }
    }
}
