//! Tries again what others were in the way of, and gives up with their names.

use std::time::Duration;

use super::apply::{Applying, Stage};
use super::{At, Command, Machine, State};
use crate::error::FailedStatement;
use crate::migrator::Blocker;
use crate::{DbError, DbErrorKind, Dialect, MigrateError};

impl Machine {
    pub(super) fn may_retry(&self, now: Duration, on: &Applying) -> bool {
        now.saturating_sub(on.since) < self.policy.retry_deadline
    }

    /// Tries again after a pause, or gives up at the deadline and says who was in the way.
    pub(super) fn retry(&mut self, now: Duration, mut on: Applying, error: DbError) {
        if !self.may_retry(now, &on) {
            self.blame(on, error);
            return;
        }
        let at = on.at();
        self.summary.retries += 1;
        on.attempts += 1;
        let until = now + self.backoff.next();
        let command = match on.stage {
            Stage::Script { whole } => {
                let postgres = self.can.as_ref().is_some_and(|can| can.dialect == Dialect::Postgres);
                if postgres {
                    on.stage = Stage::Blockers;
                    Command::LookAtBlockers { unit: on.unit }
                } else {
                    Command::RunScript { unit: on.unit, whole }
                }
            }
            Stage::WithRow => Command::RunWithRow(at),
            Stage::Plain => Command::Run(at),
            Stage::Replay => Command::Run(At { unit: on.unit, step: on.replay }),
            Stage::Blockers
            | Stage::Blame(_)
            | Stage::Engines
            | Stage::Before
            | Stage::DropLeftover
            | Stage::Begin
            | Stage::Run
            | Stage::After
            | Stage::AfterFailure(_)
            | Stage::DropBroken(_)
            | Stage::Finish
            | Stage::Withdraw(_)
            | Stage::Record
            | Stage::Batch { .. }
            | Stage::Count { .. }
            | Stage::Rewind => {
                let index = self.step(at).is_some_and(|step| step.concurrent_index().is_some());
                let names = self.step(at).is_some_and(|step| step.observable().next().is_some());
                if index {
                    on.stage = Stage::Before;
                    Command::LookAtIndex(at)
                } else if names {
                    on.stage = Stage::Before;
                    Command::Fingerprint(at)
                } else {
                    on.stage = Stage::Run;
                    Command::Run(at)
                }
            }
        };
        self.go_after(until, State::Applying(on), command);
    }

    /// Asks who was in the way of a lock that was not granted, then gives up.
    pub(super) fn blame(&mut self, mut on: Applying, error: DbError) {
        if error.kind == DbErrorKind::LockTimeout {
            let unit = on.unit;
            on.stage = Stage::Blame(error);
            self.go(State::Applying(on), Command::LookAtBlockers { unit });
        } else {
            self.give_up(&on, error, Vec::new());
        }
    }

    pub(super) fn give_up(&mut self, on: &Applying, error: DbError, blockers: Vec<Blocker>) {
        let Some(unit) = self.units.get(on.unit) else { return };
        let dialect = self.can.as_ref().map(|can| can.dialect);
        let refused = matches!(error.kind, DbErrorKind::Refused | DbErrorKind::Missing);
        let step = unit.steps.get(on.step).filter(|_| refused);
        let foreign = step.zip(dialect).and_then(|(step, dialect)| crate::lint::foreign(dialect, &step.text));
        self.fail(MigrateError::Statement(Box::new(FailedStatement {
            script: unit.script.clone(),
            statement: on.step + 1,
            line: unit.steps.get(on.step).map_or(0, |step| step.line),
            error,
            done: if unit.transactional || unit.backfill.is_some() { 0 } else { on.step },
            of: unit.steps.len(),
            whole: unit.transactional,
            batch: unit.backfill.is_some(),
            foreign: foreign.map(Into::into),
            attempts: on.attempts,
            blockers,
        })));
    }

    /// Worth another try: the transaction was rolled back because of others.
    pub(super) fn is_transient(&self, error: &DbError) -> bool {
        match error.kind {
            DbErrorKind::LockTimeout | DbErrorKind::Deadlock => true,
            DbErrorKind::Cancelled
            | DbErrorKind::ConnectionLost
            | DbErrorKind::Unreachable
            | DbErrorKind::Denied
            | DbErrorKind::Full
            | DbErrorKind::Duplicate
            | DbErrorKind::Missing
            | DbErrorKind::OnlineRefused
            | DbErrorKind::ReadOnly
            | DbErrorKind::Refused => false,
        }
    }
}
