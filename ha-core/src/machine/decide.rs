use std::fmt;

use super::RunState;
use super::targets::Progress;
use crate::action::{Action, Desired, Order, ServerAction, SiteAction, TrafficAction};
use crate::law::{Law, Violation};
use crate::plan::{OnFailure, Plan, Step};
use crate::record::{Cursor, End, Mode, Why};
use crate::state::{ClusterState, Process, ServerDomain, Site};
use crate::topology::{DomainIx, NodeIx, Topology};

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
        Mode::Forward | Mode::Compensating | Mode::Withdrawing if newly_lost(plan, &run.cluster).is_some() => {
            Decision::Move(Cursor { mode: Mode::Reacting, attempt: 0, ..cursor }, Turn::DomainLost)
        }
        Mode::Forward => reassert(law, run).unwrap_or_else(|| forward(law, plan, run)),
        Mode::Compensating | Mode::Withdrawing => reassert(law, run).unwrap_or_else(|| compensate(law, plan, run)),
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
    let (mut in_flight, mut not_done, mut redo, mut may_come) = (false, false, true, false);
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
                may_come |= looked && matches!(order.action(), Action::Site(SiteAction::Promote { .. }));
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
    // A promotion that was asked for and given up may still come: no other database is promoted beside it.
    if may_come {
        return at_rest(run, Decision::End(End::NeedsOperator(Why::OutcomeUnknown)));
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
    let back = |mode| Decision::Move(Cursor { mode, phase: 0, attempt: 0, ..cursor }, turn);
    match step.on_failure {
        OnFailure::RollBack => back(Mode::Compensating),
        OnFailure::Withdraw => back(Mode::Withdrawing),
        OnFailure::Hold => Decision::End(End::NeedsOperator(Why::Held)),
    }
}

fn end_forward(law: Law<'_>, plan: &Plan, run: &RunState) -> Decision {
    let cursor = run.cursor;
    if usize::from(cursor.stage) + 1 < plan.stages.len() {
        return Decision::Move(Cursor { stage: cursor.stage + 1, step: 0, attempt: 0, ..cursor }, Turn::NextStep);
    }
    let repaid = law.repaid(&run.cluster).is_ok();
    Decision::End(match (repaid, plan.goes_back()) {
        (true, false) => End::AllNew,
        (true, true) => End::AllOld,
        (false, _) => End::NeedsOperator(Why::LoansOpen),
    })
}

/// Returns the place behind a step.
pub(super) fn after(plan: &Plan, cursor: Cursor) -> Cursor {
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
        let Some(order) = undo(plan, run, order) else { continue };
        any = true;
        match run.targets.progress(order) {
            Progress::Idle if run.is_done(law, order) => {}
            Progress::Idle => {
                if order.precondition(law, &run.cluster).is_err()
                    || makes_worse(law, plan, &run.cluster, &state_after(law, run, order))
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
    if cursor.mode == Mode::Withdrawing {
        return Decision::End(End::NeedsOperator(Why::Withdrawn));
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

/// Returns one order of a step's compensation; `None` for what had not begun. A spare has nothing to go back to but its own
/// beginning.
fn undo(plan: &Plan, run: &RunState, order: Order) -> Option<Order> {
    let Cursor { stage, step, phase, .. } = run.cursor;
    let known_good = order.node().and_then(|node| plan.known_good.get(node.index()).copied().flatten());
    let undone = order.inverse(known_good).get(usize::from(phase)).copied()?;
    let needed = run.targets.is_recorded((stage, step), order)
        && !is_taken_back_next(&run.cluster, undone)
        && !never_wrote(&run.cluster, undone);
    needed.then_some(undone)
}

/// A server that still runs in its test domain is not started: what brought it there is taken back next.
fn is_taken_back_next(state: &ClusterState, order: Order) -> bool {
    let Some(node) = order.node().map(|node| state.node(node)) else { return false };
    order.action() == Action::Server(ServerAction::Start)
        && node.server_domain == ServerDomain::Test
        && node.process != Process::Stopped
}

/// A site whose promotion did not happen stands by as before: its database takes no writes that it could be let take no more.
fn never_wrote(state: &ClusterState, order: Order) -> bool {
    let Action::Site(SiteAction::Demote { site }) = order.action() else { return false };
    let known = state.sites.get(site.index());
    known.is_some_and(|known| matches!(known.site, Site::Hot | Site::Warm | Site::Cold))
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
        let serving = |node: &NodeIx| law.is_in_service(state, *node);
        let admissions =
            || state.nodes().map(|(node, _)| node).filter(serving).map(|node| TrafficAction::Admit.on(node));
        let in_doubt =
            |order: &Order| matches!(run.targets.progress(*order), Progress::Unknown { looks } if looks < LOOKS);
        if let Some(order) = admissions().find(in_doubt) {
            return Decision::Look(order);
        }
        if let Some(order) = best_admission(law, run, admissions()) {
            return Decision::Act(order);
        }
    }
    // What became of the orders under way is found out before anything is planned anew.
    let living = |order: &Order| order.node().is_none_or(|node| !state.is_lost(law.topology.node(node).domain));
    let unknown = |order: &Order| matches!(run.targets.progress(*order), Progress::Unknown { looks } if looks < LOOKS);
    if !run.targets.has_step_in_flight()
        && let Some(order) = run.targets.unsettled().find(|order| unknown(order) && living(order))
    {
        return Decision::Look(order);
    }
    at_rest(run, Decision::End(End::NeedsOperator(Why::DomainLost(lost))))
}

/// Finds, of the nodes that may be admitted, the one with which most of what is required after a loss is carried, and which
/// lowers nothing that binds a reaction.
fn best_admission(law: Law<'_>, run: &RunState, admissions: impl Iterator<Item = Order>) -> Option<Order> {
    let (state, topology) = (&run.cluster, law.topology);
    let leaving = without_what_leaves(law, run);
    let quiet = run.targets.last_quiet(&leaving);
    let carried = |state: &ClusterState| {
        let each =
            topology.pools().map(|(pool, declared)| law.capacity(state, pool).min(declared.required_after_loss()));
        each.fold(0_u64, u64::saturating_add)
    };
    let base = carried(&leaving);
    let mut best: Option<(u64, Order)> = None;
    for order in admissions.filter(|order| run.targets.progress(*order) == Progress::Idle) {
        let Some(node) = order.node() else { continue };
        let out = state.members(node).iter().any(|member| member.traffic != member.admitted());
        if !out || run.targets.is_changing(order.target()) || order.precondition(law, state).is_err() {
            continue;
        }
        let next = with(law, &leaving, order);
        let after = state_after(law, run, order);
        let usable = law.schema(&after).is_ok() && law.exposed_service(&after).is_ok();
        if !usable || law.keeps(&quiet, &leaving, &next).is_err() {
            continue;
        }
        // One that stands for many is weighed as one of them.
        let each = carried(&next).saturating_sub(base) / u64::from(topology.node(node).stands_for);
        if best.is_none_or(|(most, _)| each > most) {
            best = Some((each, order));
        }
    }
    best.map(|(_, order)| order)
}

/// How often what a balancer has lost is re-applied before a person is asked.
const REASSERT_ATTEMPTS: u8 = 3;

/// While a balancer has lost what the run desires, that is re-applied, beside whatever is in flight, and nothing new begins.
/// `None` when nothing is lost.
fn reassert(law: Law<'_>, run: &RunState) -> Option<Decision> {
    let state = &run.cluster;
    // Of a node that is lost only that it gets nothing is insisted on, and capacity does not wait for that.
    let reacts = run.cursor.mode == Mode::Reacting;
    let insists = |node: &NodeIx| {
        !state.is_lost(law.topology.node(*node).domain) || (!reacts && run.targets.desired(*node) == Desired::Out)
    };
    let lost: Vec<_> = run.targets.lost(state).filter(insists).collect();
    if lost.is_empty() {
        return run.targets.is_reasserting().then_some(Decision::Await);
    }
    let desires = |node: &NodeIx, desired| run.targets.desired(*node) == desired;
    let (admitted, out): (Vec<_>, Vec<_>) = lost.iter().partition(|node| desires(node, Desired::Admitted));
    let may_be_given = |order: &Order, node| {
        run.targets.reassert_attempts(node) < REASSERT_ATTEMPTS && order.precondition(law, state).is_ok()
    };
    // What brings capacity comes before what takes it: the first that lowers none, else the one that leaves the most.
    let mut best: Option<(u64, Order)> = None;
    let leaving = without_what_leaves(law, run);
    let orders = admitted.into_iter().map(|node| (node, true)).chain(out.into_iter().map(|node| (node, false)));
    for (node, admitted) in orders {
        let order = TrafficAction::Reassert { admitted }.on(node);
        if !may_be_given(&order, node) {
            continue;
        }
        match capacity_kept(law, &leaving, &with(law, &leaving, order)) {
            Ok(()) => return Some(Decision::Act(order)),
            Err(left) if best.is_none_or(|(most, _)| left > most) => best = Some((left, order)),
            Err(_) => {}
        }
    }
    Some(match best {
        _ if run.targets.is_reasserting() => Decision::Await,
        Some((_, order)) => Decision::Act(order),
        None => at_rest(run, Decision::End(End::NeedsOperator(Why::BalancerLostState))),
    })
}

/// Returns the state in which all that is being taken out of traffic is out.
pub(crate) fn without_what_leaves(law: Law<'_>, run: &RunState) -> ClusterState {
    let leaves = |order: &Order| {
        let Action::Traffic(action) = order.action() else { return false };
        matches!(action, TrafficAction::TakeOut | TrafficAction::Reassert { admitted: false })
    };
    let leaving = run.targets.in_flight().filter(leaves);
    leaving.fold(run.cluster.clone(), |state, order| with(law, &state, order))
}

/// Checks that a command lowers the serving capacity of no pool.
///
/// # Errors
/// The capacity that it leaves, of all pools together.
fn capacity_kept(law: Law<'_>, state: &ClusterState, next: &ClusterState) -> Result<(), u64> {
    let (mut left, mut kept) = (0_u64, true);
    for (pool, _) in law.topology.pools() {
        let (before, after) = (law.capacity(state, pool), law.capacity(next, pool));
        (left, kept) = (left.saturating_add(after), kept && after >= before);
    }
    if kept { Ok(()) } else { Err(left) }
}

/// Returns the state in which one order more has happened.
fn with(law: Law<'_>, state: &ClusterState, order: Order) -> ClusterState {
    let mut next = state.clone();
    order.begin(law, &mut next);
    let _ = order.complete(law, &mut next);
    next
}

/// Says what an order would break, with all orders in flight beside it.
fn breaks(law: Law<'_>, plan: &Plan, run: &RunState, order: Order) -> Option<Violation> {
    law.check_step(plan.phase, plan.is_unprotected(), &run.cluster, &state_after(law, run, order)).err()
}

/// Tells whether more would be broken than is.
fn makes_worse(law: Law<'_>, plan: &Plan, state: &ClusterState, next: &ClusterState) -> bool {
    law.check_step(plan.phase, plan.is_unprotected(), state, next).is_err()
        && law.broken(next).len() > law.broken(state).len()
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
