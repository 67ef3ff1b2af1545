use std::fmt;

use super::{Result, refuse};
use crate::Dialect;

/// The JDBC driver that a URL is for.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Driver {
    /// IBM Db2: `jdbc:db2:`, `jdbc:ibmdb:`.
    Db2,
    /// Apache Derby: `jdbc:derby:`; recognised only.
    Derby,
    /// H2: `jdbc:h2:`.
    H2,
    /// Informix: `jdbc:informix-sqli:`, `jdbc:ids:`; recognised only.
    Informix,
    /// jTDS for SQL Server: `jdbc:jtds:sqlserver:`.
    Jtds,
    /// MariaDB Connector/J: `jdbc:mariadb:`.
    MariaDb,
    /// MySQL Connector/J: `jdbc:mysql:`, `jdbc:mysql+srv:`.
    MySql,
    /// Oracle: `jdbc:oracle:`.
    Oracle,
    /// PostgreSQL: `jdbc:postgresql:`.
    Postgres,
    /// SQLite: `jdbc:sqlite:`.
    Sqlite,
    /// Microsoft's driver for SQL Server: `jdbc:sqlserver:`.
    SqlServer,
}

impl Driver {
    /// Finds the driver of a URL behind `jdbc:`, and returns what is behind its scheme: with `mysql+srv` as `+srv:`.
    pub(super) fn of(rest: &str) -> Result<(Self, &str)> {
        let Some((scheme, after)) = rest.split_once(':') else {
            return refuse("it has no driver behind jdbc:, as jdbc:postgresql://host/database has");
        };
        let driver = match scheme {
            "db2" | "ibmdb" => Self::Db2,
            "derby" => Self::Derby,
            "h2" => Self::H2,
            "ids" | "informix-sqli" => Self::Informix,
            "jtds" => match after.strip_prefix("sqlserver:") {
                Some(after) => return Ok((Self::Jtds, after)),
                None => return refuse("of jTDS only jdbc:jtds:sqlserver: is known"),
            },
            "mariadb" => Self::MariaDb,
            "mysql" => Self::MySql,
            "mysql+srv" => return Ok((Self::MySql, rest.get("mysql".len()..).unwrap_or_default())),
            "oracle" => Self::Oracle,
            "postgresql" => Self::Postgres,
            "sqlite" => Self::Sqlite,
            "sqlserver" => Self::SqlServer,
            _ => {
                let known =
                    "postgresql, mysql, mariadb, sqlite, h2, oracle, sqlserver, jtds, db2, informix-sqli, derby";
                return refuse(format!("its driver is not known; known are {known}"));
            }
        };
        Ok((driver, after))
    }

    /// Returns the SQL of the driver's database; `None` for the ones that are only recognised.
    pub fn dialect(self) -> Option<Dialect> {
        Some(match self {
            Self::Db2 => Dialect::Db2,
            Self::H2 => Dialect::H2,
            Self::Jtds | Self::SqlServer => Dialect::SqlServer,
            Self::MariaDb => Dialect::MariaDb,
            Self::MySql => Dialect::MySql,
            Self::Oracle => Dialect::Oracle,
            Self::Postgres => Dialect::Postgres,
            Self::Sqlite => Dialect::Sqlite,
            Self::Derby | Self::Informix => return None,
        })
    }

    /// Returns the port where a URL names none; 0 for drivers of files.
    pub(super) fn port(self) -> u16 {
        match self {
            Self::Db2 => 50000,
            Self::Derby => 1527,
            Self::H2 => 9092,
            Self::Informix => 9088,
            Self::Jtds | Self::SqlServer => 1433,
            Self::MariaDb | Self::MySql => 3306,
            Self::Oracle => 1521,
            Self::Postgres => 5432,
            Self::Sqlite => 0,
        }
    }
}

impl fmt::Display for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Db2 => "Db2",
            Self::Derby => "Derby",
            Self::H2 => "H2",
            Self::Informix => "Informix",
            Self::Jtds => "jTDS",
            Self::MariaDb => "MariaDB",
            Self::MySql => "MySQL",
            Self::Oracle => "Oracle",
            Self::Postgres => "PostgreSQL",
            Self::Sqlite => "SQLite",
            Self::SqlServer => "SQL Server",
        })
    }
}
