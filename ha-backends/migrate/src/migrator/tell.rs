//! Tells observers and the trace what a driver does.

use std::time::Duration;

use super::Event;
use super::driver::Driver;
use crate::DbError;
use crate::machine::{At, Command, Input};

impl Driver<'_> {
    pub(super) fn tell_begin(&self, command: &Command) {
        let began = |at: At| {
            let unit = self.units.get(at.unit)?;
            let line = unit.steps.get(at.step)?.line;
            Some(Event::Began { script: unit.script.clone(), statement: at.step + 1, line })
        };
        let event = match command {
            Command::Run(at) | Command::RunWithRow(at) => began(*at),
            Command::RunScript { unit, .. } => self.units.get(*unit).map(|unit| Event::Began {
                script: unit.script.clone(),
                statement: 0,
                line: unit.steps.first().map_or(0, |step| step.line),
            }),
            Command::LookAtOrphan(_)
            | Command::Connect
            | Command::Identify
            | Command::TryLock
            | Command::Terminate(_)
            | Command::CreateTables
            | Command::BumpEpoch
            | Command::ReadHistory
            | Command::LookForDrift
            | Command::Import(_)
            | Command::LookAtOldSessions
            | Command::LookAtBlockers { .. }
            | Command::Fingerprint(_)
            | Command::LookAtIndex(_)
            | Command::DropIndex(_)
            | Command::LookAtEngines(_)
            | Command::Begin { .. }
            | Command::Finish { .. }
            | Command::Withdraw { .. }
            | Command::Record { .. }
            | Command::Abort { .. }
            | Command::Batch { .. }
            | Command::CountLeft { .. }
            | Command::Rewind { .. } => None,
        };
        if let Some(event) = event {
            self.migrator.tell(&event);
        }
    }

    pub(super) fn tell_end(&self, command: &Command, input: &Input, took: Duration) {
        let Input::Done { rows } = input else { return };
        let script = |unit: usize| self.units.get(unit).map(|unit| unit.script.clone()).unwrap_or_default();
        match command {
            Command::Run(at) | Command::RunWithRow(at) => {
                tracing::debug!(
                    script = script(at.unit),
                    statement = at.step + 1,
                    run_ms = millis(took),
                    rows,
                    "statement ran"
                );
                self.migrator.tell(&Event::Ended {
                    script: script(at.unit),
                    statement: at.step + 1,
                    took,
                    rows: *rows,
                });
            }
            Command::RunScript { unit, .. } => {
                tracing::debug!(script = script(*unit), run_ms = millis(took), "script applied");
                self.migrator.tell(&Event::Ended { script: script(*unit), statement: 0, took, rows: *rows });
                self.migrator.tell(&Event::Applied { script: script(*unit) });
            }
            Command::Record { unit, .. } => {
                tracing::debug!(script = script(*unit), run_ms = millis(took), "script applied");
                self.migrator.tell(&Event::Applied { script: script(*unit) });
            }
            Command::Finish { at, how: crate::machine::How::Found, .. } => {
                tracing::warn!(script = script(at.unit), statement = at.step + 1, "statement found done");
                let (script, statement) = (script(at.unit), at.step + 1);
                self.migrator.tell(&Event::Recovering { script, statement, found: "done".into() });
            }
            Command::Connect
            | Command::Identify
            | Command::TryLock
            | Command::Terminate(_)
            | Command::CreateTables
            | Command::BumpEpoch
            | Command::ReadHistory
            | Command::LookForDrift
            | Command::Import(_)
            | Command::LookAtOrphan(_)
            | Command::LookAtOldSessions
            | Command::LookAtBlockers { .. }
            | Command::Fingerprint(_)
            | Command::LookAtIndex(_)
            | Command::DropIndex(_)
            | Command::LookAtEngines(_)
            | Command::Begin { .. }
            | Command::Finish { .. }
            | Command::Withdraw { .. }
            | Command::Abort { .. }
            | Command::Batch { .. }
            | Command::CountLeft { .. }
            | Command::Rewind { .. } => {}
        }
    }

    pub(super) fn tell_failure(&self, command: &Command, error: &DbError) {
        let (unit, statement) = match command {
            Command::Run(at) | Command::RunWithRow(at) => (at.unit, at.step + 1),
            Command::RunScript { unit, .. } | Command::Batch { unit, .. } => (*unit, 0),
            Command::Connect
            | Command::Identify
            | Command::TryLock
            | Command::Terminate(_)
            | Command::CreateTables
            | Command::BumpEpoch
            | Command::ReadHistory
            | Command::LookForDrift
            | Command::Import(_)
            | Command::LookAtOrphan(_)
            | Command::LookAtOldSessions
            | Command::LookAtBlockers { .. }
            | Command::Fingerprint(_)
            | Command::LookAtIndex(_)
            | Command::DropIndex(_)
            | Command::LookAtEngines(_)
            | Command::Begin { .. }
            | Command::Finish { .. }
            | Command::Withdraw { .. }
            | Command::Record { .. }
            | Command::Abort { .. }
            | Command::CountLeft { .. }
            | Command::Rewind { .. } => return,
        };
        let script = self.units.get(unit).map(|unit| unit.script.clone()).unwrap_or_default();
        self.migrator.tell(&Event::Failed { script, statement, error: error.clone() });
    }
}

fn millis(took: Duration) -> u64 {
    u64::try_from(took.as_millis()).unwrap_or(u64::MAX)
}
