use std::fmt;

use super::RunState;
use super::targets::Progress;
use crate::action::{Desired, Order, TrafficAction};
use crate::law::{Law, Phase, Violation};
use crate::plan::{OnFailure, Plan, Step};
use crate::record::{Cursor, End, Mode, Why};
use crate::state::ClusterState;
use crate::topology::{DomainIx, Topology};

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
    /// The step may not be given in the present state of the cluster.
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
            Self::Precondition => "the step may not be given in the present state of the cluster: rolling back",
            Self::LawWouldBreak => "the step would break the law: rolling back",
            Self::DomainLost => "a failure domain was lost: securing traffic first",
        })
    }
}

/// How often an unknown outcome is looked at before a person is asked.
const LOOKS: u8 = 3;
/// How often a compensation is tried in all.
const COMPENSATION_ATTEMPTS: u8 = 2;

/// Decides what comes next. Pure: the same plan and state of the run give the same decision.
pub fn decide(topology: &Topology, plan: &Plan, run: &RunState) -> Decision {
    let law = Law::new(topology, &plan.facts);
    let cursor = run.cursor;
    match cursor.mode {
        Mode::Ended(end) => Decision::End(end),
        Mode::Reacting => react(law, plan, run),
        Mode::Forward | Mode::Compensating if newly_lost(plan, &run.cluster).is_some() => {
            Decision::Move(Cursor { mode: Mode::Reacting, attempt: 0, ..cursor }, Turn::DomainLost)
        }
        Mode::Forward => reassert(law, run).unwrap_or_else(|| forward(law, plan, run)),
        Mode::Compensating => reassert(law, run).unwrap_or_else(|| compensate(law, plan, run)),
    }
}

/// Returns a failure domain that was lost since the plan was made.
pub fn newly_lost(plan: &Plan, state: &ClusterState) -> Option<DomainIx> {
    state.lost().iter().copied().find(|domain| !plan.start.is_lost(*domain))
}

/// Says what a forward step would break, where [`decide`] refuses to give it.
pub fn refusal(topology: &Topology, plan: &Plan, run: &RunState) -> Option<(Order, Violation)> {
    let law = Law::new(topology, &plan.facts);
    let stage = plan.stages.get(usize::from(run.cursor.stage))?;
    let step = stage.steps.get(usize::from(run.cursor.step))?;
    let order = stage.orders(step.action).find(|order| run.targets.progress(*order) == Progress::Idle)?;
    let violation = match order.precondition(law, &run.cluster) {
        Err(facts) => Some(Violation::new(order.guards(), facts)),
        Ok(()) => breaks(law, plan, run, order),
    };
    violation.map(|violation| (order, violation))
}

/// Tells whether a decision turns the run back or ends it short of its goal.
pub fn has_failed(decision: Decision) -> bool {
    match decision {
        Decision::Move(_, turn) => !matches!(turn, Turn::NextStep | Turn::Retry),
        Decision::End(end) => end != End::AllNew,
        Decision::Act(_) | Decision::Look(_) | Decision::Await => false,
    }
}

fn forward(law: Law<'_>, plan: &Plan, run: &RunState) -> Decision {
    let cursor = run.cursor;
    let stage = plan.stages.get(usize::from(cursor.stage));
    let Some((stage, step)) = stage.and_then(|stage| Some((stage, stage.steps.get(usize::from(cursor.step))?))) else {
        return end_forward(law, plan, run);
    };
    let failed = |turn: Turn| at_rest(run, give_up(plan, step, cursor, turn));
    let (mut in_flight, mut not_done, mut redo) = (false, false, true);
    for order in stage.orders(step.action) {
        match run.targets.progress(order) {
            Progress::Idle => {
                if order.precondition(law, &run.cluster).is_err() {
                    return failed(Turn::Precondition);
                }
                if breaks(law, plan, run, order).is_some() {
                    return failed(Turn::LawWouldBreak);
                }
                return Decision::Act(order);
            }
            Progress::Unknown { looks } if looks >= LOOKS => {
                return at_rest(run, Decision::End(End::NeedsOperator(Why::OutcomeUnknown)));
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

/// A run turns or ends only while no order of its plan is in flight: what is under way is brought to its end first.
fn at_rest(run: &RunState, decision: Decision) -> Decision {
    if run.targets.has_step_in_flight() { Decision::Await } else { decision }
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

fn end_forward(law: Law<'_>, plan: &Plan, run: &RunState) -> Decision {
    let cursor = run.cursor;
    if usize::from(cursor.stage) + 1 < plan.stages.len() {
        return Decision::Move(Cursor { stage: cursor.stage + 1, step: 0, attempt: 0, ..cursor }, Turn::NextStep);
    }
    let repaid = law.repaid(&run.cluster).is_ok();
    Decision::End(if repaid { End::AllNew } else { End::NeedsOperator(Why::LoansOpen) })
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

fn compensate(law: Law<'_>, plan: &Plan, run: &RunState) -> Decision {
    let cursor = run.cursor;
    let Some(stage) = plan.stages.get(usize::from(cursor.stage)) else {
        return Decision::End(End::NeedsOperator(Why::CompensationFailed));
    };
    let step = stage.steps.get(usize::from(cursor.step));
    let (mut in_flight, mut not_done, mut any) = (false, false, false);
    for order in step.into_iter().flat_map(|step| stage.orders(step.action)) {
        let Some(order) = undo(plan, order, cursor.phase) else { continue };
        any = true;
        match run.targets.progress(order) {
            Progress::Idle if run.is_done(law, order) => {}
            Progress::Idle => {
                if order.precondition(law, &run.cluster).is_err()
                    || makes_worse(law, plan.phase, &run.cluster, &state_after(law, run, order))
                {
                    return at_rest(run, Decision::End(End::NeedsOperator(Why::LawWouldBreak)));
                }
                return Decision::Act(order);
            }
            Progress::Unknown { looks } if looks >= LOOKS => {
                return at_rest(run, Decision::End(End::NeedsOperator(Why::OutcomeUnknown)));
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
        None if law.repaid(&run.cluster).is_ok() => Decision::End(End::AllOld),
        None => Decision::End(End::NeedsOperator(Why::LoansOpen)),
    }
}

/// Returns one order of a step's compensation. A spare has nothing to go back to but its own beginning.
fn undo(plan: &Plan, order: Order, phase: u8) -> Option<Order> {
    let known_good = plan.known_good.get(order.node()?.index()).copied().flatten()?;
    order.inverse(known_good).get(usize::from(phase)).copied()
}

/// After the loss of a failure domain: what a balancer lost is re-applied, then reserves are admitted until what is required
/// after a loss is carried.
fn react(law: Law<'_>, plan: &Plan, run: &RunState) -> Decision {
    let state = &run.cluster;
    let Some(lost) = newly_lost(plan, state) else { return Decision::End(End::NeedsOperator(Why::Held)) };
    match reassert(law, run) {
        Some(decision @ (Decision::Act(_) | Decision::Await)) => return decision,
        Some(Decision::Look(_) | Decision::Move(..) | Decision::End(_)) | None => {}
    }
    if law.settled(state).is_err() {
        for (node, _) in state.nodes() {
            let order = TrafficAction::Admit.on(node);
            match run.targets.progress(order) {
                Progress::Idle => {
                    let out = state.members(node).iter().any(|member| member.traffic != member.admitted());
                    if out
                        && !run.targets.is_changing(order.target())
                        && order.precondition(law, state).is_ok()
                        && law.schema(&state_after(law, run, order)).is_ok()
                    {
                        return Decision::Act(order);
                    }
                }
                Progress::Unknown { looks } if looks < LOOKS => return Decision::Look(order),
                Progress::Unknown { .. } | Progress::InFlight | Progress::Done | Progress::NotDone { .. } => {}
            }
        }
    }
    at_rest(run, Decision::End(End::NeedsOperator(Why::DomainLost(lost))))
}

/// How often what a balancer has lost is re-applied before a person is asked.
const REASSERT_ATTEMPTS: u8 = 3;

/// While a balancer has lost what the run desires, that is re-applied, beside whatever is in flight, and nothing new begins.
/// `None` when nothing is lost.
fn reassert(law: Law<'_>, run: &RunState) -> Option<Decision> {
    let mut lost = false;
    for node in run.targets.lost(&run.cluster) {
        if run.cluster.is_lost(law.topology.node(node).domain) {
            continue;
        }
        lost = true;
        let admitted = run.targets.desired(node) == Desired::Admitted;
        let order = TrafficAction::Reassert { admitted }.on(node);
        if run.targets.reassert_attempts(node) < REASSERT_ATTEMPTS && order.precondition(law, &run.cluster).is_ok() {
            return Some(Decision::Act(order));
        }
    }
    if run.targets.is_reasserting() {
        return Some(Decision::Await);
    }
    lost.then(|| at_rest(run, Decision::End(End::NeedsOperator(Why::BalancerLostState))))
}

/// Says what an order would break, with all orders in flight beside it.
fn breaks(law: Law<'_>, plan: &Plan, run: &RunState, order: Order) -> Option<Violation> {
    law.check(&state_after(law, run, order), plan.phase).err()
}

/// Tells whether more would be broken than is.
fn makes_worse(law: Law<'_>, phase: Phase, state: &ClusterState, next: &ClusterState) -> bool {
    law.check(next, phase).is_err() && law.broken(next).len() > law.broken(state).len()
}

/// Returns the state in which the order, and all orders in flight beside it, each by what it is, have happened. An effect that
/// cannot follow its state does not happen.
fn state_after(law: Law<'_>, run: &RunState, order: Order) -> ClusterState {
    let mut next = run.cluster.clone();
    for order in run.targets.in_flight().chain([order]) {
        order.begin(law, &mut next);
        let _ = order.complete(law, &mut next);
    }
    next
}
