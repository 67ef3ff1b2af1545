use super::{Check, Invariant, Law, Violation, is_exposed};
use crate::state::{ClusterState, NodeState, Process, ReleaseId, Schema};
use crate::topology::NodeIx;

impl Law<'_> {
    /// Checks I4: every node that may receive requests, or is ready and not under change, can use the schema in
    /// its present state; releases that may receive requests at once were declared to serve side by side. What was not
    /// declared fails.
    ///
    /// # Errors
    /// The violation, with the node or the pair.
    pub fn schema(&self, state: &ClusterState) -> Check {
        let mut seen: Vec<(NodeIx, ReleaseId)> = Vec::new();
        for (index, node) in state.nodes() {
            if state.is_lost(self.topology.node(index).domain) {
                continue;
            }
            let exposed = is_exposed(state, index) && self.is_in_service(state, index);
            if (exposed || (node.process.is_ready() && !node.under_change)) && !self.schema_in_range(state, node) {
                return Err(self.out_of_range(state, index, node));
            }
            let Some(release) = node.release.filter(|_| exposed && node.process.is_ready()) else { continue };
            if seen.iter().any(|(_, known)| *known == release) {
                continue;
            }
            let beside = |known: ReleaseId| self.facts.releases.may_serve_beside(known, release);
            if let Some((other, known)) = seen.iter().find(|(_, known)| !beside(*known)) {
                return Err(self.not_beside(*other, *known, index, release));
            }
            seen.push((index, release));
        }
        Ok(())
    }

    /// Finds a node whose server runs, or may run, with a release that cannot use the schema in a state: nothing is removed
    /// before it is gone.
    pub fn may_use_less_than(&self, state: &ClusterState, schema: Schema) -> Option<NodeIx> {
        let range = |node: &NodeState| node.release.and_then(|release| self.facts.releases.schema(release));
        let is_gone = |node: &NodeState| matches!(node.process, Process::Absent | Process::Stopped);
        let mut nodes = state.nodes();
        let found = nodes.find(|(_, node)| !is_gone(node) && !range(node).is_some_and(|range| range.contains(schema)));
        found.map(|(node, _)| node)
    }

    pub(super) fn schema_in_range(&self, state: &ClusterState, node: &NodeState) -> bool {
        if self.topology.database().is_none() {
            return true;
        }
        let range = node.release.and_then(|release| self.facts.releases.schema(release));
        range.is_some_and(|range| range.contains(state.schema))
    }

    fn out_of_range(&self, state: &ClusterState, index: NodeIx, node: &NodeState) -> Violation {
        let name = &self.topology.node(index).name;
        let release = node.release.map_or("of an unknown release", |release| self.facts.releases.name(release));
        let range = node.release.and_then(|release| self.facts.releases.schema(release));
        let facts = match range {
            Some(range) => format!(
                "{name} ({release}) can use the schema from {} to {}, and it is {}",
                range.first, range.last, state.schema
            ),
            None => format!("nothing declares which schema states {name} ({release}) can use"),
        };
        Violation::new(Invariant::Schema, facts)
    }

    fn not_beside(&self, one: NodeIx, its: ReleaseId, other: NodeIx, others: ReleaseId) -> Violation {
        let (name, release) = (|index| &self.topology.node(index).name, |id| self.facts.releases.name(id));
        let facts = format!(
            "{} ({}) and {} ({}) may receive requests at once, and nothing declares that they may serve side by side",
            name(one),
            release(its),
            name(other),
            release(others)
        );
        Violation::new(Invariant::Schema, facts)
    }
}
