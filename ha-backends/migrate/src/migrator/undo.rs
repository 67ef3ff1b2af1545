//! Takes back what was expanded: by its undo script, or by the inverse of what only adds.

use std::sync::Arc;
use std::time::Duration;

use super::{Migrator, Report, Run};
use crate::history::{History, ident};
use crate::machine::{Choice, Goal, Key, Resolution, Step, Unit, UnitKind, compare_versions};
use crate::script::Phase;
use crate::{Change, Dialect, DropKind, Kind, MigrateError, ObjectKind, ObjectName, SessionRole};

/// What is to be taken back.
///
/// # Examples
///
/// ```
/// use ha_migrate::Undo;
///
/// let undo = Undo::down_to("4.2");
/// assert_eq!(undo.version(), "4.2");
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Undo {
    version: String,
    lease: Option<u64>,
    deadline: Option<Duration>,
}

impl Undo {
    /// Takes back what was applied of versions higher than `version`, the newest first.
    pub fn down_to(version: impl Into<String>) -> Self {
        Self { version: version.into(), lease: None, deadline: None }
    }

    /// Fences by a controller's lease, as [`Run::with_lease`] does.
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

    /// Returns the version that stays.
    pub fn version(&self) -> &str {
        &self.version
    }
}

impl Migrator {
    /// Takes back what was expanded and backfilled. An undo script (`U`) is run where there is one; else the inverse of each
    /// statement, in reverse order, as long as it only added something.
    ///
    /// # Idempotency
    /// Absolute: what is taken back already is left alone.
    /// # Errors
    /// [`MigrateError::PointOfNoReturn`] after a contraction, [`MigrateError::Script`] for a statement without an inverse and for a
    /// table that holds rows: nothing was run. The others as of [`run`](Self::run).
    pub async fn undo(&self, undo: &Undo) -> Result<Report, MigrateError> {
        let mut run = Run::to(Phase::Expand);
        (run.lease, run.deadline) = (undo.lease, undo.deadline);
        let mut history = self.read_history().await?;
        if history.steps.iter().any(|step| step.begun) {
            // A statement that was under way: what became of it counts.
            let nothing = Resolution::new("", Phase::Expand, 0, Choice::Redo, "", "");
            let mut units = self.units.to_vec();
            units.extend(self.undo_units(undo, &history)?);
            self.drive(Goal::Resolve(nothing), &run, units.into()).await?;
            history = self.read_history().await?;
        }
        let units = self.undo_units(undo, &history)?;
        if !self.policy.undo_loses_rows {
            self.refuse_rows(&units).await?;
        }
        if units.is_empty() {
            return Ok(Report::default());
        }
        let units: Arc<[Unit]> = units.into();
        self.drive(Goal::Undo, &run, units).await
    }

    /// The units that take back what is applied, newest first.
    fn undo_units(&self, undo: &Undo, history: &History) -> Result<Vec<Unit>, MigrateError> {
        let higher = |unit: &&Unit| {
            unit.kind == UnitKind::Versioned && compare_versions(&unit.key.version, &undo.version).is_gt()
        };
        let made = history.baseline.as_ref().filter(|made| compare_versions(made, &undo.version).is_gt());
        if let Some(made) = made {
            let key = format!("B:{made}");
            let script = history.rows.iter().find(|row| row.key.version == key).map(|row| row.script.clone());
            let what = format!(
                "it made the schema as a baseline, which nothing takes back: name version {made} or a later one"
            );
            return Err(MigrateError::Script { script: script.unwrap_or_default(), line: 0, what });
        }
        let touched = |unit: &&Unit| history.is_applied(&unit.key) || history.steps_of(&unit.key).next().is_some();
        let mut units = Vec::new();
        for unit in self.units.iter().rev().filter(higher).filter(touched) {
            if unit.key.phase == Phase::Contract {
                return Err(MigrateError::PointOfNoReturn { script: unit.script.clone() });
            }
            units.push(self.undo_unit(unit, history)?);
        }
        Ok(units)
    }

    fn undo_unit(&self, unit: &Unit, history: &History) -> Result<Unit, MigrateError> {
        let key = Key { version: format!("U:{}", unit.key.version), phase: unit.key.phase };
        let written = self.undo_scripts.iter().find(|script| script.key.version == key.version);
        if let Some(written) = written.filter(|_| history.is_applied(&unit.key)) {
            let mut written = written.clone();
            written.key = key;
            return Ok(written);
        }
        let done = if history.is_applied(&unit.key) { unit.steps.len() } else { history.done_prefix(&unit.key) };
        // What a backfill wrote goes with the columns.
        let steps = if unit.backfill.is_some() { &[] } else { unit.steps.get(..done).unwrap_or(&unit.steps) };
        let dialect = self.connect.dialect();
        let mut statements = Vec::new();
        for step in steps.iter().rev() {
            let inverse = inverse(dialect, step).map_err(|what| MigrateError::Script {
                script: unit.script.clone(),
                line: step.line,
                what: format!("{what}: write an undo script for version {}", unit.key.version),
            })?;
            statements.extend(inverse.into_iter().map(|text| (text, step.line)));
        }
        let mut undone = Unit::plan(dialect, key, UnitKind::Undo, &unit.script, statements, true)
            .map_err(|unfit| MigrateError::Script { script: unfit.script, line: unfit.line, what: unfit.what })?;
        undone.description.clone_from(&unit.description);
        (undone.sha256, undone.crc32) = (unit.sha256.clone(), unit.crc32);
        Ok(undone)
    }

    /// Refuses to drop a table that holds rows.
    async fn refuse_rows(&self, units: &[Unit]) -> Result<(), MigrateError> {
        let dialect = self.connect.dialect();
        let failed = |error| MigrateError::Database { during: "look for rows in tables to drop".into(), error };
        let mut session = None;
        for unit in units {
            for step in &unit.steps {
                for change in &step.class.changes {
                    let Change::Drop { kind: DropKind::Table, object, .. } = change else { continue };
                    let session = match &mut session {
                        Some(session) => session,
                        None => session.insert(self.connect.open(SessionRole::Reader).await.map_err(failed)?),
                    };
                    let table = qualified(dialect, object);
                    // A table that is gone already holds none.
                    let rows = session.query(&format!("SELECT 1 FROM {table} LIMIT 1")).await.unwrap_or_default();
                    if !rows.is_empty() {
                        let what = format!(
                            "taking it back drops table {}, which holds rows: allow it with undo_loses_rows",
                            object.name
                        );
                        return Err(MigrateError::Script { script: unit.script.clone(), line: step.line, what });
                    }
                }
            }
        }
        Ok(())
    }
}

/// The statements that take one back, in their order; an error says why there are none.
fn inverse(dialect: Dialect, step: &Step) -> Result<Vec<String>, String> {
    match step.class.kind {
        Kind::Setting | Kind::Query => return Ok(Vec::new()),
        Kind::Dml => return Err("it changed rows, and what they were is not known".into()),
        Kind::Opaque | Kind::Transaction => return Err("what it did cannot be told from its text".into()),
        Kind::Ddl => {}
    }
    if step.begins(&["CREATE OR REPLACE", "CREATE OR ALTER"]) {
        return Err("what it replaced is not known".into());
    }
    let mut statements = Vec::new();
    for change in step.class.changes.iter().rev() {
        statements.extend(inverse_of(dialect, step, change)?);
    }
    if step.class.changes.is_empty() {
        statements.extend(inverse_of_create(dialect, step)?);
    }
    Ok(statements)
}

fn inverse_of(dialect: Dialect, step: &Step, change: &Change) -> Result<Option<String>, String> {
    let maria = matches!(dialect, Dialect::MariaDb | Dialect::MySql);
    Ok(match change {
        Change::CreateTable { temporary: true, .. } => None,
        Change::CreateTable { if_not_exists: true, table, .. } => {
            return Err(format!("whether it made table {} is not known (IF NOT EXISTS)", table.name));
        }
        Change::CreateTable { table, or_replace: false, .. } => {
            Some(format!("DROP TABLE {}", qualified(dialect, table)))
        }
        Change::AddColumn { table, column, .. } => {
            Some(format!("ALTER TABLE {} DROP COLUMN {}", qualified(dialect, table), ident(dialect, column)))
        }
        Change::CreateIndex { name: Some(name), table, .. } if maria => {
            Some(format!("DROP INDEX {} ON {}", ident(dialect, name), qualified(dialect, table)))
        }
        Change::CreateIndex { name: Some(name), table, concurrently, .. } => {
            let index =
                ObjectName { kind: ObjectKind::Index, name: name.clone(), schema: table.schema.clone(), table: None };
            let concurrently = if *concurrently { "CONCURRENTLY " } else { "" };
            Some(format!("DROP INDEX {concurrently}{}", qualified(dialect, &index)))
        }
        Change::AddConstraint { table, name: Some(name), .. } if dialect != Dialect::Sqlite => {
            Some(format!("ALTER TABLE {} DROP CONSTRAINT {}", qualified(dialect, table), ident(dialect, name)))
        }
        Change::ValidateConstraint { .. } => None,
        Change::CreateTrigger { .. } => inverse_of_create(dialect, step)?,
        Change::CreateTable { .. }
        | Change::CreateIndex { .. }
        | Change::AddConstraint { .. }
        | Change::DropColumn { .. }
        | Change::RenameColumn { .. }
        | Change::RenameTable { .. }
        | Change::AlterType { .. }
        | Change::SetNotNull { .. }
        | Change::ColumnSetting { .. }
        | Change::DropConstraint { .. }
        | Change::Drop { .. }
        | Change::Truncate { .. }
        | Change::UnboundedUpdate { .. }
        | Change::UnboundedDelete { .. }
        | Change::Delete { .. }
        | Change::Maintenance { .. }
        | Change::Rewrite { .. }
        | Change::Partition { .. }
        | Change::AddEnumValue { .. }
        | Change::Setting { .. }
        | Change::Unread { .. } => return Err("it did more than add something that can be named".into()),
    })
}

/// CREATE VIEW, TRIGGER, SEQUENCE, FUNCTION, PROCEDURE, TYPE.
fn inverse_of_create(dialect: Dialect, step: &Step) -> Result<Option<String>, String> {
    let nothing = || Err("it did more than add something that can be named".to_owned());
    let [object] = step.class.objects.as_slice() else { return nothing() };
    if !step.begins(&["CREATE "]) || step.begins(&["CREATE SEQUENCE IF", "CREATE VIEW IF", "CREATE TRIGGER IF"]) {
        return nothing();
    }
    let name = qualified(dialect, object);
    Ok(Some(match object.kind {
        ObjectKind::View if step.begins(&["CREATE MATERIALIZED"]) => format!("DROP MATERIALIZED VIEW {name}"),
        ObjectKind::View => format!("DROP VIEW {name}"),
        ObjectKind::Sequence => format!("DROP SEQUENCE {name}"),
        ObjectKind::Trigger if dialect == Dialect::Postgres => {
            let table = object.table.as_ref().map(|table| ObjectName {
                kind: ObjectKind::Table,
                name: table.clone(),
                schema: object.schema.clone(),
                table: None,
            });
            let Some(table) = table else { return nothing() };
            format!("DROP TRIGGER {} ON {}", ident(dialect, &object.name), qualified(dialect, &table))
        }
        ObjectKind::Trigger => format!("DROP TRIGGER {name}"),
        ObjectKind::Routine
            if step.text.to_ascii_uppercase().contains("PROCEDURE") && !step.begins(&["CREATE FUNCTION"]) =>
        {
            format!("DROP PROCEDURE {name}")
        }
        ObjectKind::Routine => format!("DROP FUNCTION {name}"),
        ObjectKind::Type => format!("DROP TYPE {name}"),
        ObjectKind::Table | ObjectKind::Index | ObjectKind::Schema | ObjectKind::Other => return nothing(),
    }))
}

fn qualified(dialect: Dialect, object: &ObjectName) -> String {
    match &object.schema {
        Some(schema) => format!("{}.{}", ident(dialect, schema), ident(dialect, &object.name)),
        None => ident(dialect, &object.name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inverses(dialect: Dialect, statement: &str) -> Result<Vec<String>, String> {
        let key = Key { version: "1".into(), phase: Phase::Expand };
        let unit = Unit::plan(dialect, key, UnitKind::Versioned, "a.sql", vec![(statement.into(), 1)], true).unwrap();
        inverse(dialect, &unit.steps[0])
    }

    #[test]
    fn what_was_added_is_dropped_in_reverse() {
        use Dialect::{MariaDb, Postgres, Sqlite};
        for (dialect, statement, expected) in [
            (Postgres, "CREATE TABLE a (id int)", vec!["DROP TABLE \"a\""]),
            (MariaDb, "CREATE TABLE s.a (id int)", vec!["DROP TABLE `s`.`a`"]),
            (
                MariaDb,
                "ALTER TABLE a ADD COLUMN b int, ADD COLUMN c int",
                vec!["ALTER TABLE `a` DROP COLUMN `c`", "ALTER TABLE `a` DROP COLUMN `b`"],
            ),
            (Postgres, "CREATE INDEX CONCURRENTLY i ON a (b)", vec!["DROP INDEX CONCURRENTLY \"i\""]),
            (MariaDb, "CREATE INDEX i ON a (b)", vec!["DROP INDEX `i` ON `a`"]),
            (Sqlite, "CREATE INDEX i ON a (b)", vec!["DROP INDEX \"i\""]),
            (Postgres, "CREATE VIEW v AS SELECT 1", vec!["DROP VIEW \"v\""]),
            (Postgres, "CREATE TRIGGER r BEFORE UPDATE ON t EXECUTE FUNCTION f()", vec!["DROP TRIGGER \"r\" ON \"t\""]),
            (Sqlite, "CREATE TRIGGER r AFTER INSERT ON t BEGIN SELECT 1; END", vec!["DROP TRIGGER \"r\""]),
            (Postgres, "SET lock_timeout = '1s'", vec![]),
        ] {
            assert_eq!(inverses(dialect, statement).unwrap(), expected, "{dialect}: {statement}");
        }
    }

    #[test]
    fn what_did_more_than_add_has_no_inverse() {
        for statement in [
            "UPDATE a SET b = 1",
            "DROP TABLE a",
            "ALTER TABLE a RENAME COLUMN b TO c",
            "CREATE TABLE IF NOT EXISTS a (id int)",
            "CREATE OR REPLACE VIEW v AS SELECT 1",
            "DO $$ BEGIN END $$",
        ] {
            assert!(inverses(Dialect::Postgres, statement).is_err(), "{statement}");
        }
    }
}
