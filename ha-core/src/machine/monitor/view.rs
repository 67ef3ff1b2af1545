use std::time::Duration;

use super::Saw;
use super::policy::Limits;

/// What one observer has seen of one node, and for how long without a word to the contrary.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct View {
    /// The last answer, and when it was taken in.
    last: Option<(Duration, Saw)>,
    /// It says that the node is dead. One answer in between may be missing.
    dead: Option<Span>,
    /// It gives no sign of life of the node: dead, or no answer.
    lifeless: Option<Span>,
    /// It has not seen the node serve. One answer in between may be another: this is asked for a longer time.
    unserving: Option<Span>,
    missed_one: bool,
    other_one: bool,
}

/// The time from the first to the last of the answers that say the same, by when they were asked for: what was not answered says
/// something of the moment of the question, and nothing of the time that was waited for it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Span {
    pub(super) since: Duration,
    until: Duration,
}

impl Span {
    fn grown(span: Option<Self>, at: Duration) -> Option<Self> {
        Some(Self { since: span.map_or(at, |span| span.since), until: at })
    }

    /// Returns what is left of it from a moment on.
    fn from(self, since: Duration) -> Option<Self> {
        (self.until >= since).then_some(Self { since: self.since.max(since), until: self.until })
    }

    pub(super) fn lasts(self, time: Duration) -> bool {
        self.until.saturating_sub(self.since) >= time
    }
}

impl View {
    /// Takes one answer in. One that was slow counts from an interval before it came.
    pub(super) fn take(&mut self, asked_at: Duration, now: Duration, saw: Saw, limits: &Limits) {
        self.last = Some((now, saw));
        let last = Self { last: self.last, ..Self::default() };
        let at = asked_at.max(now.saturating_sub(limits.interval));
        *self = match saw {
            Saw::Alive | Saw::Unsure | Saw::HeldOut => {
                Self { unserving: self.unserving.filter(|_| !self.other_one), other_one: true, ..last }
            }
            Saw::Running => Self { unserving: Span::grown(self.unserving, at), ..last },
            Saw::Dead => Self {
                dead: Span::grown(self.dead, at),
                lifeless: Span::grown(self.lifeless, at),
                unserving: Span::grown(self.unserving, at),
                ..last
            },
            Saw::NoAnswer => Self {
                dead: self.dead.filter(|_| !self.missed_one),
                lifeless: Span::grown(self.lifeless, asked_at),
                unserving: Span::grown(self.unserving, asked_at),
                missed_one: true,
                ..last
            },
        };
    }

    /// Forgets for how long, and keeps what was seen last.
    pub(super) fn forget(&mut self) {
        *self = Self { last: self.last, ..Self::default() };
    }

    /// Returns what it saw last, where that is news.
    pub(super) fn saw(&self, now: Duration, limits: &Limits) -> Saw {
        let is_news = |taken_at: Duration| now.saturating_sub(taken_at) <= limits.longest_gap;
        self.last.filter(|(taken_at, _)| is_news(*taken_at)).map_or(Saw::NoAnswer, |(_, saw)| saw)
    }

    /// Returns for how long it says that the node is dead.
    pub(super) fn dead(&self) -> Option<Span> {
        self.dead
    }

    /// Returns for how long it agrees that the node is dead: it says so, or it gives no sign of life of this node, while since
    /// `trusted` it does of others.
    pub(super) fn agrees(&self, trusted: Option<Duration>) -> Option<Span> {
        let silent = self.lifeless.zip(trusted).and_then(|(span, trusted)| span.from(trusted));
        match (self.dead, silent) {
            (Some(dead), Some(silent)) if silent.since > dead.since => Some(dead),
            (dead, silent) => silent.or(dead),
        }
    }

    /// Returns for how long it has not seen the node serve.
    pub(super) fn unserving(&self) -> Option<Span> {
        self.unserving
    }
}
