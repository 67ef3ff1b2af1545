use super::change::{Change, Kind};
use super::{PlanError, Procedure, Proposal, Snapshot, UpdateRequest};
use crate::law;
use crate::plan::{ChangeCommands, Goal};
use crate::state::{Facts, Generation, GenerationId};
use crate::topology::FileSharing;

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
            window: None,
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
    can_be_held(seen.topology.file_sharing())?;
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

/// Refuses files of a kind that reaches every node at once: what is deployed on one node is then neither tested before the others
/// have it, nor to be taken back on one alone.
fn can_be_held(kind: FileSharing) -> Result<(), PlanError> {
    let (what, fix) = match kind {
        FileSharing::Copied => return Ok(()),
        FileSharing::SharedMount => (
            "all nodes read one folder, and serve what the first one gets before it was tested",
            "give each node a folder of its own (copy the mount, and bind the copy over the tree), declare kind = \"copied\", \
             then plan again",
        ),
        FileSharing::Database => (
            "each node loads its files from the database by itself",
            "deploy to an environment (a gateway label) that only a node out of traffic serves, test it there, then deploy to \
             the others",
        ),
        FileSharing::Image => (
            "the files are a part of the node's image, and change with its server",
            "plan a patch to the release whose image has the new files",
        ),
    };
    Err(PlanError::NotHeld { kind, what: what.into(), fix: fix.into() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::procedure::{PatchRequest, plan};
    use crate::state::{
        ClusterState, Facts, Generation, Generations, MemberKind, MemberState, NodeState, Process, ReleaseSet,
        Releases, Traffic,
    };
    use crate::topology::{Component, Name, NodeSpec, PoolSpec, Topology};

    fn planned(kind: FileSharing, procedure: &dyn Procedure) -> Result<(), PlanError> {
        let component = || Component::new(Name::new("fake").unwrap());
        let node = |name: &str| NodeSpec::new(name, 800, component(), component());
        let cluster = Topology::builder("orders").balancer("lb1", component()).pool(PoolSpec::new("esb", 3, 1000));
        let cluster = cluster.node(node("esb1")).node(node("esb2")).node(node("esb3")).file_sharing(kind);
        let topology = cluster.build().unwrap();
        let (mut releases, mut tested) = (Releases::default(), ReleaseSet::default());
        let mut generations = Generations::default();
        let (old, set) = (releases.enter("1.0").unwrap(), generations.enter(Generation::new(1, "one")).unwrap());
        tested.insert(old);
        let mut serving = NodeState::new(Process::Ready { warm: true }, Some(old), tested);
        serving.generation = Some(set);
        let nodes = vec![serving; 3];
        let members = vec![MemberState::new(MemberKind::Primary, Traffic::In); 3];
        let state = ClusterState::new(&topology, nodes, members);
        let facts = Facts::new(releases, generations);
        plan(procedure, Snapshot::new(&topology, &state, &facts)).map(|_| ())
    }

    fn update() -> UpdateRequest {
        UpdateRequest::new(Generation::new(2, "two"), vec!["deploy".into()])
    }

    #[test]
    fn files_that_reach_every_node_at_once_are_not_updated_node_by_node() {
        for (kind, reason, way) in [
            (FileSharing::SharedMount, "all nodes read one folder", "give each node a folder of its own"),
            (FileSharing::Database, "from the database by itself", "an environment (a gateway label)"),
            (FileSharing::Image, "a part of the node's image", "plan a patch to the release"),
        ] {
            let error = planned(kind, &update()).unwrap_err();
            assert!(matches!(&error, PlanError::NotHeld { kind: told, .. } if *told == kind), "{error}");
            let text = error.to_string();
            assert!(text.starts_with(&format!("files of kind {kind} cannot be held back on one node: ")), "{text}");
            assert!(text.contains(reason) && text.contains(way), "{text}");
        }
        planned(FileSharing::Copied, &update()).unwrap();
    }

    #[test]
    fn servers_are_patched_whatever_the_kind_of_their_files() {
        let words = |word: &str| vec![word.to_string()];
        for kind in FileSharing::ALL {
            planned(kind, &PatchRequest::new("2.0", words("apply"), words("restore")).with_beside("1.0")).unwrap();
        }
    }
}
