//! A monitor on a desk: every question is answered from a table, on a clock that is a number.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ha_core::machine::monitor::{
    Ask, Input, Monitor, MonitorEvent, MonitorPolicy, NodeVerdict, Observer, Saw, Watchpoint,
};
use ha_core::topology::{Component, Name, NodeIx, NodeSpec, PoolSpec, SiteRole, Topology};

pub(crate) const SECOND: Duration = Duration::from_secs(1);

pub(crate) fn ms(number: u64) -> Duration {
    Duration::from_millis(number)
}

/// Nodes `n1` and so on behind one balancer or several, each in a failure domain of its own.
pub(crate) fn cluster(nodes: usize, balancers: usize) -> Topology {
    let fake = Component::new(Name::new("fake").unwrap());
    let mut builder = Topology::builder("orders").pool(PoolSpec::new("esb", u16::try_from(nodes).unwrap(), 100));
    for number in 1..=balancers {
        builder = builder.balancer(format!("lb{number}"), fake.clone());
    }
    for number in 1..=nodes {
        builder = builder.node(NodeSpec::new(format!("n{number}"), 1000, fake.clone(), fake.clone()));
    }
    builder.build().unwrap()
}

/// Two sites with so many nodes each: `n1` and so on serve, `d1` and so on are warm.
pub(crate) fn two_sites(north: usize, south: usize) -> Topology {
    let fake = Component::new(Name::new("fake").unwrap());
    let node = |name: String, site: &str| NodeSpec::new(name, 1000, fake.clone(), fake.clone()).with_site(site);
    let mut builder = Topology::builder("orders")
        .site("north", SiteRole::Serving)
        .site("south", SiteRole::Warm)
        .pool(PoolSpec::new("esb", u16::try_from(north).unwrap(), 100))
        .balancer("lb1", fake.clone());
    for number in 1..=north {
        builder = builder.node(node(format!("n{number}"), "north"));
    }
    for number in 1..=south {
        builder = builder.node(node(format!("d{number}"), "south"));
    }
    builder.build().unwrap()
}

pub(crate) struct Desk {
    pub(crate) monitor: Monitor,
    topology: Arc<Topology>,
    pub(crate) now: Duration,
    /// What each observer says of each node, where that is not the usual; the balancer has the number of its instance.
    says: BTreeMap<(String, NodeIx), Saw>,
    /// Balancers that do not answer at all.
    deaf: Vec<usize>,
    pub(crate) events: Vec<MonitorEvent>,
}

impl Desk {
    pub(crate) fn new(topology: Topology, policy: MonitorPolicy) -> Self {
        let topology = Arc::new(topology);
        let monitor = Monitor::new(Duration::ZERO, topology.clone(), policy);
        let (says, deaf, events) = (BTreeMap::new(), Vec::new(), Vec::new());
        let mut desk = Self { monitor, topology, now: Duration::ZERO, says, deaf, events };
        // Nodes that are no members of the serving site are installed, stopped and held out.
        let resting: Vec<String> = desk
            .topology
            .nodes()
            .filter(|(_, node)| node.spare || !desk.topology.is_home(node))
            .map(|(_, node)| node.name.to_string())
            .collect();
        for node in resting {
            desk.balancers(&node, Saw::HeldOut).probe(&node, Saw::Dead).host(&node, Saw::Dead);
        }
        desk
    }

    pub(crate) fn node(&self, name: &str) -> NodeIx {
        self.topology.find(name).unwrap()
    }

    fn set(&mut self, observer: String, node: &str, saw: Saw) -> &mut Self {
        let node = self.node(node);
        self.says.insert((observer, node), saw);
        self
    }

    /// Sets what every balancer says of a node from now on.
    pub(crate) fn balancers(&mut self, node: &str, saw: Saw) -> &mut Self {
        for number in 1..=self.topology.balancers().count() {
            self.balancer(number, node, saw);
        }
        self
    }

    pub(crate) fn balancer(&mut self, number: usize, node: &str, saw: Saw) -> &mut Self {
        self.set(format!("lb{number}"), node, saw)
    }

    /// Sets whether a balancer answers at all.
    pub(crate) fn deaf(&mut self, number: usize) -> &mut Self {
        self.deaf.push(number - 1);
        self
    }

    pub(crate) fn probe(&mut self, node: &str, saw: Saw) -> &mut Self {
        self.set("probe".into(), node, saw)
    }

    pub(crate) fn host(&mut self, node: &str, saw: Saw) -> &mut Self {
        self.set("host".into(), node, saw)
    }

    /// Its server is killed: everybody sees it.
    pub(crate) fn kill(&mut self, node: &str) -> &mut Self {
        self.balancers(node, Saw::Dead).probe(node, Saw::Dead).host(node, Saw::Dead)
    }

    /// Its machine is gone: the balancers see it, nobody else gets an answer.
    pub(crate) fn power_off(&mut self, node: &str) -> &mut Self {
        self.balancers(node, Saw::Dead).cut_off(node)
    }

    /// This process does not reach it.
    pub(crate) fn cut_off(&mut self, node: &str) -> &mut Self {
        self.probe(node, Saw::NoAnswer).host(node, Saw::NoAnswer)
    }

    /// It serves again.
    pub(crate) fn revive(&mut self, node: &str) -> &mut Self {
        self.balancers(node, Saw::Alive).probe(node, Saw::Alive).host(node, Saw::Running)
    }

    pub(crate) fn saw(&self, observer: Observer, node: NodeIx) -> Saw {
        let (name, usual) = match observer {
            Observer::Balancer(balancer) => (format!("lb{}", balancer.index() + 1), Saw::Alive),
            Observer::Probe => ("probe".into(), Saw::Alive),
            Observer::Host => ("host".into(), Saw::Running),
        };
        self.says.get(&(name, node)).copied().unwrap_or(usual)
    }

    fn answer(&self, ask: Ask) -> Input {
        let saw = match ask.of {
            Watchpoint::Balancer(balancer) if self.deaf.contains(&balancer.index()) => Vec::new(),
            Watchpoint::Balancer(balancer) => {
                let nodes = self.topology.nodes().map(|(node, _)| node);
                nodes.map(|node| (node, self.saw(Observer::Balancer(balancer), node))).collect()
            }
            Watchpoint::Probe(node) => vec![(node, self.saw(Observer::Probe, node))],
            Watchpoint::Host(node) => vec![(node, self.saw(Observer::Host, node))],
        };
        answered(ask, saw)
    }

    /// Lets time pass; every question is answered at once.
    pub(crate) fn pass(&mut self, time: Duration) -> &mut Self {
        let until = self.now + time;
        while let Some(at) = self.monitor.poll_timeout().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            while let Some(ask) = self.monitor.poll_command(self.now) {
                let answer = self.answer(ask);
                self.monitor.handle(self.now, answer);
            }
            self.drain();
        }
        self.now = until;
        self
    }

    /// Waits until something is to be asked, and returns all that is, unanswered.
    pub(crate) fn ask(&mut self) -> Vec<Ask> {
        self.now = self.now.max(self.monitor.poll_timeout().unwrap());
        std::iter::from_fn(|| self.monitor.poll_command(self.now)).collect()
    }

    /// This process is stalled while its questions are open: it finds their answers when it goes on.
    pub(crate) fn stall(&mut self, time: Duration) -> &mut Self {
        let asks = self.ask();
        let answers: Vec<Input> = asks.into_iter().map(|ask| self.answer(ask)).collect();
        self.now += time;
        for answer in answers {
            self.monitor.handle(self.now, answer);
        }
        self.drain();
        self
    }

    /// A person takes a node back.
    pub(crate) fn take_back(&mut self, node: &str) -> &mut Self {
        let node = self.node(node);
        self.monitor.handle(self.now, Input::TakenBack { node });
        self
    }

    pub(crate) fn drain(&mut self) {
        self.events.extend(std::iter::from_fn(|| self.monitor.poll_event()));
    }

    pub(crate) fn verdict(&self, node: &str) -> NodeVerdict {
        self.monitor.verdict(self.node(node))
    }

    /// Names what was told, and forgets it: kind and node or site.
    pub(crate) fn told(&mut self) -> Vec<String> {
        std::mem::take(&mut self.events).iter().map(named).collect()
    }

    /// Lets time pass until something of this kind is told; returns it, and how long that took.
    pub(crate) fn until(&mut self, kind: &str, at_most: Duration) -> Option<(MonitorEvent, Duration)> {
        let began = self.now;
        while self.now < began + at_most {
            self.pass(ms(10));
            if let Some(event) = self.events.iter().find(|event| event.kind() == kind) {
                return Some((event.clone(), self.now - began));
            }
        }
        None
    }
}

pub(crate) fn answered(ask: Ask, saw: Vec<(NodeIx, Saw)>) -> Input {
    Input::Answered { ask, saw }
}

pub(crate) fn named(event: &MonitorEvent) -> String {
    let of = match event {
        MonitorEvent::Suspected { node, .. }
        | MonitorEvent::Cleared { node }
        | MonitorEvent::Disputed { node, .. }
        | MonitorEvent::Unobserved { node }
        | MonitorEvent::NodeLost { node, .. }
        | MonitorEvent::Returned { node, .. }
        | MonitorEvent::Flapping { node, .. } => node.clone(),
        MonitorEvent::SiteLost { site, .. } => site.clone(),
        MonitorEvent::Proposed { nodes, act, .. } => format!("{} act={act}", nodes.join(",")),
        _ => String::new(),
    };
    format!("{} {of}", event.kind()).trim().to_string()
}
