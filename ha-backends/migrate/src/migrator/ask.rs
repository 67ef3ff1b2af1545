//! Questions to the server about sessions, locks and itself.

use std::time::Duration;

use sha2::{Digest, Sha256};

use super::{Blocker, OldRelease};
use crate::history::{History, Tables, ident, text};
use crate::machine::{Capabilities, IndexState, Input, Unit, UnitKind};
use crate::{DbError, DbErrorKind, Dialect, ObjectName, Rows, Session, SessionId};

/// The first value of an answer.
pub(super) fn first(rows: &Rows) -> Option<&str> {
    rows.first()?.first()?.as_deref()
}

fn count(rows: &Rows) -> u64 {
    first(rows).and_then(|count| count.parse().ok()).unwrap_or(0)
}

/// Asks the server what it is.
pub(super) async fn identify(session: &mut dyn Session, dialect: Dialect) -> Result<Capabilities, DbError> {
    let server = crate::identify(session, dialect).await?;
    if matches!(dialect, Dialect::MariaDb | Dialect::MySql) && !server.capabilities.session_lock {
        let message = "a cluster of several writers has no lock that all of them see: stop all but one of its servers";
        return Err(DbError::new(DbErrorKind::Refused, message));
    }
    Ok(Capabilities { dialect: server.dialect, atomic_ddl: server.capabilities.atomic_ddl })
}

/// The name of the lock: of this product, database, schema and prefix.
pub(super) async fn lock_key(session: &mut dyn Session, dialect: Dialect, name: &str) -> Result<String, DbError> {
    Ok(match dialect {
        Dialect::Postgres => {
            let rows = session.query("SELECT current_database(), current_schema()").await?;
            let place: Vec<_> = rows.iter().flatten().map(|value| value.as_deref().unwrap_or_default()).collect();
            if place.get(1).is_none_or(|schema| schema.is_empty()) {
                let message = "no schema of the search path is there: create it, or mend currentSchema";
                return Err(DbError::new(DbErrorKind::Refused, message));
            }
            let digest = Sha256::digest(format!("ha-migrate\0{name}\0{}", place.join("\0")));
            let bytes = digest.first_chunk::<8>().copied().unwrap_or_default();
            i64::from_be_bytes(bytes).to_string()
        }
        Dialect::MariaDb | Dialect::MySql => {
            let rows = session.query("SELECT DATABASE()").await?;
            let Some(database) = first(&rows) else {
                return Err(DbError::new(DbErrorKind::Refused, "the URL names no database: add it"));
            };
            // Names of locks are the server's, not a database's, and have 64 letters at most.
            let hash = crate::machine::sha256(format!("{name}\0{database}").as_bytes());
            format!("ha_migrate.{}", hash.get(..40).unwrap_or_default())
        }
        Dialect::Sqlite | Dialect::Db2 | Dialect::H2 | Dialect::Oracle | Dialect::SqlServer => String::new(),
    })
}

/// Asks whether the schema is empty, where a baseline script may be run; else the answer is no.
pub(super) async fn is_empty(
    session: &mut dyn Session,
    tables: &Tables,
    units: &[Unit],
    history: &History,
) -> Result<bool, DbError> {
    if !history.is_fresh() || !units.iter().any(|unit| unit.kind == UnitKind::Baseline) {
        return Ok(false);
    }
    Ok(count(&session.query(&tables.count_others()).await?) == 0)
}

/// Tries to take the lock; never waits in the server for longer than a second.
pub(super) async fn try_lock(session: &mut dyn Session, dialect: Dialect, key: &str) -> Result<bool, DbError> {
    Ok(match dialect {
        Dialect::Postgres => {
            first(&session.query(&format!("SELECT pg_try_advisory_lock({key})::int")).await?) == Some("1")
        }
        // Only 1 is a grant: NULL is an error, and no lock.
        Dialect::MariaDb | Dialect::MySql => {
            first(&session.query(&format!("SELECT GET_LOCK({}, 0)", text(dialect, key))).await?) == Some("1")
        }
        // Each transaction takes the file's lock.
        Dialect::Sqlite | Dialect::Db2 | Dialect::H2 | Dialect::Oracle | Dialect::SqlServer => true,
    })
}

/// Asks who holds the lock, and whether the lock's row names that session.
pub(super) async fn holder(
    session: &mut dyn Session,
    dialect: Dialect,
    key: &str,
    lock: &str,
) -> Result<Input, DbError> {
    let sql = match dialect {
        Dialect::Postgres => format!(
            "SELECT {POSTGRES_SESSION} FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid \
             WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 \
             AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) \
             AND ((l.classid::bigint << 32) | l.objid::bigint) = {key}"
        ),
        Dialect::MariaDb | Dialect::MySql => format!(
            "SELECT {MYSQL_SESSION} FROM information_schema.PROCESSLIST p WHERE p.ID = IS_USED_LOCK({})",
            text(dialect, key)
        ),
        Dialect::Sqlite | Dialect::Db2 | Dialect::H2 | Dialect::Oracle | Dialect::SqlServer => {
            return Ok(Input::LockHeld { holder: None, recorded: false });
        }
    };
    let own = session.id().began.clone();
    let mut holder = blockers(&session.query(&sql).await?).into_iter().next();
    // The tables may not be there yet.
    let row = session.query(&format!("SELECT session_number, session_began FROM {lock} WHERE id = 1")).await;
    let mut recorded = false;
    if let (Some(holder), Ok(rows)) = (&mut holder, row) {
        let number = first(&rows).and_then(|number| number.parse().ok());
        let began = rows.first().and_then(|row| row.get(1)).cloned().flatten().unwrap_or_default();
        // MariaDB and MySQL number sessions once in the life of the server, whose start the driver tells.
        if dialect != Dialect::Postgres {
            holder.session.began = own.clone();
        }
        recorded = number == Some(holder.session.number) && began == holder.session.began;
    }
    Ok(Input::LockHeld { holder, recorded })
}

/// Asks whether a session is still there.
pub(super) async fn is_alive(session: &mut dyn Session, dialect: Dialect, orphan: &SessionId) -> Result<bool, DbError> {
    if *orphan == *session.id() {
        return Ok(false);
    }
    let number = orphan.number;
    let sql = match dialect {
        Dialect::Postgres => format!(
            "SELECT count(*) FROM pg_stat_activity WHERE pid = {number} AND pid <> pg_backend_pid() AND {POSTGRES_BEGAN} = {}",
            text(dialect, &orphan.began)
        ),
        // The driver tells when the server began: numbers are given once in its life.
        Dialect::MariaDb | Dialect::MySql if orphan.began != session.id().began => return Ok(false),
        Dialect::MariaDb | Dialect::MySql => {
            format!("SELECT count(*) FROM information_schema.PROCESSLIST WHERE ID = {number} AND ID <> CONNECTION_ID()")
        }
        // A transaction of a dead process is rolled back by whoever comes next.
        Dialect::Sqlite | Dialect::Db2 | Dialect::H2 | Dialect::Oracle | Dialect::SqlServer => return Ok(false),
    };
    Ok(count(&session.query(&sql).await?) > 0)
}

/// Ends a session, matched on its number and, where the server tells, its start.
pub(super) async fn terminate(session: &mut dyn Session, dialect: Dialect, other: &SessionId) -> Result<(), DbError> {
    match dialect {
        Dialect::Postgres => {
            let sql = format!(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE pid = {} AND {POSTGRES_BEGAN} = {}",
                other.number,
                text(dialect, &other.began)
            );
            session.query(&sql).await.map(drop)
        }
        Dialect::MariaDb | Dialect::MySql => {
            if other.began != session.id().began {
                return Ok(());
            }
            match session.execute(&format!("KILL CONNECTION {}", other.number)).await {
                Ok(_) => Ok(()),
                // It has ended by itself.
                Err(error) if error.code == "1094" => Ok(()),
                Err(error) => Err(error),
            }
        }
        Dialect::Sqlite | Dialect::Db2 | Dialect::H2 | Dialect::Oracle | Dialect::SqlServer => Ok(()),
    }
}

/// Lists transactions older than 100 ms that hold locks on tables (PostgreSQL; those that only read too, where the script locks
/// readers out), or that are open at all (MariaDB, MySQL).
pub(super) async fn blocked_by(
    session: &mut dyn Session,
    dialect: Dialect,
    tables: &[ObjectName],
    readers_too: bool,
) -> Result<Vec<Blocker>, DbError> {
    let sql = match dialect {
        Dialect::Postgres => {
            let name = |table: &ObjectName| {
                let name = ident(dialect, &table.name);
                let name = match &table.schema {
                    Some(schema) => format!("{}.{name}", ident(dialect, schema)),
                    None => name,
                };
                format!("to_regclass({})", text(dialect, &name))
            };
            let names = tables.iter().map(name).collect::<Vec<_>>().join(", ");
            if names.is_empty() {
                return Ok(Vec::new());
            }
            let weak = if readers_too { "" } else { " AND l.mode NOT IN ('AccessShareLock', 'RowShareLock')" };
            // Autovacuum makes way by itself.
            format!(
                "SELECT DISTINCT {POSTGRES_SESSION} FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid \
                 WHERE l.locktype = 'relation' AND l.granted AND l.pid <> pg_backend_pid() \
                 AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) \
                 AND l.relation IN ({names}) AND a.xact_start < clock_timestamp() - interval '100 ms' \
                 AND a.backend_type <> 'autovacuum worker'{weak}"
            )
        }
        Dialect::MariaDb | Dialect::MySql => format!(
            "SELECT {MYSQL_SESSION} FROM information_schema.PROCESSLIST p JOIN information_schema.INNODB_TRX t \
             ON t.trx_mysql_thread_id = p.ID WHERE p.ID <> CONNECTION_ID() ORDER BY t.trx_started"
        ),
        Dialect::Sqlite | Dialect::Db2 | Dialect::H2 | Dialect::Oracle | Dialect::SqlServer => return Ok(Vec::new()),
    };
    Ok(blockers(&session.query(&sql).await?))
}

/// From which age on a transaction is waited for outside of the queue.
pub(super) const OLD: Duration = Duration::from_millis(100);

/// PostgreSQL: how old the oldest transaction of this database is, our own and autovacuum apart.
pub(super) async fn oldest_transaction(session: &mut dyn Session) -> Result<Duration, DbError> {
    let sql = "SELECT coalesce(max((extract(epoch FROM clock_timestamp() - xact_start) * 1000)::bigint), 0) FROM pg_stat_activity \
               WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type <> 'autovacuum worker'";
    let rows = session.query(sql).await?;
    // What cannot be read is old.
    Ok(first(&rows).and_then(|age| age.parse().ok()).map_or(OLD, Duration::from_millis))
}

/// Lists sessions of releases that are said to be gone.
pub(super) async fn old_sessions(
    session: &mut dyn Session,
    dialect: Dialect,
    old: &[&OldRelease],
) -> Result<Vec<Blocker>, DbError> {
    let fits = |columns: [&str; 3]| {
        let one = |old: &&OldRelease| {
            let parts = [&old.user, &old.application, &old.database];
            let fit: Vec<_> = columns
                .iter()
                .zip(parts)
                .filter_map(|(column, wanted)| {
                    wanted.as_ref().map(|wanted| format!("{column} = {}", text(dialect, wanted)))
                })
                .collect();
            format!("({})", fit.join(" AND "))
        };
        old.iter().map(one).collect::<Vec<_>>().join(" OR ")
    };
    if old.is_empty() {
        return Ok(Vec::new());
    }
    let sql = match dialect {
        Dialect::Postgres => format!(
            "SELECT {POSTGRES_SESSION} FROM pg_stat_activity a WHERE a.pid <> pg_backend_pid() \
             AND a.backend_type = 'client backend' AND ({})",
            fits(["a.usename", "a.application_name", "a.datname"])
        ),
        Dialect::MariaDb | Dialect::MySql => {
            let application = "(SELECT c.ATTR_VALUE FROM performance_schema.session_connect_attrs c \
                               WHERE c.PROCESSLIST_ID = p.ID AND c.ATTR_NAME = 'program_name')";
            format!(
                "SELECT {MYSQL_SESSION} FROM information_schema.PROCESSLIST p WHERE p.ID <> CONNECTION_ID() AND ({})",
                fits(["p.USER", application, "p.DB"])
            )
        }
        Dialect::Sqlite | Dialect::Db2 | Dialect::H2 | Dialect::Oracle | Dialect::SqlServer => return Ok(Vec::new()),
    };
    Ok(blockers(&session.query(&sql).await?))
}

/// What an index is, as the catalogue has it.
pub(super) async fn index_state(session: &mut dyn Session, object: &ObjectName) -> Result<IndexState, DbError> {
    let class = index_class(object);
    let sql = format!(
        "SELECT (i.indisvalid AND i.indisready)::int, \
         (SELECT count(*) FROM pg_stat_progress_create_index p WHERE p.index_relid = i.indexrelid AND p.pid <> pg_backend_pid()) \
         FROM pg_index i WHERE i.indexrelid = {class}"
    );
    let rows = session.query(&sql).await?;
    let building = rows.first().and_then(|row| row.get(1)).cloned().flatten().is_some_and(|count| count != "0");
    Ok(match first(&rows) {
        None => IndexState::Absent,
        Some("1") => IndexState::Valid,
        Some(_) if building => IndexState::Building,
        Some(_) => IndexState::Invalid,
    })
}

fn index_class(object: &ObjectName) -> String {
    let name = ident(Dialect::Postgres, &object.name);
    let name = match &object.schema {
        Some(schema) => format!("{}.{name}", ident(Dialect::Postgres, schema)),
        None => name,
    };
    format!("to_regclass({})", text(Dialect::Postgres, &name))
}

/// Lists the broken indexes that builds of an index left: itself, and what REINDEX CONCURRENTLY makes beside it.
pub(super) async fn broken_indexes(session: &mut dyn Session, object: &ObjectName) -> Result<Vec<String>, DbError> {
    let name = text(Dialect::Postgres, &object.name);
    let sql = format!(
        "SELECT c.oid::regclass::text FROM pg_class c JOIN pg_index i ON i.indexrelid = c.oid WHERE NOT i.indisvalid \
         AND (i.indexrelid = {} OR (c.relname ~ ('^' || regexp_replace({name}, '([^a-zA-Z0-9_])', '\\\\\\1', 'g') || '_cc(new|old)[0-9]*$') \
         AND c.relnamespace = coalesce((SELECT n.relnamespace FROM pg_class n WHERE n.oid = {}), current_schema()::regnamespace))) \
         AND NOT EXISTS (SELECT 1 FROM pg_stat_progress_create_index p WHERE p.index_relid = c.oid AND p.pid <> pg_backend_pid())",
        index_class(object),
        index_class(object),
    );
    let rows = session.query(&sql).await?;
    Ok(rows.into_iter().flatten().flatten().collect())
}

/// Asks whether rows of all these tables roll back.
pub(super) async fn all_transactional(
    session: &mut dyn Session,
    dialect: Dialect,
    tables: &[ObjectName],
) -> Result<bool, DbError> {
    if !matches!(dialect, Dialect::MariaDb | Dialect::MySql) {
        return Ok(true);
    }
    // Rows written where is not known: of any table that does not roll back.
    if tables.is_empty() {
        return Ok(false);
    }
    let one = |table: &ObjectName| {
        let schema = table.schema.as_ref().map_or_else(|| "DATABASE()".into(), |schema| text(dialect, schema));
        format!("(t.TABLE_SCHEMA = {schema} AND t.TABLE_NAME = {})", text(dialect, &table.name))
    };
    let sql = format!(
        "SELECT count(*) FROM information_schema.TABLES t LEFT JOIN information_schema.ENGINES e ON e.ENGINE = t.ENGINE \
         WHERE ({}) AND t.TABLE_TYPE <> 'SEQUENCE' AND COALESCE(e.TRANSACTIONS, 'NO') <> 'YES'",
        tables.iter().map(one).collect::<Vec<_>>().join(" OR ")
    );
    Ok(count(&session.query(&sql).await?) == 0)
}

/// How far replicas are behind.
pub(super) async fn lag(session: &mut dyn Session, dialect: Dialect) -> Duration {
    if dialect != Dialect::Postgres {
        return Duration::ZERO;
    }
    let sql = "SELECT coalesce(max(extract(epoch FROM replay_lag) * 1000)::bigint, 0) FROM pg_stat_replication";
    // Without the privilege to see it there is none.
    let rows = session.query(sql).await.unwrap_or_default();
    Duration::from_millis(count(&rows))
}

/// When a session began, as the driver tells it.
const POSTGRES_BEGAN: &str = "to_char(backend_start AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')";

const POSTGRES_SESSION: &str = "a.pid, to_char(a.backend_start AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US'), \
     coalesce(a.usename::text, ''), coalesce(a.application_name, ''), coalesce(a.client_addr::text, ''), \
     coalesce((extract(epoch FROM clock_timestamp() - coalesce(a.xact_start, a.query_start)) * 1000)::bigint, 0)";

const MYSQL_SESSION: &str = "p.ID, '', p.USER, '', p.HOST, CAST(p.TIME AS SIGNED) * 1000";

fn blockers(rows: &Rows) -> Vec<Blocker> {
    let one = |row: &Vec<Option<String>>| {
        let value = |index: usize| row.get(index).cloned().flatten().unwrap_or_default();
        let number = value(0).parse().unwrap_or(0);
        Blocker {
            session: SessionId { number, began: value(1) },
            user: value(2),
            application: value(3),
            address: value(4),
            age: Duration::from_millis(value(5).parse().unwrap_or(0)),
        }
    };
    rows.iter().map(one).collect()
}
