use super::change::{Change, Kind};
use super::{PlanError, Procedure, Proposal, Snapshot, UpdateRequest};
use crate::law;
use crate::plan::{ChangeCommands, Goal};
use crate::state::{Facts, Generation, GenerationId};

/// Updates the services. Every file sync is held first and the writer handed to a node that stands by, where one does. The new
/// set is deployed and tested there; once that node serves, the others get the set over their file sync, one wave after
/// another, each out of traffic and tested before it returns. The spare keeps the old set until the rollback window closes.
impl Procedure for UpdateRequest {
    fn propose<'a>(&'a self, seen: Snapshot<'a>) -> Result<Proposal<'a>, PlanError> {
        let (facts, to) = new_files(seen, &self.generation, &self.deploy, self.compatible)?;
        let change = Change {
            procedure: "update",
            topology: seen.topology,
            start: seen.state,
            facts,
            goal: Goal::of_generation(to),
            commands: ChangeCommands::deployment(self.deploy.clone()),
            kind: Kind::Files { to },
            before: Vec::new(),
            after: Vec::new(),
        };
        change.propose()
    }
}

/// Enters a new set of shared files into the facts of a plan that brings it to every member.
pub(super) fn new_files(
    seen: Snapshot<'_>,
    generation: &Generation,
    deploy: &[String],
    compatible: bool,
) -> Result<(Facts, GenerationId), PlanError> {
    if deploy.is_empty() || generation.digest.trim().is_empty() {
        let what = "the deploy command and the generation's digest must not be empty";
        return Err(PlanError::Incomplete(what.into()));
    }
    if !compatible {
        let what = "compatible: nothing declares that the new files may serve beside the old; while nodes change one \
                    after another both do";
        return Err(PlanError::Incomplete(what.into()));
    }
    let sequences = seen.state.nodes().filter_map(|(_, node)| node.generation);
    let newest = sequences.map(|id| seen.facts.generations.sequence(id)).max();
    if let Some(newest) = newest.filter(|newest| *newest >= generation.sequence) {
        let what = format!("generation.sequence: {} is not above {newest}, which is there", generation.sequence);
        return Err(PlanError::Incomplete(what));
    }
    if seen.topology.files().is_some() && law::writer(seen.state).is_none() {
        let what = "no node may write the shared files: hand the writer to one, then plan again";
        return Err(PlanError::Incomplete(what.into()));
    }
    let mut facts = seen.facts.clone();
    let entered = facts.generations.enter(generation.clone());
    let to = entered.map_err(|error| PlanError::Incomplete(error.to_string()))?;
    Ok((facts, to))
}
