//! What went wrong at the database, in the terms of what a caller can do about it.

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

impl DbError {
    /// Makes a failure that has no code of a server.
    pub fn new(kind: DbErrorKind, message: impl Into<String>) -> Self {
        Self { kind, code: String::new(), message: message.into() }
    }

    /// Adds the server's code.
    #[must_use]
    pub fn with_code(mut self, code: impl Into<String>) -> Self {
        self.code = code.into();
        self
    }

    /// Tells that a session was left in the middle of an earlier call and takes no more.
    #[cfg(any(feature = "mysql", feature = "postgres", feature = "sqlite"))]
    pub(super) fn abandoned() -> Self {
        Self::new(
            DbErrorKind::Unreachable,
            "this session was lost or abandoned in the middle of an earlier statement and runs no more: open another one",
        )
    }

    /// Tells whether the session is of no more use.
    #[cfg(any(feature = "mysql", feature = "postgres", feature = "sqlite"))]
    pub(super) fn ends_session(&self) -> bool {
        matches!(self.kind, DbErrorKind::ConnectionLost | DbErrorKind::Unreachable)
    }
}
