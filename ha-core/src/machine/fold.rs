use super::decide::{Turn, enter, put_in_doubt, resolve};
use crate::action::{self, Order, Verb};
use crate::law::Law;
use crate::plan::{PLAN_FORMAT, Plan};
use crate::record::{Cursor, End, Entry, Mode, Record};
use crate::state::{ClusterState, LeaseEpoch};
use crate::topology::{NodeIx, Topology};

/// Where a recorded run stands.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Folded {
    /// The run's plan.
    pub plan: Plan,
    /// The state as far as the records tell; the engine observes before it goes on.
    pub state: ClusterState,
    /// The place in the plan.
    pub cursor: Cursor,
    /// The number of the next entry.
    pub next_sequence: u64,
    /// The highest epoch that wrote.
    pub epoch: LeaseEpoch,
    /// How the run ended, if it has.
    pub end: Option<End>,
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
    #[error("the run was planned for another topology (its digest differs): use the topology file of that time")]
    OtherTopology,
    /// A record speaks of a node or stage that the plan does not have.
    #[error("entry {sequence} does not fit the run's plan: the journal is damaged")]
    DoesNotFit {
        /// The entry.
        sequence: u64,
    },
}

/// Rebuilds where a run stands from its records. An intent without an outcome is unknown, never taken for done.
///
/// # Errors
/// [`FoldError`]; nothing was changed.
pub fn fold(topology: &Topology, entries: &[Entry]) -> Result<Folded, FoldError> {
    let first = entries.first().ok_or(FoldError::NoSuchRun)?;
    let Record::Opened { plan } = &first.record else { return Err(FoldError::NotOpened) };
    if plan.format > PLAN_FORMAT {
        return Err(FoldError::NewerPlan { format: plan.format });
    }
    if plan.topology != Plan::digest_of(topology) {
        return Err(FoldError::OtherTopology);
    }
    let plan = (**plan).clone();
    let nodes = topology.nodes.len();
    let known = |node: NodeIx| node.index() < nodes;
    let can_be_given = |verb: Verb| !matches!(verb, Verb::HandWriter { to } if !known(to));
    let fits = plan.start.fits(topology)
        && plan.known_good.len() == nodes
        && plan.known_good.iter().flatten().all(|known_good| known_good.writer.is_none_or(known))
        && plan.stages.iter().flat_map(|stage| &stage.targets).all(|node| known(*node))
        && plan.stages.iter().flat_map(|stage| &stage.steps).all(|step| can_be_given(step.verb));
    if !fits {
        return Err(FoldError::DoesNotFit { sequence: first.sequence });
    }
    let law = Law::new(topology, &plan.facts);
    let mut state = plan.start.clone();
    let (mut cursor, mut end) = (Cursor::START, None);
    for (entry, number) in entries.iter().zip(0..) {
        let does_not_fit = FoldError::DoesNotFit { sequence: entry.sequence };
        // Entries are numbered without a gap: one that is missing may be the outcome of a step.
        if entry.sequence != number {
            return Err(does_not_fit);
        }
        let in_range = |order: Order| {
            if known(order.node) && can_be_given(order.verb) { Ok(()) } else { Err(does_not_fit.clone()) }
        };
        match &entry.record {
            Record::Opened { .. } => {}
            Record::TakenOver { at, .. } => {
                if end.take().is_some() {
                    state.clear_lost();
                    state.reset_progress();
                }
                put_in_doubt(&mut state);
                cursor = *at;
            }
            Record::Turned { to, .. } => {
                enter(&mut state, turn_of(cursor, *to));
                cursor = *to;
            }
            Record::Intent { order, at } => {
                in_range(*order)?;
                if (at.stage, at.step, at.phase, at.mode) != (cursor.stage, cursor.step, cursor.phase, cursor.mode) {
                    enter(&mut state, Turn::NextStep);
                }
                cursor = *at;
                action::begin(law, &mut state, *order);
            }
            Record::Outcome { order, result, .. } => {
                in_range(*order)?;
                resolve(law, &mut state, *order, *result);
            }
            Record::DomainLost { domain } => {
                if domain.index() >= topology.domains.len() {
                    return Err(does_not_fit);
                }
                state.set_lost(*domain);
            }
            Record::Closed { end: how, .. } => {
                end = Some(*how);
                cursor.mode = Mode::Ended(*how);
            }
        }
    }
    put_in_doubt(&mut state);
    let epoch = entries.iter().map(|entry| entry.epoch).max().unwrap_or(first.epoch);
    Ok(Folded { plan, state, cursor, next_sequence: entries.len() as u64, epoch, end })
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
