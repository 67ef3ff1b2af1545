use std::fmt;

use crate::action::{self, Order, Verb, compensation};
use crate::law::{Invariant, Law, Phase, Violation};
use crate::plan::{OnFailure, Plan, Step};
use crate::record::{Cursor, End, Mode, OutcomeKind, Why};
use crate::state::{ClusterState, Progress, Said};
use crate::topology::{NodeIx, Topology};

/// What the decision core wants next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Decision {
    /// Record the intent of this order, then carry it out.
    Act(Order),
    /// Nobody knows whether this order happened: look.
    Look(Order),
    /// Orders are in flight; nothing else may begin.
    Await,
    /// Go on at another place.
    Move(Cursor, Turn),
    /// The run is over.
    End(End),
}

/// Why the run goes on at another place.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Turn {
    /// The step is done on all its targets.
    NextStep,
    /// The step did not happen and is tried again.
    Retry,
    /// The step failed for good: its effects and those of all before it are compensated.
    StepFailed,
    /// The step may not be given as the cluster stands.
    Precondition,
    /// The step would have broken the law.
    LawWouldBreak,
    /// A failure domain was lost.
    DomainLost,
}

impl fmt::Display for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NextStep => "next step",
            Self::Retry => "the step did not happen and is tried again",
            Self::StepFailed => "the step failed: rolling back",
            Self::Precondition => "the step may not be given as the cluster stands: rolling back",
            Self::LawWouldBreak => "the step would break the law: rolling back",
            Self::DomainLost => "a failure domain was lost: securing traffic first",
        })
    }
}

/// How often an unknown outcome is looked at before a person is asked.
const LOOKS: u8 = 3;
/// How often a compensation is tried in all.
const COMPENSATION_ATTEMPTS: u8 = 2;

/// Decides what comes next. Pure: the same plan, state and cursor give the same decision.
pub fn decide(topology: &Topology, plan: &Plan, state: &ClusterState, cursor: Cursor) -> Decision {
    let law = Law::new(topology, &plan.facts);
    match cursor.mode {
        Mode::Ended(end) => Decision::End(end),
        Mode::Reacting => react(law, state),
        Mode::Forward | Mode::Compensating if state.lost().is_some() => {
            Decision::Move(Cursor { mode: Mode::Reacting, attempt: 0, ..cursor }, Turn::DomainLost)
        }
        Mode::Forward => reassert(law, state).unwrap_or_else(|| forward(law, plan, state, cursor)),
        Mode::Compensating => reassert(law, state).unwrap_or_else(|| compensate(law, plan, state, cursor)),
    }
}

/// Says what a forward step would break, where [`decide`] refuses to give it.
pub fn refusal(topology: &Topology, plan: &Plan, state: &ClusterState, cursor: Cursor) -> Option<Violation> {
    let law = Law::new(topology, &plan.facts);
    let stage = plan.stages.get(usize::from(cursor.stage))?;
    let step = plan.step(usize::from(cursor.stage), usize::from(cursor.step))?;
    let node = stage.targets.iter().find(|node| state.node(**node).progress == Progress::Idle)?;
    let order = Order { node: *node, verb: step.verb };
    match action::precondition(law, state, order) {
        Err(facts) => {
            let invariant = match order.verb {
                Verb::Stop => Invariant::Drained,
                Verb::Admit | Verb::StandBy => Invariant::Tested,
                Verb::Release => Invariant::Sync,
                Verb::HandWriter { .. } => Invariant::OneWriter,
                _ => Invariant::Order,
            };
            Some(Violation::new(invariant, facts))
        }
        Ok(()) => law.check(&foreseen(law, state, order), Phase::Quiet).err(),
    }
}

/// Goes on at another place: a retry keeps what is done on the other targets, a loss what is in flight; every other
/// move begins afresh.
pub fn enter(state: &mut ClusterState, turn: Turn) {
    match turn {
        Turn::Retry => {
            let failed: Vec<NodeIx> = state
                .nodes()
                .filter(|(_, node)| matches!(node.progress, Progress::NotDone { .. }))
                .map(|(index, _)| index)
                .collect();
            for node in failed {
                state.node_mut(node).progress = Progress::Idle;
            }
        }
        Turn::NextStep | Turn::StepFailed | Turn::Precondition | Turn::LawWouldBreak => state.reset_progress(),
        Turn::DomainLost => state.reset_progress_at_rest(),
    }
}

/// Puts in doubt what a controller had in flight when it died: nobody knows what became of it.
pub fn put_in_doubt(state: &mut ClusterState) {
    let in_flight = state.in_flight();
    let moving: Vec<NodeIx> = state.nodes().filter(|(_, node)| node.moving).map(|(index, _)| index).collect();
    for node in moving {
        let node = state.node_mut(node);
        node.moving = false;
        // What was being said again may have been said in part.
        node.told_again = node.told_again.saturating_add(u8::from(node.progress != Progress::InFlight));
    }
    for node in in_flight {
        state.node_mut(node).progress = Progress::Unknown { looks: 0 };
    }
}

/// Enters the outcome of an act or a look into the state.
pub fn resolve(law: Law<'_>, state: &mut ClusterState, order: Order, outcome: OutcomeKind) {
    if order.verb.moves_traffic() {
        state.node_mut(order.node).moving = false;
    }
    if outcome == OutcomeKind::Done {
        return action::complete(law, state, order);
    }
    let node = state.node_mut(order.node);
    if let Verb::Reassert { .. } = order.verb {
        // What the balancers say next tells whether it has to be said once more.
        node.told_again = node.told_again.saturating_add(1);
        return;
    }
    // What failed is not insisted on: the way back begins from how the node stands.
    if outcome == OutcomeKind::NotDone && order.verb.moves_traffic() {
        node.said = Said::Nothing;
    }
    node.progress = match (outcome, node.progress) {
        (OutcomeKind::Unknown, Progress::Unknown { looks }) => Progress::Unknown { looks: looks.saturating_add(1) },
        (OutcomeKind::Unknown, _) => Progress::Unknown { looks: 0 },
        (_, progress) => Progress::NotDone { looked: matches!(progress, Progress::Unknown { .. }) },
    };
}

/// Tells whether a decision turns the run back or ends it short of its goal.
pub fn has_failed(decision: Decision) -> bool {
    match decision {
        Decision::Move(_, turn) => !matches!(turn, Turn::NextStep | Turn::Retry),
        Decision::End(end) => end != End::AllNew,
        Decision::Act(_) | Decision::Look(_) | Decision::Await => false,
    }
}

fn forward(law: Law<'_>, plan: &Plan, state: &ClusterState, cursor: Cursor) -> Decision {
    let (Some(stage), Some(step)) =
        (plan.stages.get(usize::from(cursor.stage)), plan.step(usize::from(cursor.stage), usize::from(cursor.step)))
    else {
        return end_forward(law, plan, state, cursor);
    };
    let failed = |turn: Turn| give_up(plan, step, cursor, turn);
    let (mut in_flight, mut not_done, mut redo) = (false, false, true);
    for node in &stage.targets {
        let order = Order { node: *node, verb: step.verb };
        match state.node(*node).progress {
            Progress::Idle => {
                if action::precondition(law, state, order).is_err() {
                    return failed(Turn::Precondition);
                }
                if law.check(&foreseen(law, state, order), Phase::Quiet).is_err() {
                    return failed(Turn::LawWouldBreak);
                }
                return Decision::Act(order);
            }
            Progress::Unknown { looks } if looks >= LOOKS => {
                return Decision::End(End::NeedsOperator(Why::OutcomeUnknown));
            }
            Progress::Unknown { .. } => return Decision::Look(order),
            Progress::InFlight => in_flight = true,
            Progress::NotDone { looked } => {
                not_done = true;
                redo &= looked;
            }
            Progress::Done => {}
        }
    }
    if in_flight {
        return Decision::Await;
    }
    if !not_done {
        return Decision::Move(after(plan, cursor), Turn::NextStep);
    }
    let attempts = if redo { step.attempts.max(2) } else { step.attempts };
    if cursor.attempt < attempts.saturating_sub(1) {
        return Decision::Move(Cursor { attempt: cursor.attempt + 1, ..cursor }, Turn::Retry);
    }
    failed(Turn::StepFailed)
}

fn give_up(plan: &Plan, step: &Step, cursor: Cursor, turn: Turn) -> Decision {
    if usize::from(cursor.stage) >= plan.point_of_no_return {
        return Decision::End(End::NeedsOperator(Why::PastReturn));
    }
    match step.on_failure {
        OnFailure::RollBack => {
            Decision::Move(Cursor { mode: Mode::Compensating, phase: 0, attempt: 0, ..cursor }, turn)
        }
        OnFailure::Hold => Decision::End(End::NeedsOperator(Why::Held)),
    }
}

fn end_forward(law: Law<'_>, plan: &Plan, state: &ClusterState, cursor: Cursor) -> Decision {
    if usize::from(cursor.stage) + 1 < plan.stages.len() {
        return Decision::Move(Cursor { stage: cursor.stage + 1, step: 0, attempt: 0, ..cursor }, Turn::NextStep);
    }
    Decision::End(if law.repaid(state).is_ok() { End::AllNew } else { End::NeedsOperator(Why::LoansOpen) })
}

fn after(plan: &Plan, cursor: Cursor) -> Cursor {
    let steps = plan.stages.get(usize::from(cursor.stage)).map_or(0, |stage| stage.steps.len());
    let last_stage = usize::from(cursor.stage) + 1 >= plan.stages.len();
    if usize::from(cursor.step) + 1 < steps || last_stage {
        Cursor { step: cursor.step + 1, attempt: 0, ..cursor }
    } else {
        Cursor { stage: cursor.stage + 1, step: 0, attempt: 0, ..cursor }
    }
}

fn compensate(law: Law<'_>, plan: &Plan, state: &ClusterState, cursor: Cursor) -> Decision {
    let Some(stage) = plan.stages.get(usize::from(cursor.stage)) else {
        return Decision::End(End::NeedsOperator(Why::CompensationFailed));
    };
    let verb = plan.step(usize::from(cursor.stage), usize::from(cursor.step)).map(|step| step.verb);
    let (mut in_flight, mut not_done, mut any) = (false, false, false);
    for node in &stage.targets {
        let Some(verb) = verb.and_then(|verb| undo(plan, *node, verb, cursor.phase)) else { continue };
        any = true;
        let order = Order { node: *node, verb };
        match state.node(*node).progress {
            Progress::Idle if action::holds(law, state, order) => {}
            Progress::Idle => {
                if action::precondition(law, state, order).is_err()
                    || makes_worse(law, state, &foreseen(law, state, order))
                {
                    return Decision::End(End::NeedsOperator(Why::LawWouldBreak));
                }
                return Decision::Act(order);
            }
            Progress::Unknown { looks } if looks >= LOOKS => {
                return Decision::End(End::NeedsOperator(Why::OutcomeUnknown));
            }
            Progress::Unknown { .. } => return Decision::Look(order),
            Progress::InFlight => in_flight = true,
            Progress::NotDone { .. } => not_done = true,
            Progress::Done => {}
        }
    }
    if in_flight {
        return Decision::Await;
    }
    if not_done {
        if cursor.attempt < COMPENSATION_ATTEMPTS - 1 {
            return Decision::Move(Cursor { attempt: cursor.attempt + 1, ..cursor }, Turn::Retry);
        }
        return Decision::End(End::NeedsOperator(Why::CompensationFailed));
    }
    if any {
        return Decision::Move(Cursor { phase: cursor.phase + 1, attempt: 0, ..cursor }, Turn::NextStep);
    }
    let before = Cursor { phase: 0, attempt: 0, ..cursor };
    if cursor.step > 0 {
        return Decision::Move(Cursor { step: cursor.step - 1, ..before }, Turn::NextStep);
    }
    match cursor.stage.checked_sub(1) {
        Some(stage) => {
            let steps = plan.stages.get(usize::from(stage)).map_or(0, |stage| stage.steps.len());
            let step = u16::try_from(steps.saturating_sub(1)).unwrap_or(u16::MAX);
            Decision::Move(Cursor { stage, step, ..before }, Turn::NextStep)
        }
        None if law.repaid(state).is_ok() => Decision::End(End::AllOld),
        None => Decision::End(End::NeedsOperator(Why::LoansOpen)),
    }
}

/// Returns one verb of a step's compensation. A spare has nothing to go back to but its own beginning.
fn undo(plan: &Plan, node: NodeIx, verb: Verb, phase: u8) -> Option<Verb> {
    let known_good = plan.known_good.get(node.index()).copied().flatten()?;
    compensation(verb, known_good).get(usize::from(phase)).copied()
}

/// After the loss of a failure domain: what a balancer forgot is said again, then reserves are admitted until what is
/// owed is carried.
fn react(law: Law<'_>, state: &ClusterState) -> Decision {
    let Some(lost) = state.lost() else { return Decision::End(End::NeedsOperator(Why::Held)) };
    match reassert(law, state) {
        Some(decision @ (Decision::Act(_) | Decision::Await)) => return decision,
        Some(Decision::Look(_) | Decision::Move(..) | Decision::End(_)) | None => {}
    }
    if law.settled(state).is_err() {
        for (node, stands) in state.nodes() {
            let order = Order { node, verb: Verb::Admit };
            match stands.progress {
                Progress::Idle => {
                    let out = state.rows(node).iter().any(|row| row.traffic != row.admitted());
                    if out
                        && action::precondition(law, state, order).is_ok()
                        && law.schema(&foreseen(law, state, order)).is_ok()
                    {
                        return Decision::Act(order);
                    }
                }
                Progress::Unknown { looks } if looks < LOOKS => return Decision::Look(order),
                Progress::Unknown { .. } | Progress::InFlight | Progress::Done | Progress::NotDone { .. } => {}
            }
        }
    }
    if state.nodes().any(|(_, node)| node.progress == Progress::InFlight) {
        return Decision::Await;
    }
    Decision::End(End::NeedsOperator(Why::DomainLost(lost)))
}

/// How often a forgetful balancer is told again before a person is asked.
const TOLD_AGAIN: u8 = 3;

/// While a balancer has forgotten what the run said, that is said again, beside whatever is in flight, and nothing new
/// begins. `None` when nothing is forgotten.
fn reassert(law: Law<'_>, state: &ClusterState) -> Option<Decision> {
    let mut forgotten = false;
    for node in state.forgotten() {
        let stands = state.node(node);
        if state.lost() == Some(law.topology.node(node).domain) {
            continue;
        }
        forgotten = true;
        let order = Order { node, verb: Verb::Reassert { admitted: stands.said == Said::Admitted } };
        if stands.told_again < TOLD_AGAIN && action::precondition(law, state, order).is_ok() {
            return Some(Decision::Act(order));
        }
    }
    let retelling = |node: &crate::state::NodeState| node.moving && node.progress != Progress::InFlight;
    if state.nodes().any(|(_, node)| retelling(node)) {
        return Some(Decision::Await);
    }
    if !forgotten {
        return None;
    }
    let in_flight = state.nodes().any(|(_, node)| node.progress == Progress::InFlight);
    Some(if in_flight { Decision::Await } else { Decision::End(End::NeedsOperator(Why::BalancerForgot)) })
}

/// Tells whether more would be broken than is.
fn makes_worse(law: Law<'_>, state: &ClusterState, next: &ClusterState) -> bool {
    law.check(next, Phase::Quiet).is_err() && law.broken(next).len() > law.broken(state).len()
}

/// Foresees the state in which the order, and all orders in flight beside it, have happened.
fn foreseen(law: Law<'_>, state: &ClusterState, order: Order) -> ClusterState {
    let mut next = state.clone();
    for node in state.in_flight().into_iter().chain([order.node]) {
        let order = Order { node, verb: order.verb };
        action::begin(law, &mut next, order);
        action::complete(law, &mut next, order);
    }
    next
}
