use std::collections::VecDeque;
use std::time::Duration;

use super::opinion::{Opinion, Reading, Views};
use super::policy::Limits;
use super::verdict::Grounds;
use super::view::View;
use super::{Loss, NodeVerdict, Observer, Saw};
use crate::topology::{BalancerIx, NodeIx, Topology};

/// What is known of one node.
#[derive(Debug)]
pub(super) struct NodeWatch {
    balancers: Vec<(BalancerIx, View)>,
    probe: View,
    host: View,
    verdict: NodeVerdict,
    /// Whether it should serve: it is admitted on a balancer, or was declared so and no balancer has said otherwise.
    expected: bool,
    /// The last opinion, and since when it has not changed.
    opinion: (Opinion, Duration),
    /// Since when it was not seen alive, or was; a word to the contrary begins it anew.
    life: (bool, Duration),
    shown: Shown,
    /// When it was lost, not longer ago than the window.
    losses: VecDeque<Duration>,
    pub(super) flags: Flags,
}

/// What was told of a node last.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Shown {
    Nothing,
    Suspected,
    Disputed,
    Unobserved,
}

/// What the cluster is told of a node.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Flags {
    /// Whether this process reaches it.
    pub(super) reached: bool,
    /// Whether its site counts it.
    pub(super) counted: bool,
    /// Whether its site has lost it.
    pub(super) gone: bool,
    /// Whether observers agree that it is lost, not yet for long enough.
    pub(super) pending: bool,
    /// Whether something else is told of it that a person should look at.
    pub(super) doubtful: bool,
}

/// What is new of a node.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum News {
    Suspected,
    Cleared,
    Disputed,
    Unobserved,
    Lost { loss: Loss, onset: Duration },
    Returned { lost_at: Duration },
    Flapping { losses: usize },
}

impl NodeWatch {
    pub(super) fn new(now: Duration, topology: &Topology, node: NodeIx) -> Self {
        let mut balancers: Vec<BalancerIx> = topology.memberships(node).map(|(_, _, balancer)| balancer).collect();
        balancers.sort();
        balancers.dedup();
        let declared = topology.node(node);
        Self {
            balancers: balancers.into_iter().map(|balancer| (balancer, View::default())).collect(),
            probe: View::default(),
            host: View::default(),
            verdict: NodeVerdict::Unobserved { since: now },
            expected: topology.is_home(declared) && !declared.spare,
            opinion: (Opinion::Unseen, now),
            life: (true, now),
            shown: Shown::Nothing,
            losses: VecDeque::new(),
            flags: Flags::default(),
        }
    }

    pub(super) fn verdict(&self) -> NodeVerdict {
        self.verdict
    }

    /// Takes an observer's answer in.
    pub(super) fn take(&mut self, asked_at: Duration, now: Duration, observer: Observer, saw: Saw, limits: &Limits) {
        let view = match observer {
            Observer::Balancer(balancer) => {
                self.balancers.iter_mut().find(|(known, _)| *known == balancer).map(|(_, view)| view)
            }
            Observer::Probe => Some(&mut self.probe),
            Observer::Host => Some(&mut self.host),
        };
        if let Some(view) = view {
            view.take(asked_at, now, saw, limits);
        }
        if let Observer::Balancer(_) = observer {
            self.note_expected(now, limits);
        }
    }

    /// Notes whether it should serve, as its balancers have it; while none of them answers, as they had it.
    fn note_expected(&mut self, now: Duration, limits: &Limits) {
        let seen = |wanted: &[Saw]| self.balancers.iter().any(|(_, view)| wanted.contains(&view.saw(now, limits)));
        let was_expected = self.expected;
        if seen(&[Saw::Alive, Saw::Running, Saw::Unsure, Saw::Dead]) {
            self.expected = true;
        } else if seen(&[Saw::HeldOut]) {
            self.expected = false;
        }
        // What was seen while it was out says nothing of a node that should serve.
        if self.expected && !was_expected && !self.verdict.is_lost() {
            self.forget(now);
        }
    }

    /// Begins anew: what was seen before counts for nothing. What it is held for stays.
    pub(super) fn forget(&mut self, now: Duration) {
        let views = self.balancers.iter_mut().map(|(_, view)| view);
        views.chain([&mut self.probe, &mut self.host]).for_each(View::forget);
        self.opinion.1 = now;
        self.life.1 = now;
    }

    /// A person or a procedure has taken it back.
    pub(super) fn take_back(&mut self, now: Duration) {
        self.forget(now);
        self.losses.clear();
        self.shown = Shown::Nothing;
        self.verdict = NodeVerdict::Unobserved { since: now };
    }

    /// Puts together what its observers say.
    pub(super) fn read(
        &self,
        now: Duration,
        limits: &Limits,
        trusted: (Option<Duration>, Option<Duration>),
    ) -> Reading {
        let balancers: Vec<View> = self.balancers.iter().map(|(_, view)| *view).collect();
        Views { balancers: &balancers, probe: self.probe, host: self.host, trusted }.read(now, limits)
    }

    /// Finds the verdict that follows; with `hold`, none that it is lost. Returns what is new.
    pub(super) fn judge(&mut self, now: Duration, reading: Reading, hold: bool, limits: &Limits) -> Option<News> {
        if self.opinion.0 != reading.opinion {
            self.opinion = (reading.opinion, now);
        }
        if self.life.0 != reading.alive {
            self.life = (reading.alive, now);
        }
        while self.losses.front().is_some_and(|at| now.saturating_sub(*at) > limits.flap_window) {
            self.losses.pop_front();
        }
        let before = self.verdict;
        let grounds = Grounds {
            opinion: reading.opinion,
            expected: self.expected,
            lost: !hold && reading.agreed.is_some(),
            at_limit: self.losses.len() >= usize::try_from(limits.flap_limit).unwrap_or(usize::MAX),
            recovered: self.holds(Opinion::Serves, now, limits.recover_after),
        };
        self.verdict = before.next(now, grounds);
        let news = self.settle(before, now, reading).or_else(|| if hold { None } else { self.show(now, limits) });
        self.flag(now, reading, limits);
        news
    }

    fn holds(&self, opinion: Opinion, now: Duration, time: Duration) -> bool {
        self.opinion.0 == opinion && now.saturating_sub(self.opinion.1) >= time
    }

    /// Notes and returns what follows from a verdict that has changed to lost or from it.
    fn settle(&mut self, before: NodeVerdict, now: Duration, reading: Reading) -> Option<News> {
        match (before, self.verdict) {
            (before, NodeVerdict::Lost { .. }) if !before.is_lost() => {
                let (loss, onset) = reading.agreed?;
                self.losses.push_back(now);
                self.shown = Shown::Nothing;
                Some(News::Lost { loss, onset })
            }
            (before, NodeVerdict::Flapping { .. }) if !before.is_lost() => {
                self.losses.push_back(now);
                self.shown = Shown::Nothing;
                Some(News::Flapping { losses: self.losses.len() })
            }
            (NodeVerdict::Lost { since }, NodeVerdict::Returned { .. }) => Some(News::Returned { lost_at: since }),
            _ => None,
        }
    }

    /// Returns what is to be told of a node that is not lost: a state that lasts, once.
    fn show(&mut self, now: Duration, limits: &Limits) -> Option<News> {
        match self.verdict {
            NodeVerdict::HeldOut => {
                self.shown = Shown::Nothing;
                return None;
            }
            NodeVerdict::Lost { .. } | NodeVerdict::Returned { .. } | NodeVerdict::Flapping { .. } => return None,
            NodeVerdict::Alive
            | NodeVerdict::Suspect { .. }
            | NodeVerdict::Disputed { .. }
            | NodeVerdict::Unobserved { .. } => {}
        }
        let (shown, news, after) = match self.opinion.0 {
            Opinion::Serves => (Shown::Nothing, News::Cleared, limits.dead_after),
            Opinion::Doubted => (Shown::Suspected, News::Suspected, limits.tell_after),
            Opinion::Disputed => (Shown::Disputed, News::Disputed, limits.dead_after),
            Opinion::Unseen => (Shown::Unobserved, News::Unobserved, limits.dead_after),
        };
        let is_news = self.shown != shown && now.saturating_sub(self.opinion.1) >= after;
        self.shown = if is_news { shown } else { self.shown };
        is_news.then_some(news)
    }

    fn flag(&mut self, now: Duration, reading: Reading, limits: &Limits) {
        let lost = self.verdict.is_lost();
        let counted = self.expected || lost;
        let lasts = now.saturating_sub(self.life.1) >= limits.dead_after;
        let gone = match (self.life.0, lasts) {
            (false, true) => true,
            (true, true) => false,
            (_, false) => self.flags.gone || lost,
        };
        let decided = lost || matches!(self.verdict, NodeVerdict::HeldOut);
        self.flags = Flags {
            reached: reading.reached,
            counted,
            gone: counted && gone,
            pending: reading.agreeing && !decided,
            doubtful: matches!(self.verdict, NodeVerdict::Flapping { .. })
                || matches!(self.shown, Shown::Disputed | Shown::Unobserved),
        };
    }

    /// Lists what its observers saw last.
    pub(super) fn seen(&self, now: Duration, limits: &Limits) -> impl Iterator<Item = (Observer, Saw)> {
        let balancers = self.balancers.iter().map(|(balancer, view)| (Observer::Balancer(*balancer), view));
        let direct = [(Observer::Probe, &self.probe), (Observer::Host, &self.host)];
        balancers.chain(direct).map(move |(observer, view)| (observer, view.saw(now, limits)))
    }
}
