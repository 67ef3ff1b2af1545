//! What the driver says, as what a caller can do.

use std::error::Error as _;

use tokio_postgres::Error;
use tokio_postgres::error::Severity;

use super::codes::{kind_of, kind_of_call};
use crate::{DbError, DbErrorKind};

/// Maps a failed call of an open session. Without word of the server the statement is in doubt.
pub(super) fn told(error: &Error) -> DbError {
    let Some(server) = error.as_db_error() else {
        let message = chain(error);
        // The text never left: it holds a zero byte.
        let unsent = message.starts_with("error encoding message");
        let kind = if unsent { DbErrorKind::Refused } else { DbErrorKind::ConnectionLost };
        return DbError::new(kind, message);
    };
    let code = server.code().code();
    let fatal = matches!(server.parsed_severity(), Some(Severity::Fatal | Severity::Panic));
    let kind = kind_of_call(fatal, code, server.message());
    let mut message = server.message().to_string();
    // The detail of a constraint holds values of rows.
    let details = server.detail().filter(|_| !code.starts_with("23"));
    for more in [details, server.hint()].into_iter().flatten() {
        message = format!("{message}; {more}");
    }
    if let Some(row) = server.where_().and_then(copied_row) {
        message = format!("{message}; row {row} of the COPY");
    }
    DbError::new(kind, message).with_code(code)
}

/// The number of the row that a COPY failed at, without its values: `COPY t, line 3, column a: "x"`.
fn copied_row(place: &str) -> Option<u64> {
    let (_, behind) = place.strip_prefix("COPY ")?.split_once(", line ")?;
    let digits = behind.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(behind.len());
    behind.get(..digits)?.parse().ok()
}

/// Maps a failed start of a session, which never had a statement.
pub(super) fn opening(error: Error) -> DbError {
    if let Some(server) = error.as_db_error() {
        let code = server.code().code();
        return before_use(DbError::new(kind_of(code, server.message()), server.message()).with_code(code));
    }
    let message = chain(&error);
    let starts = |with: &str| message.starts_with(with);
    let kind = if starts("authentication error") || starts("invalid configuration") {
        DbErrorKind::Denied
    } else if starts("error performing TLS handshake") || starts("error encoding message") {
        DbErrorKind::Refused
    } else {
        DbErrorKind::Unreachable
    };
    DbError::new(kind, message)
}

/// A connection that is lost before its first use has done nothing.
pub(super) fn before_use(mut error: DbError) -> DbError {
    if error.kind == DbErrorKind::ConnectionLost {
        error.kind = DbErrorKind::Unreachable;
    }
    error
}

/// An error with its causes: the driver's own say little.
pub(super) fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
