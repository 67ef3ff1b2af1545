use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::driver::{Driver, Failed, after};
use super::{Migrator, Run};
use crate::history::{Noted, Record, RowState};
use crate::machine::{Command, Input, Key, SWITCHED, Unit};
use crate::script::Phase;
use crate::{DbError, DbErrorKind, MigrateError};

/// How long a session that was just closed may still hold the lock, as the server sees its end a moment later.
pub(super) const ENDING: Duration = Duration::from_secs(1);
const LOOK: Duration = Duration::from_millis(20);

impl Migrator {
    /// Adds a row with the script's present checksum, under the lock.
    pub(super) async fn accept(&self, unit: &Unit, note: &str) -> Result<(), MigrateError> {
        let run = Run::to(Phase::Expand);
        let units: Arc<[Unit]> = Arc::new([unit.clone()]);
        let mut driver = Driver::new(self, &run, units, self.policy.deadline);
        let limit = self.policy.deadline;
        let accepted = tokio::time::timeout_at(after(limit), driver.accept(unit, note)).await;
        match accepted {
            Ok(Ok(Some(seen))) => Err(MigrateError::Fenced { seen }),
            Ok(Ok(None)) => Ok(()),
            Ok(Err(failed)) if failed.error.kind == DbErrorKind::LockTimeout => {
                Err(MigrateError::Locked { holder: None, waited: ENDING })
            }
            Ok(Err(failed)) => Err(MigrateError::Database { during: "accept a checksum".into(), error: failed.error }),
            Err(_) => Err(MigrateError::Deadline { limit, during: "accept a checksum".into(), unknown: true }),
        }
    }
}

impl Driver<'_> {
    /// Takes the lock, or fails, and raises the epoch; tells a newer run.
    pub(super) async fn take_lock(&mut self) -> Result<Option<u64>, Failed> {
        for command in
            [Command::Connect, Command::Identify, Command::TryLock, Command::CreateTables, Command::BumpEpoch]
        {
            let until = Instant::now() + ENDING;
            loop {
                match self.run_command(&command).await? {
                    Input::LockHeld { .. } if Instant::now() < until => sleep(LOOK).await,
                    Input::LockHeld { .. } => {
                        return Err(DbError::new(DbErrorKind::LockTimeout, "another migrator has the lock").into());
                    }
                    Input::Fenced { seen } => return Ok(Some(seen)),
                    _ => break,
                }
            }
        }
        Ok(None)
    }

    /// Writes a row as the latest run, and closes the session; tells a newer run.
    pub(super) async fn write_fenced(&mut self, row: &str) -> Result<Option<u64>, Failed> {
        let written = self.fenced(row).await?;
        self.session = None;
        match written {
            Input::Fenced { seen } => Ok(Some(seen)),
            Input::Switched => Err(DbError::new(DbErrorKind::Refused, SWITCHED).into()),
            _ => Ok(None),
        }
    }

    async fn accept(&mut self, unit: &Unit, note: &str) -> Result<Option<u64>, Failed> {
        if let Some(seen) = self.take_lock().await? {
            return Ok(Some(seen));
        }
        let row = self.writer().record(unit, &Record::Took(Duration::ZERO), RowState::Success, Some(note));
        self.write_fenced(&row).await
    }

    /// Keeps that a phase without scripts was reached.
    pub(super) async fn mark(&mut self, key: &Key) -> Result<Option<u64>, Failed> {
        if let Some(seen) = self.take_lock().await? {
            return Ok(Some(seen));
        }
        let row =
            self.writer().note(&Noted { kind: "S", ..Noted::of(key, RowState::Success, "reached: it has no scripts") });
        self.write_fenced(&row).await
    }
}
