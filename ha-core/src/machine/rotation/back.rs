//! The rollback: restarted, warming, canary, restored.

use std::time::Duration;

use super::{Call, Outcome, POLL, Phase, Rotation};
use crate::backend::{Admin, Health, Member, Weight};
use crate::topology::Permille;

/// How long a balancer is given between the end of a server's last life and the first request to its next one: with one
/// round trip in it, no connection to the last life is used again.
const AFTER_RESTART: Duration = Duration::from_millis(50);

impl Rotation {
    pub(super) fn prepare_back(&mut self, now: Duration) {
        let canary = self.policy.canary;
        for seen in &mut self.seen {
            let Some(observed) = seen.now else { continue };
            // A canary that nobody brought to its end is not taken for the weight that somebody chose.
            let left_over = canary.is_some_and(|canary| small_weight(canary.share, observed) == observed.weight);
            let weight = if left_over || observed.weight == Weight::new(0) {
                observed.configured_weight
            } else {
                observed.weight
            };
            seen.weight = Some(weight);
        }
        let there = |member: &Member| member.admin == Admin::Ready && is_up(member.health) && !member.is_passed_over();
        let weighed = self.seen.iter().all(|seen| seen.now.map(|member| member.weight) == seen.weight);
        if weighed && self.all_now(there) {
            return self.end(Outcome::Reached { drain: None });
        }
        let tiny = |member: &Member| canary.is_some_and(|canary| small_weight(canary.share, *member).number() == 0);
        if self.any_now(tiny) {
            let why = "the server's weight is too small for a canary, which would get no traffic at all: give the servers \
                       of this pool `weight 100` in the balancer's configuration";
            return self.turn_back(now, why.into());
        }
        self.settled_at = now.saturating_add(AFTER_RESTART.saturating_sub(self.policy.server_gone_for));
        self.phase = Phase::Restarted;
        // The way to the checks admits persistent clients. All others come with the last step only, and the checks, on
        // connections of their own, may begin at once.
        if self.any_now(|member| member.persistent) {
            self.wake_at = Some(self.settled_at);
        } else {
            self.ask();
        }
    }

    pub(super) fn settled(&mut self, now: Duration) {
        // A reload at this moment shows its configured state, which is looked at from here on like any other.
        self.take_replaced();
        self.deadline = now.saturating_add(super::SETTLE);
        // Only a server in maintenance has its checks paused; unchecked ones come back from there at once.
        let held = |member: &Member| member.admin == Admin::Maint && member.checked;
        self.enter_where(Phase::Warming, held, Phase::WaitHealthy);
    }

    pub(super) fn healthy(&mut self, now: Duration) {
        let fit = |member: &Member| {
            matches!(member.health, Health::Up | Health::Unchecked)
                || (!member.checked && member.health == Health::Paused)
        };
        if !self.all_now(fit) {
            if now >= self.deadline {
                return self.turn_back(now, "the balancer's own health check did not pass in full".into());
            }
            if self.any_now(|member| member.admin == Admin::Maint && member.checked) {
                // The way to the checks was lost: a write without an answer, a reload.
                return match self.is_hopeless(now, "a balancer holds the node in maintenance though it was told not to")
                {
                    true => {}
                    false => self.enter_where(
                        Phase::Warming,
                        |member| member.admin == Admin::Maint && member.checked,
                        Phase::WaitHealthy,
                    ),
                };
            }
            return self.wait(now, Phase::WaitHealthy);
        }
        if now < self.settled_at {
            self.wake_at = Some(self.settled_at);
            return;
        }
        if self.policy.canary.is_some() { self.enter(Phase::WeighingDown) } else { self.weigh_up() }
    }

    pub(super) fn ask_weights(&mut self, small: bool) {
        let share = self.policy.canary.map(|canary| canary.share).filter(|_| small);
        for (instance, seen) in self.seen.iter().enumerate() {
            let (Some(observed), Some(wanted)) = (seen.now, seen.weight) else { continue };
            let wanted = share.map_or(wanted, |share| small_weight(share, observed));
            if observed.weight != wanted {
                self.queue.push_back((instance, Call::SetWeight(wanted)));
            }
        }
    }

    pub(super) fn canary_confirmed(&mut self, now: Duration) {
        let Some(canary) = self.policy.canary else { return self.next_ready(0) };
        if self.all_now(|member| small_weight(canary.share, *member) == member.weight) {
            return self.next_ready(0);
        }
        if !self.is_hopeless(now, "a balancer does not take the canary's weight") {
            self.enter(Phase::WeighingDown);
        }
    }

    /// Makes the node ready on the next instance, or looks at all of them.
    pub(super) fn next_ready(&mut self, instance: usize) {
        self.enter(if instance < self.seen.len() { Phase::Readying(instance) } else { Phase::Restored });
    }

    pub(super) fn confirmed(&mut self, now: Duration, instance: usize) {
        let observed = self.seen[instance].now;
        if observed.is_none_or(|member| member.admin != Admin::Ready) {
            // A write that was lost, or that comes late: what is written again is what it would write, and it does no harm.
            if !self.is_hopeless(now, "a balancer does not admit the node though it was told to") {
                self.wake_at = Some(now.saturating_add(POLL));
                self.phase = Phase::Readying(instance);
            }
            return;
        }
        if !observed.is_some_and(|member| member.admin == Admin::Ready && is_up(member.health)) {
            return self.turn_back(now, format!("{}: the node was made ready and is not up", self.place(instance)));
        }
        if !self.serves(instance) {
            // Measured on HAProxy 2.4 to 3.2: it is up, and asleep; the next server that is taken out leaves nothing.
            if self.looks == 0 {
                self.deadline = now.saturating_add(super::SETTLE);
            }
            if now >= self.deadline {
                let why = "the node was made ready, and is given none of the requests that wait in front of the pool";
                return self.turn_back(now, format!("{}: {why}", self.place(instance)));
            }
            return self.wait(now, Phase::Confirming(instance));
        }
        match self.policy.canary {
            Some(canary) if instance == 0 => {
                let seen = &mut self.seen[0];
                seen.counted = seen.now.map(|member| member.counters);
                self.deadline = now.saturating_add(canary.watch);
                self.wait(now, Phase::Canary);
            }
            Some(_) | None if self.is_last(instance) => self.restored(now),
            Some(_) | None => self.next_ready(instance + 1),
        }
    }

    pub(super) fn watched(&mut self, now: Duration) {
        let Some((canary, observed)) = self.policy.canary.zip(self.seen[0].now) else { return };
        if self.take_replaced() {
            // Counts of another process say nothing about this one's, and the canary's weight is forgotten.
            if !self.is_hopeless(now, "the balancer is reloaded again and again: find out by whom") {
                self.enter(Phase::WeighingDown);
            }
            return;
        }
        if observed.admin != Admin::Ready || !is_up(observed.health) {
            return self.turn_back(now, format!("{}: the node went down under its first traffic", self.place(0)));
        }
        if let Some(before) = self.seen[0].counted {
            let taken = observed.counters.taken.saturating_sub(before.taken);
            let failed = observed.counters.failed.saturating_sub(before.failed);
            if failed > canary.failures.of(taken) {
                return self.turn_back(now, format!("{failed} of the canary's first {taken} requests failed"));
            }
        }
        if now >= self.deadline {
            return self.weigh_up();
        }
        self.wait(now, Phase::Canary);
    }

    fn weigh_up(&mut self) {
        self.phase = Phase::WeighingUp;
        self.ask();
        if self.queue.is_empty() {
            self.next_ready(usize::from(self.policy.canary.is_some()));
        }
    }

    pub(super) fn restored(&mut self, now: Duration) {
        let admitted = self.all_now(|member| member.admin == Admin::Ready && is_up(member.health));
        let weighed = self.seen.iter().all(|seen| seen.now.map(|member| member.weight) == seen.weight);
        if admitted && weighed {
            if now < self.late_until {
                return self.wait(now, Phase::Restored);
            }
            return self.end(Outcome::Reached { drain: None });
        }
        if self.is_hopeless(now, "the node was made ready and does not stay so on every balancer") {
            return;
        }
        if weighed { self.next_ready(0) } else { self.weigh_up() }
    }
}

/// Returns the weight of a canary, rounded down: 0 where the configured weight is too small.
fn small_weight(share: Permille, member: Member) -> Weight {
    let small = share.at_most(u64::from(member.configured_weight.number()));
    Weight::new(u16::try_from(small).unwrap_or(0))
}

/// A server that comes from maintenance is up before its checks have passed in full.
fn is_up(health: Health) -> bool {
    matches!(health, Health::Up | Health::UpInPart | Health::Unchecked)
}
