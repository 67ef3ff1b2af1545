//! One connection to a database, in text only: what a driver must do, so that a fake or any driver fits in 150 lines.

use std::fmt::{self, Debug};

use async_trait::async_trait;

use crate::Dialect;

/// What a connection is opened for: the settings differ.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum SessionRole {
    /// Holds the lock and runs every statement of a migration. There is one of it, closed on any exit.
    Migrator,
    /// Reads only: the schema's state, catalogue sizes, who blocks.
    Reader,
}

/// Identifies a session at the server, so that an orphan is recognised: its number and when it began, since numbers return.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SessionId {
    /// The backend pid (PostgreSQL), the connection id (MariaDB, MySQL), or the process id of this controller (SQLite).
    pub number: i64,
    /// When it began, as the server writes it; empty where the server does not tell.
    pub began: String,
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} since {}", self.number, self.began)
    }
}

/// The rows of an answer, each value as text, `None` for NULL.
pub type Rows = Vec<Vec<Option<String>>>;

/// What a statement did.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Done {
    /// How many rows the server says were changed; of several statements, by the last.
    pub rows: u64,
}

/// What a caller can do about a failed statement.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum DbErrorKind {
    /// The statement was cancelled: a timeout of the server, or an administrator.
    Cancelled,
    /// The connection ended while a statement was under way: whether it happened is not known.
    ConnectionLost,
    /// The server could not be reached, or the connection ended before the statement was sent: it did not happen.
    Unreachable,
    /// Chosen as the victim of a deadlock; the transaction was rolled back.
    Deadlock,
    /// Wrong user, password or privilege.
    Denied,
    /// The disk of the server is full, or another resource of it ran out.
    Full,
    /// A lock was not granted in time; retry.
    LockTimeout,
    /// The named object is there already.
    Duplicate,
    /// The named object is not there.
    Missing,
    /// The server refuses to make this change online (MariaDB, MySQL: 1845, 1846).
    OnlineRefused,
    /// The server takes no writes: a replica, or read-only.
    ReadOnly,
    /// Refused for what it says: syntax, a constraint, a type.
    Refused,
}

/// A failed call to the database. Never holds a password.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{message}{}", if code.is_empty() { String::new() } else { format!(" ({code})") })]
pub struct DbError {
    /// What can be done about it.
    pub kind: DbErrorKind,
    /// The server's code: SQLSTATE (PostgreSQL), error number (MariaDB, MySQL), extended result code (SQLite); or empty.
    pub code: String,
    /// The server's message, or what the driver says.
    pub message: String,
}

/// Opens sessions of one database.
#[async_trait]
pub trait Connect: Debug + Send + Sync + 'static {
    /// Returns the SQL that the database speaks, as its URL says; the server is asked when a session is open.
    fn dialect(&self) -> Dialect;

    /// Names the database for messages: the URL without user and password.
    fn target(&self) -> &str;

    /// Opens a session and gives it its limits (lock, statement and idle timeouts).
    ///
    /// # Errors
    /// `Unreachable`, `Denied`, `Refused`.
    /// # Cancel safety
    /// Cancel safe: a half-open connection is closed.
    async fn open(&self, role: SessionRole) -> Result<Box<dyn Session>, DbError>;
}

/// One connection. Dropped, it is closed; what the server was doing then goes on there, perhaps.
#[async_trait]
pub trait Session: Debug + Send {
    /// Tells which session this is at the server.
    fn id(&self) -> &SessionId;

    /// Runs SQL that answers no rows. Several statements may be sent at once where the database runs them as one transaction.
    ///
    /// # Errors
    /// Of any kind; `ConnectionLost` where it is not known whether it happened.
    /// # Cancel safety
    /// Not cancel safe: the server may go on. Look before anything is sent again.
    async fn execute(&mut self, sql: &str) -> Result<Done, DbError>;

    /// Runs one query.
    ///
    /// # Errors
    /// Of any kind.
    /// # Cancel safety
    /// Cancel safe for the data: it only reads; the session is not usable afterwards.
    async fn query(&mut self, sql: &str) -> Result<Rows, DbError>;
}
