use super::{Check, Invariant, Law, Violation, is_exposed};
use crate::state::ClusterState;
use crate::topology::NodeIx;

impl Law<'_> {
    /// Checks I7 before a server is stopped: no balancer can still send it requests, and it pulls no work.
    ///
    /// # Errors
    /// The violation.
    pub fn drained(&self, state: &ClusterState, node: NodeIx) -> Check {
        let name = &self.topology.node(node).name;
        let facts = if is_exposed(state, node) {
            format!("{name} would be stopped while a balancer can still send it requests")
        } else if state.node(node).process.is_ready() && state.node(node).work.may_run() {
            format!("{name} would be stopped while it may have pulled work in progress")
        } else {
            return Ok(());
        };
        Err(Violation::new(Invariant::Drained, facts))
    }
}
