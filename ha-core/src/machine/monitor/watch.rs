use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::node::{Flags, News, NodeWatch};
use super::policy::Limits;
use super::reach::{Reach, Told, Trust};
use super::schedule::{Answer, Schedule};
use super::site::SiteWatch;
use super::{Ask, Input, MonitorEvent, MonitorPolicy, NodeVerdict, Observer, OnLoss, Saw, Testimony, Watchpoint};
use crate::topology::{Node, NodeIx, Topology};

/// Watches the nodes of a cluster. Sans I/O: time is an argument, and somebody else asks.
///
/// Use: `handle` what was answered, then drain `poll_event` and `poll_command`, then wait no longer than `poll_timeout`.
/// [`Engine::monitor`](crate::engine::Engine::monitor) does that.
#[derive(Debug)]
pub struct Monitor {
    topology: Arc<Topology>,
    limits: Limits,
    schedule: Schedule,
    nodes: Vec<NodeWatch>,
    /// The nodes that each balancer can speak of.
    members: Vec<Vec<NodeIx>>,
    probes: Trust,
    hosts: Trust,
    reach: Reach,
    sites: Vec<SiteWatch>,
    pending: u32,
    doubtful: u32,
    lost: BTreeSet<NodeIx>,
    proposed: BTreeSet<NodeIx>,
    stalled_at: Option<Duration>,
    events: VecDeque<MonitorEvent>,
}

impl Monitor {
    /// Begins to watch at `now`: everybody is to be asked at once.
    pub fn new(now: Duration, topology: Arc<Topology>, policy: MonitorPolicy) -> Self {
        let limits = policy.limits(&topology);
        let members = topology.balancers().map(|(balancer, _)| {
            let nodes: BTreeSet<NodeIx> = topology.seats_on(balancer).map(|seat| seat.node).collect();
            nodes.into_iter().collect()
        });
        Self {
            limits,
            schedule: Schedule::new(now, &topology),
            nodes: topology.nodes().map(|(node, _)| NodeWatch::new(now, &topology, node)).collect(),
            members: members.collect(),
            probes: Trust::default(),
            hosts: Trust::default(),
            reach: Reach::new(now, &topology),
            sites: vec![SiteWatch::default(); topology.sites().len()],
            pending: 0,
            doubtful: 0,
            lost: BTreeSet::new(),
            proposed: BTreeSet::new(),
            stalled_at: None,
            events: VecDeque::new(),
            topology,
        }
    }

    /// Returns what is thought of a node.
    ///
    /// # Panics
    /// For an index of another topology.
    pub fn verdict(&self, node: NodeIx) -> NodeVerdict {
        self.nodes[node.index()].verdict()
    }

    /// Tells whether the monitor suspects itself: no verdict is given.
    pub fn is_self_suspect(&self) -> bool {
        self.reach.is_suspect()
    }

    /// Takes one input in. An answer that comes late, or to no open question, counts for nothing.
    pub fn handle(&mut self, now: Duration, input: Input) {
        match input {
            Input::Answered { ask, saw } => match self.schedule.answered(now, ask, &self.limits) {
                Answer::Fresh => self.answered(now, ask, &saw),
                Answer::Late(late) => self.stalled(now, late),
                Answer::Unasked => {}
            },
            Input::TakenBack { node } => {
                let Some(watch) = self.nodes.get_mut(node.index()) else { return };
                watch.take_back(now);
                self.lost.remove(&node);
                self.proposed.remove(&node);
                self.judge(now, node);
            }
        }
    }

    /// Returns what is to be asked at `now`, or `None` until [`poll_timeout`](Self::poll_timeout).
    pub fn poll_command(&mut self, now: Duration) -> Option<Ask> {
        let (ask, late) = self.schedule.ask(now, &self.limits)?;
        if late > self.limits.own_lag {
            self.stalled(now, late);
        }
        Some(ask)
    }

    /// Returns the next event, or `None` until something happens.
    pub fn poll_event(&mut self) -> Option<MonitorEvent> {
        self.events.pop_front()
    }

    /// Returns when `poll_command` must be called again even if nothing happens; `None` while every question is open.
    pub fn poll_timeout(&self) -> Option<Duration> {
        self.schedule.next_at()
    }

    fn answered(&mut self, now: Duration, ask: Ask, saw: &[(NodeIx, Saw)]) {
        match ask.of {
            Watchpoint::Balancer(balancer) => {
                let members = self.members.get(balancer.index()).cloned().unwrap_or_default();
                let said: BTreeMap<NodeIx, Saw> = saw.iter().copied().collect();
                for node in members {
                    let saw = said.get(&node).copied().unwrap_or(Saw::NoAnswer);
                    self.take(now, ask.asked_at, Observer::Balancer(balancer), node, saw);
                }
            }
            Watchpoint::Probe(node) => self.take(now, ask.asked_at, Observer::Probe, node, said_of(node, saw)),
            Watchpoint::Host(node) => self.take(now, ask.asked_at, Observer::Host, node, said_of(node, saw)),
        }
        self.look_at_self(now);
        self.look_at_sites(now);
        self.propose();
    }

    fn take(&mut self, now: Duration, asked_at: Duration, observer: Observer, node: NodeIx, saw: Saw) {
        let speaks = matches!(saw, Saw::Alive | Saw::Running | Saw::Dead);
        match observer {
            Observer::Probe if speaks => self.probes.spoke(now, self.limits.longest_gap),
            Observer::Host if speaks => self.hosts.spoke(now, self.limits.longest_gap),
            Observer::Balancer(_) | Observer::Probe | Observer::Host => {}
        }
        if let Some(watch) = self.nodes.get_mut(node.index()) {
            watch.take(asked_at, now, observer, saw, &self.limits);
            self.judge(now, node);
        }
    }

    /// Finds what follows for a node from what was seen of it.
    fn judge(&mut self, now: Duration, node: NodeIx) {
        let limits = &self.limits;
        let trusted = |kind: &Trust| {
            let since = kind.since(now, limits.longest_gap);
            since.zip(self.reach.fine_since()).map(|(speaks, fine)| speaks.max(fine))
        };
        let trusted = (trusted(&self.probes), trusted(&self.hosts));
        let watch = &mut self.nodes[node.index()];
        let (reading, was) = (watch.read(now, limits, trusted), watch.flags);
        self.reach.note(now, self.topology.node(node).domain, was.reached, reading.reached);
        let news = watch.judge(now, reading, self.reach.is_suspect(), limits);
        let (is, verdict) = (watch.flags, watch.verdict());
        self.count(now, node, was, is);
        if matches!(verdict, NodeVerdict::Lost { .. }) {
            self.lost.insert(node);
        } else {
            self.lost.remove(&node);
            self.proposed.remove(&node);
        }
        if let Some(news) = news {
            let event = self.event(now, node, news);
            self.events.push_back(event);
        }
    }

    fn count(&mut self, now: Duration, node: NodeIx, was: Flags, is: Flags) {
        self.pending = self.pending + u32::from(is.pending) - u32::from(was.pending);
        self.doubtful = self.doubtful + u32::from(is.doubtful) - u32::from(was.doubtful);
        let site = self.topology.node(node).site.and_then(|site| self.sites.get_mut(site.index()));
        if let Some(site) = site {
            site.note(now, was, is);
        }
    }

    fn event(&self, now: Duration, node: NodeIx, news: News) -> MonitorEvent {
        let (topology, limits) = (&self.topology, &self.limits);
        let declared = topology.node(node);
        let domain = topology.domain_name(declared.domain).to_string();
        let watch = &self.nodes[node.index()];
        let testimony = |(observer, saw)| {
            let observer = match observer {
                Observer::Balancer(balancer) => format!("balancer {}", topology.balancer(balancer).name),
                Observer::Probe => "probe".into(),
                Observer::Host => "host".into(),
            };
            Testimony { observer, saw }
        };
        let evidence = watch.seen(now, limits).map(testimony).collect();
        let node = declared.name.to_string();
        match news {
            News::Suspected => MonitorEvent::Suspected { node, evidence },
            News::Cleared => MonitorEvent::Cleared { node },
            News::Disputed => MonitorEvent::Disputed { node, evidence },
            News::Unobserved => MonitorEvent::Unobserved { node },
            News::Lost { loss, onset } => {
                let detected_after_ms = millis(now.saturating_sub(onset));
                MonitorEvent::NodeLost { node, domain, loss, evidence, detected_after_ms }
            }
            News::Returned { lost_at } => {
                MonitorEvent::Returned { node, lost_for_ms: millis(now.saturating_sub(lost_at)) }
            }
            News::Flapping { losses } => {
                let (losses, window_ms) = (u32::try_from(losses).unwrap_or(u32::MAX), millis(limits.flap_window));
                MonitorEvent::Flapping { node, domain, losses, window_ms, evidence }
            }
        }
    }

    fn look_at_self(&mut self, now: Duration) {
        match self.reach.tell(now, self.limits.dead_after) {
            Some(Told::Suspect { silent, of }) => self.events.push_back(MonitorEvent::SelfSuspect { silent, of }),
            Some(Told::Fine) => self.events.push_back(MonitorEvent::SelfCleared),
            None => {}
        }
    }

    fn look_at_sites(&mut self, now: Duration) {
        let fine_since = self.reach.fine_since();
        for (place, (site, watch)) in self.topology.sites().iter().zip(&mut self.sites).enumerate() {
            if let Some(since) = watch.tell(now, fine_since, self.limits.hold_down) {
                let is_in = |node: &Node| node.site.is_some_and(|site| site.index() == place);
                let nodes = self.topology.nodes().filter(|(_, node)| is_in(node));
                let domains: BTreeSet<_> = nodes.map(|(_, node)| node.domain).collect();
                let name = |domain| self.topology.domain_name(domain).to_string();
                self.events.push_back(MonitorEvent::SiteLost {
                    site: site.name.to_string(),
                    domains: domains.into_iter().map(name).collect(),
                    detected_after_ms: millis(now.saturating_sub(since)),
                });
            }
        }
    }

    /// Proposes the outage procedure for all that is lost, once no other loss is about to be found: nodes that fail together are
    /// proposed together.
    fn propose(&mut self) {
        let on_loss = self.limits.on_loss;
        let is_news = !self.lost.is_subset(&self.proposed);
        if on_loss == OnLoss::Report || !is_news || self.pending > 0 || self.reach.is_suspect() {
            return;
        }
        let domains: BTreeSet<_> = self.lost.iter().map(|node| self.topology.node(*node).domain).collect();
        let act = on_loss == OnLoss::Run && domains.len() == 1 && self.doubtful == 0;
        self.proposed.clone_from(&self.lost);
        self.events.push_back(MonitorEvent::Proposed {
            procedure: "outage".into(),
            nodes: self.lost.iter().map(|node| self.topology.node(*node).name.to_string()).collect(),
            domains: domains.into_iter().map(|domain| self.topology.domain_name(domain).to_string()).collect(),
            act,
        });
    }

    /// This process was late: nothing that was seen before counts. It is told once, however many answers are late.
    fn stalled(&mut self, now: Duration, late: Duration) {
        self.nodes.iter_mut().for_each(|node| node.forget(now));
        self.sites.iter_mut().for_each(|site| site.forget(now));
        self.reach.forget(now);
        (self.probes, self.hosts) = (Trust::default(), Trust::default());
        let is_news = self.stalled_at.is_none_or(|at| now.saturating_sub(at) > self.limits.longest_gap);
        self.stalled_at = Some(now);
        if is_news {
            self.events.push_back(MonitorEvent::Stalled { late_ms: millis(late) });
        }
    }
}

fn said_of(node: NodeIx, saw: &[(NodeIx, Saw)]) -> Saw {
    saw.iter().find(|(of, _)| *of == node).map_or(Saw::NoAnswer, |(_, saw)| *saw)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
