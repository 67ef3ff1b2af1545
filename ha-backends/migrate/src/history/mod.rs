//! The tables that a migrator keeps in the migrated schema, and what is read from them.

mod flyway;
mod quote;
mod read;
mod tables;
mod write;

pub(crate) use flyway::Flyway;
pub(crate) use quote::{ident, nullable, text};
pub(crate) use read::left;
pub use tables::InvalidPrefix;
pub(crate) use tables::{Tables, now};
pub(crate) use write::{Fence, Noted, Prepared, Record, Writer, is_fenced};

use std::collections::HashMap;

use crate::SessionId;
use crate::machine::{Key, Print, Unit, UnitKind, baseline_version, compare_versions};

/// What became of a script, as a row of the history says.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum RowState {
    /// It ran to its end.
    Success,
    /// It was there before this tool; taken over from another tool's history, or by a person.
    Baseline,
    /// It was taken back.
    Undone,
    /// A person gave it up half-way.
    Aborted,
}

impl RowState {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Baseline => "baseline",
            Self::Undone => "undone",
            Self::Aborted => "aborted",
        }
    }

    /// Its script is not to be run.
    pub(crate) fn is_applied(self) -> bool {
        match self {
            Self::Success | Self::Baseline => true,
            Self::Undone | Self::Aborted => false,
        }
    }
}

/// A row of the history.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct HistoryRow {
    pub(crate) rank: i64,
    pub(crate) key: Key,
    pub(crate) kind: String,
    pub(crate) description: String,
    pub(crate) script: String,
    pub(crate) sha256: String,
    pub(crate) crc32: Option<i32>,
    /// Short sums of the lines.
    pub(crate) lines: String,
    /// Line and the beginning of the hash of each statement.
    pub(crate) statements: String,
    pub(crate) state: RowState,
    pub(crate) finished_at: String,
}

/// A row of the journal.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct StepRow {
    pub(crate) key: Key,
    pub(crate) number: usize,
    pub(crate) sha256: String,
    pub(crate) line: usize,
    /// Begun, and no answer journaled.
    pub(crate) begun: bool,
    pub(crate) pre: Vec<Print>,
    pub(crate) session: SessionId,
    pub(crate) cursor: Option<String>,
    pub(crate) rows_done: u64,
}

/// History and journal.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct History {
    /// In the order of ranks.
    pub(crate) rows: Vec<HistoryRow>,
    /// Of scripts that did not come to their end.
    pub(crate) steps: Vec<StepRow>,
    /// What Flyway's table holds, where ours is empty.
    pub(crate) flyway: Vec<HistoryRow>,
    /// The schema holds nothing but these tables. Only asked for where a baseline script may be run.
    pub(crate) schema_is_empty: bool,
    /// The last row of each script, once it is indexed.
    pub(crate) last: HashMap<Key, usize>,
    /// The version of the baseline script that made the schema, once it is indexed.
    pub(crate) baseline: Option<String>,
}

/// Nothing was run for it: a phase without scripts was reached, or a drift accepted.
fn is_mark(row: &HistoryRow) -> bool {
    row.kind == "S" || row.kind == "D"
}

impl History {
    /// Makes [`of`](Self::of) quick.
    pub(crate) fn indexed(mut self) -> Self {
        self.last = self.rows.iter().enumerate().map(|(index, row)| (row.key.clone(), index)).collect();
        let made = self.rows.iter().filter(|row| row.state.is_applied());
        let made = made.filter_map(|row| baseline_version(&row.key.version));
        self.baseline = made.max_by(|left, right| compare_versions(left, right)).map(Into::into);
        self
    }

    /// Nothing is applied: what is kept is only that somebody asked or gave up.
    pub(crate) fn is_fresh(&self) -> bool {
        self.rows.iter().all(|row| is_mark(row) || !self.is_applied(&row.key)) && self.flyway.is_empty()
    }

    /// Tells whether the schema was made by a baseline script of this version or a later one.
    pub(crate) fn is_below_baseline(&self, unit: &Unit) -> bool {
        let Some(baseline) = &self.baseline else { return false };
        unit.kind == UnitKind::Versioned && compare_versions(&unit.key.version, baseline).is_le()
    }

    /// The prints of drifted objects that persons have accepted, the last of each.
    pub(crate) fn accepted_drift(&self, object: &str) -> Option<&str> {
        let version = format!("D:{object}");
        let row = self.rows.iter().rev().find(|row| row.kind == "D" && row.key.version == version)?;
        Some(row.sha256.as_str())
    }

    /// Its script is not to be run any more.
    pub(crate) fn is_done(&self, unit: &Unit) -> bool {
        self.is_applied(&unit.key) || self.is_below_baseline(unit)
    }

    /// The last word on a script.
    pub(crate) fn of(&self, key: &Key) -> Option<&HistoryRow> {
        if self.last.is_empty() {
            return self.rows.iter().rev().find(|row| row.key == *key);
        }
        self.rows.get(*self.last.get(key)?)
    }

    pub(crate) fn is_applied(&self, key: &Key) -> bool {
        self.of(key).is_some_and(|row| row.state.is_applied())
    }

    /// The journal of a script, by statement.
    pub(crate) fn steps_of<'a>(&'a self, key: &'a Key) -> impl Iterator<Item = &'a StepRow> {
        self.steps.iter().filter(move |step| step.key == *key)
    }

    /// How many statements of a script are done, from its first on. They run in their order, and settings and queries leave no
    /// row: what is before a done one is done.
    pub(crate) fn done_prefix(&self, key: &Key) -> usize {
        self.steps_of(key).filter(|step| !step.begun).map(|step| step.number + 1).max().unwrap_or(0)
    }
}
