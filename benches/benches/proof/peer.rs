//! The same plan as a model for stateright, a general model checker: the same decision core, actions and law, explored by
//! its breadth-first search instead of ours.

use ha_core::action::{self, Order, Verb};
use ha_core::law::{Law, Phase};
use ha_core::machine::{Decision, Turn, decide, enter, put_in_doubt, resolve};
use ha_core::plan::Plan;
use ha_core::record::{Cursor, Mode, OutcomeKind};
use ha_core::state::{ClusterState, Process, Progress};
use ha_core::topology::{BalancerIx, DomainIx, Topology};
use stateright::{Model, Property};

pub(crate) struct Peer {
    pub(crate) topology: Topology,
    pub(crate) plan: Plan,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Spot {
    state: ClusterState,
    cursor: Cursor,
    faults_left: u8,
    back: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Step {
    Next,
    Fails { partial: usize, unknown: bool },
    Lose(DomainIx),
    Forget(BalancerIx),
    AskBack,
}

/// Partial effects are numbered; these two stand for all and for nothing of an order's effect.
const FULLY: usize = usize::MAX;
const NOT: usize = usize::MAX - 1;

impl Peer {
    fn law(&self) -> Law<'_> {
        Law::new(&self.topology, &self.plan.facts)
    }

    fn order(&self, spot: &Spot) -> Option<Order> {
        match decide(&self.topology, &self.plan, &spot.state, spot.cursor) {
            Decision::Act(order) => Some(order),
            _ => None,
        }
    }

    fn holds(&self, spot: &Spot) -> bool {
        let ended = matches!(spot.cursor.mode, Mode::Ended(_));
        let phase = if spot.state.lost().is_some() {
            if ended { Phase::Settled } else { Phase::Shaken }
        } else if spot.state.forgotten().next().is_some() && !ended {
            Phase::Shaken
        } else {
            Phase::Quiet
        };
        self.law().check(&spot.state, phase).is_ok()
    }
}

impl Model for Peer {
    type State = Spot;
    type Action = Step;

    fn init_states(&self) -> Vec<Spot> {
        vec![Spot { state: self.plan.start.clone(), cursor: Cursor::START, faults_left: 1, back: false }]
    }

    fn actions(&self, spot: &Spot, steps: &mut Vec<Step>) {
        if matches!(spot.cursor.mode, Mode::Ended(_)) {
            return;
        }
        steps.push(Step::Next);
        if spot.faults_left > 0 {
            if spot.state.lost().is_none() {
                steps.extend(self.topology.domains().map(Step::Lose));
            }
            steps.extend(self.topology.balancers().map(|(balancer, _)| Step::Forget(balancer)));
            if let Some(order) = self.order(spot) {
                let mut begun = spot.state.clone();
                action::begin(self.law(), &mut begun, order);
                let partials = action::partial_effects(&begun, order).len();
                for partial in (0..partials).chain([FULLY, NOT]) {
                    steps.extend([true, false].map(|unknown| Step::Fails { partial, unknown }));
                }
            }
            let before = usize::from(spot.cursor.stage) < self.plan.point_of_no_return;
            if !spot.back && spot.cursor.mode == Mode::Forward && before {
                steps.push(Step::AskBack);
            }
        }
    }

    fn next_state(&self, last: &Spot, step: Step) -> Option<Spot> {
        let (law, mut next) = (self.law(), last.clone());
        match step {
            Step::Next => match decide(&self.topology, &self.plan, &last.state, last.cursor) {
                Decision::Act(order) => {
                    action::begin(law, &mut next.state, order);
                    resolve(law, &mut next.state, order, OutcomeKind::Done);
                }
                Decision::Look(order) => {
                    let holds = action::holds(law, &last.state, order);
                    let truth = if holds { OutcomeKind::Done } else { OutcomeKind::NotDone };
                    resolve(law, &mut next.state, order, truth);
                }
                Decision::Await => return None,
                Decision::Move(to, turn) => {
                    enter(&mut next.state, turn);
                    next.cursor = to;
                }
                Decision::End(end) => next.cursor.mode = Mode::Ended(end),
            },
            Step::Fails { partial, unknown } => {
                let order = self.order(last)?;
                next.faults_left -= 1;
                action::begin(law, &mut next.state, order);
                let progress = next.state.node(order.node).progress;
                if partial == FULLY {
                    resolve(law, &mut next.state, order, OutcomeKind::Done);
                    if !matches!(order.verb, Verb::Reassert { .. }) {
                        next.state.node_mut(order.node).progress = Progress::InFlight;
                    }
                } else if partial != NOT {
                    next.state = action::partial_effects(&next.state, order).into_iter().nth(partial)?;
                }
                if unknown {
                    next.state.node_mut(order.node).progress = progress;
                    put_in_doubt(&mut next.state);
                } else {
                    resolve(law, &mut next.state, order, OutcomeKind::NotDone);
                }
            }
            Step::Lose(domain) => {
                next.faults_left -= 1;
                next.state.set_lost(domain);
                for node in self.topology.nodes_of(domain) {
                    next.state.node_mut(node).process = Process::Absent;
                }
            }
            Step::Forget(balancer) => {
                next.faults_left -= 1;
                for (index, _) in self.topology.nodes() {
                    for (row, ..) in self.topology.rows(index).filter(|(_, _, on)| *on == balancer) {
                        next.state.set_traffic(row, self.plan.start.row(row).traffic);
                    }
                }
            }
            Step::AskBack => {
                enter(&mut next.state, Turn::StepFailed);
                next.cursor = Cursor { mode: Mode::Compensating, phase: 0, attempt: 0, ..last.cursor };
                next.back = true;
            }
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![Property::<Self>::always("the law holds", |peer, spot| peer.holds(spot))]
    }
}
