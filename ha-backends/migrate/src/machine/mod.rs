//! The state machine of a migration: no I/O, no clock. Facts go in with [`Machine::handle`], commands come out of
//! [`Machine::poll_command`], one at a time; [`Machine::poll_timeout`] says when to come back without any.

mod apply;
mod backfill;
mod command;
mod describe;
mod drift;
mod goal;
mod judge;
#[cfg(test)]
mod model;
mod print;
mod recover;
mod retry;
mod unit;
mod validate;
mod wait;

use std::sync::Arc;
use std::time::Duration;

pub(crate) use command::{At, Capabilities, Command, How, IndexState, Input};
pub(crate) use drift::{LeftRow, expected};
pub use goal::{Choice, Dirty, DirtyReason, Policy, Resolution};
pub(crate) use goal::{Goal, Summary, around};
pub(crate) use judge::needs_identity;
pub(crate) use print::Print;
pub(crate) use unit::{BackfillSpec, Key, Manner, Step, Unit, UnitKind, baseline_version, compare_versions, sha256};
pub use validate::Finding;
pub(crate) use validate::{baseline_to_run, pending, validate};

use apply::Applying;
use recover::Recovering;
use wait::Backoff;

use crate::history::History;
use crate::script::Phase;
use crate::{DbError, DbErrorKind, MigrateError};

/// How often a lost connection is opened again in one run.
const MOST_RECONNECTS: u32 = 10;

/// What is said where the session was exchanged under a run.
pub(crate) const SWITCHED: &str = "a pooler switches sessions: another one than that which has the lock was given to this run, which \
    stopped before it wrote anything there; connect to the server itself, or have the pooler keep sessions, then run again";

/// Where a run is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum State {
    Idle,
    Connecting {
        since: Duration,
    },
    Identifying,
    Locking {
        since: Duration,
    },
    Preparing,
    Bumping,
    Importing,
    Reading,
    /// Compares what the last statements left with what is there.
    Comparing,
    /// Looks for sessions of the old release before a contraction.
    Arming,
    Recovering(Recovering),
    Applying(Applying),
    Ended(Box<Result<Summary, MigrateError>>),
}

/// One run, from the connection to its end.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    units: Arc<[Unit]>,
    goal: Goal,
    policy: Policy,
    /// Sessions of old releases can be told apart.
    looks_for_old_sessions: bool,
    state: State,
    next: Option<Command>,
    wait: Option<(Duration, Command)>,
    outstanding: Option<Command>,
    can: Option<Capabilities>,
    history: History,
    todo: Vec<usize>,
    /// What the last statements left was still there when the run began.
    compared: bool,
    /// No session of the old release was there a moment ago.
    armed: bool,
    backoff: Backoff,
    began: Duration,
    unit_began: Duration,
    summary: Summary,
}

impl Machine {
    pub(crate) fn new(
        units: Arc<[Unit]>,
        goal: Goal,
        policy: Policy,
        looks_for_old_sessions: bool,
        seed: u64,
        now: Duration,
    ) -> Self {
        Self {
            units,
            goal,
            policy,
            looks_for_old_sessions,
            state: State::Idle,
            next: None,
            wait: None,
            outstanding: None,
            can: None,
            history: History::default(),
            todo: Vec::new(),
            compared: false,
            armed: false,
            backoff: Backoff::new(Duration::from_millis(50), Duration::from_millis(500), seed),
            began: now,
            unit_began: now,
            summary: Summary::default(),
        }
    }

    /// Takes in what came of the command, or that time passed.
    pub(crate) fn handle(&mut self, now: Duration, input: Input) {
        if matches!(self.state, State::Ended(_)) {
            return;
        }
        if input == Input::Tick {
            if self.wait.as_ref().is_some_and(|(until, _)| *until <= now) {
                self.next = self.wait.take().map(|(_, command)| command);
            }
            if now >= self.deadline() {
                self.pass_deadline();
            }
            return;
        }
        let Some(command) = self.outstanding.take() else { return };
        if input == Input::DeadlinePassed {
            self.outstanding = Some(command);
            self.pass_deadline();
            return;
        }
        if let Input::Fenced { seen } = input {
            self.fail(MigrateError::Fenced { seen });
            return;
        }
        if input == Input::Switched {
            self.fail(MigrateError::Unsupported(SWITCHED.into()));
            return;
        }
        if let Input::Failed { error, .. } = &input
            && matches!(error.kind, DbErrorKind::ConnectionLost | DbErrorKind::Unreachable)
            && !matches!(self.state, State::Connecting { .. } | State::Idle)
        {
            let error = error.clone();
            self.reconnect(now, &command, error);
            return;
        }
        if let Input::Failed { error, .. } = &input
            && self.is_transient(error)
            && self.only_keeps_books(&command)
        {
            // Another migrator is at the same tables: again, up to the deadline.
            self.summary.retries += 1;
            let pause = self.backoff.next();
            self.wait = Some((now + pause, command));
            return;
        }
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Connecting { since } => self.on_connecting(now, since, input),
            State::Identifying => self.on_identifying(now, command, input),
            State::Locking { since } => self.on_locking(now, since, input),
            State::Preparing => self.on_done(command, input, |machine| machine.go(State::Bumping, Command::BumpEpoch)),
            State::Importing => self.on_done(command, input, Self::read_history),
            State::Bumping => match input {
                Input::EpochBumped(_) => self.read_history(),
                other => self.unexpected(command, other),
            },
            State::Reading => match input {
                Input::History(history) => self.on_history(now, history),
                other => self.unexpected(command, other),
            },
            State::Comparing => match input {
                Input::Drift(findings) if findings.is_empty() => {
                    self.compared = true;
                    self.next_unit(now);
                }
                Input::Drift(findings) => self.fail(MigrateError::Invalid(findings)),
                other => self.unexpected(command, other),
            },
            State::Arming => match input {
                Input::Sessions(sessions) if sessions.is_empty() => {
                    self.armed = true;
                    self.next_unit(now);
                }
                Input::Sessions(sessions) => self.fail(MigrateError::OldSessions(sessions)),
                other => self.unexpected(command, other),
            },
            State::Recovering(recovering) => self.on_recovering(now, recovering, command, input),
            State::Applying(applying) => self.on_applying(now, applying, command, input),
            State::Idle | State::Ended(_) => {}
        }
    }

    /// Gives the next command out; nothing while one is under way.
    pub(crate) fn poll_command(&mut self, now: Duration) -> Option<Command> {
        if self.state == State::Idle && self.outstanding.is_none() {
            self.state = State::Connecting { since: now };
            self.next = Some(Command::Connect);
        }
        if self.outstanding.is_some() {
            return None;
        }
        let command = self.next.take()?;
        self.summary.touched |= command.touches();
        self.outstanding = Some(command.clone());
        Some(command)
    }

    /// Says when to come back with a `Tick`, or how long the command may take.
    pub(crate) fn poll_timeout(&self) -> Option<Duration> {
        match (&self.state, &self.wait) {
            (State::Ended(_), _) => None,
            (_, Some((until, _))) => Some((*until).min(self.deadline())),
            (_, None) => Some(self.deadline()),
        }
    }

    /// The end of the run, once it is there.
    pub(crate) fn outcome(&self) -> Option<&Result<Summary, MigrateError>> {
        match &self.state {
            State::Ended(outcome) => Some(outcome),
            State::Idle
            | State::Connecting { .. }
            | State::Identifying
            | State::Locking { .. }
            | State::Preparing
            | State::Bumping
            | State::Importing
            | State::Reading
            | State::Comparing
            | State::Arming
            | State::Recovering(_)
            | State::Applying(_) => None,
        }
    }

    /// What has been done up to now, whether the run has ended or not.
    pub(crate) fn summary(&self) -> &Summary {
        &self.summary
    }

    /// Reads or writes our own tables only, whatever the scripts do.
    fn only_keeps_books(&self, command: &Command) -> bool {
        let own = matches!(
            command,
            Command::CreateTables
                | Command::BumpEpoch
                | Command::ReadHistory
                | Command::LookForDrift
                | Command::Import(_)
                | Command::Begin { .. }
                | Command::Finish { .. }
                | Command::Withdraw { .. }
                | Command::Record { .. }
                | Command::Abort { .. }
        );
        own && !matches!(self.state, State::Idle | State::Connecting { .. } | State::Ended(_))
    }

    fn deadline(&self) -> Duration {
        self.began.saturating_add(self.policy.deadline)
    }

    fn go(&mut self, state: State, command: Command) {
        self.state = state;
        self.next = Some(command);
    }

    /// Runs a command after a pause.
    fn go_after(&mut self, until: Duration, state: State, command: Command) {
        self.state = state;
        self.wait = Some((until, command));
    }

    fn fail(&mut self, error: MigrateError) {
        (self.next, self.wait) = (None, None);
        self.state = State::Ended(Box::new(Err(error)));
    }

    fn pass_deadline(&mut self) {
        let limit = self.policy.deadline;
        let (during, unknown) = match &self.outstanding {
            Some(command) => (self.describe(command), command.writes()),
            None => match &self.wait {
                Some((_, command)) => (format!("waiting, to {} then", self.describe(command)), false),
                None => ("waiting".into(), false),
            },
        };
        self.fail(MigrateError::Deadline { limit, during, unknown });
    }

    /// What the session did is not known: a new one finds out.
    fn reconnect(&mut self, now: Duration, command: &Command, error: DbError) {
        if self.summary.reconnects >= MOST_RECONNECTS {
            // A statement that ends the server each time it is run, or a network that is no use.
            self.fail(MigrateError::Database { during: self.describe(command), error });
            return;
        }
        self.summary.reconnects += 1;
        self.armed = false;
        let pause = self.backoff.next();
        self.go_after(now + pause, State::Connecting { since: now }, Command::Connect);
    }

    fn on_connecting(&mut self, now: Duration, since: Duration, input: Input) {
        match input {
            Input::Connected(_) => self.go(State::Identifying, Command::Identify),
            Input::Failed { error, .. }
                if matches!(error.kind, DbErrorKind::ConnectionLost | DbErrorKind::Unreachable)
                    && now.saturating_sub(since) < self.policy.connect_deadline =>
            {
                let pause = self.backoff.next();
                self.go_after(now + pause, State::Connecting { since }, Command::Connect);
            }
            other => self.unexpected(Command::Connect, other),
        }
    }

    fn on_identifying(&mut self, now: Duration, command: Command, input: Input) {
        match input {
            Input::Identified(can) => {
                self.can = Some(can);
                self.backoff.reset();
                self.go(State::Locking { since: now }, Command::TryLock);
            }
            // Another product, a replica, a pooler: nothing was done.
            Input::Failed { error, .. } if matches!(error.kind, DbErrorKind::ReadOnly | DbErrorKind::Refused) => {
                self.fail(MigrateError::Unsupported(error.to_string()));
            }
            other => self.unexpected(command, other),
        }
    }

    fn on_locking(&mut self, now: Duration, since: Duration, input: Input) {
        match input {
            Input::Locked => {
                self.backoff.reset();
                self.go(State::Preparing, Command::CreateTables);
            }
            Input::LockHeld { holder, recorded } => {
                let waited = now.saturating_sub(since);
                let ends = self.policy.terminate_after.filter(|after| *after <= waited && recorded);
                if let (Some(_), Some(holder)) = (ends, &holder) {
                    self.go(State::Locking { since }, Command::Terminate(holder.session.clone()));
                } else if waited >= self.policy.lock_deadline {
                    self.fail(MigrateError::Locked { holder: holder.map(Box::new), waited });
                } else {
                    let pause = self.backoff.next();
                    self.go_after(now + pause, State::Locking { since }, Command::TryLock);
                }
            }
            // After `Terminate`.
            Input::Done { .. } => self.go(State::Locking { since }, Command::TryLock),
            other => self.unexpected(Command::TryLock, other),
        }
    }

    fn on_done(&mut self, command: Command, input: Input, then: fn(&mut Self)) {
        match input {
            Input::Done { .. } => then(self),
            other => self.unexpected(command, other),
        }
    }

    fn read_history(&mut self) {
        self.go(State::Reading, Command::ReadHistory);
    }

    fn on_history(&mut self, now: Duration, history: History) {
        if history.rows.is_empty() && !history.flyway.is_empty() && self.policy.import_flyway {
            self.go(State::Importing, Command::Import(history.flyway));
            return;
        }
        self.history = history;
        if self.recover(now) {
            return;
        }
        if let Goal::Resolve(decided) = &self.goal {
            let nothing = decided.statement > 0;
            let what = format!("statement {} is not half-done: nothing was decided", decided.statement);
            let script = decided.key.to_string();
            self.state = State::Ended(Box::new(match nothing {
                true => Err(MigrateError::Script { script, line: 0, what }),
                false => Ok(self.summary.clone()),
            }));
            return;
        }
        let mut findings = match self.goal {
            Goal::Undo => Vec::new(),
            Goal::Migrate { .. } | Goal::Resolve(_) => validate(&self.units, &self.history, &self.policy),
        };
        self.todo = pending(&self.units, &self.history, &self.goal);
        findings.retain(|finding| match finding {
            // Only what is about to be run can come too late.
            Finding::OutOfOrder { script, .. } => self.is_pending(script),
            _ => finding.is_error(),
        });
        if !findings.is_empty() {
            self.fail(MigrateError::Invalid(findings));
            return;
        }
        if self.may_have_drifted() {
            self.go(State::Comparing, Command::LookForDrift);
            return;
        }
        self.next_unit(now);
    }

    /// Something is to be run on what earlier runs left, and the journal holds what each of their definitions left: where
    /// scripts are transactions it does not.
    fn may_have_drifted(&self) -> bool {
        let journaled = self.can.as_ref().is_some_and(|can| crate::migrator::is_journaled(can.dialect));
        let left = !self.history.rows.is_empty() && !self.todo.is_empty();
        journaled && left && !self.compared && self.goal != Goal::Undo
    }

    fn is_pending(&self, script: &str) -> bool {
        self.todo.iter().filter_map(|index| self.units.get(*index)).any(|unit| unit.script == *script)
    }

    /// Begins the next unit, or ends the run.
    fn next_unit(&mut self, now: Duration) {
        let Some(&index) = self.todo.first() else {
            self.state = State::Ended(Box::new(Ok(self.summary.clone())));
            return;
        };
        let Some(unit) = self.units.get(index) else { return };
        if unit.key.phase == Phase::Contract && self.goal != Goal::Undo && !self.armed {
            let permitted = matches!(&self.goal, Goal::Migrate { permit: Some(_), .. });
            if !permitted {
                self.fail(MigrateError::NoPermit { script: unit.script.clone() });
                return;
            }
            if self.looks_for_old_sessions {
                self.go(State::Arming, Command::LookAtOldSessions);
                return;
            }
        }
        self.armed = false;
        self.unit_began = now;
        self.begin_unit(now, index);
    }

    /// A unit is recorded: it came to its end.
    fn unit_done(&mut self, now: Duration, index: usize) {
        self.summary.applied.push(index);
        self.todo.retain(|todo| *todo != index);
        self.next_unit(now);
    }

    fn unexpected(&mut self, command: Command, input: Input) {
        let during = self.describe(&command);
        let error = match input {
            Input::Failed { error, .. } => error,
            other => DbError::new(DbErrorKind::Refused, format!("unexpected answer {other:?}")),
        };
        self.fail(MigrateError::Database { during, error });
    }

    fn step(&self, at: At) -> Option<&Step> {
        self.units.get(at.unit)?.steps.get(at.step)
    }
}
