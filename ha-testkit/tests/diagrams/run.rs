//! Where a run can be, drawn from the decision core: plans are driven through it with faults, and every turn that it takes is an edge.

use std::collections::{BTreeSet, HashSet};

use ha_core::action::{Action, Order, TrafficAction};
use ha_core::law::Law;
use ha_core::machine::{Decision, Progress, RunState, Turn, decide};
use ha_core::plan::{Draft, OnFailure, Plan};
use ha_core::record::{Cursor, End, Mode, OutcomeKind, Why};
use ha_core::state::{MemberState, ProcessEvent, Traffic};
use ha_core::topology::{DomainIx, NodeIx, Topology};

use super::canonical::Canonical;
use super::chart::{Chart, OUTSIDE, words};

/// What goes wrong, once a run has taken so many decisions.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// The order does not happen: once, or however often it is tried.
    Fails { always: bool },
    /// Nobody knows whether the order happened, and this is what looks at it tell.
    Unknown(OutcomeKind),
    /// A failure domain is lost.
    Loss(DomainIx),
    /// The balancers go back to what is configured, and can be told again or not.
    Forget { for_good: bool },
    /// A server stops serving.
    Sick(NodeIx),
}

/// One change of the cursor, or the end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Went {
    pub(crate) from: Cursor,
    pub(crate) to: Result<(Cursor, Turn), End>,
}

/// Drives a plan through the decision core to its end, with these faults; returns where it went.
pub(crate) fn drive(topology: &Topology, plan: &Plan, faults: &[(usize, Fault)]) -> Vec<Went> {
    let facts = plan.facts().clone();
    let law = Law::new(topology, &facts);
    let (mut run, mut went, mut broken, mut told) = (RunState::of(plan), Vec::new(), HashSet::<Order>::new(), true);
    for moment in 0..10_000 {
        let now: Vec<Fault> = faults.iter().filter(|(at, _)| *at == moment).map(|(_, fault)| *fault).collect();
        for fault in &now {
            match *fault {
                Fault::Loss(domain) => lose(topology, &mut run, domain),
                Fault::Forget { for_good } => {
                    forget(topology, plan, &mut run);
                    told = !for_good;
                }
                Fault::Sick(node) => {
                    let node = run.cluster.node_mut(node);
                    node.process = node.process.on(ProcessEvent::Sickened).unwrap_or(node.process);
                }
                Fault::Fails { .. } | Fault::Unknown(_) => {}
            }
        }
        match decide(topology, plan, &run) {
            Decision::Act(order) => {
                let mut outcome = OutcomeKind::Done;
                let mut look = OutcomeKind::Done;
                for fault in now {
                    match fault {
                        Fault::Fails { always } => {
                            outcome = OutcomeKind::NotDone;
                            if always {
                                broken.insert(order);
                            }
                        }
                        Fault::Unknown(then) => (outcome, look) = (OutcomeKind::Unknown, then),
                        Fault::Loss(_) | Fault::Forget { .. } | Fault::Sick(_) => {}
                    }
                }
                if broken.contains(&order) || (!told && told_again(order).is_some()) {
                    outcome = OutcomeKind::NotDone;
                }
                run.begin_order(law, order);
                if outcome == OutcomeKind::Done {
                    restore(&mut run, order);
                }
                enter(law, &mut run, order, outcome);
                while outcome == OutcomeKind::Unknown && decide(topology, plan, &run) == Decision::Look(order) {
                    enter(law, &mut run, order, look);
                }
            }
            Decision::Look(order) => enter(law, &mut run, order, OutcomeKind::Done),
            Decision::Await => panic!("nothing is in flight: {run:?}"),
            Decision::Move(to, turn) => {
                went.push(Went { from: run.cursor, to: Ok((to, turn)) });
                run.enter(to, turn);
            }
            Decision::End(end) => {
                went.push(Went { from: run.cursor, to: Err(end) });
                return went;
            }
        }
    }
    panic!("the run does not end: {faults:?}")
}

/// Enters an outcome as the run machine does: one that cannot follow the state is unknown.
fn enter(law: Law<'_>, run: &mut RunState, order: Order, outcome: OutcomeKind) {
    if run.resolve(law, order, outcome).is_err() {
        let _ = run.resolve(law, order, OutcomeKind::Unknown);
        assert!(matches!(run.targets.progress(order), Progress::Unknown { .. }));
    }
}

fn lose(topology: &Topology, run: &mut RunState, domain: DomainIx) {
    for (index, _) in topology.nodes().filter(|(_, node)| node.domain == domain) {
        let node = run.cluster.node_mut(index);
        node.process = node.process.on(ProcessEvent::HostLost).unwrap();
    }
    run.cluster.set_lost(domain);
}

fn forget(topology: &Topology, plan: &Plan, run: &mut RunState) {
    for (index, _) in topology.nodes() {
        run.cluster.set_members(index, plan.configured().members(index));
    }
}

/// Tells what a balancer is told again by an order; `None` for every other order.
fn told_again(order: Order) -> Option<bool> {
    match order.action() {
        Action::Traffic(TrafficAction::Reassert { admitted }) => Some(admitted),
        _ => None,
    }
}

/// Makes an order that tells the balancers again take effect.
fn restore(run: &mut RunState, order: Order) {
    if let (Some(admitted), Some(node)) = (told_again(order), order.node()) {
        let traffic = |member: MemberState| if admitted { member.admitted() } else { Traffic::Out };
        run.cluster.set_traffic_everywhere(node, traffic);
    }
}

/// Draws between which modes a run can turn, and how it can end from each.
pub(crate) fn modes(plans: &[Canonical]) -> String {
    let mut edges = BTreeSet::new();
    for Canonical { topology, plan, .. } in plans {
        let mut held = Draft::from(plan.clone());
        held.stages.iter_mut().flat_map(|stage| &mut stage.steps).for_each(|step| step.on_failure = OnFailure::Hold);
        for plan in [plan.clone(), Plan::from(held)] {
            for faults in faults_of(topology, &plan) {
                edges.extend(drive(topology, &plan, &faults).iter().map(|went| edge(&plan, went)));
            }
        }
    }
    let mut chart = Chart::default();
    for mode in ["forward", "compensating", "withdrawing", "reacting"] {
        chart.state(mode, mode);
    }
    for (id, label) in
        [("all_new", "ended, all new"), ("all_old", "ended, all old"), ("operator", "ended, needs an operator")]
    {
        chart.state(id, label);
    }
    chart.edge(OUTSIDE, "forward", "");
    for (_, from, to, label) in &edges {
        chart.edge(from, to, label);
    }
    chart.draw()
}

/// One edge, with its place in the diagram.
fn edge(plan: &Plan, went: &Went) -> (u8, String, String, String) {
    let (place, from) = mode(went.from.mode);
    let (to, label) = match went.to {
        Ok((to, Turn::Precondition)) => (mode(to.mode).1.into(), "precondition not met".into()),
        Ok((to, turn)) => (mode(to.mode).1.into(), words(&turn)),
        Err(End::AllNew) => ("all_new".into(), "goal reached".into()),
        Err(End::AllOld) if plan.goes_back() => ("all_old".into(), "goal reached".into()),
        Err(End::AllOld) => ("all_old".into(), "all undone".into()),
        Err(End::NeedsOperator(why)) => ("operator".into(), reason(why)),
    };
    (place, from.into(), to, label)
}

pub(crate) fn reason(why: Why) -> String {
    match why {
        Why::DomainLost(_) => "traffic secured".into(),
        Why::PastReturn => "failed past the point of no return".into(),
        other => words(&other),
    }
}

fn mode(mode: Mode) -> (u8, &'static str) {
    match mode {
        Mode::Forward => (0, "forward"),
        Mode::Compensating => (1, "compensating"),
        Mode::Withdrawing => (2, "withdrawing"),
        Mode::Reacting => (3, "reacting"),
        Mode::Ended(end) => panic!("a run that has ended as {end} goes nowhere"),
    }
}

/// Each single fault at each moment of a plan; and, where the fault turns it back, one more fault at each later moment.
fn faults_of(topology: &Topology, plan: &Plan) -> Vec<Vec<(usize, Fault)>> {
    let moments = 4 * plan.steps() + 4;
    let mut each: Vec<Fault> = vec![
        Fault::Fails { always: false },
        Fault::Fails { always: true },
        Fault::Unknown(OutcomeKind::Done),
        Fault::Unknown(OutcomeKind::NotDone),
        Fault::Unknown(OutcomeKind::Unknown),
        Fault::Forget { for_good: false },
        Fault::Forget { for_good: true },
    ];
    each.extend(topology.domains().map(Fault::Loss));
    each.extend(topology.nodes().map(|(node, _)| Fault::Sick(node)));
    let single = (0..moments).flat_map(|moment| each.iter().map(move |fault| vec![(moment, *fault)]));
    let mut all: Vec<_> = std::iter::once(Vec::new()).chain(single).collect();
    let failed = (0..moments).step_by(5).map(|moment| (moment, Fault::Fails { always: true }));
    for first in failed {
        let later = (first.0 + 1..first.0 + 20).flat_map(|moment| each.iter().map(move |fault| (moment, *fault)));
        all.extend(later.map(|second| vec![first, second]));
    }
    all
}
