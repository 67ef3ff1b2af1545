use std::fmt;

/// A database product's SQL.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum Dialect {
    /// IBM Db2.
    Db2,
    /// H2.
    H2,
    /// MariaDB.
    MariaDb,
    /// MySQL.
    MySql,
    /// Oracle.
    Oracle,
    /// PostgreSQL.
    Postgres,
    /// SQLite.
    Sqlite,
    /// Microsoft SQL Server.
    SqlServer,
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Db2 => "Db2",
            Self::H2 => "H2",
            Self::MariaDb => "MariaDB",
            Self::MySql => "MySQL",
            Self::Oracle => "Oracle",
            Self::Postgres => "PostgreSQL",
            Self::Sqlite => "SQLite",
            Self::SqlServer => "SQL Server",
        })
    }
}
