use std::collections::BTreeSet;
use std::time::Duration;

use super::policy::Limits;
use super::{Ask, Watchpoint};
use crate::topology::Topology;

/// When whom to ask: each at its own pace, so that none waits for another's answer.
#[derive(Debug)]
pub(super) struct Schedule {
    /// Balancers, then the probes of all nodes, then their hosts.
    slots: Vec<Slot>,
    balancers: usize,
    nodes: usize,
    /// Who is to be asked when.
    due: BTreeSet<(Duration, usize)>,
}

#[derive(Debug)]
struct Slot {
    of: Watchpoint,
    planned: Duration,
    asked_at: Option<Duration>,
}

/// How an answer came.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Answer {
    /// In time.
    Fresh,
    /// So much later than it was due: it counts for nothing.
    Late(Duration),
    /// To a question that is not open.
    Unasked,
}

impl Schedule {
    pub(super) fn new(now: Duration, topology: &Topology) -> Self {
        let (balancers, nodes) = (topology.balancers().count(), topology.nodes().count());
        let fronts = topology.balancers().map(|(balancer, _)| Watchpoint::Balancer(balancer));
        let probes = topology.nodes().map(|(node, _)| Watchpoint::Probe(node));
        let hosts = topology.nodes().map(|(node, _)| Watchpoint::Host(node));
        let of = fronts.chain(probes).chain(hosts);
        let slots: Vec<Slot> = of.map(|of| Slot { of, planned: now, asked_at: None }).collect();
        let due = (0..slots.len()).map(|place| (now, place)).collect();
        Self { slots, balancers, nodes, due }
    }

    fn place(&self, of: Watchpoint) -> usize {
        match of {
            Watchpoint::Balancer(balancer) => balancer.index(),
            Watchpoint::Probe(node) => self.balancers + node.index(),
            Watchpoint::Host(node) => self.balancers + self.nodes + node.index(),
        }
    }

    /// Returns the next question that is due, and how late it is.
    pub(super) fn ask(&mut self, now: Duration, limits: &Limits) -> Option<(Ask, Duration)> {
        let (planned, place) = *self.due.first().filter(|(planned, _)| *planned <= now)?;
        self.due.pop_first();
        let slot = self.slots.get_mut(place)?;
        (slot.planned, slot.asked_at) = (now, Some(now));
        Some((Ask { of: slot.of, asked_at: now, within: limits.answer_within }, now.saturating_sub(planned)))
    }

    /// Takes note of an answer, and plans the next question.
    pub(super) fn answered(&mut self, now: Duration, ask: Ask, limits: &Limits) -> Answer {
        let place = self.place(ask.of);
        let Some(slot) = self.slots.get_mut(place).filter(|slot| slot.asked_at == Some(ask.asked_at)) else {
            return Answer::Unasked;
        };
        slot.asked_at = None;
        slot.planned = slot.planned.saturating_add(limits.interval).max(now);
        self.due.insert((slot.planned, place));
        let late = now.saturating_sub(ask.asked_at.saturating_add(ask.within));
        if late > limits.own_lag { Answer::Late(late) } else { Answer::Fresh }
    }

    /// Returns when the next question is due.
    pub(super) fn next_at(&self) -> Option<Duration> {
        self.due.first().map(|(planned, _)| *planned)
    }
}
