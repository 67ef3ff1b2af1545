use std::time::Duration;

use super::Saw;
use super::policy::Limits;

/// What one observer has seen of one node, and since when without a word to the contrary.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct View {
    /// The last answer, and when it was taken in.
    last: Option<(Duration, Saw)>,
    /// Since when it says that the node is dead. One answer in between may be missing.
    dead_since: Option<Duration>,
    /// Since when it gives no sign of life of the node: dead, or no answer.
    lifeless_since: Option<Duration>,
    /// Since when it has not seen the node serve.
    unserving_since: Option<Duration>,
    missed_one: bool,
}

impl View {
    /// Takes one answer in. Silence counts from the question on; an answer that was slow counts from an interval before it came.
    pub(super) fn take(&mut self, asked_at: Duration, now: Duration, saw: Saw, limits: &Limits) {
        let at = match saw {
            Saw::NoAnswer => asked_at,
            Saw::Alive | Saw::Running | Saw::Unsure | Saw::HeldOut | Saw::Dead => {
                asked_at.max(now.saturating_sub(limits.interval))
            }
        };
        if self.last.is_some_and(|(taken_at, _)| asked_at.saturating_sub(taken_at) > limits.longest_pause) {
            *self = Self::default();
        }
        self.last = Some((now, saw));
        let begun = |since: Option<Duration>| Some(since.unwrap_or(at));
        match saw {
            Saw::Alive | Saw::Unsure | Saw::HeldOut => *self = Self { last: self.last, ..Self::default() },
            Saw::Running => {
                let unserving_since = begun(self.unserving_since);
                *self = Self { last: self.last, unserving_since, ..Self::default() };
            }
            Saw::Dead => {
                self.missed_one = false;
                self.dead_since = begun(self.dead_since);
                self.lifeless_since = begun(self.lifeless_since);
                self.unserving_since = begun(self.unserving_since);
            }
            Saw::NoAnswer => {
                self.dead_since = self.dead_since.filter(|_| !self.missed_one);
                self.missed_one = true;
                self.lifeless_since = begun(self.lifeless_since);
                self.unserving_since = begun(self.unserving_since);
            }
        }
    }

    /// Forgets since when, and keeps what was seen last.
    pub(super) fn forget(&mut self) {
        *self = Self { last: self.last, ..Self::default() };
    }

    /// Returns what it saw last, where that is news.
    pub(super) fn saw(&self, now: Duration, limits: &Limits) -> Saw {
        let is_news = |taken_at: Duration| now.saturating_sub(taken_at) <= limits.longest_gap;
        self.last.filter(|(taken_at, _)| is_news(*taken_at)).map_or(Saw::NoAnswer, |(_, saw)| saw)
    }

    /// Returns since when it says that the node is dead.
    pub(super) fn dead_since(&self) -> Option<Duration> {
        self.dead_since
    }

    /// Returns since when it agrees that the node is dead: it says so, or it gives no sign of life of this node, while since
    /// `trusted` it does of others.
    pub(super) fn agrees_since(&self, trusted: Option<Duration>) -> Option<Duration> {
        let silent = self.lifeless_since.zip(trusted).map(|(since, trusted)| since.max(trusted));
        self.dead_since.into_iter().chain(silent).min()
    }

    /// Returns since when it has not seen the node serve.
    pub(super) fn unserving_since(&self) -> Option<Duration> {
        self.unserving_since
    }
}
