use std::sync::Arc;

use tokio::time::Instant;

use super::driver::Driver;
use super::{Migrator, Run};
use crate::history::RowState;
use crate::machine::{Input, Unit};
use crate::script::Phase;
use crate::{DbErrorKind, MigrateError};

impl Migrator {
    /// Adds a row with the script's present checksum, under the lock.
    pub(super) async fn accept(&self, unit: &Unit, note: &str) -> Result<(), MigrateError> {
        let run = Run::to(Phase::Expand);
        let units: Arc<[Unit]> = Arc::new([unit.clone()]);
        let mut driver = Driver::new(self, &run, units, self.policy.deadline);
        let limit = self.policy.deadline;
        let accepted = tokio::time::timeout_at(Instant::now() + limit, driver.accept(unit, note)).await;
        match accepted {
            Ok(Ok(Input::Fenced { seen })) => Err(MigrateError::Fenced { seen }),
            Ok(Ok(_)) => Ok(()),
            Ok(Err(failed)) if failed.error.kind == DbErrorKind::LockTimeout => {
                Err(MigrateError::Locked { holder: None, waited: std::time::Duration::ZERO })
            }
            Ok(Err(failed)) => Err(MigrateError::Database { during: "accept a checksum".into(), error: failed.error }),
            Err(_) => Err(MigrateError::Deadline { limit, during: "accept a checksum".into(), unknown: true }),
        }
    }
}

impl Driver<'_> {
    async fn accept(&mut self, unit: &Unit, note: &str) -> Result<Input, super::driver::Failed> {
        use crate::machine::Command;
        for command in
            [Command::Connect, Command::Identify, Command::TryLock, Command::CreateTables, Command::BumpEpoch]
        {
            match self.run_command(&command).await? {
                Input::LockHeld { .. } => {
                    return Err(crate::DbError::new(DbErrorKind::LockTimeout, "another migrator has the lock").into());
                }
                stopped @ Input::Fenced { .. } => return Ok(stopped),
                _ => {}
            }
        }
        let row = self.writer().record(unit, "0", RowState::Success, Some(note));
        self.session()?.execute(&row).await?;
        self.session = None;
        Ok(Input::Done { rows: 1 })
    }
}
