//! What holds whatever the observers say, judged by a record of the bare answers that shares nothing with the monitor.

use std::sync::Arc;
use std::time::Duration;

use ha_core::machine::monitor::{Ask, Input, Loss, Monitor, MonitorEvent, MonitorPolicy, NodeVerdict, Saw, Watchpoint};
use ha_core::topology::{NodeIx, Topology};
use proptest::prelude::*;

use super::desk::{SECOND, cluster, ms};

const NODES: usize = 3;
const DEAD_AFTER: Duration = Duration::from_secs(2);
const HUNG_AFTER: Duration = Duration::from_secs(10);

/// What balancer, probe and host say of one node.
type Word = [Saw; 3];

#[derive(Clone, Debug)]
enum Phase {
    /// So many rounds in which they say this of each node.
    Say(u64, [Word; NODES]),
    /// This process is stalled for so many milliseconds, with its questions open.
    Stall(u64),
}

fn word() -> impl Strategy<Value = Word> {
    use Saw::{Alive, Dead, HeldOut, NoAnswer, Running, Unsure};
    let balancer =
        prop_oneof![4 => Just(Alive), 4 => Just(Dead), 1 => Just(NoAnswer), 1 => Just(Unsure), 1 => Just(HeldOut)];
    let probe =
        prop_oneof![3 => Just(Alive), 3 => Just(Dead), 3 => Just(NoAnswer), 1 => Just(Running), 1 => Just(Unsure)];
    let host = prop_oneof![3 => Just(Running), 3 => Just(Dead), 3 => Just(NoAnswer), 1 => Just(Unsure)];
    prop_oneof![
        4 => Just([Alive, Alive, Running]),
        3 => Just([Dead, Dead, Dead]),
        3 => Just([Dead, NoAnswer, NoAnswer]),
        2 => Just([Dead, NoAnswer, Running]),
        4 => (balancer, probe, host).prop_map(|(balancer, probe, host)| [balancer, probe, host]),
    ]
}

fn phase() -> impl Strategy<Value = Phase> {
    let words = || [word(), word(), word()];
    prop_oneof![
        6 => (1..8_u64, words()).prop_map(|(rounds, words)| Phase::Say(rounds, words)),
        2 => (8..40_u64, words()).prop_map(|(rounds, words)| Phase::Say(rounds, words)),
        1 => (1..12_000_u64).prop_map(Phase::Stall),
    ]
}

/// One answer about one node, by the number of its kind.
#[derive(Clone, Copy, Debug)]
struct Said {
    node: NodeIx,
    kind: usize,
    asked_at: Duration,
    saw: Saw,
}

struct Record {
    topology: Arc<Topology>,
    monitor: Monitor,
    now: Duration,
    said: Vec<Said>,
    lost: u32,
}

impl Record {
    fn new() -> Self {
        let topology = Arc::new(cluster(NODES, 1));
        let monitor = Monitor::new(Duration::ZERO, topology.clone(), MonitorPolicy::default());
        Self { topology, monitor, now: Duration::ZERO, said: Vec::new(), lost: 0 }
    }

    fn answers(&self, ask: Ask, words: &[Word; NODES]) -> Vec<Said> {
        let said =
            |node: NodeIx, kind: usize| Said { node, kind, asked_at: ask.asked_at, saw: words[node.index()][kind] };
        match ask.of {
            Watchpoint::Balancer(_) => self.topology.nodes().map(|(node, _)| said(node, 0)).collect(),
            Watchpoint::Probe(node) => vec![said(node, 1)],
            Watchpoint::Host(node) => vec![said(node, 2)],
        }
    }

    fn handle(&mut self, ask: Ask, words: &[Word; NODES]) {
        let said = self.answers(ask, words);
        let saw = said.iter().map(|said| (said.node, said.saw)).collect();
        if self.now > ask.asked_at + ask.within + ms(250) {
            // It is late: neither it nor what was before may be used.
            self.said.clear();
        } else {
            self.said.extend(said);
        }
        // What is older than the longest of the times is not asked for.
        let old = self.said.iter().take_while(|said| said.asked_at + 2 * HUNG_AFTER < self.now).count();
        self.said.drain(..old);
        self.monitor.handle(self.now, Input::Answered { ask, saw });
        while let Some(event) = self.monitor.poll_event() {
            if let MonitorEvent::NodeLost { node, loss, .. } = event {
                self.lost += 1;
                let node = self.topology.find(&node).unwrap();
                self.check(node, loss);
            }
        }
    }

    /// Tells since when a kind has said of a node only what is allowed, counted from its last answer back.
    fn only(&self, node: NodeIx, kind: usize, allowed: &[Saw]) -> Option<Duration> {
        let of_it = self.said.iter().rev().filter(|said| said.node == node && said.kind == kind);
        of_it.take_while(|said| allowed.contains(&said.saw)).map(|said| said.asked_at).last()
    }

    /// Tells since when a kind has not said twice in a row that a node serves, or that it cannot tell.
    fn unserving(&self, node: NodeIx, kind: usize) -> Option<Duration> {
        let (mut since, mut other_one) = (None, false);
        for said in self.said.iter().rev().filter(|said| said.node == node && said.kind == kind) {
            match said.saw {
                Saw::Dead | Saw::NoAnswer | Saw::Running => (since, other_one) = (Some(said.asked_at), false),
                _ if other_one => break,
                _ => other_one = true,
            }
        }
        since
    }

    fn last(&self, node: NodeIx, kind: usize) -> Option<Saw> {
        self.said.iter().rev().find(|said| said.node == node && said.kind == kind).map(|said| said.saw)
    }

    fn check(&self, node: NodeIx, loss: Loss) {
        let lasts = |since: Option<Duration>, time: Duration| since.is_some_and(|since| self.now - since >= time);
        assert!(!self.monitor.is_self_suspect(), "a verdict while it suspects itself");
        let dark = |node: NodeIx| [1, 2].iter().all(|kind| self.last(node, *kind) == Some(Saw::NoAnswer));
        let silent = self.topology.nodes().filter(|(index, _)| dark(*index)).count();
        assert!(silent * 2 <= NODES, "{silent} of {NODES} give no answer, and {node:?} is lost");
        assert!((0..3).all(|kind| self.last(node, kind) != Some(Saw::Alive)), "somebody sees {node:?} serve");
        if loss == Loss::Hung {
            assert!(lasts(self.only(node, 0, &[Saw::Dead, Saw::NoAnswer]), DEAD_AFTER));
            assert!([0, 1].iter().all(|kind| lasts(self.unserving(node, *kind), HUNG_AFTER)));
            return;
        }
        assert!((0..3).all(|kind| self.last(node, kind) != Some(Saw::Running)), "somebody sees {node:?} run");
        let lifeless = |kind: usize| self.only(node, kind, &[Saw::Dead, Saw::NoAnswer]);
        let agreeing: Vec<usize> = (0..3).filter(|kind| lasts(lifeless(*kind), DEAD_AFTER)).collect();
        assert!(agreeing.len() >= 2, "only {agreeing:?} agree on {node:?} at {:?}", self.now);
        let positive = agreeing.iter().any(|kind| {
            let since = lifeless(*kind).unwrap();
            let of_it =
                self.said.iter().filter(|said| said.node == node && said.kind == *kind && said.asked_at >= since);
            let dead = of_it.filter(|said| said.saw == Saw::Dead).map(|said| said.asked_at).next();
            lasts(dead, DEAD_AFTER)
        });
        assert!(positive, "nobody saw {node:?} down for as long");
    }

    fn pass(&mut self, phase: &Phase, words: &[Word; NODES]) {
        match phase {
            Phase::Say(rounds, _) => {
                for _ in 0..*rounds {
                    self.now = self.now.max(self.monitor.poll_timeout().unwrap());
                    while let Some(ask) = self.monitor.poll_command(self.now) {
                        self.handle(ask, words);
                    }
                }
            }
            Phase::Stall(time) => {
                self.now = self.now.max(self.monitor.poll_timeout().unwrap());
                let asks: Vec<Ask> = std::iter::from_fn(|| self.monitor.poll_command(self.now)).collect();
                self.now += ms(*time);
                for ask in asks {
                    self.handle(ask, words);
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_node_is_lost_only_when_enough_observers_have_agreed_for_long_enough(phases in prop::collection::vec(phase(), 1..30)) {
        let mut record = Record::new();
        let mut words = [[Saw::Alive, Saw::Alive, Saw::Running]; NODES];
        for phase in &phases {
            if let Phase::Say(_, said) = phase {
                words = *said;
            }
            record.pass(phase, &words);
        }
    }

    #[test]
    fn a_node_that_was_lost_and_serves_again_is_neither_lost_nor_alive(
        phases in prop::collection::vec(phase(), 1..30)
    ) {
        let mut record = Record::new();
        let mut words = [[Saw::Alive, Saw::Alive, Saw::Running]; NODES];
        for phase in &phases {
            if let Phase::Say(_, said) = phase {
                words = *said;
            }
            record.pass(phase, &words);
        }
        let nodes: Vec<NodeIx> = record.topology.nodes().map(|(node, _)| node).collect();
        let lost: Vec<bool> = nodes.iter().map(|node| record.monitor.verdict(*node).is_lost()).collect();
        record.pass(&Phase::Say(60, words), &[[Saw::Alive, Saw::Alive, Saw::Running]; NODES]);
        for (node, was_lost) in nodes.into_iter().zip(lost) {
            let verdict = record.monitor.verdict(node);
            let stays = matches!(verdict, NodeVerdict::Flapping { .. });
            prop_assert!(stays || !verdict.is_lost(), "{node:?} serves and is still lost");
            prop_assert!(!was_lost || !verdict.is_trusted(), "{node:?} came back by itself");
        }
    }
}

/// The record judges something: such answers do lead to losses.
#[test]
fn the_record_sees_losses() {
    let mut record = Record::new();
    let well = [Saw::Alive, Saw::Alive, Saw::Running];
    for dead in [[Saw::Dead, Saw::Dead, Saw::Dead], [Saw::Dead, Saw::NoAnswer, Saw::NoAnswer]] {
        record.pass(&Phase::Say(40, [well; NODES]), &[well; NODES]);
        record.pass(&Phase::Say(6, [dead, well, well]), &[dead, well, well]);
    }
    record.pass(&Phase::Say(40, [well; NODES]), &[well; NODES]);
    let hung = [Saw::Dead, Saw::NoAnswer, Saw::Running];
    record.pass(&Phase::Say(30, [well, hung, well]), &[well, hung, well]);
    assert_eq!((record.lost, record.now > 30 * SECOND), (3, true));
}
