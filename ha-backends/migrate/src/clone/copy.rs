//! Copying every table into the clone: a file of SQLite by `VACUUM INTO`, the others by the client programs of their product.

use std::process::{Output, Stdio};

use ha_core::backend::{ErrorKind, LeaseEpoch, StepError};
use ha_core::state::CloneStage;
use tokio::process::Command;

use super::{Cloning, Stage};
use crate::connect::UrlConnect;
use crate::{Connect, Dialect};

/// What the sessions of a copy call themselves.
pub(super) const APPLICATION: &str = "ha-clone";
/// What a file of SQLite may have beside it, and the copy that is not whole yet.
pub(super) const RESTS: [&str; 7] =
    ["-wal", "-shm", "-journal", PART, ".ha-part-wal", ".ha-part-shm", ".ha-part-journal"];
#[cfg_attr(not(feature = "sqlite"), allow(dead_code, reason = "its copy is made in a file beside it"))]
const PART: &str = ".ha-part";

impl Cloning {
    pub(super) async fn copy(&self, epoch: LeaseEpoch) -> Result<(), StepError> {
        match self.dialect() {
            Dialect::Sqlite => self.copy_file(epoch).await,
            Dialect::Postgres => self.pipe(self.pg_dump().await?, self.pg_restore().await?, epoch).await,
            Dialect::MariaDb => self.pipe_mysql("mariadb-dump", "mariadb", epoch).await,
            Dialect::Db2 | Dialect::H2 | Dialect::MySql | Dialect::Oracle | Dialect::SqlServer => {
                self.pipe_mysql("mysqldump", "mysql", epoch).await
            }
        }
    }

    /// Copies into a file beside it, which takes its place when it is whole.
    #[cfg(feature = "sqlite")]
    async fn copy_file(&self, epoch: LeaseEpoch) -> Result<(), StepError> {
        use crate::SessionRole;

        let Some(path) = self.clone.file() else { return Err(self.error(ErrorKind::Conflict, "it is no file")) };
        let part = format!("{path}{PART}");
        let failed = |error: crate::DbError| self.failed("the copy", &error);
        let mut source = self.open(&self.source).await?;
        source
            .execute(&format!("VACUUM INTO {}", crate::history::text(Dialect::Sqlite, &part)))
            .await
            .map_err(failed)?;
        let mode = source.query("PRAGMA journal_mode").await.map_err(failed)?;
        drop(source);
        let mut copy =
            crate::Sqlite::new(&part).with_create(false).open(SessionRole::Migrator).await.map_err(failed)?;
        if mode.first().and_then(|row| row.first()?.as_deref()) == Some("wal") {
            copy.query("PRAGMA journal_mode = WAL").await.map_err(failed)?;
        }
        self.thaw_copy(&mut *copy).await.map_err(failed)?;
        Stage::of(self).set_in(&mut *copy, CloneStage::Copied).await.map_err(failed)?;
        // The last session writes what waits into the file, and removes what is beside it.
        drop(copy);
        self.fence(epoch).await?;
        let moved = tokio::fs::rename(&part, path).await;
        moved.map_err(|error| self.error(ErrorKind::Conflict, format!("the copy is not put in place: {error}")))
    }

    #[cfg(not(feature = "sqlite"))]
    async fn copy_file(&self, _: LeaseEpoch) -> Result<(), StepError> {
        Err(self.error(ErrorKind::Unsupported, "no driver for SQLite is built in").without_effect())
    }

    /// What came with the copy and refuses writes is taken out of it.
    async fn thaw_copy(&self, session: &mut dyn crate::Session) -> Result<(), crate::DbError> {
        let tables = super::Freeze::read(session, self.dialect(), &self.own()).await?;
        for statement in tables.statements(false) {
            session.execute(&statement.sql).await?;
        }
        Ok(())
    }

    /// A program of the product, for one of the databases.
    fn tool(&self, name: &str) -> Command {
        let mut command = match &self.tools {
            Some(folder) => Command::new(folder.join(name)),
            None => Command::new(name),
        };
        command.kill_on_drop(true).stdin(Stdio::null()).stderr(Stdio::piped());
        command
    }

    async fn pg_dump(&self) -> Result<Command, StepError> {
        let mut command = self.tool("pg_dump");
        command.arg("--format=custom").stdout(Stdio::piped());
        self.as_pg(command, &self.source).await
    }

    async fn pg_restore(&self) -> Result<Command, StepError> {
        let mut command = self.tool("pg_restore");
        command.args(["--exit-on-error", "--single-transaction"]).stdout(Stdio::null());
        self.as_pg(command, &self.clone).await
    }

    /// Says which database: as arguments, and the password where no other user reads it.
    async fn as_pg(&self, mut command: Command, of: &UrlConnect) -> Result<Command, StepError> {
        let reach = of.reach().await.map_err(|error| self.failed("the password", &error).without_effect())?;
        command.arg(format!("--host={}", reach.host)).arg(format!("--port={}", reach.port));
        command
            .arg(format!("--username={}", reach.user))
            .arg(format!("--dbname={}", reach.database))
            .arg("--no-password");
        command.env("PGAPPNAME", APPLICATION);
        if let Some(password) = &reach.password {
            command.env("PGPASSWORD", password.expose());
        }
        if let Some(mode) = reach.tls {
            command.env("PGSSLMODE", mode);
        }
        if let Some(authority) = &reach.authority {
            command.env("PGSSLROOTCERT", authority);
        }
        Ok(command)
    }

    async fn pipe_mysql(&self, dump: &str, restore: &str, epoch: LeaseEpoch) -> Result<(), StepError> {
        let mut dump = self.as_mysql(self.tool(dump), &self.source).await?;
        dump.args(["--single-transaction", "--quick", "--routines", "--triggers", "--hex-blob"]).stdout(Stdio::piped());
        let mut restore = self.as_mysql(self.tool(restore), &self.clone).await?;
        restore.stdout(Stdio::null());
        dump.arg(self.database_of(&self.source).await?);
        restore.arg(self.database_of(&self.clone).await?);
        self.pipe(dump, restore, epoch).await
    }

    async fn database_of(&self, of: &UrlConnect) -> Result<String, StepError> {
        Ok(of.reach().await.map_err(|error| self.failed("the password", &error).without_effect())?.database)
    }

    async fn as_mysql(&self, mut command: Command, of: &UrlConnect) -> Result<Command, StepError> {
        let reach = of.reach().await.map_err(|error| self.failed("the password", &error).without_effect())?;
        // First, or it is not heeded: what the account's own files say is not asked for.
        command.arg("--no-defaults").arg("--protocol=tcp");
        command.arg(format!("--host={}", reach.host)).arg(format!("--port={}", reach.port));
        command.arg(format!("--user={}", reach.user));
        if let Some(password) = &reach.password {
            command.env("MYSQL_PWD", password.expose());
        }
        if let Some(authority) = &reach.authority {
            command.arg(format!("--ssl-ca={}", authority.display()));
        }
        Ok(command)
    }

    /// Lets one program read what the other writes, and waits for both.
    async fn pipe(&self, mut dump: Command, mut restore: Command, epoch: LeaseEpoch) -> Result<(), StepError> {
        let mut dumping = dump.spawn().map_err(|error| self.unstarted(&dump, &error))?;
        let out = dumping.stdout.take().and_then(|out| TryInto::<Stdio>::try_into(out).ok());
        let Some(out) = out else { return Err(self.error(ErrorKind::Conflict, "the dump has no output")) };
        let restoring = restore.stdin(out).spawn().map_err(|error| self.unstarted(&restore, &error))?;
        // The end that this process holds would keep the reader waiting.
        restore.stdin(Stdio::null());
        let (dumped, restored) = tokio::join!(dumping.wait_with_output(), restoring.wait_with_output());
        self.ended(&dump, dumped)?;
        self.ended(&restore, restored)?;
        let failed = |error: crate::DbError| self.failed("the copy", &error);
        let mut clone = self.open(&self.clone).await?;
        self.thaw_copy(&mut *clone).await.map_err(failed)?;
        self.fence(epoch).await?;
        Stage::of(self).set_in(&mut *clone, CloneStage::Copied).await.map_err(failed)
    }

    fn unstarted(&self, command: &Command, error: &std::io::Error) -> StepError {
        let program = command.as_std().get_program().to_string_lossy();
        let what = format!("{program} cannot be started: {error}; install it, or name its folder as clone_tools");
        self.error(ErrorKind::Unsupported, what)
    }

    fn ended(&self, command: &Command, output: std::io::Result<Output>) -> Result<(), StepError> {
        let program = command.as_std().get_program().to_string_lossy();
        let output = output.map_err(|error| self.error(ErrorKind::Conflict, format!("{program}: {error}")))?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.trim();
        let skip = said.chars().count().saturating_sub(400);
        let tail: String = said.chars().skip(skip).collect();
        Err(self.error(ErrorKind::Conflict, format!("{program} ended with {}: {tail}", output.status)))
    }
}
