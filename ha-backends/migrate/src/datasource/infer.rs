//! What WSO2's servers fill in from `type`, host, port and name.

use super::Pool;

/// A `type` of `deployment.toml`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Product {
    Db2,
    H2,
    MariaDb,
    MsSql,
    MySql,
    Oracle,
    Postgre,
}

impl Product {
    pub(super) const NAMES: &str = "mysql, mariadb, oracle, mssql, db2, postgre, h2";

    pub(super) fn of(name: &str) -> Option<Self> {
        Some(match name {
            "db2" => Self::Db2,
            "h2" => Self::H2,
            "mariadb" => Self::MariaDb,
            "mssql" => Self::MsSql,
            "mysql" => Self::MySql,
            "oracle" => Self::Oracle,
            "postgre" => Self::Postgre,
            _ => return None,
        })
    }

    /// The product of a URL, by its scheme and never by a part of it: hosts have names such as `h2-prod`.
    pub(super) fn of_url(url: &str) -> Option<Self> {
        let scheme = url.strip_prefix("jdbc:")?.split(':').next()?;
        Some(match scheme {
            "db2" | "ibmdb" | "ids" => Self::Db2,
            "h2" => Self::H2,
            "mariadb" => Self::MariaDb,
            "sqlserver" | "jtds" => Self::MsSql,
            "mysql" | "mysql+srv" => Self::MySql,
            "oracle" => Self::Oracle,
            "postgresql" => Self::Postgre,
            _ => return None,
        })
    }

    /// The URL that the server infers. Of Oracle `name` is the SID.
    pub(super) fn url(self, host: &str, port: &str, name: &str) -> String {
        match self {
            Self::Db2 => format!("jdbc:db2://{host}:{port}/{name}:progressiveStreaming=2;"),
            Self::H2 => {
                format!("jdbc:h2:async:./repository/database/{name};DB_CLOSE_ON_EXIT=FALSE;LOCK_TIMEOUT=60000")
            }
            Self::MariaDb => format!("jdbc:mariadb://{host}:{port}/{name}"),
            Self::MsSql => {
                format!("jdbc:sqlserver://{host}:{port};databaseName={name};SendStringParametersAsUnicode=false")
            }
            Self::MySql => format!("jdbc:mysql://{host}:{port}/{name}"),
            Self::Oracle => format!("jdbc:oracle:thin:@{host}:{port}/{name}"),
            Self::Postgre => format!("jdbc:postgresql://{host}:{port}/{name}"),
        }
    }

    pub(super) fn validation_query(self) -> &'static str {
        match self {
            Self::Db2 => "SELECT 1 FROM sysibm.sysdummy1",
            Self::H2 | Self::MariaDb | Self::MsSql | Self::MySql => "SELECT 1",
            Self::Oracle => "SELECT 1 FROM DUAL",
            Self::Postgre => "SELECT 1; COMMIT",
        }
    }
}

/// What a server of this kind has where the file is silent.
pub(super) fn defaults() -> Pool {
    Pool {
        max_active: Some(50),
        max_wait: Some(60_000),
        test_on_borrow: Some(true),
        validation_interval: Some(30_000),
        ..Pool::default()
    }
}

/// The names that the product's templates give to the datasource of a table, and the H2 file: name, JNDI name, file.
pub(super) fn names(table: &str) -> Option<(&'static str, &'static str, &'static str)> {
    Some(match table {
        "apim_db" => ("WSO2AM_DB", "jdbc/WSO2AM_DB", "WSO2AM_DB"),
        "identity_db" => ("WSO2_IDENTITY_DB", "jdbc/WSO2IdentityDB", "WSO2IDENTITY_DB"),
        "local" => ("WSO2_CARBON_DB", "jdbc/WSO2CarbonDB", "WSO2CARBON_DB"),
        "shared_db" => ("WSO2_SHARED_DB", "jdbc/SHARED_DB", "WSO2SHARED_DB"),
        _ => return None,
    })
}
