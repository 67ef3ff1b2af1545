//! The reactions of the decision core itself: a proven plan is gone along, a fault comes at each moment, and each command that
//! the core gives from then on is judged by the wording. What commands lead to is ha-core's; what they may do is not.

use ha_core::action::Order as Given;
use ha_core::law::Law;
use ha_core::machine::{Decision, RunState, decide};
use ha_core::plan::Plan;
use ha_core::record::{End, OutcomeKind};
use ha_core::state::Process;
use ha_core::topology::Topology;

use super::model::Cluster;
use super::orders::{Order, read_action};
use super::wording::Sums;

/// How much was judged.
#[derive(Default)]
pub(crate) struct Judged {
    pub(crate) plans: usize,
    pub(crate) faults: usize,
    pub(crate) commands: usize,
}

impl Judged {
    pub(crate) fn add(&mut self, other: &Self) {
        self.plans += other.plans;
        self.faults += other.faults;
        self.commands += other.commands;
    }
}

struct Driven<'a> {
    topology: &'a Topology,
    plan: &'a Plan,
    law: Law<'a>,
    cluster: Cluster<'a>,
}

/// Goes along a plan and returns the first command of a reaction that breaks what binds it.
pub(crate) fn judge_reactions(topology: &Topology, plan: &Plan, judged: &mut Judged) -> Option<String> {
    judged.plans += 1;
    let driven =
        Driven { topology, plan, law: Law::new(topology, plan.facts()), cluster: Cluster::read(topology, plan) };
    let mut run = RunState::begin(plan.start().clone());
    loop {
        if let Some(found) = driven.with_each_fault(&run, None, judged) {
            return Some(found);
        }
        match decide(topology, plan, &run) {
            Decision::Act(order) => {
                run.begin_order(driven.law, order);
                if let Some(found) = driven.with_each_fault(&run, Some(order), judged) {
                    return Some(found);
                }
                run.resolve(driven.law, order, OutcomeKind::Done).unwrap();
            }
            Decision::Move(to, turn) => run.enter(to, turn),
            Decision::End(End::AllNew) => return None,
            other => return Some(format!("without a fault: {other:?}")),
        }
    }
}

impl Driven<'_> {
    fn with_each_fault(&self, run: &RunState, flying: Option<Given>, judged: &mut Judged) -> Option<String> {
        let before = &run.cluster;
        for domain in self.topology.domains() {
            let mut lost = run.clone();
            lost.cluster.set_lost(domain);
            let floor = self.floor(&lost, flying);
            for node in self.topology.nodes_of(domain) {
                lost.cluster.node_mut(node).process = Process::Absent;
            }
            for flying_first in [true, false] {
                judged.faults += 1;
                let what = self.react(lost.clone(), &floor, flying.filter(|_| flying_first), judged);
                if let Some(what) = what {
                    return Some(format!("{} is lost: {what}", self.topology.domain_name(domain)));
                }
            }
        }
        for (balancer, declared) in self.topology.balancers() {
            let floor = self.floor(run, flying);
            let mut forgot = run.clone();
            for (node, _) in self.topology.nodes() {
                let members =
                    self.topology.memberships(node).zip(before.members(node)).zip(self.plan.start().members(node));
                let members: Vec<_> =
                    members.map(|(((.., on), now), start)| if on == balancer { *start } else { *now }).collect();
                forgot.cluster.set_members(node, &members);
            }
            for flying_first in [true, false] {
                judged.faults += 1;
                let what = self.react(forgot.clone(), &floor, flying.filter(|_| flying_first), judged);
                if let Some(what) = what {
                    return Some(format!("{} forgets: {what}", declared.name));
                }
            }
        }
        None
    }

    /// The sums of the last quiet state, whatever becomes of what is in flight.
    fn floor(&self, run: &RunState, flying: Option<Given>) -> Sums {
        let state = Cluster::seen(&run.cluster);
        let mut floor = self.cluster.sums(&state);
        if let Some(given) = flying {
            let order = Order { node: given.node().map_or(0, |node| node.index()), what: read_action(given.action()) };
            let ended = order.complete(&self.cluster, &state);
            for other in order.halves(&self.cluster, &state).iter().chain(&ended) {
                floor = floor.least(&self.cluster.sums(other));
            }
        }
        floor
    }

    /// Follows the core until the reaction has ended, and judges each command.
    fn react(&self, mut run: RunState, floor: &Sums, first: Option<Given>, judged: &mut Judged) -> Option<String> {
        let mut said = Vec::new();
        if let Some(order) = first {
            self.end(&mut run, order);
        }
        loop {
            let lost = !run.cluster.lost().is_empty();
            if !lost && run.targets.lost(&run.cluster).next().is_none() {
                return None;
            }
            match decide(self.topology, self.plan, &run) {
                Decision::Act(order) => {
                    let before = Cluster::seen(&run.cluster);
                    run.begin_order(self.law, order);
                    run.resolve(self.law, order, OutcomeKind::Done).unwrap();
                    let after = Cluster::seen(&run.cluster);
                    judged.commands += 1;
                    said.push(order.message(self.topology, self.plan.facts()));
                    let (was, is) = (self.cluster.sums(&before), self.cluster.sums(&after));
                    if is.falls(&was, floor) {
                        return Some(format!(
                            "{}: a sum falls from {was:?} to {is:?}, below {floor:?}",
                            said.join(", ")
                        ));
                    }
                    let bound = self.cluster.bound(&before);
                    let newly = self.cluster.bound(&after).into_iter().find(|rule| !bound.contains(rule));
                    if let Some(rule) = newly {
                        return Some(format!("{}: breaks {rule:?}", said.join(", ")));
                    }
                }
                Decision::Move(to, turn) => run.enter(to, turn),
                Decision::Await => {
                    let order = run.targets.in_flight().next()?;
                    self.end(&mut run, order);
                }
                Decision::End(_) | Decision::Look(_) => {
                    let state = Cluster::seen(&run.cluster);
                    let broken = if lost { self.cluster.settled(&state) } else { self.cluster.quiet(&state) };
                    return broken.first().map(|rule| format!("{}: ends with {rule:?} broken", said.join(", ")));
                }
            }
        }
    }

    /// An order in flight ends: one that has to reach a lost node never happens.
    fn end(&self, run: &mut RunState, order: Given) {
        let gone = order.node().is_some_and(|node| run.cluster.is_lost(self.topology.node(node).domain));
        let mine = Order { node: 0, what: read_action(order.action()) };
        let outcome = if gone && mine.reaches_node() { OutcomeKind::NotDone } else { OutcomeKind::Done };
        run.resolve(self.law, order, outcome).unwrap();
    }
}
