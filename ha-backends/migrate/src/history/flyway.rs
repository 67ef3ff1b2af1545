//! Flyway's table: taken over as a baseline, and kept in step where that is wanted.

use super::{HistoryRow, RowState, Tables, ident, text};
use crate::machine::{Key, Unit, UnitKind, baseline_version, compare_versions};
use crate::script::Phase;
use crate::{DbError, DbErrorKind, Dialect, Session};

/// The table `flyway_schema_history`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flyway(pub(crate) Dialect);

const TABLE: &str = "flyway_schema_history";

impl Flyway {
    /// Reads what it holds as rows of our history, for the phases that the units have; nothing where it is not there.
    pub(crate) async fn read(self, session: &mut dyn Session, units: &[Unit]) -> Result<Vec<HistoryRow>, DbError> {
        let success = if self.0 == Dialect::Postgres { "CAST(success AS int)" } else { "success" };
        let sql = format!(
            "SELECT version, description, type, script, checksum, {success}, installed_rank FROM {} ORDER BY installed_rank",
            ident(self.0, TABLE)
        );
        let rows = match session.query(&sql).await {
            Ok(rows) => rows,
            Err(error) if error.kind == DbErrorKind::Missing => return Ok(Vec::new()),
            // SQLite has no code of its own for a table that is not there.
            Err(error) if self.0 == Dialect::Sqlite && error.message.contains("no such table") => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut read = Vec::new();
        for row in &rows {
            let value = |index: usize| row.get(index).cloned().flatten();
            let word = value(5).unwrap_or_default();
            if word != "1" && word != "t" && word != "true" {
                continue;
            }
            let kind = value(2).unwrap_or_default();
            let (version, script) = (value(0), value(3).unwrap_or_default());
            let crc32 = value(4).and_then(|crc32| crc32.parse().ok());
            let description = value(1).unwrap_or_default();
            let of = |key: Key, kind: &str, crc32| HistoryRow {
                rank: 0,
                key,
                kind: kind.into(),
                description: description.clone(),
                script: script.clone(),
                sha256: String::new(),
                crc32,
                lines: String::new(),
                statements: String::new(),
                state: RowState::Baseline,
                finished_at: String::new(),
            };
            match version {
                Some(version) if kind.starts_with("UNDO") => {
                    read.retain(|row: &HistoryRow| compare_versions(&row.key.version, &version).is_ne());
                }
                Some(version) => {
                    let baseline = kind.contains("BASELINE");
                    let covered = |unit: &&Unit| {
                        let order = compare_versions(&unit.key.version, &version);
                        unit.kind == UnitKind::Versioned && (order.is_eq() || baseline && order.is_lt())
                    };
                    let before = read.len();
                    for unit in units.iter().filter(covered) {
                        let known = read.iter().any(|row: &HistoryRow| row.key == unit.key);
                        if !known {
                            read.push(of(unit.key.clone(), "V", crc32.filter(|_| !baseline)));
                        }
                    }
                    if read.len() == before {
                        read.push(of(Key { version, phase: Phase::Expand }, "V", crc32));
                    }
                }
                None if !description.is_empty() => {
                    let key = Key { version: format!("R:{description}"), phase: Phase::Expand };
                    read.retain(|row| row.key != key);
                    read.push(of(key, "R", crc32));
                }
                None => {}
            }
        }
        Ok(read)
    }

    /// Creates it as Flyway does, where it is missing.
    pub(crate) fn create(self) -> String {
        let (table, boolean, time) = match self.0 {
            Dialect::Postgres => (ident(self.0, TABLE), "boolean", "timestamp DEFAULT now()"),
            Dialect::Db2
            | Dialect::H2
            | Dialect::MariaDb
            | Dialect::MySql
            | Dialect::Oracle
            | Dialect::Sqlite
            | Dialect::SqlServer => (ident(self.0, TABLE), "SMALLINT", "TIMESTAMP DEFAULT CURRENT_TIMESTAMP"),
        };
        format!(
            "CREATE TABLE IF NOT EXISTS {table} (installed_rank INT NOT NULL PRIMARY KEY, version VARCHAR(50), \
             description VARCHAR(200) NOT NULL, type VARCHAR(20) NOT NULL, script VARCHAR(1000) NOT NULL, checksum INT, \
             installed_by VARCHAR(100) NOT NULL, installed_on {time} NOT NULL, execution_time INT NOT NULL, \
             success {boolean} NOT NULL)"
        )
    }

    /// Adds the row that Flyway would add.
    pub(crate) fn mirror(self, tables: &Tables, unit: &Unit, applied_by: &str, took_ms: &str) -> String {
        let table = tables.beside(TABLE);
        let (version, kind) = match unit.kind {
            UnitKind::Versioned => (text(self.0, &unit.key.version), "SQL"),
            UnitKind::Repeatable => ("NULL".into(), "SQL"),
            UnitKind::Baseline => {
                let version = baseline_version(&unit.key.version).unwrap_or(&unit.key.version);
                (text(self.0, version), "SQL_BASELINE")
            }
            UnitKind::Undo => {
                let version = unit.key.version.strip_prefix("U:").unwrap_or(&unit.key.version);
                (text(self.0, version), "UNDO_SQL")
            }
        };
        let yes = if self.0 == Dialect::Postgres { "true" } else { "1" };
        let cut = |value: &str, letters: usize| -> String { value.chars().take(letters).collect() };
        format!(
            "INSERT INTO {table} (installed_rank, version, description, type, script, checksum, installed_by, \
             execution_time, success) SELECT COALESCE(MAX(installed_rank), 0) + 1, {version}, {}, '{kind}', {}, {}, {}, \
             {took_ms}, {yes} FROM {table}",
            text(self.0, &cut(&unit.description, 200)),
            text(self.0, &cut(&unit.script, 1_000)),
            unit.crc32,
            text(self.0, &cut(applied_by, 100)),
        )
    }
}
