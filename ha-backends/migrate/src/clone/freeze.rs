//! Tables that refuse writes, by triggers.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::history::ident;
use crate::{DbError, DbErrorKind, Dialect, Session};

/// Which tables there are, and which of them refuse writes.
#[derive(Debug)]
pub(super) struct Freeze {
    dialect: Dialect,
    tables: Vec<Table>,
    /// How many triggers a table has that refuses all writes.
    needed: u64,
    /// A subscription that writes rows past the triggers.
    applying: Option<String>,
}

#[derive(Debug)]
struct Table {
    /// The schema, where the database has several.
    schema: String,
    name: String,
    triggers: u64,
}

/// One statement, and the table that it is about.
#[derive(Debug)]
pub(super) struct Statement {
    pub(super) table: String,
    pub(super) sql: String,
}

const PREFIX: &str = "ha_frozen";
const MESSAGE: &str = "the database refuses writes while it is cloned";
const EVENTS: [(&str, &str); 3] = [("i", "INSERT"), ("u", "UPDATE"), ("d", "DELETE")];

const SQLITE: &str = "SELECT '', t.name, (SELECT count(*) FROM sqlite_master g WHERE g.type = 'trigger' AND g.tbl_name = t.name \
     AND substr(g.name, 1, 10) = 'ha_frozen_') FROM sqlite_master t WHERE t.type = 'table' AND substr(t.name, 1, 7) <> 'sqlite_' \
     ORDER BY t.name";
// What an extension brought is nobody's table. A trigger that is always enabled binds the sessions of a replication too.
const POSTGRES: &str = "SELECT n.nspname, c.relname, (SELECT count(*) FROM pg_trigger g WHERE g.tgrelid = c.oid \
     AND g.tgname = 'ha_frozen' AND g.tgenabled = 'A') FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
     WHERE c.relkind IN ('r', 'p') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' \
     AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e') ORDER BY 1, 2";
// What applies a subscription fires no statement's trigger, and ends a moment after it was disabled.
const APPLYING: &str = "SELECT s.subname FROM pg_subscription s \
     WHERE s.subdbid = (SELECT oid FROM pg_database WHERE datname = current_database()) AND (s.subenabled \
     OR EXISTS (SELECT 1 FROM pg_stat_subscription a WHERE a.subname = s.subname AND a.pid IS NOT NULL)) LIMIT 1";
const MYSQL: &str = "SELECT '', t.table_name, (SELECT count(*) FROM information_schema.triggers g WHERE g.trigger_schema = DATABASE() \
     AND g.event_object_table = t.table_name AND left(g.trigger_name, 10) = 'ha_frozen_') FROM information_schema.tables t \
     WHERE t.table_schema = DATABASE() AND t.table_type IN ('BASE TABLE', 'SYSTEM VERSIONED') ORDER BY t.table_name";

impl Freeze {
    /// Reads the tables, `own` apart.
    pub(super) async fn read(session: &mut dyn Session, dialect: Dialect, own: &[String]) -> Result<Self, DbError> {
        let sql = match dialect {
            Dialect::Sqlite => SQLITE,
            Dialect::Postgres => POSTGRES,
            Dialect::Db2 | Dialect::H2 | Dialect::MariaDb | Dialect::MySql | Dialect::Oracle | Dialect::SqlServer => {
                MYSQL
            }
        };
        let mut tables = Vec::new();
        for row in session.query(sql).await? {
            let [Some(schema), Some(name), Some(triggers)] = &row[..] else { continue };
            if !own.contains(name) {
                let triggers = triggers.parse().unwrap_or(0);
                tables.push(Table { schema: schema.clone(), name: name.clone(), triggers });
            }
        }
        let mut applying = None;
        if dialect == Dialect::Postgres {
            let subscriptions = session.query(APPLYING).await?;
            applying = subscriptions.into_iter().flatten().flatten().next().map(|name| ident(dialect, &name));
        }
        Ok(Self { dialect, tables, needed: if dialect == Dialect::Postgres { 1 } else { 3 }, applying })
    }

    /// Names a subscription that writes rows past the triggers, quoted.
    pub(super) fn applying(&self) -> Option<&str> {
        self.applying.as_deref()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.tables.is_empty()
    }

    pub(super) fn count(&self) -> u64 {
        self.tables.len() as u64
    }

    /// Counts the tables that refuse some writes.
    pub(super) fn frozen(&self) -> u64 {
        self.tables.iter().filter(|table| table.triggers > 0).count() as u64
    }

    /// Tells whether each table refuses all writes, of those that refuse any.
    pub(super) fn is_whole(&self) -> bool {
        self.tables.iter().all(|table| table.triggers == 0 || table.triggers >= self.needed)
    }

    /// Names the tables, quoted.
    pub(super) fn names(&self) -> impl Iterator<Item = String> {
        self.tables.iter().map(|table| table.quoted(self.dialect))
    }

    /// Lists the tables: schema and name.
    pub(super) fn tables(&self) -> impl Iterator<Item = (&str, &str)> {
        self.tables.iter().map(|table| (&*table.schema, &*table.name))
    }

    /// Lists what makes every table refuse writes, or take them.
    pub(super) fn statements(&self, frozen: bool) -> Vec<Statement> {
        let mut all = Vec::new();
        if self.dialect == Dialect::Postgres && frozen {
            all.push(Statement { table: "of all".into(), sql: postgres_function() });
        }
        for table in &self.tables {
            let there = if frozen { table.triggers >= self.needed } else { table.triggers == 0 };
            let statements = if there { Vec::new() } else { table.statements(self.dialect, frozen) };
            all.extend(statements.into_iter().map(|sql| Statement { table: table.name.clone(), sql }));
        }
        if self.dialect == Dialect::Postgres && !frozen {
            all.push(Statement { table: "of all".into(), sql: format!("DROP FUNCTION IF EXISTS {PREFIX}()") });
        }
        all
    }
}

/// It refuses as a read-only transaction does: pools and frameworks know that.
fn postgres_function() -> String {
    format!(
        "CREATE OR REPLACE FUNCTION {PREFIX}() RETURNS trigger LANGUAGE plpgsql AS $ha$ BEGIN \
         RAISE EXCEPTION USING ERRCODE = 'read_only_sql_transaction', MESSAGE = '{MESSAGE}'; END $ha$"
    )
}

impl Table {
    fn quoted(&self, dialect: Dialect) -> String {
        let name = ident(dialect, &self.name);
        if self.schema.is_empty() { name } else { format!("{}.{name}", ident(dialect, &self.schema)) }
    }

    /// The name of a trigger: the database has each name once, and names have an end.
    fn trigger(&self, event: &str) -> String {
        format!("{PREFIX}_{event}_{:08x}", crc32fast::hash(self.name.as_bytes()))
    }

    fn statements(&self, dialect: Dialect, frozen: bool) -> Vec<String> {
        let table = self.quoted(dialect);
        let each = |sql: &dyn Fn(&str, &str) -> String| {
            EVENTS.iter().map(|(short, event)| sql(&self.trigger(short), event)).collect::<Vec<_>>()
        };
        match (dialect, frozen) {
            // Waits for whoever has written, and stands in no reader's way.
            (Dialect::Postgres, true) => vec![format!(
                "CREATE TRIGGER {PREFIX} BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE \
                 ON {table} FOR EACH STATEMENT EXECUTE FUNCTION {PREFIX}(); ALTER TABLE {table} ENABLE ALWAYS TRIGGER {PREFIX}"
            )],
            (Dialect::Postgres, false) => vec![format!("DROP TRIGGER IF EXISTS {PREFIX} ON {table}")],
            (Dialect::Sqlite, true) => each(&|name, event| {
                format!(
                    "CREATE TRIGGER IF NOT EXISTS {name} BEFORE {event} ON {table} BEGIN SELECT RAISE(ABORT, '{MESSAGE}'); END"
                )
            }),
            (_, true) => each(&|name, event| {
                format!(
                    "CREATE TRIGGER IF NOT EXISTS {name} BEFORE {event} ON {table} FOR EACH ROW \
                     SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = 1290, MESSAGE_TEXT = '{MESSAGE}'"
                )
            }),
            (_, false) => each(&|name, _| format!("DROP TRIGGER IF EXISTS {name}")),
        }
    }
}

/// The pause before a statement is tried again whose lock was not granted.
const AGAIN: Duration = Duration::from_millis(40);

/// Runs a statement, again as long as somebody holds what it needs, until a moment.
pub(super) async fn retried(session: &mut dyn Session, sql: &str, until: Instant) -> Result<(), DbError> {
    loop {
        match session.execute(sql).await {
            Ok(_) => return Ok(()),
            Err(error) if matches!(error.kind, DbErrorKind::LockTimeout | DbErrorKind::Deadlock) => {
                if Instant::now() + AGAIN >= until {
                    return Err(error);
                }
                sleep(AGAIN).await;
            }
            Err(error) => return Err(error),
        }
    }
}
