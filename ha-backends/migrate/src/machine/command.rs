use std::time::Duration;

use super::{Finding, Key, Print};
use crate::history::{History, HistoryRow};
use crate::migrator::Blocker;
use crate::{DbError, Dialect, SessionId};

/// What the server can do, as it said itself.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Capabilities {
    pub(crate) dialect: Dialect,
    /// A DDL statement happens whole or not at all, even when the server dies.
    pub(crate) atomic_ddl: bool,
}

/// A statement of a unit, by number.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) struct At {
    pub(crate) unit: usize,
    pub(crate) step: usize,
}

/// How a journaled statement came to be done.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum How {
    /// It answered.
    Ran,
    /// It was found done after a death.
    Found,
    /// A person said so.
    Marked(String),
}

/// What the driver is to do next. One at a time.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Command {
    /// Opens a session, the one before is closed. `Connected`.
    Connect,
    /// Asks the server what it is. `Identified`.
    Identify,
    /// Tries to take the lock, without waiting. `Locked` or `LockHeld`.
    TryLock,
    /// Ends a session that holds the lock or an orphan's statement. `Done`.
    Terminate(SessionId),
    /// Creates the history's tables where they are missing. `Done`.
    CreateTables,
    /// Makes this run the latest. `EpochBumped` or `Fenced`.
    BumpEpoch,
    /// Reads history and journal. `History`.
    ReadHistory,
    /// Compares what the last statements left with what is there. `Drift`.
    LookForDrift,
    /// Writes rows of another tool's history as a baseline. `Done`.
    Import(Vec<HistoryRow>),
    /// Asks whether a session is still there. `Orphan`.
    LookAtOrphan(SessionId),
    /// Lists sessions of the releases that the permit says are gone. `Sessions`.
    LookAtOldSessions,
    /// Lists transactions that hold locks on the unit's tables for longer than 100 ms. `Sessions`.
    LookAtBlockers { unit: usize },
    /// Takes the fingerprints of a statement's objects. `Prints`.
    Fingerprint(At),
    /// Looks at the index that a statement builds. `Index`.
    LookAtIndex(At),
    /// Drops what a broken build of an index left. `Done`.
    DropIndex(At),
    /// Asks whether the tables that a statement writes roll back. `Transactional`.
    LookAtEngines(At),
    /// Runs a whole script in one transaction, with its history row. `Done`, `Raced`, `Fenced`.
    RunScript {
        /// The script.
        unit: usize,
        /// In one message; else statement by statement, so that a failure names its statement.
        whole: bool,
    },
    /// Runs a statement and its journal row in one transaction. `Done`, `Raced`, `Fenced`.
    RunWithRow(At),
    /// Journals that a statement begins. `Done` or `Fenced`.
    Begin { at: At, pre: Vec<Print> },
    /// Runs a statement. `Done`.
    Run(At),
    /// Journals that a statement is done. `Done` or `Fenced`.
    Finish { at: At, post: Vec<Print>, how: How },
    /// Takes back the journal row of a statement that did not happen; a person's note stays. `Done` or `Fenced`.
    Withdraw { at: At, note: Option<String> },
    /// Writes the history row of a unit. `Done` or `Fenced`.
    Record { unit: usize, took: Duration },
    /// Gives a unit up, in a person's name: its journal rows go, the history keeps that. `Done` or `Fenced`.
    Abort { key: Key, note: String },
    /// Runs the next batch of a backfill with its cursor. `Batch` or `Fenced`.
    Batch { unit: usize, size: u64 },
    /// Counts what a backfill has left. `Left`.
    CountLeft { unit: usize },
    /// Begins the backfill again, for what came in behind its cursor. `Done` or `Fenced`.
    Rewind { unit: usize },
}

impl Command {
    /// Changes what the scripts are about, or what the history says of them.
    pub(crate) fn touches(&self) -> bool {
        let own = matches!(self, Self::Terminate(_) | Self::CreateTables | Self::BumpEpoch | Self::Import(_));
        self.writes() && !own
    }

    /// Changes scripts' objects or rows, or the journal.
    pub(crate) fn writes(&self) -> bool {
        match self {
            Self::Connect
            | Self::Identify
            | Self::TryLock
            | Self::ReadHistory
            | Self::LookForDrift
            | Self::LookAtOrphan(_)
            | Self::LookAtOldSessions
            | Self::LookAtBlockers { .. }
            | Self::Fingerprint(_)
            | Self::LookAtIndex(_)
            | Self::LookAtEngines(_)
            | Self::CountLeft { .. } => false,
            Self::Terminate(_)
            | Self::CreateTables
            | Self::BumpEpoch
            | Self::Import(_)
            | Self::DropIndex(_)
            | Self::RunScript { .. }
            | Self::RunWithRow(_)
            | Self::Begin { .. }
            | Self::Run(_)
            | Self::Finish { .. }
            | Self::Withdraw { .. }
            | Self::Record { .. }
            | Self::Abort { .. }
            | Self::Batch { .. }
            | Self::Rewind { .. } => true,
        }
    }
}

/// What an index is, as the catalogue has it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum IndexState {
    Absent,
    Valid,
    Invalid,
    /// Another session builds it at this moment.
    Building,
}

/// What came of a command, or of waiting.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Input {
    /// The time of `poll_timeout` has come.
    Tick,
    Connected(SessionId),
    Identified(Capabilities),
    Locked,
    /// Somebody else has the lock: who, and whether the lock's row names that very session.
    LockHeld {
        holder: Option<Blocker>,
        recorded: bool,
    },
    EpochBumped(u64),
    History(History),
    Drift(Vec<Finding>),
    Orphan {
        alive: bool,
    },
    Sessions(Vec<Blocker>),
    Prints(Vec<Print>),
    Index(IndexState),
    Transactional(bool),
    Batch {
        rows: u64,
        more: bool,
        took: Duration,
        lag: Duration,
    },
    Left(u64),
    Done {
        rows: u64,
    },
    /// Another migrator has done the same meanwhile.
    Raced,
    /// A higher epoch or lease was seen.
    Fenced {
        seen: u64,
    },
    /// Another session than the one that has the lock answers: a pooler is in between.
    Switched,
    /// The call failed, in the statement of that number where it is one of several.
    Failed {
        error: DbError,
        step: Option<usize>,
    },
    /// The deadline of the whole run passed while the command was under way.
    DeadlinePassed,
}
