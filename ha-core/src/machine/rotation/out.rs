//! The way out: preflight, draining, waiting, closing, isolated.

use std::time::Duration;

use super::seen::figures;
use super::{AtDeadline, CALM_ROUNDS, DrainOutcome, Goal, Outcome, POLL, Phase, Reply, Rotation, SETTLE};
use crate::backend::{Admin, Quiescence};

const HIDDEN: &str = "the balancer's process is young, and older ones may serve on unseen: give the backend its master \
                      socket, or a drain deadline above the longest request";
const RESTLESS: &str = "the balancer changes while it is observed: find out who changes it";
const FOUGHT: &str = "somebody else keeps admitting the node: find out who";

impl Rotation {
    pub(super) fn preflight(&mut self, now: Duration, replies: &[(usize, Reply)]) {
        // The look and the reading of the pool may be of two moments, or of two processes. Who may not serve is held out
        // whatever they say.
        let replaced = self.take_replaced();
        if self.goal != Goal::HeldOut && (replaced || self.disagrees(replies)) {
            for seen in &mut self.seen {
                seen.before = None;
            }
            if !self.is_hopeless(now, RESTLESS) {
                self.wake_at = Some(now.saturating_add(POLL));
            }
            return;
        }
        match self.goal {
            Goal::Back => self.prepare_back(now),
            Goal::HeldOut => self.close(),
            Goal::Out if self.all_now(|member| member.admin == Admin::Maint) => self.wait_closed(now, replies),
            Goal::Out => match self.nothing_else_usable() {
                Some(instance) => self.turn_back(now, self.last_usable(instance)),
                // The others work on nothing while requests wait: looked at again, until it was no chance.
                None if self.is_in_doubt() => self.wake_at = Some(now.saturating_add(POLL)),
                None => self.drain(),
            },
        }
    }

    /// Tells whether a look at the node saw another state than the reading of its pool in the same round.
    fn disagrees(&self, replies: &[(usize, Reply)]) -> bool {
        replies.iter().any(|(instance, reply)| {
            let Reply::Looked(looked) = reply else { return false };
            self.seen[*instance].now.map(|member| member.admin) != Some(looked.member.admin)
        })
    }

    fn last_usable(&self, instance: usize) -> String {
        let (place, member) = (self.place(instance), &self.places[instance].member.member);
        if let Some(other) = &self.seen[instance].passed_over {
            return format!(
                "{place}: {member} is the last server there that takes requests: {other} is ready and is given none of \
                 those that wait in front of the pool; put it into maintenance and make it ready again"
            );
        }
        format!("{place}: {member} is the last usable server there: bring another one into traffic first")
    }

    /// Drains where the node is ready. Where it is in maintenance already it stays there: draining would let persistent
    /// clients in again.
    fn drain(&mut self) {
        self.closed_by = None;
        self.enter_where(Phase::Draining, |member| member.admin == Admin::Ready, Phase::ConfirmDrain);
    }

    /// A node that is ready again may be all that serves, since whoever admitted it, as a reload does, may have taken the others
    /// out: it is drained anew once another one is usable.
    fn drain_anew(&mut self, now: Duration) {
        if !self.is_hopeless(now, FOUGHT) {
            self.enter(Phase::ConfirmOthers);
        }
    }

    pub(super) fn others_confirmed(&mut self, now: Duration) {
        self.take_replaced();
        if !self.any_now(|member| member.admin == Admin::Ready) {
            return self.enter(Phase::ConfirmDrain);
        }
        match self.nothing_else_usable() {
            Some(instance) if now >= self.deadline => self.turn_back(now, self.last_usable(instance)),
            Some(_) => self.wait(now, Phase::ConfirmOthers),
            None => self.drain(),
        }
    }

    pub(super) fn drain_confirmed(&mut self, now: Duration, replies: &[(usize, Reply)]) {
        let replaced = self.take_replaced();
        if self.any_now(|member| member.admin == Admin::Ready) {
            return self.drain_anew(now);
        }
        if replaced || !self.all_told(replies) {
            return self.enter(Phase::WaitIdle);
        }
        (self.phase, self.looks) = (Phase::WaitIdle, 0);
        self.idle(now, replies);
    }

    /// Tells whether these looks are the first reading of what still runs on the node: a missing figure is never 0.
    fn all_told(&self, replies: &[(usize, Reply)]) -> bool {
        figures(replies).count() == self.seen.len()
    }

    pub(super) fn idle(&mut self, now: Duration, replies: &[(usize, Reply)]) {
        if self.take_replaced() {
            // What was set is forgotten, and older generations may serve on.
            if !self.is_hopeless(now, "the balancer is reloaded again and again: find out by whom") {
                self.enter(Phase::ConfirmDrain);
            }
            return;
        }
        if let Some(why) = self.drift() {
            return self.turn_back(now, why);
        }
        if self.any_now(|member| member.admin == Admin::Ready) {
            return self.drain_anew(now);
        }
        if let Some(instance) = self.nothing_else_usable() {
            return self.turn_back(now, self.last_usable(instance));
        }
        self.in_flight = figures(replies).map(|(_, figure)| figure.in_flight()).sum();
        let hides = self.hides(now, replies);
        self.calm = if self.in_flight == 0 && !hides { self.calm.saturating_add(1) } else { 0 };
        if self.moves_persistent_clients(now, replies) {
            // In this very moment: the next request may come with the next look.
            return self.close();
        }
        if self.calm >= CALM_ROUNDS {
            return self.enter(Phase::ConfirmIdle);
        }
        if now >= self.deadline && (self.in_flight > 0 || hides) {
            return self.at_deadline(now, replies);
        }
        self.wait(now, Phase::WaitIdle);
    }

    fn hides(&self, now: Duration, replies: &[(usize, Reply)]) -> bool {
        figures(replies)
            .any(|(instance, figure)| self.seen[instance].may_hide(now, figure, self.policy.longest_request))
    }

    /// Tells whether maintenance is to follow although requests are in flight: persistent clients come back to a drained
    /// server for ever, and maintenance moves them while what is in flight ends. Where maintenance cuts, a moment without
    /// requests is waited for.
    fn moves_persistent_clients(&self, now: Duration, replies: &[(usize, Reply)]) -> bool {
        let persistent = self.any_now(|member| member.persistent);
        let cuts = self.any_now(|member| member.cuts_on_maint);
        let graced = now >= self.began.saturating_add(self.policy.persistence_grace.min(self.policy.drain_deadline));
        persistent && graced && (!cuts || figures(replies).all(|(_, figure)| figure.in_flight() == 0))
    }

    /// Says what somebody has changed meanwhile that the rotation would overwrite.
    fn drift(&self) -> Option<String> {
        let changed = self.seen.iter().enumerate().find_map(|(instance, seen)| {
            let (before, now) = (seen.before?.weight, seen.now?.weight);
            // A reload brings the configured weight back; that is nobody's wish.
            (before != now && now != seen.now?.configured_weight).then_some((instance, before, now))
        });
        let (instance, before, now) = changed?;
        Some(format!(
            "{}: somebody changed the weight of {} from {before} to {now} meanwhile",
            self.place(instance),
            self.places[instance].member.member
        ))
    }

    fn at_deadline(&mut self, now: Duration, replies: &[(usize, Reply)]) {
        let in_flight = self.in_flight;
        let older: u64 = figures(replies).map(|(_, figure)| figure.older_sessions).sum();
        if in_flight == 0 {
            return self.turn_back(now, HIDDEN.into());
        }
        if self.policy.at_deadline == AtDeadline::TurnBack || older > 0 || self.killed.is_some() {
            self.drain = Some(DrainOutcome::DeadlineReached { in_flight });
            let old = if older > 0 { format!(", {older} of them in older balancer processes") } else { String::new() };
            let cut = self.killed.map_or_else(String::new, |killed| format!(", after {killed} were cut"));
            let why = format!("{in_flight} requests were still in flight at the drain deadline{old}{cut}");
            return self.turn_back(now, why);
        }
        self.todo =
            figures(replies).filter(|(_, figure)| figure.in_flight() > 0).map(|(instance, _)| instance).collect();
        self.enter(Phase::Cutting);
    }

    pub(super) fn cut(&mut self, now: Duration, replies: &[(usize, Reply)]) {
        let closed = replies.iter().map(|(_, reply)| if let Reply::Closed(sessions) = reply { *sessions } else { 0 });
        self.killed = Some(closed.sum());
        self.deadline = now.saturating_add(SETTLE);
        self.wait(now, Phase::WaitIdle);
    }

    pub(super) fn idle_confirmed(&mut self, now: Duration) {
        let replaced = self.take_replaced();
        if replaced || self.any_now(|member| member.admin == Admin::Ready) {
            return self.drain_anew(now);
        }
        self.close();
    }

    pub(super) fn close(&mut self) {
        self.enter_where(Phase::Closing, |member| member.admin != Admin::Maint, Phase::ConfirmClosing);
    }

    /// What a balancer answered is not believed before it is read.
    pub(super) fn closing_confirmed(&mut self, now: Duration, replies: &[(usize, Reply)]) {
        let replaced = self.take_replaced();
        if !replaced && self.all_now(|member| member.admin == Admin::Maint) {
            return self.wait_closed(now, replies);
        }
        if self.is_hopeless(now, "a balancer does not hold the node out though it was told to") {
            return;
        }
        match self.goal {
            Goal::HeldOut => self.close(),
            // Somebody may have admitted it meanwhile.
            Goal::Out | Goal::Back => self.enter(Phase::ConfirmOthers),
        }
    }

    fn wait_closed(&mut self, now: Duration, replies: &[(usize, Reply)]) {
        let drained = self.began.saturating_add(self.policy.drain_deadline);
        self.deadline = *self.closed_by.get_or_insert(drained.max(now.saturating_add(SETTLE)));
        // Connections may need a moment to be closed: what is open right after maintenance is asked for once more.
        if !self.all_told(replies) || figures(replies).any(|(_, figure)| !figure.is_closed()) {
            return self.enter(Phase::WaitClosed);
        }
        (self.phase, self.looks) = (Phase::WaitClosed, 0);
        self.closed(now, replies);
    }

    pub(super) fn closed(&mut self, now: Duration, replies: &[(usize, Reply)]) {
        if self.take_replaced() || self.any_now(|member| member.admin != Admin::Maint) {
            if !self.is_hopeless(now, "the balancer is reloaded again and again: find out by whom") {
                self.enter(Phase::ConfirmClosing);
            }
            return;
        }
        self.in_flight = figures(replies).map(|(_, figure)| figure.in_flight()).sum();
        let all = |like: fn(&Quiescence) -> bool| figures(replies).all(|(_, figure)| like(&figure));
        let hides = self.goal == Goal::Out && self.hides(now, replies);
        if all(Quiescence::is_closed) && !hides {
            if now < self.late_until {
                return self.wait(now, Phase::WaitClosed);
            }
            let drain = match self.killed {
                Some(killed) => DrainOutcome::Forced { killed },
                None => DrainOutcome::Drained,
            };
            return self.end(Outcome::Reached { drain: Some(drain) });
        }
        if now >= self.deadline {
            let in_flight = self.in_flight;
            if self.goal == Goal::HeldOut && in_flight == 0 {
                return self.end(Outcome::Reached { drain: Some(DrainOutcome::Drained) });
            }
            self.drain = (in_flight > 0).then_some(DrainOutcome::DeadlineReached { in_flight });
            let why = if hides { HIDDEN } else { "connections to the node stayed open in maintenance" };
            return self.turn_back(now, why.into());
        }
        let only_idle = all(|figure| figure.in_flight() == 0 && figure.used_connections == 0);
        // Before HAProxy 3.3 a second `maint` does not purge connections that went back to the pool meanwhile;
        // `drain` and `maint` does.
        let purges = !all(Quiescence::is_closed) && only_idle && self.goal == Goal::Out;
        if !purges {
            return self.wait(now, Phase::WaitClosed);
        }
        self.todo = figures(replies).filter(|(_, figure)| !figure.is_closed()).map(|(instance, _)| instance).collect();
        for instance in &self.todo {
            if let Some(member) = &mut self.seen[*instance].now {
                member.admin = Admin::Drain;
            }
        }
        self.wait(now, Phase::Purging);
    }
}
