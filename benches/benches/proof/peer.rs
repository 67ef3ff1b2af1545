//! The same plan as a model for stateright, a general model checker: the same decision core, actions and law, explored by
//! its breadth-first search instead of ours.

use ha_core::action::{Action, Order, TrafficAction};
use ha_core::law::{Law, Phase};
use ha_core::machine::{Decision, RunState, Turn, decide, newly_lost};
use ha_core::plan::Plan;
use ha_core::record::{Cursor, Mode, OutcomeKind};
use ha_core::state::Process;
use ha_core::topology::{BalancerIx, DomainIx, Topology};
use stateright::{Model, Property};

pub(crate) struct Peer {
    pub(crate) topology: Topology,
    pub(crate) plan: Plan,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Explored {
    run: RunState,
    faults_left: u8,
    back: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Step {
    Next,
    Fails { partial: usize, unknown: bool },
    Ends { order: Order, outcome: OutcomeKind },
    Lose { domain: DomainIx, in_flight: bool },
    Forget { balancer: BalancerIx, in_flight: bool },
    AskBack,
}

/// Partial effects are numbered; these two stand for all and for nothing of an order's effect.
const FULLY: usize = usize::MAX;
const NOT: usize = usize::MAX - 1;

impl Peer {
    fn law(&self) -> Law<'_> {
        Law::new(&self.topology, self.plan.facts())
    }

    fn order(&self, state: &Explored) -> Option<Order> {
        match decide(&self.topology, &self.plan, &state.run) {
            Decision::Act(order) => Some(order),
            _ => None,
        }
    }

    fn holds(&self, state: &Explored) -> bool {
        let (cluster, ended) = (&state.run.cluster, matches!(state.run.cursor.mode, Mode::Ended(_)));
        let phase = if newly_lost(&self.plan, cluster).is_some() {
            if ended { Phase::Settled } else { Phase::Shaken }
        } else if state.run.targets.lost(cluster).next().is_some() && !ended {
            Phase::Shaken
        } else {
            Phase::Quiet
        };
        self.law().check(cluster, phase).is_ok()
    }

    /// What the order leaves behind, before anybody says what came of it.
    fn effect(&self, run: &mut RunState, order: Order, partial: usize) -> Option<()> {
        run.begin_order(self.law(), order);
        if partial == FULLY {
            order.complete(self.law(), &mut run.cluster).ok()?;
        } else if partial != NOT {
            run.cluster = order.partial_effects(self.law(), &run.cluster).into_iter().nth(partial)?;
        }
        Some(())
    }

    fn reaches(&self, run: &RunState, order: Order) -> bool {
        let lost = |node| run.cluster.is_lost(self.topology.node(node).domain);
        matches!(order.action(), Action::Traffic(_) | Action::Schema(_) | Action::Exposure(_))
            || !order.node().is_some_and(lost)
    }
}

impl Model for Peer {
    type State = Explored;
    type Action = Step;

    fn init_states(&self) -> Vec<Explored> {
        vec![Explored { run: RunState::begin(self.plan.start().clone()), faults_left: 1, back: false }]
    }

    fn actions(&self, state: &Explored, steps: &mut Vec<Step>) {
        if matches!(state.run.cursor.mode, Mode::Ended(_)) {
            return;
        }
        steps.push(Step::Next);
        if state.run.targets.has_step_in_flight() {
            for order in state.run.targets.in_flight() {
                let ends = if self.reaches(&state.run, order) {
                    &[OutcomeKind::Done][..]
                } else {
                    &[OutcomeKind::NotDone, OutcomeKind::Unknown]
                };
                steps.extend(ends.iter().map(|outcome| Step::Ends { order, outcome: *outcome }));
            }
        }
        if state.faults_left > 0 {
            let order = self.order(state);
            let reasserts = |order: &Order| matches!(order.action(), Action::Traffic(TrafficAction::Reassert { .. }));
            for in_flight in [false, true] {
                if in_flight && order.as_ref().is_none_or(reasserts) {
                    continue;
                }
                if newly_lost(&self.plan, &state.run.cluster).is_none() {
                    steps.extend(self.topology.domains().map(|domain| Step::Lose { domain, in_flight }));
                }
                steps.extend(self.topology.balancers().map(|(balancer, _)| Step::Forget { balancer, in_flight }));
            }
            if let Some(order) = order {
                let mut begun = state.run.clone();
                begun.begin_order(self.law(), order);
                let partials = order.partial_effects(self.law(), &begun.cluster).len();
                for partial in (0..partials).chain([FULLY, NOT]) {
                    steps.extend([true, false].map(|unknown| Step::Fails { partial, unknown }));
                }
            }
            let before = usize::from(state.run.cursor.stage) < self.plan.point_of_no_return();
            if !state.back && state.run.cursor.mode == Mode::Forward && before {
                steps.push(Step::AskBack);
            }
        }
    }

    fn next_state(&self, last: &Explored, step: Step) -> Option<Explored> {
        let (law, mut next) = (self.law(), last.clone());
        match step {
            Step::Next => match decide(&self.topology, &self.plan, &last.run) {
                Decision::Act(order) => {
                    next.run.begin_order(law, order);
                    next.run.resolve(law, order, OutcomeKind::Done).ok()?;
                }
                Decision::Look(order) => {
                    let done = last.run.is_done(law, order);
                    let truth = if done { OutcomeKind::Done } else { OutcomeKind::NotDone };
                    next.run.resolve(law, order, truth).ok()?;
                }
                Decision::Await => return None,
                Decision::Move(to, turn) => next.run.enter(to, turn),
                Decision::End(end) => next.run.cursor.mode = Mode::Ended(end),
            },
            Step::Ends { order, outcome } => next.run.resolve(law, order, outcome).ok()?,
            Step::Fails { partial, unknown } => {
                let order = self.order(last)?;
                next.faults_left -= 1;
                self.effect(&mut next.run, order, partial)?;
                if unknown {
                    next.run.mark_unknown();
                } else {
                    next.run.resolve(law, order, OutcomeKind::NotDone).ok()?;
                }
            }
            Step::Lose { domain, in_flight } => {
                if in_flight {
                    next.run.begin_order(law, self.order(last)?);
                }
                next.faults_left -= 1;
                next.run.cluster.set_lost(domain);
                for node in self.topology.nodes_of(domain) {
                    next.run.cluster.node_mut(node).process = Process::Absent;
                }
            }
            Step::Forget { balancer, in_flight } => {
                if in_flight {
                    next.run.begin_order(law, self.order(last)?);
                }
                next.faults_left -= 1;
                for (pool, _) in self.topology.pools() {
                    for entrance in self.topology.entrances(pool).iter().filter(|one| one.balancer == balancer) {
                        for seat in &entrance.seats {
                            next.run.cluster.set_traffic(seat.member, self.plan.start().member(seat.member).traffic);
                        }
                    }
                }
            }
            Step::AskBack => {
                let to = Cursor { mode: Mode::Compensating, phase: 0, attempt: 0, ..last.run.cursor };
                next.run.enter(to, Turn::StepFailed);
                next.back = true;
            }
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![Property::<Self>::always("the law holds", |peer, state| peer.holds(state))]
    }
}
