//! A statement that was begun and has no answer in the journal: what became of it.

use std::time::Duration;

use super::judge::{Verdict, judge};
use super::{At, Choice, Command, Dirty, DirtyReason, Goal, How, IndexState, Input, Machine, Print, State};
use crate::history::StepRow;
use crate::{Kind, MigrateError};

/// How far the search for what became of a statement is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Recovering {
    at: At,
    since: Duration,
    row: StepRow,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stage {
    Orphan,
    Terminating,
    Print,
    Index,
    DropIndex,
    /// The journal is brought in line with what was found.
    Settle,
}

impl Machine {
    /// Begins to look after a statement that was begun; `false` where there is none.
    pub(super) fn recover(&mut self, now: Duration) -> bool {
        let Some(row) = self.history.steps.iter().find(|step| step.begun).cloned() else { return false };
        let Some(unit) = self.units.iter().position(|unit| unit.key == row.key) else {
            let Goal::Resolve(decided) = &self.goal else {
                self.dirty(&row, None, DirtyReason::ScriptGone, Vec::new());
                return true;
            };
            if decided.key != row.key || decided.choice != Choice::Abort {
                self.dirty(&row, None, DirtyReason::ScriptGone, Vec::new());
                return true;
            }
            let (key, note) = (row.key.clone(), decided.note());
            let on =
                Recovering { at: At { unit: usize::MAX, step: row.number }, since: now, row, stage: Stage::Settle };
            self.go(State::Recovering(on), Command::Abort { key, note });
            return true;
        };
        let at = At { unit, step: row.number };
        // Whoever ran it may still be at it, whatever is decided.
        let (session, stage) = (row.session.clone(), Stage::Orphan);
        self.go(State::Recovering(Recovering { at, since: now, row, stage }), Command::LookAtOrphan(session));
        true
    }

    pub(super) fn on_recovering(&mut self, now: Duration, mut on: Recovering, command: Command, input: Input) {
        let at = on.at;
        match (on.stage, input) {
            (Stage::Orphan, Input::Orphan { alive: false }) => self.look(on),
            (Stage::Orphan, Input::Orphan { alive: true }) => {
                let waited = now.saturating_sub(on.since);
                let session = on.row.session.clone();
                if self.policy.terminate_after.is_some_and(|after| after <= waited) {
                    on.stage = Stage::Terminating;
                    self.go(State::Recovering(on), Command::Terminate(session));
                } else if waited >= self.policy.lock_deadline {
                    self.fail(MigrateError::Orphan { session: session.to_string() });
                } else {
                    let pause = self.backoff.next();
                    self.go_after(now + pause, State::Recovering(on), Command::LookAtOrphan(session));
                }
            }
            (Stage::Terminating, Input::Done { .. }) => {
                on.stage = Stage::Orphan;
                let session = on.row.session.clone();
                self.go(State::Recovering(on), Command::LookAtOrphan(session));
            }
            (Stage::Print, Input::Prints(now)) => self.judge_begun(on, &now),
            (Stage::Index, Input::Index(IndexState::Valid)) => {
                self.summary.found_applied += 1;
                self.settle(on, Command::Finish { at, post: Vec::new(), how: How::Found });
            }
            (Stage::Index, Input::Index(IndexState::Absent)) => {
                self.summary.redone += 1;
                self.settle(on, Command::Withdraw { at, note: None });
            }
            (Stage::Index, Input::Index(IndexState::Invalid)) => {
                on.stage = Stage::DropIndex;
                self.go(State::Recovering(on), Command::DropIndex(at));
            }
            (Stage::Index, Input::Index(IndexState::Building)) => {
                let pause = self.backoff.next();
                self.go_after(now + pause, State::Recovering(on), Command::LookAtIndex(at));
            }
            (Stage::DropIndex, Input::Done { .. }) => {
                self.summary.indexes_dropped += 1;
                on.stage = Stage::Index;
                self.go(State::Recovering(on), Command::LookAtIndex(at));
            }
            // Dropping an index waits for old transactions: again, up to the deadline.
            (Stage::DropIndex, Input::Failed { error, .. })
                if self.is_transient(&error) && now.saturating_sub(on.since) < self.policy.retry_deadline =>
            {
                self.summary.retries += 1;
                let pause = self.backoff.next();
                self.go_after(now + pause, State::Recovering(on), Command::LookAtIndex(at));
                if let State::Recovering(on) = &mut self.state {
                    on.stage = Stage::Index;
                }
            }
            (Stage::Settle, Input::Done { .. }) => {
                if matches!(command, Command::Abort { .. }) {
                    self.history.steps.retain(|step| step.key != on.row.key);
                }
                if let Goal::Resolve(_) = self.goal {
                    self.state = State::Ended(Box::new(Ok(self.summary.clone())));
                } else {
                    self.read_history();
                }
            }
            (
                Stage::Orphan | Stage::Terminating | Stage::Print | Stage::Index | Stage::DropIndex | Stage::Settle,
                other,
            ) => self.unexpected(command, other),
        }
    }

    /// No session is at the statement any more: what did it leave?
    fn look(&mut self, mut on: Recovering) {
        let at = on.at;
        if let Goal::Resolve(decided) = &self.goal
            && decided.key == on.row.key
            && decided.statement == on.row.number + 1
        {
            let note = decided.note();
            let command = match decided.choice {
                Choice::MarkApplied => Command::Finish { at, post: Vec::new(), how: How::Marked(note) },
                Choice::Redo => Command::Withdraw { at, note: Some(note) },
                Choice::Abort => Command::Abort { key: on.row.key.clone(), note },
            };
            self.settle(on, command);
            return;
        }
        let Some(step) = self.step(at).cloned() else {
            self.dirty(&on.row, None, DirtyReason::StatementChanged, Vec::new());
            return;
        };
        if step.sha256 != on.row.sha256 {
            self.dirty(&on.row, None, DirtyReason::StatementChanged, Vec::new());
            return;
        }
        let command = if step.concurrent_index().is_some() {
            on.stage = Stage::Index;
            Command::LookAtIndex(at)
        } else if step.class.kind == Kind::Ddl && step.observable().next().is_some() {
            on.stage = Stage::Print;
            Command::Fingerprint(at)
        } else {
            self.judge_begun(on, &[]);
            return;
        };
        self.go(State::Recovering(on), command);
    }

    fn judge_begun(&mut self, on: Recovering, now: &[Print]) {
        let (Some(step), Some(can)) = (self.step(on.at).cloned(), self.can.clone()) else { return };
        let at = on.at;
        match judge(&can, &step, &on.row.pre, now) {
            Verdict::Applied => {
                self.summary.found_applied += 1;
                self.settle(on, Command::Finish { at, post: now.to_vec(), how: How::Found });
            }
            Verdict::NotApplied => {
                self.summary.redone += 1;
                self.settle(on, Command::Withdraw { at, note: None });
            }
            Verdict::Ambiguous(why) => {
                let evidence = evidence(&step, &on.row.pre, now, why);
                self.dirty(&on.row, Some(&step.text), DirtyReason::Ambiguous, evidence);
            }
        }
    }

    fn settle(&mut self, mut on: Recovering, command: Command) {
        on.stage = Stage::Settle;
        self.go(State::Recovering(on), command);
    }

    fn dirty(&mut self, row: &StepRow, text: Option<&str>, reason: DirtyReason, evidence: Vec<String>) {
        let unit = self.units.iter().find(|unit| unit.key == row.key);
        self.fail(MigrateError::Dirty(Box::new(Dirty {
            script: unit.map(|unit| unit.script.clone()).unwrap_or_default(),
            of: unit.map_or(0, |unit| unit.steps.len()),
            version: row.key.version.clone(),
            phase: row.key.phase,
            statement: row.number + 1,
            line: row.line,
            text: text.unwrap_or_default().into(),
            reason,
            evidence,
            choices: match reason {
                DirtyReason::Ambiguous | DirtyReason::StatementChanged => {
                    vec![Choice::MarkApplied, Choice::Redo, Choice::Abort]
                }
                DirtyReason::ScriptGone => vec![Choice::Abort],
            },
        })));
    }

    /// A statement failed, and what is there now says that it did something all the same.
    pub(super) fn half_done(&mut self, at: At, reason: DirtyReason, evidence: Vec<String>) {
        let (Some(unit), Some(step)) = (self.units.get(at.unit), self.step(at)) else { return };
        let dirty = Dirty {
            script: unit.script.clone(),
            of: unit.steps.len(),
            version: unit.key.version.clone(),
            phase: unit.key.phase,
            statement: at.step + 1,
            line: step.line,
            text: step.text.clone(),
            reason,
            evidence,
            choices: vec![Choice::MarkApplied, Choice::Redo, Choice::Abort],
        };
        self.fail(MigrateError::Dirty(Box::new(dirty)));
    }
}

/// Writes down what was seen, object by object.
pub(super) fn evidence(step: &super::Step, before: &[Print], now: &[Print], why: String) -> Vec<String> {
    let mut evidence = vec![why];
    for (index, object) in step.observable().enumerate() {
        let print = |prints: &[Print]| prints.get(index).map_or_else(|| "not seen".into(), Print::to_string);
        evidence.push(format!("{}: {} before, {} now", object.name, print(before), print(now)));
    }
    evidence
}
