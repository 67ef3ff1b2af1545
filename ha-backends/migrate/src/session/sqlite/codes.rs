//! The one place that maps SQLite's extended result codes to what a caller can do.

use crate::DbErrorKind;

/// Classifies a failure by its extended result code, and by its message where the code says no more than "error".
pub(super) fn kind_of(extended: i32, message: &str) -> DbErrorKind {
    match extended & 0xff {
        // BUSY, LOCKED, PROTOCOL (a locking protocol that did not come to an end).
        5 | 6 | 15 => DbErrorKind::LockTimeout,
        // ABORT (a ROLLBACK beside it), INTERRUPT.
        4 | 9 => DbErrorKind::Cancelled,
        // NOMEM, FULL, TOOBIG is a refusal.
        7 | 13 => DbErrorKind::Full,
        8 => DbErrorKind::ReadOnly,
        // IOERR: whether the last write reached the disk is not known.
        10 => DbErrorKind::ConnectionLost,
        // CANTOPEN, NOLFS.
        14 | 22 => DbErrorKind::Unreachable,
        // PERM, AUTH.
        3 | 23 => DbErrorKind::Denied,
        1 => by_message(message),
        // CONSTRAINT, MISMATCH, MISUSE, CORRUPT, NOTADB, SCHEMA and what later versions add.
        _ => DbErrorKind::Refused,
    }
}

/// SQLite has one code for every statement that cannot be prepared; its messages are stable since 3.0.
fn by_message(message: &str) -> DbErrorKind {
    let duplicate = ["already exists", "duplicate column name", "there is already a", "already another table or index"];
    let missing =
        ["no such table", "no such column", "no such index", "no such view", "no such trigger", "has no column named"];
    if duplicate.iter().any(|part| message.contains(part)) {
        DbErrorKind::Duplicate
    } else if missing.iter().any(|part| message.contains(part)) {
        DbErrorKind::Missing
    } else {
        DbErrorKind::Refused
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_says_what_can_be_done() {
        for (code, kind) in [
            (5, DbErrorKind::LockTimeout),
            (261, DbErrorKind::LockTimeout),
            (517, DbErrorKind::LockTimeout),
            (773, DbErrorKind::LockTimeout),
            (6, DbErrorKind::LockTimeout),
            (262, DbErrorKind::LockTimeout),
            (15, DbErrorKind::LockTimeout),
            (4, DbErrorKind::Cancelled),
            (516, DbErrorKind::Cancelled),
            (9, DbErrorKind::Cancelled),
            (7, DbErrorKind::Full),
            (13, DbErrorKind::Full),
            (8, DbErrorKind::ReadOnly),
            (1032, DbErrorKind::ReadOnly),
            (10, DbErrorKind::ConnectionLost),
            (778, DbErrorKind::ConnectionLost),
            (1034, DbErrorKind::ConnectionLost),
            (14, DbErrorKind::Unreachable),
            (270, DbErrorKind::Unreachable),
            (22, DbErrorKind::Unreachable),
            (3, DbErrorKind::Denied),
            (23, DbErrorKind::Denied),
            (2, DbErrorKind::Refused),
            (11, DbErrorKind::Refused),
            (17, DbErrorKind::Refused),
            (18, DbErrorKind::Refused),
            (19, DbErrorKind::Refused),
            (2067, DbErrorKind::Refused),
            (1299, DbErrorKind::Refused),
            (26, DbErrorKind::Refused),
        ] {
            assert_eq!(kind_of(code, "no such table: a"), kind, "{code}");
        }
    }

    #[test]
    fn an_error_of_no_class_of_its_own_is_told_by_its_message() {
        for (message, kind) in [
            ("table t already exists", DbErrorKind::Duplicate),
            ("index i already exists", DbErrorKind::Duplicate),
            ("trigger g already exists", DbErrorKind::Duplicate),
            ("duplicate column name: c", DbErrorKind::Duplicate),
            ("there is already a table named t", DbErrorKind::Duplicate),
            ("there is already another table or index with this name: t", DbErrorKind::Duplicate),
            ("no such table: t", DbErrorKind::Missing),
            ("no such column: c", DbErrorKind::Missing),
            ("no such column: \"c\"", DbErrorKind::Missing),
            ("no such index: i", DbErrorKind::Missing),
            ("no such trigger: g", DbErrorKind::Missing),
            ("no such view: v", DbErrorKind::Missing),
            ("table t has no column named c", DbErrorKind::Missing),
            ("near \"CREAT\": syntax error", DbErrorKind::Refused),
            ("", DbErrorKind::Refused),
        ] {
            assert_eq!(kind_of(1, message), kind, "{message}");
        }
    }
}
