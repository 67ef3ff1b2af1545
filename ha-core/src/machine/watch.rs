use std::time::Duration;

use super::run::GUARD_INTERVAL;
use super::words::Command;
use crate::topology::BalancerIx;

/// What a run looks at: the hosts together, and each balancer on its own, so that none waits for another's answer.
#[derive(Debug)]
pub(super) struct Watches {
    hosts: Watch,
    balancers: Vec<(BalancerIx, Watch)>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Watch {
    /// Whether the last answer is from after the last order began or ended.
    observed: bool,
    observing: bool,
    /// Whether an order has ended since the look began: its answer may be from before that.
    outdated: bool,
    at: Duration,
}

impl Watches {
    pub(super) fn new(balancers: impl Iterator<Item = BalancerIx>) -> Self {
        Self { hosts: Watch::default(), balancers: balancers.map(|balancer| (balancer, Watch::default())).collect() }
    }

    /// Begins the next look that the guard's interval asks for.
    pub(super) fn due(&mut self, now: Duration) -> Option<Command> {
        self.begin(|watch| now >= watch.at)
    }

    /// Begins the next look that is missing.
    pub(super) fn missing(&mut self) -> Option<Command> {
        self.begin(|watch| !watch.observed)
    }

    fn begin(&mut self, wanted: impl Fn(&Watch) -> bool) -> Option<Command> {
        let wanted = |watch: &Watch| !watch.observing && wanted(watch);
        if wanted(&self.hosts) {
            self.hosts.observing = true;
            return Some(Command::Observe);
        }
        let (balancer, watch) = self.balancers.iter_mut().find(|(_, watch)| wanted(watch))?;
        watch.observing = true;
        Some(Command::Watch { balancer: *balancer })
    }

    /// Takes note of an answer of the hosts; false where it is not to be used.
    pub(super) fn hosts_answered(&mut self, now: Duration) -> bool {
        self.hosts.answered(now)
    }

    /// Takes note of a balancer's answer; false where it is not to be used.
    pub(super) fn balancer_answered(&mut self, now: Duration, balancer: BalancerIx) -> bool {
        let watch = self.balancers.iter_mut().find(|(known, _)| *known == balancer);
        watch.is_some_and(|(_, watch)| watch.answered(now))
    }

    /// Tells whether a look is under way, or none was ended since the last order began or ended.
    pub(super) fn is_unseen(&self) -> bool {
        self.all().any(|watch| watch.observing || !watch.observed)
    }

    /// Tells whether every last answer is younger than the guard's interval.
    pub(super) fn is_fresh(&self, now: Duration) -> bool {
        self.all().all(|watch| now < watch.at)
    }

    /// Returns when the next look is due, of those that are not under way.
    pub(super) fn next_at(&self) -> Option<Duration> {
        self.all().filter(|watch| !watch.observing).map(|watch| watch.at).min()
    }

    /// An order has begun: what was seen is from before it.
    pub(super) fn order_began(&mut self) {
        self.each(|watch| watch.observed = false);
    }

    /// An order has ended: what is being looked at may be from before its end.
    pub(super) fn order_ended(&mut self) {
        self.each(|watch| (watch.observed, watch.outdated) = (false, watch.observing));
    }

    fn all(&self) -> impl Iterator<Item = &Watch> {
        std::iter::once(&self.hosts).chain(self.balancers.iter().map(|(_, watch)| watch))
    }

    fn each(&mut self, change: impl Fn(&mut Watch)) {
        change(&mut self.hosts);
        self.balancers.iter_mut().for_each(|(_, watch)| change(watch));
    }
}

impl Watch {
    fn answered(&mut self, now: Duration) -> bool {
        self.observing = false;
        if std::mem::take(&mut self.outdated) {
            return false;
        }
        (self.observed, self.at) = (true, now.saturating_add(GUARD_INTERVAL));
        true
    }
}
