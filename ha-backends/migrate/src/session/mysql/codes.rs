//! The one place that maps error numbers of MariaDB and MySQL to what a caller can do.

use crate::DbErrorKind;

/// Classifies a failure that the server told.
pub(super) fn kind_of(number: u16, message: &str) -> DbErrorKind {
    match number {
        // A lock of rows or of a table's definition; MySQL's NOWAIT.
        1205 | 3572 => DbErrorKind::LockTimeout,
        // Of rows, of XA, of GET_LOCK.
        1213 | 1614 | 3058 => DbErrorKind::Deadlock,
        // KILL QUERY, max_statement_time (MariaDB), max_execution_time (MySQL).
        1317 | 1969 | 3024 => DbErrorKind::Cancelled,
        // Shutdown, the connection ended or was killed (1927 MariaDB), network errors, idle for too long (4031 MySQL).
        1053 | 1080 | 1152 | 1158..=1161 | 1184 | 1927 | 2006 | 2013 | 4031 => DbErrorKind::ConnectionLost,
        // Database, table, column, index, primary key, routine, trigger, event, constraint (MySQL), partition, user.
        1007 | 1050 | 1060 | 1061 | 1068 | 1304 | 1359 | 1396 | 1517 | 1537 | 1826 | 3822 => {
            // CREATE USER and DROP USER share 1396.
            if number == 1396 && message.contains("DROP USER") { DbErrorKind::Missing } else { DbErrorKind::Duplicate }
        }
        // MariaDB tells a foreign key's taken name by the number of its engine's error.
        1005 | 1025 if message.contains("errno: 121") => DbErrorKind::Duplicate,
        // Database, table, column, index, routine, trigger, event, constraint; sequence and view (MariaDB).
        1008 | 1049 | 1051 | 1054 | 1072 | 1091 | 1109 | 1146 | 1176 | 1305 | 1360 | 1507 | 1539 | 3821 | 3940
        | 4091 | 4092 => DbErrorKind::Missing,
        // Database, user, table, column, privilege, routine, password expired, plugin, account locked (MariaDB, MySQL).
        1044 | 1045 | 1129 | 1130 | 1142 | 1143 | 1227 | 1251 | 1370 | 1698 | 1820 | 1862 | 3118 | 4151 => {
            DbErrorKind::Denied
        }
        // Disk, memory, connections, locks, a table's file.
        1021 | 1037 | 1038 | 1040 | 1041 | 1114 | 1135 | 1203 | 1206 | 1226 => DbErrorKind::Full,
        // What a storage engine says with the number of the system's error: no space left, quota.
        1030 | 1026 | 3 | 20
            if ["error 28", "Errcode: 28", "error 122", "Errcode: 122"].iter().any(|part| message.contains(part)) =>
        {
            DbErrorKind::Full
        }
        1792 | 1836 | 4146 => DbErrorKind::ReadOnly,
        // Refused by an option of the server: read-only is one of them.
        1290 if message.contains("read-only") || message.contains("read_only") => DbErrorKind::ReadOnly,
        1290 => DbErrorKind::Denied,
        1845 | 1846 => DbErrorKind::OnlineRefused,
        _ => DbErrorKind::Refused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_says_what_can_be_done() {
        for (number, kind) in [
            (1205, DbErrorKind::LockTimeout),
            (3572, DbErrorKind::LockTimeout),
            (1213, DbErrorKind::Deadlock),
            (3058, DbErrorKind::Deadlock),
            (1317, DbErrorKind::Cancelled),
            (1969, DbErrorKind::Cancelled),
            (3024, DbErrorKind::Cancelled),
            (1053, DbErrorKind::ConnectionLost),
            (1159, DbErrorKind::ConnectionLost),
            (1927, DbErrorKind::ConnectionLost),
            (2006, DbErrorKind::ConnectionLost),
            (2013, DbErrorKind::ConnectionLost),
            (4031, DbErrorKind::ConnectionLost),
            (1050, DbErrorKind::Duplicate),
            (1060, DbErrorKind::Duplicate),
            (1061, DbErrorKind::Duplicate),
            (1007, DbErrorKind::Duplicate),
            (1304, DbErrorKind::Duplicate),
            (1359, DbErrorKind::Duplicate),
            (1826, DbErrorKind::Duplicate),
            (1051, DbErrorKind::Missing),
            (1054, DbErrorKind::Missing),
            (1091, DbErrorKind::Missing),
            (1146, DbErrorKind::Missing),
            (1049, DbErrorKind::Missing),
            (1305, DbErrorKind::Missing),
            (4091, DbErrorKind::Missing),
            (1044, DbErrorKind::Denied),
            (1045, DbErrorKind::Denied),
            (1142, DbErrorKind::Denied),
            (1227, DbErrorKind::Denied),
            (1698, DbErrorKind::Denied),
            (1021, DbErrorKind::Full),
            (1040, DbErrorKind::Full),
            (1114, DbErrorKind::Full),
            (1203, DbErrorKind::Full),
            (1792, DbErrorKind::ReadOnly),
            (1836, DbErrorKind::ReadOnly),
            (1845, DbErrorKind::OnlineRefused),
            (1846, DbErrorKind::OnlineRefused),
            (1062, DbErrorKind::Refused),
            (1064, DbErrorKind::Refused),
            (1364, DbErrorKind::Refused),
            (1451, DbErrorKind::Refused),
            (1411, DbErrorKind::Refused),
            (0, DbErrorKind::Refused),
            (u16::MAX, DbErrorKind::Refused),
        ] {
            assert_eq!(kind_of(number, ""), kind, "{number}");
        }
    }

    #[test]
    fn a_number_of_many_meanings_is_told_by_its_message() {
        for (number, message, kind) in [
            (1290, "running with the --read-only option so it cannot execute this statement", DbErrorKind::ReadOnly),
            (1290, "running with the --secure-file-priv option", DbErrorKind::Denied),
            (
                1005,
                "Can't create table `a`.`b` (errno: 121 \"Duplicate key on write or update\")",
                DbErrorKind::Duplicate,
            ),
            (
                1005,
                "Can't create table `a`.`b` (errno: 150 \"Foreign key constraint is incorrectly formed\")",
                DbErrorKind::Refused,
            ),
            (1030, "Got error 28 \"No space left on device\" from storage engine InnoDB", DbErrorKind::Full),
            (1030, "Got error 175 from storage engine", DbErrorKind::Refused),
            (1026, "Error writing file './a.frm' (Errcode: 28 \"No space left on device\")", DbErrorKind::Full),
            (1396, "Operation CREATE USER failed for 'a'@'%'", DbErrorKind::Duplicate),
            (1396, "Operation DROP USER failed for 'a'@'%'", DbErrorKind::Missing),
        ] {
            assert_eq!(kind_of(number, message), kind, "{message}");
        }
    }
}
