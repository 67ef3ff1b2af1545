//! One connection to a database, in text only: what a driver must do, so that a fake or any driver fits in 150 lines.

#[cfg(any(feature = "mysql", feature = "postgres"))]
mod address;
mod error;
mod limits;
#[cfg(feature = "mysql")]
mod mysql;
#[cfg(feature = "postgres")]
mod postgres;
mod server;
#[cfg(feature = "sqlite")]
mod sqlite;
mod tls;

#[cfg(any(feature = "mysql", feature = "postgres"))]
use address::Address;
pub use error::{DbError, DbErrorKind};
pub use limits::Limits;
#[cfg(feature = "mysql")]
pub use mysql::MySql;
#[cfg(feature = "postgres")]
pub use postgres::Postgres;
pub use server::{Server, ServerCapabilities, ServerVersion, identify};
#[cfg(feature = "sqlite")]
pub use sqlite::Sqlite;
pub use tls::Tls;

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

    /// Returns what cancels the statement under way, from any task, at any time.
    fn canceller(&self) -> Box<dyn Cancel>;

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

    /// Runs a `COPY ... FROM STDIN` (PostgreSQL) with its rows, as they stand in a script.
    ///
    /// # Errors
    /// As of [`execute`](Self::execute); `Refused` where the database has no such statement.
    /// # Cancel safety
    /// As of [`execute`](Self::execute).
    async fn copy_in(&mut self, sql: &str, rows: &str) -> Result<Done, DbError>;
}

/// Cancels what a session runs. It outlives the session, and then does nothing.
#[async_trait]
pub trait Cancel: Debug + Send + Sync {
    /// Asks the server to cancel the statement under way; the session's call then fails with `Cancelled`, or has just ended.
    /// Between two statements it does nothing.
    ///
    /// # Errors
    /// `Unreachable`, `Denied`: the statement goes on.
    /// # Cancel safety
    /// Cancel safe.
    async fn cancel(&self) -> Result<(), DbError>;
}

/// A value as text: bytes that are no UTF-8 are refused, so that none is compared or kept with a part replaced.
#[cfg(any(feature = "mysql", feature = "sqlite"))]
fn utf8(bytes: Vec<u8>) -> Result<String, DbError> {
    String::from_utf8(bytes).map_err(|_| not_utf8())
}

#[cfg(any(feature = "mysql", feature = "postgres", feature = "sqlite"))]
fn not_utf8() -> DbError {
    DbError::new(DbErrorKind::Refused, "a value is not text in UTF-8: ask for it in hexadecimal")
}

/// Says that a database takes no rows behind a statement.
#[cfg(any(feature = "mysql", feature = "sqlite"))]
fn no_copy() -> DbError {
    DbError::new(
        DbErrorKind::Refused,
        "COPY ... FROM STDIN with rows is a statement of PostgreSQL: write INSERT statements",
    )
}
