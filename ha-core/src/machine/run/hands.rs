//! What a run does about what people ask: it pauses, stops, turns back, and waits for approvals. Traffic comes first: what a
//! balancer lost is re-applied, and a loss is reacted to, whatever was asked.

use std::time::Duration;

use super::super::decide::{Decision, Turn, decide};
use super::super::fingerprint::{differences, facts};
use super::{RunMachine, is_reassert};
use crate::plan::{Degraded, PlanApproval};
use crate::record::{ApprovalAsk, Ask, Cursor, End, Mode, Record, Request, Why};
use crate::topology::OnNoApproval;

/// What follows where a step may need an approval.
pub(super) enum Approval {
    /// It needs none, or has it.
    Given,
    /// The run waits.
    Waits,
    /// Nobody gave it in time: the run has turned.
    Turned,
    /// Nobody gave it in time, and there is no way back, or none is wanted.
    Missed,
}

impl RunMachine {
    /// Takes a request, or refuses it: either is recorded, once.
    pub(super) fn requested(&mut self, now: Duration, number: u64, request: Request, late: Option<String>) {
        if self.closed || number <= self.hands.last_request() {
            return;
        }
        let refused = late.or_else(|| self.refusal_of(now, &request));
        self.record(Record::Requested { number: Some(number), request, refused });
    }

    /// Says why a request cannot be taken.
    fn refusal_of(&self, now: Duration, request: &Request) -> Option<String> {
        match &request.what {
            Ask::Pause { until_unix_ms } if *until_unix_ms <= self.unix_ms(now) => {
                Some("the end of the pause is past: give a later one".into())
            }
            Ask::Pause { .. } => self.used_up(now).map(|window| {
                format!(
                    "the declared window is used up ({}, at most {:?}): the run goes on until it is closed",
                    window.what, window.at_most
                )
            }),
            Ask::RollBack => self.run.no_way_back(&self.plan),
            Ask::Approve { stage, step, plan, fingerprint, until_unix_ms } => {
                let Some(asked) = self.hands.asked() else {
                    return Some("the run waits for no approval".into());
                };
                let approvers = &self.topology.policy().approvers;
                if (asked.stage, asked.step, &asked.plan) != (*stage, *step, plan) {
                    let (stage, step) = (asked.stage + 1, asked.step + 1);
                    Some(format!(
                        "the run waits for the approval of another step ({stage}.{step} of plan {})",
                        asked.plan.short()
                    ))
                } else if asked.fingerprint != *fingerprint {
                    Some("the facts have changed since it was asked for: read what differs, and approve again".into())
                } else if *until_unix_ms <= self.unix_ms(now) {
                    Some("the approval has expired already: give a later time".into())
                } else if !approvers.is_empty() && !approvers.contains(&request.by.name) {
                    Some(format!("{} may not approve; these may: {}", request.by.name, approvers.join(", ")))
                } else {
                    None
                }
            }
            Ask::Continue | Ask::Abort => None,
            Ask::Retry { .. } | Ask::Skip { .. } => {
                Some("the run is under way: abort it, and give this once it has ended for a person".into())
            }
        }
    }

    /// Returns the time as people count it.
    pub(super) fn unix_ms(&self, now: Duration) -> u64 {
        self.unix_ms_at_start.saturating_add(u64::try_from(now.as_millis()).unwrap_or(u64::MAX))
    }

    /// Takes over what the clock of people says by now, where that is later: a machine that was suspended has not counted
    /// meanwhile. It never goes back in a run.
    pub(super) fn catch_up(&mut self, now: Duration, unix_ms: u64) {
        let behind = unix_ms.saturating_sub(self.unix_ms(now));
        self.unix_ms_at_start = self.unix_ms_at_start.saturating_add(behind);
    }

    /// Ends a pause that a declared window does not allow any more.
    pub(super) fn end_pause_if_late(&mut self, now: Duration) {
        if self.hands.paused().is_none() {
            return;
        }
        let message = self.used_up(now).map(|window| {
            format!(
                "the pause is over, since the declared window is used up: {}, at most {:?}",
                window.what, window.at_most
            )
        });
        if let Some(message) = message {
            self.record(Record::Continued { message });
        }
    }

    /// Tells whether a decision waits, since the run is paused or about to stop: nothing new begins. Outcomes are still found out.
    pub(super) fn is_held_back(&self, decision: Decision) -> bool {
        let goes_on = match decision {
            Decision::Look(_) | Decision::Await | Decision::Move(_, Turn::DomainLost | Turn::NextStep) => true,
            Decision::Act(_) => is_reassert(decision) || self.run.cursor.mode == Mode::Reacting,
            Decision::Move(..) | Decision::End(_) => false,
        };
        (self.hands.paused().is_some() || self.hands.stop) && !goes_on
    }

    /// Ends a run that a person stopped, or left paused for longer than was said, once what is under way has ended; tells whether
    /// it has.
    pub(super) fn stop_if_asked(&mut self, now: Duration, decision: Decision) -> bool {
        let left = self.hands.paused().is_some_and(|paused| paused.until_unix_ms <= self.unix_ms(now));
        let wanted = self.hands.stop || left;
        if !wanted || self.run.targets.has_step_in_flight() || !self.is_held_back(decision) {
            return false;
        }
        if left {
            let message = "the pause has lasted for as long as was said, and nobody has continued the run: it is held";
            self.record(Record::Continued { message: message.into() });
        }
        match decision {
            Decision::End(end) => self.end(end),
            Decision::Act(_) | Decision::Look(_) | Decision::Await | Decision::Move(..) => self.hold(Why::Stopped),
        }
        true
    }

    /// Ends the run; where it is for a person, here.
    pub(super) fn end(&mut self, end: End) {
        match end {
            End::NeedsOperator(why) => self.hold(why),
            End::AllNew | End::AllOld => self.close(end),
        }
    }

    /// Ends the run for a person, here. That the step before is done shows in the records only once this one begins.
    pub(super) fn hold(&mut self, why: Why) {
        let Cursor { stage, step, mode, .. } = self.run.cursor;
        if mode == Mode::Forward && self.run.is_before(stage, step) {
            let message = match self.plan.step(stage.into(), step.into()) {
                Some(_) => format!("held before step {}.{}, of which nothing has begun", stage + 1, step + 1),
                None => "held behind the last step".into(),
            };
            self.record(Record::Turned { to: self.run.cursor, message });
        }
        self.close(End::NeedsOperator(why));
    }

    /// Turns back when a person asked for it, once nothing is in flight and what became of each order is known.
    pub(super) fn turn_back_if_asked(&mut self) {
        let can_turn = matches!(self.run.cursor.mode, Mode::Forward | Mode::Withdrawing);
        if !self.hands.back || !self.is_settled() || !can_turn || !self.run.may_return(&self.plan) {
            return;
        }
        if self.run.plans_its_way_back(&self.plan) {
            return;
        }
        self.turn_back("a person asked for the rollback: rolling back".into());
    }

    /// Tells whether nothing of the step at hand is in flight, and none of its orders has an outcome that is not known: it is
    /// looked for, or a person decides. A turn forgets it.
    pub(super) fn is_settled(&self) -> bool {
        let unknown = || {
            let decision = decide(&self.topology, &self.plan, &self.run);
            matches!(decision, Decision::Look(_) | Decision::End(End::NeedsOperator(Why::OutcomeUnknown)))
        };
        !self.run.targets.has_step_in_flight() && !unknown()
    }

    /// Goes back from here.
    pub(super) fn turn_back(&mut self, message: String) {
        let to = Cursor { mode: Mode::Compensating, phase: 0, attempt: 0, ..self.run.cursor };
        self.record(Record::Turned { to, message });
        self.run.enter(to, Turn::StepFailed);
    }

    /// Finds out whether what comes next may begin: asks for the approval that it needs, and asks anew where the facts are other
    /// ones than those that were asked for, or the approval has expired.
    pub(super) fn approval_for(&mut self, now: Duration, decision: Decision) -> Approval {
        let Cursor { stage, step, mode, .. } = self.run.cursor;
        let is_step = matches!(decision, Decision::Act(_)) && !is_reassert(decision) && mode == Mode::Forward;
        if !is_step || self.run.targets.has_begun_any((stage, step)) {
            return Approval::Given;
        }
        let Some(needed) = self.plan.approval_before(stage, step).copied() else { return Approval::Given };
        let now_seen = facts(&self.topology, &self.plan, &self.run.cluster);
        let Some(asked) = self.hands.asked().filter(|asked| (asked.stage, asked.step) == (stage, step)) else {
            self.ask(now, &needed, now_seen, None);
            return Approval::Waits;
        };
        let (until, then) = (asked.until_unix_ms, asked.then);
        let differs = differences(&asked.facts, &now_seen);
        let unix_ms = self.unix_ms(now);
        let expired = self.hands.approved().filter(|approved| approved.until_unix_ms <= unix_ms);
        let expired = expired.map(|approved| format!("the approval of {} has expired", approved.by));
        // What was approved is used only where all that it is bound to was read.
        let is_given = differs.is_empty() && expired.is_none() && self.hands.approved().is_some();
        if is_given && self.unread_whole.is_empty() {
            return Approval::Given;
        }
        // Nobody waits longer than a declared window lasts: but where no site serves, nothing is gained by giving up.
        let late = self.used_up(now).filter(|window| window.what != Degraded::NoSite);
        let late = late.map(|window| {
            format!("the declared window is used up ({}, at most {:?}), and ", window.what, window.at_most)
        });
        if until <= unix_ms || late.is_some() {
            let late = late.unwrap_or_default();
            let why = match is_given {
                true => format!("{late}what was approved could not be read in time ({})", self.unread_whole.join(", ")),
                false => format!("{late}nobody approved in time what was to be approved ({})", needed.point),
            };
            return self.nobody_approved(then, &why);
        }
        if !differs.is_empty() || expired.is_some() {
            self.ask(now, &needed, now_seen, Some((until, expired.into_iter().chain(differs).collect())));
        }
        Approval::Waits
    }

    /// Asks for an approval; `again` with the deadline of the first time, and with why.
    fn ask(&mut self, now: Duration, needed: &PlanApproval, facts: Vec<String>, again: Option<(u64, Vec<String>)>) {
        let (until, differs) = again.unwrap_or_else(|| (self.unix_ms(now.saturating_add(needed.within)), Vec::new()));
        let mut approval = ApprovalAsk::new(self.plan.digest(), needed, facts, until);
        approval.differs = differs;
        self.record(Record::ApprovalAsked { approval: Box::new(approval) });
    }

    fn nobody_approved(&mut self, then: OnNoApproval, why: &str) -> Approval {
        let plans = self.run.plans_its_way_back(&self.plan);
        match then {
            OnNoApproval::RollBack if plans && !self.hands.back => {
                let message = format!("{why}: the way back is planned");
                self.record(Record::Turned { to: self.run.cursor, message });
                self.hands.back = true;
                Approval::Turned
            }
            OnNoApproval::RollBack if plans => Approval::Missed,
            OnNoApproval::RollBack if self.plan.carries_on().is_none() && self.run.may_return(&self.plan) => {
                self.turn_back(format!("{why}: rolling back"));
                Approval::Turned
            }
            OnNoApproval::RollBack if !self.hands.back && self.plan.carries_on().is_some() => {
                self.hands.back = true;
                Approval::Turned
            }
            OnNoApproval::RollBack | OnNoApproval::Hold => Approval::Missed,
        }
    }
}
