//! What the schema is, as history and scripts say.

use std::sync::Arc;
use std::time::Duration;

use ha_core::state::Schema;

use super::accept::ENDING;
use super::driver::{Driver, after};
use super::{Migrator, Run};
use crate::history::History;
use crate::machine::{Key, Unit, UnitKind, compare_versions};
use crate::script::Phase;
use crate::{DbErrorKind, MigrateError};

/// When to ask again for a lock that another migrator has.
pub(crate) const AGAIN: Duration = Duration::from_secs(1);

/// What the schema can be called: more than one thing where a phase has no scripts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct SchemaRange {
    low: Schema,
    high: Schema,
    /// What was asked for and reached before.
    marked: Option<Schema>,
}

impl SchemaRange {
    pub(crate) fn schema(self) -> Schema {
        self.marked.map_or(self.low, |marked| marked.clamp(self.low, self.high))
    }

    fn of(units: &[&Unit], history: &History, marked: Option<Schema>) -> Self {
        let of = |phase: Phase| units.iter().filter(move |unit| unit.key.phase == phase);
        let is_applied = |unit: &&&Unit| history.is_done(unit);
        let pending = |phase: Phase| of(phase).any(|unit| !history.is_done(unit));
        let begun =
            |phase: Phase| of(phase).any(|unit| history.is_done(unit) || history.steps_of(&unit.key).next().is_some());
        let exactly = |schema| Self { low: schema, high: schema, marked: None };
        if of(Phase::Contract).any(|unit| history.steps_of(&unit.key).next().is_some()) {
            return exactly(Schema::Contracting);
        }
        if pending(Phase::Expand) {
            return exactly(if begun(Phase::Expand) { Schema::Expanding } else { Schema::Base });
        }
        if pending(Phase::Contract) && of(Phase::Contract).any(|unit| is_applied(&unit)) {
            return exactly(Schema::Contracting);
        }
        if pending(Phase::Backfill) {
            return exactly(Schema::Expanded);
        }
        let there = |phase: Phase| of(phase).next().is_some();
        if there(Phase::Contract) && !pending(Phase::Contract) {
            return exactly(Schema::Contracted);
        }
        let low = match (there(Phase::Backfill), there(Phase::Expand)) {
            (true, _) => Schema::Backfilled,
            (false, true) => Schema::Expanded,
            (false, false) => Schema::Base,
        };
        let high = if there(Phase::Contract) { Schema::Backfilled } else { Schema::Contracted };
        Self { low, high, marked }
    }
}

impl Migrator {
    /// Names the database, without user and password.
    pub fn target(&self) -> &str {
        self.connect.target()
    }

    /// Reads what the schema is, by the versioned scripts whose version counts.
    pub(crate) async fn schema_range(
        &self,
        counts: &(dyn Fn(&str) -> bool + Sync),
    ) -> Result<SchemaRange, MigrateError> {
        let limit = self.policy.deadline;
        let history = match tokio::time::timeout(limit, self.read_history()).await {
            Ok(history) => history?,
            Err(_) => {
                return Err(MigrateError::Deadline { limit, during: "reading the history".into(), unknown: false });
            }
        };
        let versioned = |unit: &&Unit| unit.kind == UnitKind::Versioned && counts(&unit.key.version);
        let units: Vec<&Unit> = self.units.iter().filter(versioned).collect();
        let mark = self.mark_version();
        let marked = Phase::ALL
            .into_iter()
            .rev()
            .find(|phase| history.is_applied(&Key { version: mark.clone(), phase: *phase }));
        let marked = marked.map(|phase| match phase {
            Phase::Expand => Schema::Expanded,
            Phase::Backfill => Schema::Backfilled,
            Phase::Contract => Schema::Contracted,
        });
        Ok(SchemaRange::of(&units, &history, marked))
    }

    /// The version under which the history keeps that a phase without scripts was reached: of these scripts.
    fn mark_version(&self) -> String {
        let versions = self.units.iter().filter(|unit| unit.kind == UnitKind::Versioned);
        let newest = versions.map(|unit| unit.key.version.as_str()).max_by(|left, right| compare_versions(left, right));
        format!("S:{}", newest.unwrap_or_default())
    }

    /// Keeps that a phase was reached which has no scripts.
    pub(crate) async fn mark(&self, run: &Run, phase: Phase) -> Result<(), MigrateError> {
        let key = Key { version: self.mark_version(), phase };
        let limit = run.deadline.unwrap_or(self.policy.deadline);
        let units: Arc<[Unit]> = Arc::new([]);
        let mut driver = Driver::new(self, run, units, limit);
        let during = || "keep what was reached".to_owned();
        match tokio::time::timeout_at(after(limit), driver.mark(&key)).await {
            Ok(Ok(None)) => Ok(()),
            Ok(Ok(Some(seen))) => Err(MigrateError::Fenced { seen }),
            Ok(Err(failed)) if failed.error.kind == DbErrorKind::LockTimeout => {
                Err(MigrateError::Locked { holder: None, waited: ENDING })
            }
            Ok(Err(failed)) => Err(MigrateError::Database { during: during(), error: failed.error }),
            Err(_) => Err(MigrateError::Deadline { limit, during: during(), unknown: true }),
        }
    }
}
