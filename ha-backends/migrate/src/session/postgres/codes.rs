//! The one place that maps SQLSTATEs of PostgreSQL to what a caller can do.

use crate::DbErrorKind;

/// Classifies a failure of a statement. After a fatal one the session is gone, whatever the code says.
pub(super) fn kind_of_call(fatal: bool, sqlstate: &str, message: &str) -> DbErrorKind {
    if fatal { DbErrorKind::ConnectionLost } else { kind_of(sqlstate, message) }
}

/// Classifies a failure that the server told.
pub(super) fn kind_of(sqlstate: &str, message: &str) -> DbErrorKind {
    match sqlstate {
        "55P03" => DbErrorKind::LockTimeout,
        // A serialization failure asks for the same: the transaction is rolled back, and may be tried again.
        "40P01" | "40001" => DbErrorKind::Deadlock,
        "57014" => DbErrorKind::Cancelled,
        // Administrator, crash of another session, start or stop of the server, dropped database, idle session, idle or
        // long transaction: the session is gone.
        "57P01" | "57P02" | "57P03" | "57P04" | "57P05" | "25P03" | "25P04" => DbErrorKind::ConnectionLost,
        "25006" => DbErrorKind::ReadOnly,
        "42501" => DbErrorKind::Denied,
        "42P07" | "42701" | "42710" | "42P06" | "42P04" | "42723" | "42P05" | "42P03" => DbErrorKind::Duplicate,
        // Two sessions that make the same object at once: the second hits the catalogue's own index.
        "23505" if message.contains("constraint \"pg_") => DbErrorKind::Duplicate,
        "42P01" | "42703" | "42704" | "42883" | "3F000" | "3D000" | "26000" | "34000" => DbErrorKind::Missing,
        _ => match sqlstate.get(..2) {
            Some("08") => DbErrorKind::ConnectionLost,
            Some("28") => DbErrorKind::Denied,
            Some("53") => DbErrorKind::Full,
            _ => DbErrorKind::Refused,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_says_what_can_be_done() {
        for (code, kind) in [
            ("55P03", DbErrorKind::LockTimeout),
            ("40P01", DbErrorKind::Deadlock),
            ("40001", DbErrorKind::Deadlock),
            ("57014", DbErrorKind::Cancelled),
            ("57P01", DbErrorKind::ConnectionLost),
            ("57P02", DbErrorKind::ConnectionLost),
            ("57P03", DbErrorKind::ConnectionLost),
            ("57P05", DbErrorKind::ConnectionLost),
            ("25P03", DbErrorKind::ConnectionLost),
            ("25P04", DbErrorKind::ConnectionLost),
            ("08000", DbErrorKind::ConnectionLost),
            ("08003", DbErrorKind::ConnectionLost),
            ("08006", DbErrorKind::ConnectionLost),
            ("08P01", DbErrorKind::ConnectionLost),
            ("25006", DbErrorKind::ReadOnly),
            ("42501", DbErrorKind::Denied),
            ("28P01", DbErrorKind::Denied),
            ("28000", DbErrorKind::Denied),
            ("42P07", DbErrorKind::Duplicate),
            ("42701", DbErrorKind::Duplicate),
            ("42710", DbErrorKind::Duplicate),
            ("42P06", DbErrorKind::Duplicate),
            ("42723", DbErrorKind::Duplicate),
            ("42P01", DbErrorKind::Missing),
            ("42703", DbErrorKind::Missing),
            ("42704", DbErrorKind::Missing),
            ("42883", DbErrorKind::Missing),
            ("3F000", DbErrorKind::Missing),
            ("3D000", DbErrorKind::Missing),
            ("53100", DbErrorKind::Full),
            ("53200", DbErrorKind::Full),
            ("53300", DbErrorKind::Full),
            ("0A000", DbErrorKind::Refused),
            ("22P02", DbErrorKind::Refused),
            ("23502", DbErrorKind::Refused),
            ("23503", DbErrorKind::Refused),
            ("23505", DbErrorKind::Refused),
            ("25P02", DbErrorKind::Refused),
            ("42601", DbErrorKind::Refused),
            ("42804", DbErrorKind::Refused),
            ("P0001", DbErrorKind::Refused),
            ("XX000", DbErrorKind::Refused),
            ("é", DbErrorKind::Refused),
            ("", DbErrorKind::Refused),
        ] {
            assert_eq!(kind_of(code, ""), kind, "{code}");
        }
    }

    #[test]
    fn a_fatal_failure_of_any_code_leaves_the_statement_in_doubt() {
        // A conflict with recovery, out of memory, an internal error.
        for code in ["40001", "53200", "XX000"] {
            assert_eq!(kind_of_call(true, code, ""), DbErrorKind::ConnectionLost, "{code}");
            assert_ne!(kind_of_call(false, code, ""), DbErrorKind::ConnectionLost, "{code}");
        }
    }

    #[test]
    fn a_race_for_a_name_in_the_catalogue_is_a_duplicate_and_a_row_of_a_table_is_not() {
        let catalogue = "duplicate key value violates unique constraint \"pg_type_typname_nsp_index\"";
        assert_eq!(kind_of("23505", catalogue), DbErrorKind::Duplicate);
        let table = "duplicate key value violates unique constraint \"idn_client_pkey\"";
        assert_eq!(kind_of("23505", table), DbErrorKind::Refused);
    }
}
