//! Copying every table into the clone: a file of SQLite by `VACUUM INTO`, the others by the client programs of their product.

use std::process::{Output, Stdio};

use ha_core::backend::{ErrorKind, LeaseEpoch, StepError};
use ha_core::state::CloneStage;
use tokio::process::Command;
use tokio::time::Instant;

use super::{Cloning, Stage};
use crate::connect::{UrlConnect, UrlError};
use crate::jdbc::Tls;
use crate::{Connect, Dialect};

/// What the sessions of a copy call themselves.
pub(super) const APPLICATION: &str = "ha-clone";
/// What a file of SQLite may have beside it, and the copy that is not whole yet.
pub(super) const RESTS: [&str; 7] =
    ["-wal", "-shm", "-journal", PART, ".ha-part-wal", ".ha-part-shm", ".ha-part-journal"];
const PART: &str = ".ha-part";

/// Tells whether a copy of a file was begun and has not taken its place.
pub(super) fn is_in_part(clone: &UrlConnect) -> bool {
    clone.file().is_some_and(|path| std::path::Path::new(&format!("{path}{PART}")).exists())
}

impl Cloning {
    pub(super) async fn copy(&self, epoch: LeaseEpoch, until: Instant) -> Result<(), StepError> {
        match self.dialect() {
            Dialect::Sqlite => self.copy_file(epoch, until).await,
            Dialect::Postgres => self.pipe(self.pg_dump().await?, self.pg_restore().await?, epoch, until).await,
            Dialect::MariaDb => self.pipe_mysql("mariadb-dump", "mariadb", epoch, until).await,
            Dialect::Db2 | Dialect::H2 | Dialect::MySql | Dialect::Oracle | Dialect::SqlServer => {
                self.pipe_mysql("mysqldump", "mysql", epoch, until).await
            }
        }
    }

    /// Copies into a file beside it, which takes its place when it is whole.
    #[cfg(feature = "sqlite")]
    async fn copy_file(&self, epoch: LeaseEpoch, until: Instant) -> Result<(), StepError> {
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
        self.thaw_copy(&mut *copy, until).await.map_err(failed)?;
        Stage::of(self).set_in(&mut *copy, CloneStage::Copied).await.map_err(failed)?;
        // The last session writes what waits into the file, and removes what is beside it.
        drop(copy);
        self.fence(epoch).await?;
        let moved = tokio::fs::rename(&part, path).await;
        moved.map_err(|error| self.error(ErrorKind::Conflict, format!("the copy is not put in place: {error}")))
    }

    #[cfg(not(feature = "sqlite"))]
    async fn copy_file(&self, _: LeaseEpoch, _: Instant) -> Result<(), StepError> {
        Err(self.error(ErrorKind::Unsupported, "no driver for SQLite is built in").without_effect())
    }

    /// What came with the copy and refuses writes is taken out of it. The session that brought it may end a moment later.
    async fn thaw_copy(&self, session: &mut dyn crate::Session, until: Instant) -> Result<(), crate::DbError> {
        let tables = super::Freeze::read(session, self.dialect(), &self.own()).await?;
        for statement in tables.statements(false) {
            super::retried(session, &statement.sql, until).await?;
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
        command.env(
            "PGSSLMODE",
            match reach.tls {
                Tls::Disable => "disable",
                Tls::Prefer => "prefer",
                Tls::Require => "require",
                Tls::VerifyCa => "verify-ca",
                Tls::VerifyFull => "verify-full",
            },
        );
        if let Some(authority) = &reach.authority {
            command.env("PGSSLROOTCERT", authority);
        }
        Ok(command)
    }

    async fn pipe_mysql(&self, dump: &str, restore: &str, epoch: LeaseEpoch, until: Instant) -> Result<(), StepError> {
        let mut dump = self.as_mysql(self.tool(dump), &self.source).await?;
        dump.args(["--single-transaction", "--quick", "--routines", "--triggers", "--hex-blob"]).stdout(Stdio::piped());
        let mut restore = self.as_mysql(self.tool(restore), &self.clone).await?;
        restore.stdout(Stdio::null());
        dump.arg(self.database_of(&self.source).await?);
        restore.arg(self.database_of(&self.clone).await?);
        self.pipe(dump, restore, epoch, until).await
    }

    async fn database_of(&self, of: &UrlConnect) -> Result<String, StepError> {
        Ok(of.reach().await.map_err(|error| self.failed("the password", &error).without_effect())?.database)
    }

    async fn as_mysql(&self, mut command: Command, of: &UrlConnect) -> Result<Command, StepError> {
        let reach = of.reach().await.map_err(|error| self.failed("the password", &error).without_effect())?;
        // First, or it is not heeded: what the account's own files say is not asked for.
        command.arg("--no-defaults");
        match &reach.socket {
            Some(socket) => command.arg("--protocol=socket").arg(format!("--socket={socket}")),
            None => command
                .arg("--protocol=tcp")
                .arg(format!("--host={}", reach.host))
                .arg(format!("--port={}", reach.port)),
        };
        command.arg(format!("--user={}", reach.user));
        if let Some(password) = &reach.password {
            command.env("MYSQL_PWD", password.expose());
        }
        let tls = mysql_tls(self.dialect(), reach.tls);
        command.args(tls.map_err(|what| self.error(ErrorKind::Unsupported, what))?);
        if let Some(authority) = &reach.authority {
            command.arg(format!("--ssl-ca={}", authority.display()));
        }
        Ok(command)
    }

    /// Lets one program read what the other writes, and waits for both.
    async fn pipe(
        &self,
        mut dump: Command,
        mut restore: Command,
        epoch: LeaseEpoch,
        until: Instant,
    ) -> Result<(), StepError> {
        let mut dumping = dump.spawn().map_err(|error| self.unstarted(&dump, &error))?;
        let out = dumping.stdout.take().and_then(|out| TryInto::<Stdio>::try_into(out).ok());
        let Some(out) = out else { return Err(self.error(ErrorKind::Conflict, "the dump has no output")) };
        let restoring = restore.stdin(out).spawn().map_err(|error| self.unstarted(&restore, &error))?;
        // The end that this process holds would keep the reader waiting.
        restore.stdin(Stdio::null());
        let (dumped, restored) = tokio::join!(dumping.wait_with_output(), restoring.wait_with_output());
        // A restore that fails ends the dump too, and the dump's complaint is of that.
        match (self.ended(&restore, restored), self.ended(&dump, dumped)) {
            (Ok(()), Ok(())) => {}
            (Err(error), Ok(())) | (Ok(()), Err(error)) => return Err(error),
            (Err(restored), Err(dumped)) => {
                let what = format!("{restored}; and {dumped}");
                return Err(self.error(restored.kind(), what).caused_by(restored));
            }
        }
        let failed = |error: crate::DbError| self.failed("the copy", &error);
        let mut clone = self.open(&self.clone).await?;
        self.thaw_copy(&mut *clone, until).await.map_err(failed)?;
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

/// Refuses a URL that asks more of TLS than the programs that copy can be made to do.
pub(super) fn can_copy(of: &UrlConnect) -> Result<(), UrlError> {
    match of.dialect() {
        Dialect::Postgres | Dialect::Sqlite => Ok(()),
        dialect => mysql_tls(dialect, of.tls_asked()).map(drop).map_err(|what| UrlError::Incomplete(what.into())),
    }
}

/// Says of TLS to the programs of MariaDB or MySQL what the URL says of it.
fn mysql_tls(dialect: Dialect, tls: Tls) -> Result<&'static [&'static str], &'static str> {
    Ok(match (dialect, tls) {
        (Dialect::MariaDb, Tls::Disable) => &["--skip-ssl"],
        (_, Tls::Disable | Tls::Prefer) => &[],
        // They go on in clear text where the server offers no TLS (measured on 10.11), unless they verify its certificate.
        (Dialect::MariaDb, Tls::Require) => {
            return Err(
                "the programs that copy a MariaDB cannot be made to insist on TLS without a verified certificate: give \
                        sslMode=verify-full and serverSslCert, or sslMode=disable",
            );
        }
        // They verify the name too, as the driver does here.
        (Dialect::MariaDb, Tls::VerifyCa | Tls::VerifyFull) => &["--ssl", "--ssl-verify-server-cert"],
        (_, Tls::Require) => &["--ssl-mode=REQUIRED"],
        (_, Tls::VerifyCa) => &["--ssl-mode=VERIFY_CA"],
        (_, Tls::VerifyFull) => &["--ssl-mode=VERIFY_IDENTITY"],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_never_less_careful_of_tls_than_the_url() {
        for (dialect, tls, expected) in [
            (Dialect::MariaDb, Tls::Disable, Some("--skip-ssl")),
            (Dialect::MariaDb, Tls::Require, None),
            (Dialect::MariaDb, Tls::VerifyCa, Some("--ssl --ssl-verify-server-cert")),
            (Dialect::MariaDb, Tls::VerifyFull, Some("--ssl --ssl-verify-server-cert")),
            (Dialect::MySql, Tls::Prefer, Some("")),
            (Dialect::MySql, Tls::Require, Some("--ssl-mode=REQUIRED")),
            (Dialect::MySql, Tls::VerifyCa, Some("--ssl-mode=VERIFY_CA")),
            (Dialect::MySql, Tls::VerifyFull, Some("--ssl-mode=VERIFY_IDENTITY")),
        ] {
            let words = mysql_tls(dialect, tls).ok().map(|words| words.join(" "));
            assert_eq!(words.as_deref(), expected, "{dialect} {tls:?}");
        }
    }
}
