use std::fmt::Debug;
use std::time::Duration;

use super::Blocker;

/// What a migration does, as it does it.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// The lock is taken: nobody else migrates.
    Locked {
        /// This run's number, higher than all before.
        epoch: u64,
    },
    /// Somebody else has the lock.
    Waiting {
        /// Who, where the server tells.
        holder: Option<Blocker>,
    },
    /// Old transactions hold the tables of a script.
    Blocked {
        /// The script.
        script: String,
        /// Who.
        blockers: Vec<Blocker>,
    },
    /// A statement begins, or a script that is one transaction (`statement` 0).
    Began {
        /// The script.
        script: String,
        /// The statement's number, from 1.
        statement: usize,
        /// Its line, from 1.
        line: usize,
    },
    /// A statement ended.
    Ended {
        /// The script.
        script: String,
        /// The statement's number, from 1; 0 for a whole script.
        statement: usize,
        /// How long it took.
        took: Duration,
        /// How many rows the server says it changed.
        rows: u64,
    },
    /// A statement failed; it may be tried again.
    Failed {
        /// The script.
        script: String,
        /// The statement's number, from 1; 0 for a whole script.
        statement: usize,
        /// What the server said.
        error: crate::DbError,
    },
    /// A statement of an earlier run was found, done or half-done.
    Recovering {
        /// The script.
        script: String,
        /// The statement's number, from 1.
        statement: usize,
        /// What was found: `done`, `not done`, or what is looked at.
        found: String,
    },
    /// A batch of a backfill is done.
    Batch {
        /// The script.
        script: String,
        /// Rows of this batch.
        rows: u64,
        /// Rows of the backfill so far.
        total: u64,
        /// Rows a second, of this batch.
        rate: u64,
    },
    /// A script is done and recorded.
    Applied {
        /// The script.
        script: String,
    },
}

/// Is told what a migration does. Called from the task that migrates: return soon.
pub trait Observer: Debug + Send + Sync + 'static {
    /// Takes one event.
    fn on(&self, event: &Event);
}
