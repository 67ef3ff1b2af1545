//! Runs the units one after another, each statement in its manner.

use std::time::Duration;

use super::judge::{Verdict, judge};
use super::recover::evidence;
use super::{At, Command, DirtyReason, How, IndexState, Input, Machine, Manner, Print, State};
use crate::migrator::Blocker;
use crate::{DbError, DbErrorKind, Dialect, Kind};

/// How far a unit is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Applying {
    pub(super) unit: usize,
    pub(super) step: usize,
    pub(super) stage: Stage,
    pub(super) attempts: u32,
    /// When the present statement was tried first.
    pub(super) since: Duration,
    /// Settings of the done part, to be made again.
    pub(super) replay: usize,
    pre: Vec<Print>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Stage {
    /// Waits outside of the queue until no old transaction holds the tables.
    Blockers,
    /// A failed attempt is given up: who was in the way?
    Blame(DbError),
    Script {
        whole: bool,
    },
    Replay,
    Engines,
    WithRow,
    Plain,
    /// What is there before the statement.
    Before,
    DropLeftover,
    Begin,
    Run,
    /// What is there after it.
    After,
    /// What is there after it failed.
    AfterFailure(DbError),
    DropBroken(DbError),
    Finish,
    Withdraw(DbError),
    Record,
    Batch {
        size: u64,
        pass: u32,
    },
    Count {
        pass: u32,
    },
    Rewind,
}

impl Applying {
    pub(super) fn at(&self) -> At {
        At { unit: self.unit, step: self.step }
    }
}

impl Machine {
    pub(super) fn begin_unit(&mut self, now: Duration, index: usize) {
        let Some(unit) = self.units.get(index) else { return };
        let on =
            |step, stage| Applying { unit: index, step, stage, attempts: 1, since: now, replay: 0, pre: Vec::new() };
        let looks = self.can.as_ref().is_some_and(|can| can.dialect == Dialect::Postgres);
        if unit.backfill.is_some() {
            self.begin_backfill(on(0, Stage::Rewind));
        } else if unit.transactional {
            if looks && !unit.locked_tables().is_empty() {
                self.go(State::Applying(on(0, Stage::Blockers)), Command::LookAtBlockers { unit: index });
            } else {
                self.run_script(on(0, Stage::Rewind), looks);
            }
        } else {
            let done = self.history.done_prefix(&unit.key).min(unit.steps.len());
            self.replay(now, on(done, Stage::Replay));
        }
    }

    pub(super) fn on_applying(&mut self, now: Duration, mut on: Applying, command: Command, input: Input) {
        let at = on.at();
        match (on.stage.clone(), input) {
            (Stage::Blockers, Input::Sessions(blockers)) => self.on_blockers(now, on, blockers),
            (Stage::Blame(error), Input::Sessions(blockers)) => self.give_up(&on, error, blockers),
            // Whoever was in the way cannot be told: the failure itself is what counts.
            (Stage::Blame(error), Input::Failed { .. }) => self.give_up(&on, error, Vec::new()),
            (Stage::Script { .. } | Stage::Record, Input::Done { rows }) => {
                self.summary.rows += rows;
                self.unit_done(now, on.unit);
            }
            (Stage::Script { .. } | Stage::WithRow | Stage::Batch { .. } | Stage::Record, Input::Raced) => {
                self.read_history()
            }
            (Stage::Script { whole }, Input::Failed { error, step }) => {
                on.step = step.unwrap_or(on.step);
                if self.is_transient(&error) {
                    self.retry(now, on, error);
                } else if whole {
                    // One message does not say which statement failed; it was rolled back as a whole.
                    self.run_script(on, false);
                } else {
                    self.give_up(&on, error, Vec::new());
                }
            }
            (Stage::Replay, Input::Done { .. }) => {
                on.replay += 1;
                self.replay(now, on);
            }
            (Stage::Engines, Input::Transactional(true)) => {
                on.stage = Stage::WithRow;
                self.go(State::Applying(on), Command::RunWithRow(at));
            }
            (Stage::Engines, Input::Transactional(false)) => self.begin_step(on, Vec::new()),
            (Stage::WithRow | Stage::Finish, Input::Done { rows }) => {
                self.summary.rows += rows;
                self.next_step(now, on);
            }
            (Stage::Plain, Input::Done { .. }) => self.next_step(now, on),
            (Stage::WithRow | Stage::Plain | Stage::Replay, Input::Failed { error, .. }) => {
                if self.is_transient(&error) {
                    self.retry(now, on, error)
                } else {
                    self.give_up(&on, error, Vec::new())
                }
            }
            (Stage::Before, Input::Prints(prints)) => self.begin_step(on, prints),
            (Stage::Before, Input::Index(IndexState::Invalid)) => {
                on.stage = Stage::DropLeftover;
                self.go(State::Applying(on), Command::DropIndex(at));
            }
            (Stage::Before, Input::Index(IndexState::Building)) => {
                let error = DbError::new(DbErrorKind::LockTimeout, "another session builds this index");
                self.retry(now, on, error);
            }
            (Stage::Before, Input::Index(IndexState::Absent | IndexState::Valid)) => self.begin_step(on, Vec::new()),
            (Stage::DropLeftover, Input::Done { .. }) => {
                self.summary.indexes_dropped += 1;
                on.stage = Stage::Before;
                self.go(State::Applying(on), Command::LookAtIndex(at));
            }
            (Stage::Begin, Input::Done { .. }) => {
                self.summary.last = Some(at);
                on.stage = Stage::Run;
                self.go(State::Applying(on), Command::Run(at));
            }
            (Stage::Run, Input::Done { rows }) => {
                self.summary.rows += rows;
                self.look_after(now, on, Stage::After);
            }
            (Stage::Run, Input::Failed { error, .. }) => self.look_after(now, on, Stage::AfterFailure(error)),
            (Stage::After, Input::Prints(post)) => self.finish(on, post),
            (Stage::After, Input::Index(IndexState::Valid)) => self.finish(on, Vec::new()),
            (Stage::After, Input::Index(IndexState::Absent | IndexState::Invalid | IndexState::Building)) => {
                let error = DbError::new(DbErrorKind::Refused, "the index is not valid after it was built");
                on.stage = Stage::DropBroken(error);
                self.go(State::Applying(on), Command::DropIndex(at));
            }
            (Stage::AfterFailure(error), Input::Prints(post)) => self.after_failure(now, on, error, &post),
            (Stage::AfterFailure(error), Input::Index(IndexState::Invalid)) => {
                on.stage = Stage::DropBroken(error);
                self.go(State::Applying(on), Command::DropIndex(at));
            }
            (
                Stage::AfterFailure(error),
                Input::Index(IndexState::Absent | IndexState::Valid | IndexState::Building),
            ) => self.not_applied(now, on, error),
            (Stage::DropBroken(error), Input::Done { .. }) => {
                self.summary.indexes_dropped += 1;
                self.not_applied(now, on, error);
            }
            (Stage::DropLeftover, Input::Failed { error, .. }) if self.is_transient(&error) => {
                on.stage = Stage::Before;
                self.retry(now, on, error);
            }
            // It stays, invalid and journaled: the next run drops it.
            (Stage::DropBroken(error), Input::Failed { .. }) => self.give_up(&on, error, Vec::new()),
            (Stage::Withdraw(error), Input::Done { .. }) => self.blame(on, error),
            (stage @ (Stage::Batch { .. } | Stage::Count { .. } | Stage::Rewind), input) => {
                self.on_backfill(now, on, stage, command, input)
            }
            (Stage::Before | Stage::After | Stage::AfterFailure(_) | Stage::Engines, Input::Failed { error, .. })
                if self.is_transient(&error) && self.may_retry(now, &on) =>
            {
                // Only looked at: the same again.
                self.summary.retries += 1;
                let pause = self.backoff.next();
                self.go_after(now + pause, State::Applying(on), command);
            }
            (
                Stage::Blockers
                | Stage::Blame(_)
                | Stage::Script { .. }
                | Stage::Replay
                | Stage::Engines
                | Stage::WithRow
                | Stage::Plain
                | Stage::Before
                | Stage::DropLeftover
                | Stage::Begin
                | Stage::Run
                | Stage::After
                | Stage::AfterFailure(_)
                | Stage::DropBroken(_)
                | Stage::Finish
                | Stage::Withdraw(_)
                | Stage::Record,
                other,
            ) => self.unexpected(command, other),
        }
    }

    /// The settings of the part that is done are the session's no more: they are made again, then the unit goes on.
    fn replay(&mut self, now: Duration, mut on: Applying) {
        let Some(unit) = self.units.get(on.unit) else { return };
        let plain = |step: usize| unit.steps.get(step).is_some_and(|step| step.class.kind == Kind::Setting);
        while on.replay < on.step && !plain(on.replay) {
            on.replay += 1;
        }
        if on.replay < on.step {
            let at = At { unit: on.unit, step: on.replay };
            self.go(State::Applying(on), Command::Run(at));
        } else {
            self.step_now(now, on);
        }
    }

    fn next_step(&mut self, now: Duration, mut on: Applying) {
        on.step += 1;
        on.attempts = 1;
        on.since = now;
        on.pre = Vec::new();
        self.backoff.reset();
        self.step_now(now, on);
    }

    /// Runs the statement that is next, or records the unit.
    fn step_now(&mut self, now: Duration, mut on: Applying) {
        let at = on.at();
        let Some(step) = self.step(at) else {
            self.record(now, on);
            return;
        };
        let (stage, command) = match step.manner {
            Manner::Plain => (Stage::Plain, Command::Run(at)),
            Manner::WithRow | Manner::InScript => (Stage::WithRow, Command::RunWithRow(at)),
            Manner::AsEngine => (Stage::Engines, Command::LookAtEngines(at)),
            Manner::Between if step.concurrent_index().is_some() => (Stage::Before, Command::LookAtIndex(at)),
            Manner::Between if step.observable().next().is_some() => (Stage::Before, Command::Fingerprint(at)),
            Manner::Between => {
                self.begin_step(on, Vec::new());
                return;
            }
        };
        on.stage = stage;
        self.go(State::Applying(on), command);
    }

    pub(super) fn record(&mut self, now: Duration, mut on: Applying) {
        let command = Command::Record { unit: on.unit, took: now.saturating_sub(self.unit_began) };
        on.stage = Stage::Record;
        self.go(State::Applying(on), command);
    }

    fn begin_step(&mut self, mut on: Applying, pre: Vec<Print>) {
        let at = on.at();
        on.stage = Stage::Begin;
        on.pre = pre.clone();
        self.go(State::Applying(on), Command::Begin { at, pre });
    }

    fn finish(&mut self, mut on: Applying, post: Vec<Print>) {
        let at = on.at();
        on.stage = Stage::Finish;
        self.go(State::Applying(on), Command::Finish { at, post, how: How::Ran });
    }

    /// Looks at what a statement names, after it answered or failed.
    fn look_after(&mut self, now: Duration, mut on: Applying, stage: Stage) {
        let at = on.at();
        let Some(step) = self.step(at) else { return };
        let command = if step.concurrent_index().is_some() {
            Command::LookAtIndex(at)
        } else if step.observable().next().is_some() && step.class.kind != Kind::Dml {
            Command::Fingerprint(at)
        } else if let Stage::AfterFailure(error) = stage {
            self.after_failure(now, on, error, &[]);
            return;
        } else {
            self.finish(on, Vec::new());
            return;
        };
        on.stage = stage;
        self.go(State::Applying(on), command);
    }

    /// A statement between two journal rows failed: did it leave something?
    fn after_failure(&mut self, now: Duration, on: Applying, error: DbError, post: &[Print]) {
        let at = on.at();
        let (Some(step), Some(can)) = (self.step(at).cloned(), self.can.clone()) else { return };
        // A lock that was not granted: the statement did not begin.
        let waited = matches!(error.kind, DbErrorKind::LockTimeout) && step.class.kind == Kind::Ddl;
        match judge(&can, &step, &on.pre, post) {
            Verdict::NotApplied => self.not_applied(now, on, error),
            Verdict::Ambiguous(_) if waited && on.pre == post => self.not_applied(now, on, error),
            Verdict::Applied => {
                let why = format!("it failed ({error}), and what it names has changed all the same");
                self.half_done(at, DirtyReason::Ambiguous, evidence(&step, &on.pre, post, why));
            }
            Verdict::Ambiguous(why) => {
                let why = format!("it failed ({error}): {why}");
                self.half_done(at, DirtyReason::Ambiguous, evidence(&step, &on.pre, post, why));
            }
        }
    }

    /// The statement did nothing: it is tried again, or its journal row goes and the run ends.
    fn not_applied(&mut self, now: Duration, mut on: Applying, error: DbError) {
        if self.is_transient(&error) && self.may_retry(now, &on) {
            self.retry(now, on, error);
            return;
        }
        let at = on.at();
        on.stage = Stage::Withdraw(error);
        self.go(State::Applying(on), Command::Withdraw { at, note: None });
    }

    fn on_blockers(&mut self, now: Duration, mut on: Applying, blockers: Vec<Blocker>) {
        if blockers.is_empty() {
            let postgres = self.can.as_ref().is_some_and(|can| can.dialect == Dialect::Postgres);
            self.run_script(on, postgres);
        } else if self.may_retry(now, &on) {
            // A strong lock in the queue would stop everybody: wait outside of it.
            let until = now + self.backoff.next();
            let unit = on.unit;
            self.go_after(until, State::Applying(on), Command::LookAtBlockers { unit });
        } else {
            let error = DbError::new(DbErrorKind::LockTimeout, "an old transaction holds its tables");
            on.step = 0;
            self.give_up(&on, error, blockers);
        }
    }

    fn run_script(&mut self, mut on: Applying, whole: bool) {
        let unit = on.unit;
        // One message has no place for the rows of a COPY.
        let copies = |unit: &super::Unit| unit.steps.iter().any(|step| step.rows.is_some());
        let whole = whole && !self.units.get(unit).is_some_and(copies);
        on.stage = Stage::Script { whole };
        self.go(State::Applying(on), Command::RunScript { unit, whole });
    }
}
