//! Rolling back: every instance that was or may have been touched goes back to what it was; one that is gone has nothing to take
//! back, unless it comes back meanwhile.

use std::time::Duration;

use super::seen::figures;
use super::{Call, DrainOutcome, Goal, Outcome, POLL, Phase, Reply, Rotation, UNDO};
use crate::backend::{Admin, Member};

impl Rotation {
    pub(super) fn turn_back(&mut self, now: Duration, why: String) {
        (self.why, self.wake_at, self.deadline) = (why, None, now.saturating_add(UNDO));
        self.queue.clear();
        let untouched = matches!(self.phase, Phase::Preflight | Phase::Restarted);
        self.todo = self.touched();
        if self.goal == Goal::HeldOut {
            self.leave_gone();
        }
        if untouched || self.todo.is_empty() {
            return self.restore();
        }
        if self.goal == Goal::HeldOut {
            // A node that may not serve is never put back into traffic.
            let open = |instance: &usize| self.seen[*instance].now.is_none_or(|member| member.admin != Admin::Maint);
            let instances: Vec<usize> = self.todo.iter().copied().filter(open).collect();
            let instances = if instances.is_empty() { self.todo.clone() } else { instances };
            return self.end(Outcome::Stuck { why: self.why.clone(), instances });
        }
        if self.goes_out() {
            return self.enter(Phase::Undoing);
        }
        // Requests may have come to it meanwhile: it is drained before it is held out again.
        self.deadline = self.deadline.saturating_add(self.policy.drain_deadline);
        let held = |instance: &usize| self.seen[*instance].before.is_some_and(|member| member.admin == Admin::Maint);
        self.todo = self.todo.iter().copied().filter(held).collect();
        if self.todo.is_empty() { self.begin_undo() } else { self.enter(Phase::UndoDraining) }
    }

    fn restore(&mut self) {
        // What was cut stays cut.
        let drain = self.drain.or(self.killed.map(|killed| DrainOutcome::Forced { killed }));
        self.end(Outcome::Restored { why: self.why.clone(), drain });
    }

    fn begin_undo(&mut self) {
        self.todo = self.touched();
        self.enter(Phase::Undoing);
    }

    /// Lists the instances that may have been touched: one that is gone may come back, in its configured state.
    fn touched(&self) -> Vec<usize> {
        (0..self.seen.len()).filter(|instance| self.seen[*instance].before.is_some()).collect()
    }

    fn leave_gone(&mut self) {
        self.todo.retain(|instance| !self.seen[*instance].gone);
    }

    pub(super) fn ask_undo(&mut self) {
        for instance in &self.todo {
            let seen = &self.seen[*instance];
            let Some(before) = seen.before else { continue };
            self.queue.push_back((*instance, Call::SetAdmin(before.admin)));
            if !self.goes_out() && seen.now.is_some_and(|member| member.weight != before.weight) {
                self.queue.push_back((*instance, Call::SetWeight(before.weight)));
            }
        }
    }

    pub(super) fn undo_round(&mut self, now: Duration, replies: &[(usize, Reply)]) {
        // What is not answered for now is looked at again; only the deadline ends this.
        let _ = self.note(now, replies);
        self.take_replaced();
        match self.phase {
            Phase::UndoDraining => {
                self.leave_gone();
                if self.todo.is_empty() { self.begin_undo() } else { self.enter(Phase::UndoWaiting) }
            }
            Phase::UndoWaiting => {
                self.leave_gone();
                let idle = figures(replies).filter(|(_, figure)| figure.in_flight() == 0).count();
                if idle == self.todo.len() || now.saturating_add(UNDO) >= self.deadline {
                    self.begin_undo();
                } else {
                    self.wait(now, Phase::UndoWaiting);
                }
            }
            Phase::Undoing => {
                let unset = |reply: &Reply| matches!(reply, Reply::Failed(_)) && !reply.is_gone();
                let failed = replies.iter().any(|(_, reply)| unset(reply));
                if failed && now < self.deadline {
                    self.wake_at = Some(now.saturating_add(POLL * 5));
                    let instances = replies.iter().filter(|(_, reply)| unset(reply)).map(|(instance, _)| *instance);
                    self.todo = instances.collect();
                    self.todo.dedup();
                } else {
                    self.todo = self.touched();
                    self.enter(Phase::ConfirmUndo);
                }
            }
            Phase::Preflight
            | Phase::Draining
            | Phase::ConfirmDrain
            | Phase::ConfirmOthers
            | Phase::WaitIdle
            | Phase::ConfirmIdle
            | Phase::Cutting
            | Phase::Closing
            | Phase::ConfirmClosing
            | Phase::WaitClosed
            | Phase::Purging
            | Phase::Restarted
            | Phase::Warming
            | Phase::WaitHealthy
            | Phase::WeighingDown
            | Phase::ConfirmCanary
            | Phase::Readying(_)
            | Phase::Confirming(_)
            | Phase::Canary
            | Phase::WeighingUp
            | Phase::Restored
            | Phase::ConfirmUndo
            | Phase::Ended => self.undo_confirmed(now, replies),
        }
    }

    fn undo_confirmed(&mut self, now: Duration, replies: &[(usize, Reply)]) {
        let weighs = !self.goes_out();
        let as_before = |before: &Member, member: &Member| {
            before.admin == member.admin && (!weighs || before.weight == member.weight)
        };
        let observed = |instance: usize| {
            let before = self.seen[instance].before;
            replies.iter().any(|(of, reply)| match (reply, before) {
                (Reply::Member(member), Some(before)) => *of == instance && as_before(&before, member),
                _ => *of == instance && reply.is_gone(),
            })
        };
        let wrong: Vec<usize> = self.todo.iter().copied().filter(|instance| !observed(*instance)).collect();
        if wrong.is_empty() {
            if now < self.late_until {
                self.wake_at = Some(now.saturating_add(POLL));
                return;
            }
            return self.restore();
        }
        if now >= self.deadline {
            return self.end(Outcome::Stuck { why: self.why.clone(), instances: wrong });
        }
        self.todo = wrong;
        self.phase = Phase::Undoing;
        self.wake_at = Some(now.saturating_add(POLL * 5));
    }
}
