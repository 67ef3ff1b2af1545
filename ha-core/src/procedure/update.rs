use super::change::{Change, Kind};
use super::{PlanError, Planned, UpdateRequest};
use crate::law;
use crate::plan::{ChangeCommands, Goal};
use crate::state::{ClusterState, Facts};
use crate::topology::Topology;

/// Plans an update of the services and proves the plan.
///
/// Every file sync is held first and the writer handed to a node that stands by, where one does. The new set is deployed
/// and tested there; once that node serves, the others get the set over their file sync, one wave after another, each
/// out of traffic and tested before it returns. The spare keeps the old set until the rollback window closes.
///
/// # Errors
/// [`PlanError`]; nothing was changed.
pub fn update(
    topology: &Topology,
    start: &ClusterState,
    facts: &Facts,
    request: &UpdateRequest,
) -> Result<Planned, PlanError> {
    if request.deploy.is_empty() || request.generation.digest.trim().is_empty() {
        let what = "the deploy command and the generation's digest must not be empty";
        return Err(PlanError::Incomplete(what.into()));
    }
    if !request.compatible {
        let what = "compatible: nothing declares that the new files may serve beside the old; while nodes change one \
                    after another both do";
        return Err(PlanError::Incomplete(what.into()));
    }
    let newest = start.nodes().filter_map(|(_, node)| node.generation).map(|id| facts.generations.sequence(id)).max();
    if newest.is_some_and(|newest| newest >= request.generation.sequence) {
        let what = format!(
            "generation.sequence: {} is not above {}, which is there",
            request.generation.sequence,
            newest.unwrap_or(0)
        );
        return Err(PlanError::Incomplete(what));
    }
    if topology.files.is_some() && law::writer(start).is_none() {
        let what = "no node may write the shared files: hand the writer to one, then plan again";
        return Err(PlanError::Incomplete(what.into()));
    }
    let mut facts = facts.clone();
    let entered = facts.generations.enter(request.generation.clone());
    let to = entered.map_err(|error| PlanError::Incomplete(error.to_string()))?;
    let change = Change {
        procedure: "update",
        topology,
        start,
        facts,
        goal: Goal::generation(to),
        commands: ChangeCommands::deployment(request.deploy.clone()),
        kind: Kind::Files { to },
        before: Vec::new(),
        after: Vec::new(),
    };
    change.derive()
}
