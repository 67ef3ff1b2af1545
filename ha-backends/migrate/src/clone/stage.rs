//! How far a clone is: a table of its own there says so.

use ha_core::backend::{ErrorKind, StepError};
use ha_core::state::CloneStage;

use super::freeze::Freeze;
use super::{Cloning, number};
use crate::connect::UrlConnect;
use crate::history::ident;
use crate::{Connect, DbError, Dialect, Session};

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
            return Ok(CloneStage::Absent);
        }
        let mut session = self.0.open(&self.0.clone).await?;
        self.read_in(&mut *session).await.map_err(|error| self.failed(&error).without_effect())
    }

    async fn read_in(&self, session: &mut dyn Session) -> Result<CloneStage, DbError> {
        let own = format!("{}_clone", self.0.prefix);
        let all = Freeze::read(session, self.0.dialect(), &[]).await?;
        if !all.tables().any(|(_, name)| name == own) {
            let others = number(&session.query(&self.0.tables.count_others()).await?, 0);
            return Ok(if all.is_empty() && others == 0 { CloneStage::Absent } else { CloneStage::Occupied });
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
            for statement in self.removing(&mut *session).await? {
                session.execute(&statement).await?;
            }
            if !keeps_note {
                session.execute(&format!("DROP TABLE {}", self.table())).await?;
            }
            Ok(())
        };
        removed.await.map_err(|error: DbError| self.failed(&error))
    }

    /// Lists what removes all but the note.
    async fn removing(&self, session: &mut dyn Session) -> Result<Vec<String>, DbError> {
        let dialect = self.0.dialect();
        let own = format!("{}_clone", self.0.prefix);
        let mut statements = Vec::new();
        if dialect == Dialect::Postgres {
            // A controller that died may have left its copy at work.
            let end = format!(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = current_database() \
                 AND application_name = '{}' AND pid <> pg_backend_pid()",
                super::copy::APPLICATION
            );
            session.query(&end).await?;
            let schemas = "SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname NOT IN ('information_schema', \
                           current_schema())";
            for row in session.query(schemas).await? {
                let [Some(schema)] = &row[..] else { continue };
                statements.push(format!("DROP SCHEMA {} CASCADE", ident(dialect, schema)));
            }
            // What an extension brought is its own.
            let relations = "SELECT c.relkind, c.relname FROM pg_class c WHERE c.relnamespace = current_schema()::regnamespace \
                             AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') \
                             AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.objid = c.oid AND d.deptype IN ('e', 'a', 'i'))";
            for row in session.query(relations).await? {
                let [Some(kind), Some(name)] = &row[..] else { continue };
                let what = match kind.as_str() {
                    "v" => "VIEW",
                    "m" => "MATERIALIZED VIEW",
                    "f" => "FOREIGN TABLE",
                    "S" => "SEQUENCE",
                    _ => "TABLE",
                };
                if *name != own {
                    statements.push(format!("DROP {what} IF EXISTS {} CASCADE", ident(dialect, name)));
                }
            }
            let others = "SELECT 'ROUTINE ' || p.oid::regprocedure::text FROM pg_proc p WHERE p.pronamespace = current_schema()::regnamespace \
                          AND p.prokind IN ('f', 'p') AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e') \
                          UNION ALL SELECT 'TYPE ' || quote_ident(t.typname) FROM pg_type t WHERE t.typnamespace = current_schema()::regnamespace \
                          AND t.typtype IN ('e', 'd', 'r') AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.objid = t.oid AND d.deptype = 'e')";
            for row in session.query(others).await? {
                let [Some(object)] = &row[..] else { continue };
                let (what, name) = object.split_once(' ').unwrap_or(("TYPE", object));
                statements.push(format!("DROP {what} IF EXISTS {name} CASCADE"));
            }
            return Ok(statements);
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
        statements.push("SET FOREIGN_KEY_CHECKS = 0".into());
        let tables = "SELECT table_type, table_name FROM information_schema.tables WHERE table_schema = DATABASE()";
        for row in session.query(tables).await? {
            let [Some(kind), Some(name)] = &row[..] else { continue };
            let what = match kind.as_str() {
                "VIEW" => "VIEW",
                "SEQUENCE" => "SEQUENCE",
                _ => "TABLE",
            };
            if *name != own {
                statements.push(format!("DROP {what} IF EXISTS {}", ident(dialect, name)));
            }
        }
        let routines =
            "SELECT routine_type, routine_name FROM information_schema.routines WHERE routine_schema = DATABASE()";
        for row in session.query(routines).await? {
            if let [Some(kind), Some(name)] = &row[..] {
                statements.push(format!("DROP {kind} IF EXISTS {}", ident(dialect, name)));
            }
        }
        Ok(statements)
    }
}

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
