//! How far a clone is: a table of its own there says so.

use std::time::Duration;

use ha_core::backend::{ErrorKind, StepError};
use ha_core::state::CloneStage;
use tokio::time::{Instant, sleep};

use super::freeze::Freeze;
use super::{Cloning, number};
use crate::connect::UrlConnect;
use crate::history::ident;
use crate::{Connect, DbError, DbErrorKind, Dialect, Session};

pub(super) struct Stage<'a>(&'a Cloning);

/// The stages that are written down, by their names there.
const NAMES: [(&str, CloneStage); 6] = [
    ("copying", CloneStage::Copying),
    ("copied", CloneStage::Copied),
    ("compared", CloneStage::Compared),
    ("migrating", CloneStage::Migrating),
    ("migrated", CloneStage::Migrated),
    ("open", CloneStage::Open),
];

impl<'a> Stage<'a> {
    pub(super) fn of(cloning: &'a Cloning) -> Self {
        Self(cloning)
    }

    fn table(&self) -> String {
        ident(self.0.dialect(), &format!("{}_clone", self.0.prefix))
    }

    fn failed(&self, error: &DbError) -> StepError {
        self.0.failed("the clone", error)
    }

    /// Reads it.
    pub(super) async fn read(&self) -> Result<CloneStage, StepError> {
        if self.0.clone.is_no_file() {
            return Ok(if super::copy::is_in_part(&self.0.clone) { CloneStage::Copying } else { CloneStage::Absent });
        }
        let mut session = self.0.open(&self.0.clone).await?;
        self.read_in(&mut *session).await.map_err(|error| self.failed(&error).without_effect())
    }

    async fn read_in(&self, session: &mut dyn Session) -> Result<CloneStage, DbError> {
        let own = format!("{}_clone", self.0.prefix);
        let all = Freeze::read(session, self.0.dialect(), &[]).await?;
        if !all.tables().any(|(_, name)| name == own) {
            // Whatever a copy would remove first is somebody's.
            let contents = self.contents(session).await?;
            return Ok(if all.is_empty() && contents.is_empty() { CloneStage::Absent } else { CloneStage::Occupied });
        }
        let rows = session.query(&format!("SELECT stage FROM {}", self.table())).await?;
        let written = rows.first().and_then(|row| row.first()?.as_deref()).unwrap_or_default();
        let named = NAMES.iter().find(|(name, _)| *name == written).map(|(_, stage)| *stage);
        let tables = Freeze::read(session, self.0.dialect(), &self.0.own()).await?;
        let frozen = tables.frozen() == tables.count() && tables.is_whole();
        Ok(match named.unwrap_or(CloneStage::Copying) {
            // Somebody has let writes in again: it is frozen anew.
            CloneStage::Migrated if !frozen => CloneStage::Migrating,
            CloneStage::Open if tables.frozen() > 0 => CloneStage::Opening,
            stage => stage,
        })
    }

    /// Writes it down.
    pub(super) async fn set(&self, stage: CloneStage) -> Result<(), StepError> {
        let mut session = self.0.open(&self.0.clone).await?;
        self.set_in(&mut *session, stage).await.map_err(|error| self.failed(&error))
    }

    pub(super) async fn set_in(&self, session: &mut dyn Session, stage: CloneStage) -> Result<(), DbError> {
        let table = self.table();
        let name = NAMES.iter().find(|(_, known)| *known == stage).map_or("copying", |(name, _)| *name);
        let create =
            format!("CREATE TABLE IF NOT EXISTS {table} (id INTEGER NOT NULL PRIMARY KEY, stage VARCHAR(20) NOT NULL)");
        session.execute(&create).await?;
        let count = number(&session.query(&format!("SELECT count(*) FROM {table}")).await?, 0);
        let set = if count == 0 {
            format!("INSERT INTO {table} (id, stage) VALUES (1, '{name}')")
        } else {
            format!("UPDATE {table} SET stage = '{name}'")
        };
        session.execute(&set).await.map(drop)
    }

    /// Empties the clone, but for the note that it is being made, and ends what still copies into it.
    pub(super) async fn empty(&self) -> Result<(), StepError> {
        self.remove(true).await
    }

    /// Empties the clone.
    pub(super) async fn drop_all(&self) -> Result<(), StepError> {
        self.remove(false).await
    }

    async fn remove(&self, keeps_note: bool) -> Result<(), StepError> {
        if self.0.dialect() == Dialect::Sqlite {
            return remove_file(self.0, &self.0.clone).await;
        }
        let mut session = self.0.open(&self.0.clone).await?;
        let removed = async {
            self.set_in(&mut *session, CloneStage::Copying).await?;
            self.end_copies(&mut *session).await?;
            if self.0.dialect() != Dialect::Postgres {
                session.execute("SET FOREIGN_KEY_CHECKS = 0").await?;
            }
            for statement in self.contents(&mut *session).await? {
                session.execute(&statement).await?;
            }
            if !keeps_note {
                session.execute(&format!("DROP TABLE {}", self.table())).await?;
            }
            Ok(())
        };
        removed.await.map_err(|error: DbError| self.failed(&error))
    }

    /// Ends what copies into the clone: a controller that died may have left it at work.
    async fn end_copies(&self, session: &mut dyn Session) -> Result<(), DbError> {
        if self.0.dialect() == Dialect::Postgres {
            let copies = format!(
                "FROM pg_stat_activity WHERE datname = current_database() AND application_name = '{}' AND pid <> pg_backend_pid()",
                super::copy::APPLICATION
            );
            session.query(&format!("SELECT pg_terminate_backend(pid) {copies}")).await?;
            let until = Instant::now() + END;
            while number(&session.query(&format!("SELECT count(*) {copies}")).await?, 0) > 0 {
                if Instant::now() >= until {
                    let what = format!("an earlier copy into the clone does not end in {END:?}");
                    return Err(DbError::new(DbErrorKind::LockTimeout, what));
                }
                sleep(LOOK).await;
            }
            return Ok(());
        }
        // Nobody uses the clone while it is made: what is connected to it copies into it.
        let copying = session
            .query("SELECT ID FROM information_schema.PROCESSLIST WHERE DB = DATABASE() AND ID <> CONNECTION_ID()")
            .await?;
        for row in copying {
            if let [Some(id)] = &row[..] {
                match session.execute(&format!("KILL CONNECTION {id}")).await {
                    Ok(_) => {}
                    // It has ended by itself.
                    Err(error) if error.code == "1094" => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    /// Lists what removes all but the note.
    async fn contents(&self, session: &mut dyn Session) -> Result<Vec<String>, DbError> {
        let (dialect, own) = (self.0.dialect(), format!("{}_clone", self.0.prefix));
        let mut statements = Vec::new();
        for row in session.query(contents_of(dialect)).await? {
            let [Some(what), Some(schema), Some(name)] = &row[..] else { continue };
            match what.as_str() {
                "SCHEMA" => statements.push(format!("DROP SCHEMA {} CASCADE", ident(dialect, name))),
                _ if *name == own => {}
                // Their names are quoted where that is needed, and have their arguments.
                "ROUTINE" => statements.push(format!("DROP ROUTINE IF EXISTS {name} CASCADE")),
                _ if dialect == Dialect::Postgres => {
                    let name = format!("{}.{}", ident(dialect, schema), ident(dialect, name));
                    statements.push(format!("DROP {what} IF EXISTS {name} CASCADE"));
                }
                _ => statements.push(format!("DROP {what} IF EXISTS {}", ident(dialect, name))),
            }
        }
        Ok(statements)
    }
}

/// Asks for what is in a database: of each its kind, its schema and its name. What an extension of PostgreSQL brought is its own, and
/// what belongs to a column, as its sequence, or is a table's row type goes with that.
fn contents_of(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Postgres => {
            "WITH brought AS (SELECT classid::regclass AS of, objid FROM pg_depend WHERE deptype = 'e') \
             SELECT 'SCHEMA', '', n.nspname FROM pg_namespace n WHERE n.nspname !~ '^pg_' \
                 AND n.nspname NOT IN ('information_schema', current_schema()) \
                 AND NOT EXISTS (SELECT 1 FROM brought b WHERE b.of = 'pg_namespace'::regclass AND b.objid = n.oid) \
             UNION ALL SELECT CASE c.relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' WHEN 'f' THEN 'FOREIGN TABLE' \
                 WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, current_schema(), c.relname FROM pg_class c \
                 WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') \
                 AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid \
                     AND d.refobjid <> c.oid AND d.deptype IN ('e', 'a', 'i')) \
             UNION ALL SELECT 'ROUTINE', '', p.oid::regprocedure::text FROM pg_proc p \
                 WHERE p.pronamespace = current_schema()::regnamespace \
                 AND NOT EXISTS (SELECT 1 FROM brought b WHERE b.of = 'pg_proc'::regclass AND b.objid = p.oid) \
             UNION ALL SELECT 'TYPE', current_schema(), t.typname FROM pg_type t LEFT JOIN pg_class c ON c.oid = t.typrelid \
                 WHERE t.typnamespace = current_schema()::regnamespace AND (t.typtype IN ('e', 'd', 'r') OR c.relkind = 'c') \
                 AND NOT EXISTS (SELECT 1 FROM brought b WHERE b.of = 'pg_type'::regclass AND b.objid = t.oid)"
        }
        Dialect::Sqlite => "SELECT upper(type), '', name FROM sqlite_master WHERE substr(name, 1, 7) <> 'sqlite_'",
        Dialect::Db2 | Dialect::H2 | Dialect::MariaDb | Dialect::MySql | Dialect::Oracle | Dialect::SqlServer => {
            "SELECT CASE table_type WHEN 'VIEW' THEN 'VIEW' WHEN 'SEQUENCE' THEN 'SEQUENCE' ELSE 'TABLE' END, '', table_name \
                 FROM information_schema.tables WHERE table_schema = DATABASE() \
             UNION ALL SELECT routine_type, '', routine_name FROM information_schema.routines WHERE routine_schema = DATABASE()"
        }
    }
}

/// How long an earlier copy may take to end, and how often that is looked at.
const END: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(20);

/// Makes a file an empty one.
async fn remove_file(cloning: &Cloning, clone: &UrlConnect) -> Result<(), StepError> {
    let Some(path) = clone.file() else { return Ok(()) };
    let failed = |error: std::io::Error| {
        cloning.error(ErrorKind::Conflict, format!("the file of {}: {error}", clone.target())).caused_by(error)
    };
    for rest in super::copy::RESTS {
        match tokio::fs::remove_file(format!("{path}{rest}")).await {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
    }
    tokio::fs::File::create(path).await.map(drop).map_err(failed)
}
