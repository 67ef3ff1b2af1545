//! A cluster under noise, on a clock that is a number: observers that lie and do not answer, bursts of loss, pauses of servers,
//! health checks with a memory as HAProxy's, and a monitor that is stalled. It shares nothing with the monitor's rules.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;
use std::time::Duration;

use ha_core::machine::monitor::{Ask, Input, Monitor, MonitorEvent, MonitorPolicy, Saw, Watchpoint};
use ha_core::topology::{NodeIx, Topology};
use ha_testkit::world::Shape;

/// A generator of numbers that is the same everywhere (splitmix64).
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from `least` to `most`.
    pub(crate) fn from(&mut self, least: u64, most: u64) -> u64 {
        least + self.next() % (most - least + 1)
    }

    /// Whether something of so many in a thousand happens.
    fn happens(&mut self, permille: u64) -> bool {
        self.next() % 1_000 < permille
    }
}

/// How a node is lost.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Harm {
    /// Its process is killed.
    Process,
    /// Its host is off.
    Host,
    /// Its link is cut: nobody reaches it, and it runs.
    Link,
    /// Its process hangs.
    Hang,
}

/// How much goes wrong.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Noise {
    /// How many samples of a thousand are no answer or a lie, in halves.
    pub(crate) permille: u64,
    /// How long it is on average from one disturbance to the next, in seconds; 0 for none.
    pub(crate) pause: u64,
    /// How long a burst of loss lasts, in milliseconds.
    pub(crate) burst: u64,
    /// How long a pause of a server may last, in milliseconds.
    pub(crate) longest_gc: u64,
}

/// The balancers' health checks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Checks {
    /// Milliseconds from one to the next.
    pub(crate) every: u64,
    /// How many have to fail in a row.
    pub(crate) fall: u8,
}

/// What goes wrong for a while.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Disturbance {
    /// Nothing of this process's reaches a node.
    OwnPath(usize),
    /// Nothing of this process's reaches anything.
    OwnLink,
    /// A balancer does not reach a node.
    BalancerPath(usize, usize),
    /// A balancer does not answer this process.
    BalancerGone(usize),
    /// Nobody reaches a node.
    NodeLink(usize),
    /// A server stops the world to collect its garbage.
    Pause(usize),
}

/// A balancer's health check of one node: it remembers.
#[derive(Clone, Copy, Debug)]
struct Check {
    up: bool,
    against: u8,
    at: u64,
}

pub(crate) struct Simulation {
    topology: Arc<Topology>,
    monitor: Monitor,
    random: Random,
    noise: Noise,
    checks: Checks,
    nodes: usize,
    state: Vec<Vec<Check>>,
    now: u64,
    disturbed: Vec<(Disturbance, u64)>,
    /// Until when each node's link was down last.
    links: Vec<u64>,
    next_disturbance: u64,
    stalled_until: u64,
    next_stall: u64,
    harm: Option<(usize, Harm)>,
    answers: BinaryHeap<Reverse<(u64, u64)>>,
    pending: BTreeMap<u64, Input>,
    number: u64,
    /// Samples that were lies or no answers by chance, and disturbances.
    pub(crate) wrong: (u64, u64, u64),
    pub(crate) events: Vec<(u64, MonitorEvent)>,
}

/// How long a node's link is well, at least, after it was down.
const REST: u64 = 2_000;

fn ms(number: u64) -> Duration {
    Duration::from_millis(number)
}

impl Simulation {
    pub(crate) fn new(seed: u64, (nodes, balancers): (usize, usize), noise: Noise, checks: Checks) -> Self {
        Self::with_policy(seed, (nodes, balancers), noise, checks, MonitorPolicy::default())
    }

    pub(crate) fn with_policy(
        seed: u64,
        (nodes, balancers): (usize, usize),
        noise: Noise,
        checks: Checks,
        policy: MonitorPolicy,
    ) -> Self {
        let shape = Shape::active_active(nodes, 1000).with_balancers(balancers);
        let topology = Arc::new(shape.topology().unwrap());
        let mut random = Random::new(seed);
        let mut check = || Check { up: true, against: 0, at: random.from(0, checks.every) };
        let state = (0..balancers).map(|_| (0..nodes).map(|_| check()).collect()).collect();
        Self {
            monitor: Monitor::new(Duration::ZERO, topology.clone(), policy),
            topology,
            noise,
            checks,
            nodes,
            state,
            now: 0,
            disturbed: Vec::new(),
            links: vec![0; nodes],
            next_disturbance: if noise.pause == 0 { u64::MAX } else { random.from(0, 2_000 * noise.pause) },
            stalled_until: 0,
            next_stall: if noise.pause == 0 { u64::MAX } else { random.from(60_000, 900_000) },
            harm: None,
            answers: BinaryHeap::new(),
            pending: BTreeMap::new(),
            number: 0,
            wrong: (0, 0, 0),
            events: Vec::new(),
            random,
        }
    }

    /// Does harm to a node from now on.
    pub(crate) fn harm(&mut self, node: usize, harm: Harm) {
        self.harm = Some((node, harm));
    }

    pub(crate) fn name(&self, node: usize) -> String {
        self.topology.nodes().nth(node).map(|(_, node)| node.name.to_string()).unwrap()
    }

    /// Tells whether this process was stalled since a moment.
    pub(crate) fn was_stalled_since(&self, at: u64) -> bool {
        self.stalled_until > at
    }

    pub(crate) fn now(&self) -> u64 {
        self.now
    }

    /// Lets so many milliseconds pass, or fewer if `stop` says so of an event.
    pub(crate) fn pass(&mut self, time: u64, stop: impl Fn(&MonitorEvent) -> bool) -> bool {
        let until = self.now + time;
        loop {
            let asks = self.monitor.poll_timeout().map_or(u64::MAX, |at| u64::try_from(at.as_millis()).unwrap());
            let answer = self.answers.peek().map_or(u64::MAX, |Reverse((at, _))| *at);
            let next = asks.min(answer).max(self.stalled_until).max(self.now);
            if next > until {
                self.now = until;
                return false;
            }
            self.now = next;
            self.disturb();
            self.deliver();
            // One that is stalled in the middle asks late, too.
            while self.stalled_until <= self.now
                && let Some(ask) = self.monitor.poll_command(ms(self.now))
            {
                self.ask(ask);
            }
            while let Some(event) = self.monitor.poll_event() {
                let stops = stop(&event);
                self.events.push((self.now, event));
                if stops {
                    return true;
                }
            }
        }
    }

    fn deliver(&mut self) {
        while let Some(Reverse((_, number))) = self.answers.peek().copied().filter(|Reverse((at, _))| *at <= self.now) {
            self.answers.pop();
            if let Some(input) = self.pending.remove(&number) {
                self.monitor.handle(ms(self.now), input);
            }
        }
    }

    /// Begins and ends what goes wrong.
    fn disturb(&mut self) {
        let now = self.now;
        self.disturbed.retain(|(_, until)| *until > now);
        if now >= self.next_disturbance {
            self.next_disturbance = now + self.random.from(0, 2_000 * self.noise.pause);
            let (nodes, balancers) = (self.nodes as u64 - 1, self.state.len() as u64 - 1);
            let node = usize::try_from(self.random.from(0, nodes)).unwrap();
            let balancer = usize::try_from(self.random.from(0, balancers)).unwrap();
            let (what, time) = match self.random.from(0, 5) {
                0 => (Disturbance::OwnPath(node), self.noise.burst),
                1 => (Disturbance::OwnLink, self.noise.burst),
                2 => (Disturbance::BalancerPath(balancer, node), self.noise.burst),
                3 => (Disturbance::BalancerGone(balancer), self.noise.burst),
                4 => (Disturbance::NodeLink(node), self.noise.burst),
                _ => (Disturbance::Pause(node), self.random.from(100, self.noise.longest_gc)),
            };
            if let Disturbance::NodeLink(node) = what {
                // Two bursts in a row that nobody reaches a node in are no noise: they are an outage of 3 s.
                if now < self.links[node] + REST {
                    return;
                }
                self.links[node] = now + time;
            }
            self.disturbed.push((what, now + time));
            self.wrong.1 += 1;
        }
        if now >= self.next_stall {
            self.next_stall = now + self.random.from(60_000, 900_000);
            self.stalled_until = now + self.random.from(300, 12_000);
            self.wrong.2 += 1;
        }
    }

    fn is(&self, what: Disturbance) -> bool {
        self.disturbed.iter().any(|(known, _)| *known == what)
    }

    fn harm_of(&self, node: usize) -> Option<Harm> {
        self.harm.filter(|(harmed, _)| *harmed == node).map(|(_, harm)| harm)
    }

    /// Brings a balancer's checks of a node up to now. A check of the past is judged as of now: the longest wait is one interval.
    fn check(&mut self, balancer: usize, node: usize) -> Check {
        let passes = self.harm_of(node).is_none()
            && !self.is(Disturbance::NodeLink(node))
            && !self.is(Disturbance::BalancerPath(balancer, node))
            && !self.is(Disturbance::Pause(node));
        let check = &mut self.state[balancer][node];
        while check.at <= self.now {
            check.at += self.checks.every;
            check.against = if passes == check.up { 0 } else { check.against + 1 };
            let enough = if check.up { self.checks.fall } else { 2 };
            if check.against >= enough {
                (check.up, check.against) = (!check.up, 0);
            }
        }
        *check
    }

    /// Returns what an observer answers and after how many milliseconds; `None` for no answer.
    fn truth(&mut self, of: Watchpoint, node: usize) -> Option<Saw> {
        let unreached = self.is(Disturbance::OwnLink)
            || self.is(Disturbance::OwnPath(node))
            || self.is(Disturbance::NodeLink(node));
        let harm = self.harm_of(node);
        let cut = unreached || matches!(harm, Some(Harm::Host | Harm::Link));
        match of {
            Watchpoint::Balancer(balancer) => {
                let check = self.check(balancer.index(), node);
                Some(match (check.up, check.against) {
                    (true, 0) => Saw::Alive,
                    (false, 0) => Saw::Dead,
                    (true | false, _) => Saw::Unsure,
                })
            }
            Watchpoint::Probe(_) if cut || self.is(Disturbance::Pause(node)) || harm == Some(Harm::Hang) => None,
            Watchpoint::Probe(_) => Some(if harm.is_some() { Saw::Dead } else { Saw::Alive }),
            Watchpoint::Host(_) if cut => None,
            Watchpoint::Host(_) => Some(if harm == Some(Harm::Process) { Saw::Dead } else { Saw::Running }),
        }
    }

    /// Adds noise: a lie, or no answer.
    fn noisy(&mut self, of: Watchpoint, saw: Option<Saw>) -> Option<Saw> {
        if !self.random.happens(self.noise.permille) {
            return saw;
        }
        self.wrong.0 += 1;
        if self.random.happens(500) {
            return None;
        }
        match (of, saw) {
            (Watchpoint::Host(_), Some(Saw::Dead) | None) => Some(Saw::Running),
            (_, Some(Saw::Dead | Saw::Unsure) | None) => Some(Saw::Alive),
            (_, Some(_)) => Some(Saw::Dead),
        }
    }

    fn ask(&mut self, ask: Ask) {
        let within = u64::try_from(ask.within.as_millis()).unwrap();
        let (saw, time) = match ask.of {
            Watchpoint::Balancer(balancer) => {
                let gone = self.is(Disturbance::OwnLink) || self.is(Disturbance::BalancerGone(balancer.index()));
                let nodes: Vec<NodeIx> = self.topology.nodes().map(|(node, _)| node).collect();
                let mut saw = Vec::new();
                for node in nodes {
                    let truth = self.truth(ask.of, node.index());
                    saw.extend(self.noisy(ask.of, truth).map(|saw| (node, saw)));
                }
                if gone { (Vec::new(), within) } else { (saw, self.random.from(1, 20)) }
            }
            Watchpoint::Probe(node) | Watchpoint::Host(node) => {
                let truth = self.truth(ask.of, node.index());
                match self.noisy(ask.of, truth) {
                    Some(saw) => (vec![(node, saw)], self.random.from(1, 150)),
                    None => (Vec::new(), within),
                }
            }
        };
        self.number += 1;
        self.pending.insert(self.number, Input::Answered { ask, saw });
        self.answers.push(Reverse((self.now + time, self.number)));
    }
}
