use std::fmt;
use std::time::Duration;

use crate::machine::{Dirty, Finding, around};
use crate::migrator::Blocker;
use crate::{DbError, DbErrorKind};

/// Says why a migration did not come to its end, with what is known of the database afterwards.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum MigrateError {
    /// A half-done statement that only a person can judge. Nothing was run.
    #[error("{0}")]
    Dirty(Box<Dirty>),
    /// A newer run, or a controller with a higher lease, has taken the database over. Nothing was written after that was seen.
    #[error(
        "a newer migrator has taken over (epoch or lease {seen} was seen): this one stopped and wrote nothing since; leave the work to it. If there is none, a backup has brought the number back: let the controller take a higher lease"
    )]
    Fenced {
        /// The higher number.
        seen: u64,
    },
    /// History and scripts do not fit. Nothing was run.
    #[error("history and scripts do not fit: {}", list(.0))]
    Invalid(Vec<Finding>),
    /// A script cannot be run as it is. Nothing was run.
    #[error("{script}, line {line}: {what}")]
    Script {
        /// The script.
        script: String,
        /// The line, from 1; 0 for the script as a whole.
        line: usize,
        /// What is wrong, and the fix.
        what: String,
    },
    /// A statement failed. It was rolled back or did nothing; the statements before it are done where the script is no
    /// transaction. The next run goes on with it.
    #[error("{0}")]
    Statement(Box<FailedStatement>),
    /// Another migrator had the lock until the deadline.
    #[error("another migrator has the lock{}, this one waited {waited:?} and did nothing: wait for it and run again, or end its session", named(.holder.as_deref()))]
    Locked {
        /// Who.
        holder: Option<Box<Blocker>>,
        /// How long was waited.
        waited: Duration,
    },
    /// The session that ran a statement when its migrator died still runs it.
    #[error(
        "session {session} of an earlier run is still at work: wait for it, or end it with the policy terminate_after"
    )]
    Orphan {
        /// The session.
        session: String,
    },
    /// Sessions of releases that are said to be gone are connected. Nothing was removed.
    #[error("sessions of the old release are connected, nothing was removed: {}; stop its servers, then run again", list(.0))]
    OldSessions(Vec<Blocker>),
    /// A script removes what the old release needs, and nobody has permitted that. It was not run.
    #[error("{script} removes what the old release needs: run it with a permit, after the last old node")]
    NoPermit {
        /// The script.
        script: String,
    },
    /// What was contracted cannot be taken back.
    #[error("{script} was contracted, nothing leads back: go forward, or restore a backup")]
    PointOfNoReturn {
        /// The script.
        script: String,
    },
    /// A backfill has rows left after its second pass. What it filled stays.
    #[error(
        "{script}: {left} rows are left after two passes: something writes rows without the new columns; let it fill them, or a trigger, then run again"
    )]
    Mismatch {
        /// The script.
        script: String,
        /// How many rows.
        left: u64,
    },
    /// The deadline passed.
    #[error("the deadline of {limit:?} passed while {during}; {}", if *.unknown { "what it did is not known, the next run finds out: run again" } else { "nothing is half-done: run again" })]
    Deadline {
        /// The limit.
        limit: Duration,
        /// What was under way.
        during: String,
        /// It may have happened.
        unknown: bool,
    },
    /// The database cannot be used for this.
    #[error("{0}")]
    Unsupported(String),
    /// The database could not be reached, or refused to let this tool do its own work.
    #[error("{during}: {error}; {}", next(.error.kind))]
    Database {
        /// What was tried.
        during: String,
        /// What the server or the driver said.
        error: DbError,
    },
}

/// A statement that failed, and what is done of its script.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct FailedStatement {
    /// The script.
    pub script: String,
    /// Its number in the script, from 1.
    pub statement: usize,
    /// Its line, from 1.
    pub line: usize,
    /// What the server said.
    pub error: DbError,
    /// How many of the script's statements are done and stay.
    pub done: usize,
    /// How many statements the script has.
    pub of: usize,
    /// The script is one transaction: nothing of it is there.
    pub whole: bool,
    /// It is one of a backfill: its batch was rolled back, the ones before it stay.
    pub batch: bool,
    /// The product whose SQL the statement is, where it is another one's.
    pub foreign: Option<String>,
    /// How often it was tried.
    pub attempts: u32,
    /// Who was in the way, of a lock that was not granted.
    pub blockers: Vec<Blocker>,
}

impl fmt::Display for FailedStatement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { script, statement, line, error, done, of, whole, batch, foreign, attempts, blockers } = self;
        write!(f, "{script}, statement {statement} (line {line}): {error}")?;
        if *attempts > 1 {
            write!(f, ", {attempts} attempts")?;
        }
        if !blockers.is_empty() {
            write!(f, "; in the way: {}", list(blockers))?;
        }
        if let Some(product) = foreign {
            write!(f, "; this is SQL of {product}: take the script of this database")?;
        }
        if *whole {
            write!(f, "; the script was rolled back, nothing of it is there")?;
        } else if *batch {
            write!(f, "; its batch was rolled back, the batches before it are done and stay")?;
        } else {
            write!(f, "; {done} of its {of} statements are done: {}", around(*statement, *of))?;
        }
        match error.kind {
            DbErrorKind::Refused | DbErrorKind::Duplicate | DbErrorKind::Missing | DbErrorKind::OnlineRefused
                if *whole || *batch =>
            {
                write!(f, "; mend the script, then run again")
            }
            DbErrorKind::Refused | DbErrorKind::Duplicate | DbErrorKind::Missing | DbErrorKind::OnlineRefused => {
                write!(f, "; mend the script from line {line} on and leave what is above as it is, then run again")
            }
            kind @ (DbErrorKind::Cancelled
            | DbErrorKind::ConnectionLost
            | DbErrorKind::Unreachable
            | DbErrorKind::Deadlock
            | DbErrorKind::Denied
            | DbErrorKind::Full
            | DbErrorKind::LockTimeout
            | DbErrorKind::ReadOnly) => write!(f, "; {}", next(kind)),
        }
    }
}

/// What to do about a failure.
fn next(kind: DbErrorKind) -> &'static str {
    match kind {
        DbErrorKind::Cancelled => "raise the limit of statements or find out who cancelled it, then run again",
        DbErrorKind::ConnectionLost => "run again: the next run finds out what happened",
        DbErrorKind::Unreachable => "see to it that the server runs and can be reached, then run again",
        DbErrorKind::Deadlock => "run again when the other transactions have ended",
        DbErrorKind::Denied => "check user, password and privileges of the migrations, then run again",
        DbErrorKind::Full => "make space on the server, then run again",
        DbErrorKind::LockTimeout => "end the transactions that are in the way or wait for them, then run again",
        DbErrorKind::ReadOnly => "connect to the primary, or let the server take writes, then run again",
        DbErrorKind::Duplicate | DbErrorKind::Missing | DbErrorKind::OnlineRefused | DbErrorKind::Refused => {
            "mend what the server names, then run again: the next run finds out what is done"
        }
    }
}

fn list<T: fmt::Display>(items: &[T]) -> String {
    items.iter().map(T::to_string).collect::<Vec<_>>().join("; ")
}

fn named(holder: Option<&Blocker>) -> String {
    holder.map(|holder| format!(" ({holder})")).unwrap_or_default()
}
