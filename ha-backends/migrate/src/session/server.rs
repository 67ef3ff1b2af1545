//! What a session talks to: product, version, what it can do, and whether it is fit for migrations at all.

use std::fmt;

use super::{DbError, DbErrorKind, Session};
use crate::Dialect;

/// A server's version, as its own banner says.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub struct ServerVersion {
    /// The first number.
    pub major: u32,
    /// The second; of PostgreSQL from 10 the minor release.
    pub minor: u32,
    /// The third; 0 where there is none.
    pub patch: u32,
}

impl ServerVersion {
    /// Names a version.
    pub const fn new(major: u32, minor: u32, patch: u32) -> Self {
        Self { major, minor, patch }
    }

    /// Reads the numbers at the beginning of a text; `None` where there is none.
    fn parse(text: &str) -> Option<Self> {
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let mut numbers = text.get(..end)?.split('.').map(str::parse);
        let major = numbers.next()?.ok()?;
        let mut next = || numbers.next().and_then(Result::ok).unwrap_or(0);
        Some(Self { major, minor: next(), patch: next() })
    }
}

impl fmt::Display for ServerVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// What a server can do for a migration.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct ServerCapabilities {
    /// DDL can be rolled back (PostgreSQL, SQLite). Elsewhere it commits what was open before it.
    pub transactional_ddl: bool,
    /// A DDL statement happens whole or not at all, whatever dies (also MariaDB from 10.6, MySQL from 8.0).
    pub atomic_ddl: bool,
    /// `ALTER TABLE t NOWAIT` and `WAIT n` (MariaDB from 10.3).
    pub nowait_ddl: bool,
    /// A lock that belongs to the session and that every client of the database sees. A Galera or group replication
    /// cluster has none: each of its servers has locks of its own.
    pub session_lock: bool,
    /// A column is added without a copy of the table (PostgreSQL from 11, MariaDB from 10.3, MySQL from 8.0.12).
    pub instant_add: bool,
    /// An index is built while rows are written (`CONCURRENTLY`; `ALGORITHM=INPLACE`).
    pub online_index: bool,
}

/// An identified server.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Server {
    /// What it speaks: a MariaDB behind the URL of a MySQL is a MariaDB.
    pub dialect: Dialect,
    /// Its version.
    pub version: ServerVersion,
    /// Its version as it tells it.
    pub banner: String,
    /// The database of the session; the name of the first one (`main`) for SQLite.
    pub database: String,
    /// The schema where unqualified names are made (PostgreSQL); empty elsewhere, and where the search path leads nowhere.
    pub schema: String,
    /// What it can do.
    pub capabilities: ServerCapabilities,
}

/// Asks a session's server what it is, and refuses one that migrations must not run on. `dialect` is what the URL says.
///
/// # Errors
/// `ReadOnly` for a replica or a server that takes no writes; `Refused` for another product than the URL says, one that only
/// speaks its protocol, and a pooler that switches server sessions; and what asking itself fails with.
/// # Cancel safety
/// It only reads; the session is not usable afterwards.
pub async fn identify(session: &mut dyn Session, dialect: Dialect) -> Result<Server, DbError> {
    match dialect {
        Dialect::Postgres => postgres(session).await,
        Dialect::MariaDb | Dialect::MySql => mysql(session).await,
        Dialect::Sqlite => sqlite(session).await,
        Dialect::Db2 | Dialect::H2 | Dialect::Oracle | Dialect::SqlServer => {
            Err(refused(format!("{dialect} has no driver here: its scripts can be checked, not run")))
        }
    }
}

async fn postgres(session: &mut dyn Session) -> Result<Server, DbError> {
    // The value that the session began with: a reader has set its own.
    let sql = "SELECT version(), current_setting('server_version'), current_database(), current_schema(), \
        pg_is_in_recovery(), \
        (SELECT reset_val FROM pg_catalog.pg_settings WHERE name = 'default_transaction_read_only')";
    let [banner, version, database, schema, standby, read_only] = row(session, sql).await?;
    let others = ["-YB-", "Redshift", "Greenplum", "Materialize", "CrateDB", "QuestDB"];
    if !banner.starts_with("PostgreSQL ") || others.iter().any(|name| banner.contains(name)) {
        return Err(refused(format!("this is no PostgreSQL, though it speaks its protocol: {banner}")));
    }
    let version = parsed(&version)?;
    if standby == "t" {
        return Err(DbError::new(DbErrorKind::ReadOnly, "the server is a standby: connect to the primary"));
    }
    if read_only == "on" {
        let said = "default_transaction_read_only is on for this server, database or user: nothing can be migrated";
        return Err(DbError::new(DbErrorKind::ReadOnly, said));
    }
    let probe = Probe {
        set: "SET ha_migrate.probe = '{}'",
        get: "SELECT pg_backend_pid(), current_setting('ha_migrate.probe', true)",
    };
    probe.run(session).await?;
    let capabilities = ServerCapabilities {
        transactional_ddl: true,
        atomic_ddl: true,
        nowait_ddl: false,
        session_lock: true,
        instant_add: version.major >= 11,
        online_index: true,
    };
    Ok(Server { dialect: Dialect::Postgres, version, banner, database, schema, capabilities })
}

async fn mysql(session: &mut dyn Session) -> Result<Server, DbError> {
    let [banner, database] = row(session, "SELECT VERSION(), DATABASE()").await?;
    if let Some(name) = ["TiDB", "Vitess", "OceanBase", "SingleStore"].iter().find(|name| banner.contains(**name)) {
        return Err(refused(format!("this is no MySQL, though it speaks its protocol, but {name}: {banner}")));
    }
    let (dialect, version) = mysql_version(&banner)?;
    let settings = "SHOW GLOBAL VARIABLES WHERE Variable_name IN \
        ('read_only', 'super_read_only', 'innodb_read_only', 'wsrep_on', 'group_replication_group_name')";
    let mut clustered = false;
    for setting in session.query(settings).await? {
        let [Some(name), Some(value)] = setting.as_slice() else { continue };
        let on = matches!(value.to_ascii_uppercase().as_str(), "1" | "ON");
        match name.to_ascii_lowercase().as_str() {
            "wsrep_on" => clustered |= on,
            "group_replication_group_name" => clustered |= !value.is_empty(),
            // A read-only level of MariaDB from 12 is none of these and more than OFF.
            name if !matches!(value.to_ascii_uppercase().as_str(), "0" | "OFF") => {
                let said = format!("{name} is {value}: a replica, or a server held for writes; connect to the primary");
                return Err(DbError::new(DbErrorKind::ReadOnly, said));
            }
            _ => {}
        }
    }
    let probe = Probe { set: "SET @ha_migrate_probe = '{}'", get: "SELECT CONNECTION_ID(), @ha_migrate_probe" };
    probe.run(session).await?;
    let mariadb = dialect == Dialect::MariaDb;
    let from =
        |of_mariadb: ServerVersion, of_mysql: ServerVersion| version >= if mariadb { of_mariadb } else { of_mysql };
    let (v, none) = (ServerVersion::new, ServerVersion::new(u32::MAX, 0, 0));
    let capabilities = ServerCapabilities {
        transactional_ddl: false,
        atomic_ddl: from(v(10, 6, 0), v(8, 0, 0)),
        nowait_ddl: from(v(10, 3, 0), none),
        session_lock: !clustered,
        instant_add: from(v(10, 3, 0), v(8, 0, 12)),
        online_index: from(v(10, 0, 0), v(5, 6, 0)),
    };
    Ok(Server { dialect, version, banner, database, schema: String::new(), capabilities })
}

async fn sqlite(session: &mut dyn Session) -> Result<Server, DbError> {
    let [banner] = row(session, "SELECT sqlite_version()").await?;
    let version = parsed(&banner)?;
    let capabilities = ServerCapabilities {
        transactional_ddl: true,
        atomic_ddl: true,
        nowait_ddl: false,
        session_lock: false,
        // A column is added in the schema alone; an index is built while nobody writes.
        instant_add: true,
        online_index: false,
    };
    let (database, schema) = ("main".to_string(), String::new());
    Ok(Server { dialect: Dialect::Sqlite, version, banner, database, schema, capabilities })
}

/// MariaDB announces itself with a version of MySQL in front, for old replicas: `5.5.5-10.11.6-MariaDB`.
fn mysql_version(banner: &str) -> Result<(Dialect, ServerVersion), DbError> {
    if banner.contains("MariaDB") {
        Ok((Dialect::MariaDb, parsed(banner.strip_prefix("5.5.5-").unwrap_or(banner))?))
    } else {
        Ok((Dialect::MySql, parsed(banner)?))
    }
}

/// Finds out whether one session here is one session there: a value that is set is still there, and the number the same.
struct Probe {
    set: &'static str,
    get: &'static str,
}

impl Probe {
    async fn run(&self, session: &mut dyn Session) -> Result<(), DbError> {
        let number = session.id().number.to_string();
        for turn in 1..=2 {
            // Text that no other session of this program has set.
            let mark = format!("{number}-{turn}");
            session.execute(&self.set.replace("{}", &mark)).await?;
            let [now, kept] = row(session, self.get).await?;
            if now != number || kept != mark {
                return Err(refused(format!(
                    "a pooler switches sessions: session {number} became {now}; locks would be lost, so connect to the \
                     server itself, or have the pooler keep sessions"
                )));
            }
        }
        Ok(())
    }
}

/// Asks for one row of so many columns; NULL becomes an empty text.
async fn row<const COLUMNS: usize>(session: &mut dyn Session, sql: &str) -> Result<[String; COLUMNS], DbError> {
    let first = session.query(sql).await?.into_iter().next().unwrap_or_default();
    let texts: Vec<String> = first.into_iter().map(Option::unwrap_or_default).collect();
    texts.try_into().map_err(|_| refused("the server does not tell what it is".to_string()))
}

fn parsed(version: &str) -> Result<ServerVersion, DbError> {
    ServerVersion::parse(version).ok_or_else(|| refused(format!("a version without a number: {version}")))
}

fn refused(message: String) -> DbError {
    DbError::new(DbErrorKind::Refused, message)
}

#[cfg(test)]
#[path = "server_test.rs"]
mod tests;
