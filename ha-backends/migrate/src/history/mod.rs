//! The tables that a migrator keeps in the migrated schema, and what is read from them.

mod flyway;
mod quote;
mod read;
mod tables;
mod write;

pub(crate) use flyway::Flyway;
pub(crate) use quote::{ident, nullable, text};
pub use tables::InvalidPrefix;
pub(crate) use tables::{Tables, now};
pub(crate) use write::{Fence, Prepared, Record, Writer, is_fenced};

use std::collections::HashMap;

use crate::SessionId;
use crate::machine::{Key, Print};

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
    /// The last row of each script, once it is indexed.
    pub(crate) last: HashMap<Key, usize>,
}

impl History {
    /// Makes [`of`](Self::of) quick.
    pub(crate) fn indexed(mut self) -> Self {
        self.last = self.rows.iter().enumerate().map(|(index, row)| (row.key.clone(), index)).collect();
        self
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
