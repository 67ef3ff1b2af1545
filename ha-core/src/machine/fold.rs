use super::decide::Turn;
use super::{Hands, RunState};
use crate::action::{Action, Order};
use crate::law::Law;
use crate::plan::{BadPlan, PLAN_FORMAT, Plan};
use crate::record::{Ask, Cursor, End, Entry, Mode, OutcomeKind, Record, Why};
use crate::state::LeaseEpoch;
use crate::topology::{NodeIx, Topology};

/// The state of a recorded run.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Folded {
    /// The run's plan.
    pub plan: Plan,
    /// Where it is, as far as the records tell; the engine observes before it goes on.
    pub state: RunState,
    /// The number of the next entry.
    pub next_sequence: u64,
    /// The highest epoch that wrote.
    pub epoch: LeaseEpoch,
    /// How the run ended, if it has.
    pub end: Option<End>,
    /// What people have asked of it.
    pub hands: Hands,
}

/// Refuses records that do not make a run.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum FoldError {
    /// The run has no records.
    #[error("no such run is recorded; list the journal's runs")]
    NoSuchRun,
    /// The first record does not open the run.
    #[error("entry 0 does not open the run: the journal is damaged")]
    NotOpened,
    /// The plan is of a later format.
    #[error("the run's plan has format {format}, this library knows up to {PLAN_FORMAT}: use the version that made it")]
    NewerPlan {
        /// The plan's format.
        format: u32,
    },
    /// The plan was made for another topology.
    #[error(
        "the run was planned for another topology, and not only for one that reaches its nodes otherwise: use the topology file of \
         that time"
    )]
    OtherTopology,
    /// The plan is none: it was edited by hand, or damaged.
    #[error("the run's plan cannot be carried out: {0}")]
    BadPlan(#[from] BadPlan),
    /// A record speaks of a node or stage that the plan does not have.
    #[error("entry {sequence} does not fit the run's plan: the journal is damaged")]
    DoesNotFit {
        /// The entry.
        sequence: u64,
    },
}

/// Rebuilds the state of a run from its records. An intent without an outcome is unknown, never taken for done.
///
/// # Errors
/// [`FoldError`]; nothing was changed.
pub fn fold(topology: &Topology, entries: &[Entry]) -> Result<Folded, FoldError> {
    fold_with(topology, entries, |_, _, _| {})
}

/// The same, and shows the state after each entry.
pub(crate) fn fold_with(
    topology: &Topology,
    entries: &[Entry],
    mut after: impl FnMut(Law<'_>, &RunState, &Entry),
) -> Result<Folded, FoldError> {
    let first = entries.first().ok_or(FoldError::NoSuchRun)?;
    let Record::Opened { plan } = &first.record else { return Err(FoldError::NotOpened) };
    let mut plan = readable(topology, plan, first.sequence)?;
    let nodes = topology.nodes().count();
    let known = |node: NodeIx| node.index() < nodes;
    let mut state = RunState::of(&plan);
    let (mut end, mut hands) = (None, Hands::default());
    for (entry, number) in entries.iter().zip(0..) {
        let does_not_fit = FoldError::DoesNotFit { sequence: entry.sequence };
        // Entries are numbered without a gap: one that is missing may be the outcome of a step.
        if entry.sequence != number {
            return Err(does_not_fit);
        }
        let in_range = |order: Order| {
            let fits = order.node().is_none_or(known) && has_site(topology, order.action());
            if fits { Ok(()) } else { Err(does_not_fit.clone()) }
        };
        let law = Law::new(topology, &plan.facts);
        hands.on(&entry.record);
        match &entry.record {
            Record::Opened { .. } | Record::ApprovalAsked { .. } | Record::Continued { .. } => {}
            Record::Requested { request, refused, .. } => {
                let asked_at = request.what.step().filter(|_| refused.is_none() && end.is_some());
                match (&request.what, asked_at) {
                    (Ask::Retry { .. }, Some(place)) if place == (state.cursor.stage, state.cursor.step) => {
                        let withdrawn = end.take() == Some(End::NeedsOperator(Why::Withdrawn));
                        state.try_again(&plan, withdrawn);
                    }
                    (Ask::Skip { holds, .. }, Some(place)) if place == (state.cursor.stage, state.cursor.step) => {
                        end = None;
                        state.skip(law, &plan, *holds);
                    }
                    (Ask::Retry { .. } | Ask::Skip { .. }, Some(_)) => return Err(does_not_fit),
                    (_, _) => {}
                }
            }
            Record::Replanned { plan: anew } => {
                plan = readable(topology, anew, entry.sequence)?;
                state = RunState::of(&plan);
            }
            Record::TakenOver { at, .. } => {
                if end.take().is_some() {
                    state.cluster.set_losses(plan.start.lost());
                    if at.mode == Mode::Forward && state.promotion_in_doubt() {
                        // It is looked for first, whatever comes then.
                        state.mark_unknown();
                        state.targets.retry_all();
                        state.enter(*at, Turn::Retry);
                    } else {
                        state.enter(*at, Turn::StepFailed);
                    }
                }
                state.mark_unknown();
                state.cursor = *at;
            }
            Record::Turned { to, .. } => state.enter(*to, turn_of(state.cursor, *to)),
            Record::Intent { order, at } => {
                in_range(*order)?;
                let (from, to) = (state.cursor, *at);
                if (to.stage, to.step, to.phase, to.mode) != (from.stage, from.step, from.phase, from.mode) {
                    state.enter(to, Turn::NextStep);
                }
                state.cursor = to;
                state.begin_order(law, *order);
            }
            Record::Outcome { order, result, .. } => {
                in_range(*order)?;
                // What was observed in between is not recorded: an effect that cannot follow the records alone is looked for.
                if state.resolve(law, *order, *result).is_err() {
                    let _ = state.resolve(law, *order, OutcomeKind::Unknown);
                }
            }
            Record::DomainLost { domain } => {
                if domain.index() >= topology.domains().count() {
                    return Err(does_not_fit);
                }
                state.cluster.set_lost(*domain);
            }
            Record::Closed { end: how, .. } => {
                end = Some(*how);
                state.cursor.mode = Mode::Ended(*how);
            }
        }
        after(Law::new(topology, &plan.facts), &state, entry);
    }
    state.mark_unknown();
    let epoch = entries.iter().map(|entry| entry.epoch).max().unwrap_or(first.epoch);
    Ok(Folded { plan, state, next_sequence: entries.len() as u64, epoch, end, hands })
}

/// Returns a recorded plan, where it is one of this topology.
fn readable(topology: &Topology, plan: &Plan, sequence: u64) -> Result<Plan, FoldError> {
    if plan.format > PLAN_FORMAT {
        return Err(FoldError::NewerPlan { format: plan.format });
    }
    if !plan.is_for(topology) {
        return Err(FoldError::OtherTopology);
    }
    let nodes = topology.nodes().count();
    let known = |node: NodeIx| node.index() < nodes;
    let fits = plan.start.fits(topology)
        && plan.known_good.len() == nodes
        && plan.known_good.iter().flatten().all(|known_good| known_good.writer.is_none_or(known))
        && plan.stages.iter().flat_map(|stage| &stage.nodes).all(|node| known(*node))
        && plan.stages.iter().flat_map(|stage| &stage.steps).all(|step| has_site(topology, step.action));
    if !fits {
        return Err(FoldError::DoesNotFit { sequence });
    }
    plan.check(topology)?;
    Ok(plan.clone())
}

/// Tells whether the topology has the site that an action speaks of, if it speaks of one.
fn has_site(topology: &Topology, action: Action) -> bool {
    let Action::Site(action) = action else { return true };
    topology.site_indices().any(|site| site == action.site())
}

/// Tells which turn a recorded move was.
fn turn_of(from: Cursor, to: Cursor) -> Turn {
    if to.mode == Mode::Reacting {
        Turn::DomainLost
    } else if from.mode == to.mode && to.attempt > from.attempt {
        Turn::Retry
    } else {
        Turn::StepFailed
    }
}
