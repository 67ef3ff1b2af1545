//! What one row was measured to cost (PostgreSQL 15 on 1 M rows, MariaDB 10.11 on 250 000, two shared cores).

use crate::Dialect;

/// An operation that reads or writes every row.
#[derive(Clone, Copy, Debug)]
pub(super) enum Operation {
    /// A new value for each row, by ALTER TABLE.
    VolatileDefault,
    /// A new type for each row; any other rewrite of the table.
    Rewrite,
    /// An index that is built under a lock.
    Index,
    /// A unique constraint.
    Unique,
    /// A foreign key.
    ForeignKey,
    /// A look at each row: NOT NULL, CHECK.
    Scan,
    /// An UPDATE or DELETE of each row.
    Update,
}

/// Nanoseconds a row; `None` where it was not measured.
pub(super) fn nanos(dialect: Dialect, operation: Operation) -> Option<u64> {
    match dialect {
        Dialect::Postgres => Some(match operation {
            Operation::VolatileDefault => 3_900,
            Operation::Rewrite => 1_700,
            Operation::Index => 420,
            Operation::Unique => 820,
            Operation::ForeignKey => 243,
            Operation::Scan => 114,
            Operation::Update => 11_900,
        }),
        Dialect::MariaDb | Dialect::MySql => match operation {
            Operation::VolatileDefault => Some(9_800),
            Operation::Rewrite | Operation::Scan => Some(5_300),
            Operation::Index | Operation::Unique => Some(12_600),
            Operation::ForeignKey => Some(24_000),
            Operation::Update => None,
        },
        Dialect::Db2 | Dialect::H2 | Dialect::Oracle | Dialect::SqlServer | Dialect::Sqlite => None,
    }
}
