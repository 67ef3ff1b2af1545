//! What is written to the history, as SQL text. Each statement is fenced: it changes nothing for a run that is not the latest.

use std::time::Duration;

use super::{RowState, Tables, now, nullable, text};
use crate::machine::{How, Key, Print, Step, Unit, UnitKind};
use crate::{DbError, Dialect, SessionId};

/// Proves that a run is the latest.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Fence {
    pub(crate) epoch: u64,
    pub(crate) owner: String,
    /// The lease of the controller, where it has one.
    pub(crate) lease: Option<u64>,
    pub(crate) session: SessionId,
    /// The highest rank when the history was read.
    pub(crate) rank: i64,
}

/// Writes SQL for one run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Writer<'a> {
    pub(crate) tables: &'a Tables,
    pub(crate) fence: &'a Fence,
    pub(crate) applied_by: &'a str,
}

impl Writer<'_> {
    fn dialect(&self) -> Dialect {
        self.tables.dialect()
    }

    fn text(&self, value: &str) -> String {
        text(self.dialect(), value)
    }

    /// The condition that the lock's row holds for the latest run, with `of` before each column, and that the session is still the
    /// one that has the lock. SQLite has no lock of a session: there each transaction excludes the others, and only a higher lease
    /// fences.
    fn is_latest(&self, of: &str) -> String {
        let Fence { epoch, owner, lease, session, .. } = self.fence;
        let here = match self.dialect() {
            Dialect::Postgres => format!(" AND pg_backend_pid() = {}", session.number),
            Dialect::MariaDb | Dialect::MySql => format!(" AND CONNECTION_ID() = {}", session.number),
            Dialect::Db2 | Dialect::H2 | Dialect::Oracle | Dialect::Sqlite | Dialect::SqlServer => String::new(),
        };
        match (self.dialect(), lease) {
            (Dialect::Sqlite, Some(lease)) => format!("{of}id = 1 AND {of}lease <= {lease}"),
            (Dialect::Sqlite, None) => format!("{of}id = 1"),
            (
                Dialect::Db2
                | Dialect::H2
                | Dialect::MariaDb
                | Dialect::MySql
                | Dialect::Oracle
                | Dialect::Postgres
                | Dialect::SqlServer,
                _,
            ) => format!("{of}id = 1 AND {of}epoch = {epoch} AND {of}owner = {}{here}", self.text(owner)),
        }
    }

    /// Raises the epoch; changes no row where a higher lease was seen.
    pub(crate) fn bump(&self) -> String {
        let Fence { owner, lease, session, .. } = self.fence;
        let (keep, only) = match lease {
            Some(lease) => (lease.to_string(), format!(" AND lease <= {lease}")),
            None => ("lease".into(), String::new()),
        };
        format!(
            "UPDATE {} SET epoch = epoch + 1, lease = {keep}, owner = {}, session_number = {}, session_began = {}, \
             beat = 0, since = {} WHERE id = 1{only}",
            self.tables.lock(),
            self.text(owner),
            session.number,
            self.text(&session.began),
            now(self.dialect()),
        )
    }

    /// Locks the lock's row inside a transaction; answers or changes no row where this run is not the latest.
    pub(crate) fn fence(&self) -> String {
        let (lock, latest) = (self.tables.lock(), self.is_latest(""));
        match self.dialect() {
            // A locked row is no new version of it. Whoever raises the epoch waits for the end of the transaction.
            Dialect::Postgres => format!("SELECT '1' FROM {lock} WHERE {latest} FOR NO KEY UPDATE"),
            Dialect::Db2
            | Dialect::H2
            | Dialect::MariaDb
            | Dialect::MySql
            | Dialect::Oracle
            | Dialect::Sqlite
            | Dialect::SqlServer => format!("UPDATE {lock} SET beat = beat + 1 WHERE {latest}"),
        }
    }

    /// PostgreSQL: what each message of a whole script holds beside the script, planned once a session.
    pub(crate) fn prepare(&self, number: u32) -> (Prepared, String) {
        let names = Prepared { fence: format!("ha_migrate_fence_{number}"), row: format!("ha_migrate_row_{number}") };
        let row: Row = std::array::from_fn(|index| format!("${}", index + 1));
        let took = "(extract(epoch FROM clock_timestamp() - transaction_timestamp()) * 1000)::bigint";
        let message = format!(
            "PREPARE {} AS SELECT coalesce(({}), '{FENCED}')::int; \
             PREPARE {} (text, text, text, text, text, text, bigint, text, text, text, text) AS {}",
            names.fence,
            self.fence(),
            names.row,
            self.insert(&row, took),
        );
        (names, message)
    }

    /// Answers a row where another run has applied the unit since the history was read.
    pub(crate) fn raced(&self, key: &Key) -> String {
        format!(
            "SELECT 1 FROM {} WHERE {} AND installed_rank > {}",
            self.tables.history(),
            self.is_key(key),
            self.fence.rank
        )
    }

    fn is_key(&self, key: &Key) -> String {
        format!("version = {} AND phase = {}", self.text(&key.version), self.text(&key.phase.to_string()))
    }

    /// Journals that a statement begins. Changes a row only for the latest run.
    pub(crate) fn begin(&self, unit: &Unit, number: usize, step: &Step, pre: &[Print]) -> String {
        self.upsert(unit, number, step, "begun", Some(&Print::join(pre)), None, None)
    }

    /// Journals that a statement was run, in its own transaction.
    pub(crate) fn ran(&self, unit: &Unit, number: usize, step: &Step) -> String {
        self.upsert(unit, number, step, "done", None, None, None)
    }

    /// Journals where a backfill is, in the transaction of its batch.
    pub(crate) fn cursor(&self, unit: &Unit, step: &Step, cursor: Option<&str>, rows: u64) -> String {
        self.upsert(unit, 0, step, "done", None, cursor, Some(rows))
    }

    #[expect(clippy::too_many_arguments, reason = "the columns of one row")]
    fn upsert(
        &self,
        unit: &Unit,
        number: usize,
        step: &Step,
        state: &str,
        pre: Option<&str>,
        cursor: Option<&str>,
        rows: Option<u64>,
    ) -> String {
        let dialect = self.dialect();
        let (table, lock) = (self.tables.step(), self.tables.lock());
        let Fence { epoch, session, .. } = self.fence;
        let done_at = if state == "done" { now(dialect) } else { "NULL" };
        let values = [
            ("version", self.text(&unit.key.version)),
            ("phase", self.text(&unit.key.phase.to_string())),
            ("stmt_no", number.to_string()),
            ("sha256", self.text(&step.sha256)),
            ("line", step.line.to_string()),
            ("state", self.text(state)),
            ("pre_fp", nullable(dialect, pre)),
            ("session_number", session.number.to_string()),
            ("session_began", self.text(&session.began)),
            ("epoch", epoch.to_string()),
            ("begun_at", now(dialect).into()),
            ("done_at", done_at.into()),
            ("batch_cursor", nullable(dialect, cursor)),
            ("rows_done", rows.unwrap_or(0).to_string()),
        ];
        let names = values.each_ref().map(|(name, _)| *name).join(", ");
        let row = values.each_ref().map(|(_, value)| value.as_str()).join(", ");
        let set = |excluded: &dyn Fn(&str) -> String| {
            let changed = values.iter().skip(3).map(|(name, _)| format!("{name} = {}", excluded(name)));
            changed.collect::<Vec<_>>().join(", ")
        };
        let on_conflict = match dialect {
            Dialect::MariaDb | Dialect::MySql => {
                format!("ON DUPLICATE KEY UPDATE {}", set(&|name| format!("VALUES({name})")))
            }
            Dialect::Db2 | Dialect::H2 | Dialect::Oracle | Dialect::Postgres | Dialect::Sqlite | Dialect::SqlServer => {
                format!(
                    "ON CONFLICT (version, phase, stmt_no) DO UPDATE SET {}",
                    set(&|name| format!("excluded.{name}"))
                )
            }
        };
        format!(
            "INSERT INTO {table} ({names}) SELECT {row} FROM {lock} WHERE {} {on_conflict}",
            self.is_latest_of_lock()
        )
    }

    /// The same, with the table named.
    fn is_latest_of_lock(&self) -> String {
        self.is_latest(&format!("{}.", self.tables.lock()))
    }

    fn only_latest(&self) -> String {
        format!("EXISTS (SELECT 1 FROM {} WHERE {})", self.tables.lock(), self.is_latest_of_lock())
    }

    /// Journals that a statement is done.
    pub(crate) fn finish(&self, key: &Key, number: usize, sha256: Option<&str>, post: &[Print], how: &How) -> String {
        let dialect = self.dialect();
        let note = match how {
            How::Ran => String::new(),
            How::Found => format!(", note = {}", self.text("found done after a death")),
            How::Marked(note) => format!(", note = {}", self.text(note)),
        };
        let sha256 = sha256.map(|sha256| format!(", sha256 = {}", self.text(sha256))).unwrap_or_default();
        format!(
            "UPDATE {} SET state = 'done', post_fp = {}, done_at = {}{sha256}{note} WHERE {} AND stmt_no = {number} AND {}",
            self.tables.step(),
            self.text(&Print::join(post)),
            now(dialect),
            self.is_key(key),
            self.only_latest(),
        )
    }

    /// Takes the journal row of a statement back that did not happen.
    pub(crate) fn withdraw(&self, key: &Key, number: usize, note: Option<&str>) -> String {
        let note = note.map(|note| format!(", note = {}", self.text(note))).unwrap_or_default();
        format!(
            "UPDATE {} SET state = 'withdrawn'{note} WHERE {} AND stmt_no = {number} AND {}",
            self.tables.step(),
            self.is_key(key),
            self.only_latest(),
        )
    }

    /// Takes a unit's journal out of use: what it says is in the history now.
    pub(crate) fn settle(&self, key: &Key) -> String {
        format!("UPDATE {} SET state = 'settled' WHERE {}", self.tables.step(), self.is_key(key))
    }

    /// Adds the history row of a unit. Changes a row only for the latest run.
    pub(crate) fn record(&self, unit: &Unit, how: &Record<'_>, state: RowState, note: Option<&str>) -> String {
        let version = match unit.kind {
            UnitKind::Undo => unit.key.version.strip_prefix("U:").unwrap_or(&unit.key.version),
            UnitKind::Versioned | UnitKind::Repeatable | UnitKind::Baseline => &unit.key.version,
        };
        let row = [
            self.text(version),
            self.text(&unit.key.phase.to_string()),
            self.text(unit.kind.letter()),
            self.text(&unit.description),
            self.text(&unit.script),
            self.text(&unit.sha256),
            unit.crc32.to_string(),
            self.text(unit.checksums.as_ref().map_or("", |checksums| &checksums.lines)),
            self.text(&unit.statement_hashes()),
            self.text(state.word()),
            nullable(self.dialect(), note),
        ];
        match how {
            Record::Took(took) => self.insert(&row, &took.as_millis().to_string()),
            Record::Prepared(prepared) => format!("EXECUTE {}({})", prepared.row, row.join(", ")),
        }
    }

    /// Adds a row for what was not run by this tool. Changes a row only for the latest run.
    pub(crate) fn note(&self, noted: &Noted<'_>) -> String {
        let row = [
            self.text(&noted.key.version),
            self.text(&noted.key.phase.to_string()),
            self.text(noted.kind),
            self.text(""),
            self.text(noted.script),
            self.text(noted.sha256),
            noted.crc32.map_or_else(|| "NULL".into(), |crc32| crc32.to_string()),
            self.text(""),
            self.text(""),
            self.text(noted.state.word()),
            self.text(noted.note),
        ];
        self.insert(&row, "0")
    }

    fn insert(&self, row: &Row, took_ms: &str) -> String {
        let (history, lock) = (self.tables.history(), self.tables.lock());
        let Fence { epoch, session, .. } = self.fence;
        format!(
            "INSERT INTO {history} (installed_rank, version, phase, kind, description, script, sha256, flyway_crc32, \
             line_sums, statements, state, note, applied_by, session_id, epoch, took_ms) \
             SELECT (SELECT COALESCE(MAX(h.installed_rank), 0) + 1 FROM {history} h), {}, {}, {}, {epoch}, {took_ms} \
             FROM {lock} WHERE {}",
            row.join(", "),
            self.text(self.applied_by),
            self.text(&session.to_string()),
            self.is_latest_of_lock(),
        )
    }
}

/// A row for what was not run by this tool: a unit that a person gave up or that another tool has applied, a phase without
/// scripts, a drift that was accepted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Noted<'a> {
    pub(crate) key: &'a Key,
    pub(crate) kind: &'a str,
    pub(crate) script: &'a str,
    pub(crate) sha256: &'a str,
    pub(crate) crc32: Option<i32>,
    pub(crate) state: RowState,
    pub(crate) note: &'a str,
}

impl<'a> Noted<'a> {
    /// A versioned unit, of which no script is known.
    pub(crate) fn of(key: &'a Key, state: RowState, note: &'a str) -> Self {
        Self { key, kind: "V", script: "", sha256: "", crc32: None, state, note }
    }
}

/// What differs from one row of the history to the next, as SQL: version, phase, kind, description, script, sha256,
/// flyway_crc32, line_sums, statements, state, note.
type Row = [String; 11];

/// How the row of a unit is added.
pub(crate) enum Record<'a> {
    /// By a statement of its own, with how long the unit took.
    Took(Duration),
    /// By a prepared one, which counts the time from the begin of its transaction.
    Prepared(&'a Prepared),
}

/// The names of the statements that a session has prepared. A script may remove them: then they fail, and it is run without.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Prepared {
    /// Fails with [`FENCED`] where the run is not the latest.
    pub(crate) fence: String,
    row: String,
}

impl Prepared {
    /// Tells whether an error says that they are not there.
    pub(crate) fn is_missing(error: &DbError) -> bool {
        error.code == "26000"
    }
}

/// Tells whether an error is the fence's, and not a script's own.
pub(crate) fn is_fenced(error: &DbError) -> bool {
    error.code == "22P02" && error.message.contains(FENCED)
}

/// No integer: what the server says of the cast names it in every language.
const FENCED: &str = "ha-migrate: another run has taken over";
#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::Phase;

    fn fence() -> Fence {
        let session = SessionId { number: 7, began: "then".into() };
        Fence { epoch: 3, owner: "o'b".into(), lease: Some(9), session, rank: 4 }
    }

    #[test]
    fn every_write_holds_the_fence_of_its_dialect() {
        let (fence, key) = (fence(), Key { version: "1".into(), phase: Phase::Expand });
        for (dialect, condition) in [
            (Dialect::Postgres, "epoch = 3 AND owner = 'o''b' AND pg_backend_pid() = 7"),
            (Dialect::MariaDb, "epoch = 3 AND owner = 'o''b' AND CONNECTION_ID() = 7"),
            (Dialect::Sqlite, "lease <= 9"),
        ] {
            let tables = Tables::new(dialect, "ha").unwrap();
            let writer = Writer { tables: &tables, fence: &fence, applied_by: "me" };
            for sql in [
                writer.fence(),
                writer.finish(&key, 0, None, &[], &How::Ran),
                writer.withdraw(&key, 0, Some("x")),
                writer.note(&Noted::of(&key, RowState::Aborted, "why")),
            ] {
                let unqualified = sql.replace(&format!("{}.", tables.lock()), "");
                assert!(unqualified.contains(condition), "{dialect}: {sql}");
            }
            assert!(writer.bump().contains("lease <= 9"), "{}", writer.bump());
        }
    }
}
