use std::time::Duration;

use super::policy::Limits;
use super::view::{Span, View};
use super::{Loss, Saw};

/// What the observers of a node say together at one moment.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Opinion {
    /// It serves, and nobody contradicts.
    Serves,
    /// Nobody sees it serve.
    Doubted,
    /// They contradict each other.
    Disputed,
    /// Nobody answers for it.
    Unseen,
}

/// What every observer of a node has seen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Views<'a> {
    pub(super) balancers: &'a [View],
    pub(super) probe: View,
    pub(super) host: View,
    /// Since when silence of probe and host about one node says something, since they speak of others.
    pub(super) trusted: (Option<Duration>, Option<Duration>),
}

/// What follows from it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading {
    pub(super) opinion: Opinion,
    /// The loss that enough observers agree on for long enough, and since when the first of them does.
    pub(super) agreed: Option<(Loss, Duration)>,
    /// Whether enough observers agree on a loss, whether or not for long enough.
    pub(super) agreeing: bool,
    /// Whether anybody sees the process or the server.
    pub(super) alive: bool,
    /// Whether the probe or the host has answered of the node: this process reaches it.
    pub(super) reached: bool,
}

impl Views<'_> {
    /// Puts together what the observers say.
    pub(super) fn read(&self, now: Duration, limits: &Limits) -> Reading {
        let balancer = |wanted: Saw| self.balancers.iter().any(|view| view.saw(now, limits) == wanted);
        let (up, down) = (balancer(Saw::Alive), balancer(Saw::Dead));
        let answered = self.balancers.iter().any(|view| view.saw(now, limits) != Saw::NoAnswer);
        let (probe, host) = (self.probe.saw(now, limits), self.host.saw(now, limits));
        let says = |saw: Saw| matches!(saw, Saw::Alive | Saw::Running | Saw::Dead);
        let running = probe == Saw::Running || matches!(host, Saw::Running | Saw::Alive);
        let serves = up || probe == Saw::Alive;
        let cut_off = probe == Saw::NoAnswer && host == Saw::NoAnswer;
        let denied = down || cut_off || host == Saw::Dead || matches!(probe, Saw::Dead | Saw::Running);
        let opinion = match (serves, denied) {
            (true, true) => Opinion::Disputed,
            (true, false) => Opinion::Serves,
            // Something answers on its port, and its process is gone: it is another one's.
            (false, _) if probe == Saw::Running && host == Saw::Dead => Opinion::Disputed,
            (false, _) if cut_off && !answered => Opinion::Unseen,
            (false, _) => Opinion::Doubted,
        };
        let (agreed, agreeing) = match opinion {
            Opinion::Doubted if running => (self.hung(limits), false),
            Opinion::Doubted => self.gone(now, limits),
            Opinion::Serves | Opinion::Disputed | Opinion::Unseen => (None, false),
        };
        Reading { opinion, agreed, agreeing, alive: serves || running, reached: says(probe) || says(host) }
    }

    /// Tells whether enough kinds of observers agree that it is gone, at least one of which says so and is not merely without an
    /// answer. Where only balancers say so, probe and host must both have been without an answer for as long, as far as they can
    /// tell: they go the same way, and a balancer's checks remember what is over.
    fn gone(&self, now: Duration, limits: &Limits) -> (Option<(Loss, Duration)>, bool) {
        let lasts = |span: Span| span.lasts(limits.dead_after);
        let balancer = self.balancers.iter().filter_map(View::dead).min_by_key(|span| span.since);
        let (probe, host) = (self.probe.agrees(self.trusted.0), self.host.agrees(self.trusted.1));
        let all = || [balancer, probe, host].into_iter().flatten();
        let said = || [balancer, self.probe.dead(), self.host.dead()].into_iter().flatten();
        let seen_directly = self.probe.dead().is_some_and(lasts) || self.host.dead().is_some_and(lasts);
        let agrees = |view: &View, span: Option<Span>| view.saw(now, limits) == Saw::Unsure || span.is_some_and(lasts);
        let seen_by_balancer = balancer.is_some_and(lasts) && agrees(&self.probe, probe) && agrees(&self.host, host);
        let agreeing = all().count() >= limits.needed && said().next().is_some();
        let enough = all().filter(|span| lasts(*span)).count() >= limits.needed && (seen_directly || seen_by_balancer);
        let loss = if self.host.saw(now, limits) == Saw::Dead { Loss::Server } else { Loss::Unreachable };
        let onset = all().map(|span| span.since).min().filter(|_| enough);
        (onset.map(|onset| (loss, onset)), agreeing)
    }

    /// Tells whether balancers and probe agree for long enough that a running server does not serve.
    fn hung(&self, limits: &Limits) -> Option<(Loss, Duration)> {
        let down = |view: &&View| view.dead().is_some_and(|span| span.lasts(limits.dead_after));
        let long = |view: &View| view.unserving().filter(|span| span.lasts(limits.hung_after));
        let balancer = self.balancers.iter().filter(down).filter_map(long).min_by_key(|span| span.since)?;
        let probe = long(&self.probe)?;
        Some((Loss::Hung, balancer.since.min(probe.since)))
    }
}
