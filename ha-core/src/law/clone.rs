use super::{Check, Invariant, Law, Violation, is_exposed};
use crate::state::{CloneStage, ClusterState, NodeState, Process, Source};
use crate::topology::NodeIx;

/// A part of I4: where the shared database is cloned, writes are accepted in one copy at most, and whoever may be served while they
/// are is served from that copy.
impl Law<'_> {
    /// Checks that no write can be accepted in two places.
    ///
    /// # Errors
    /// The violation.
    pub fn one_copy(&self, state: &ClusterState) -> Check {
        let copies = state.copies;
        if copies.source.may_take_writes() && copies.clone.may_take_writes() {
            return Err(Violation::new(Invariant::Schema, format!("writes may be accepted in two places: {copies}")));
        }
        Ok(())
    }

    /// Tells whether a node's release uses the clone of the shared database.
    pub(super) fn uses_clone(&self, node: &NodeState) -> bool {
        self.facts.on_clone().is_some_and(|release| node.release == Some(release))
    }

    /// Finds a node whose server runs, or may run, on the clone.
    pub(crate) fn may_use_clone(&self, state: &ClusterState) -> Option<NodeIx> {
        let is_gone = |node: &NodeState| matches!(node.process, Process::Absent | Process::Stopped);
        let mut nodes = state.nodes();
        nodes.find(|(_, node)| !is_gone(node) && self.uses_clone(node)).map(|(node, _)| node)
    }

    /// Finds a node that may receive requests and uses the clone, or does not.
    pub(crate) fn may_be_served_from(&self, state: &ClusterState, clone: bool) -> Option<NodeIx> {
        let lost = |index| state.is_lost(self.topology.node(index).domain);
        let mut nodes = state.nodes();
        let found =
            nodes.find(|(index, node)| self.uses_clone(node) == clone && is_exposed(state, *index) && !lost(*index));
        found.map(|(node, _)| node)
    }

    /// Tells whether the copy that a node uses is the one to be served from: where writes may be accepted, only that one is, and the
    /// clone is when it was migrated.
    pub(super) fn is_served_copy(&self, state: &ClusterState, node: &NodeState) -> bool {
        let copies = state.copies;
        if self.uses_clone(node) {
            copies.clone.is_usable() && !copies.source.may_take_writes()
        } else {
            !copies.clone.may_take_writes()
        }
    }

    /// Lists what a plan that clones the database has to give back, or to bring to its end, as text: a source that refuses writes, and
    /// a clone that nobody uses. Once the clone is the database, the source that is kept beside it is no loan.
    pub(super) fn open_copies(&self, state: &ClusterState) -> Vec<String> {
        let copies = state.copies;
        if self.facts.on_clone().is_none() || copies.clone == CloneStage::Open {
            return Vec::new();
        }
        let frozen = (copies.source != Source::Open).then(|| format!("the database {}", copies.source));
        let cloned = (copies.clone != CloneStage::Absent).then(|| format!("its clone {}", copies.clone));
        frozen.into_iter().chain(cloned).collect()
    }

    /// Says why a node is not served from the right copy.
    pub(super) fn wrong_copy(&self, state: &ClusterState, index: NodeIx) -> Violation {
        let name = &self.topology.node(index).name;
        let copy = if self.uses_clone(state.node(index)) { "clone" } else { "source" };
        Violation::new(Invariant::Schema, format!("{name} uses the {copy} of the database, and {}", state.copies))
    }
}
