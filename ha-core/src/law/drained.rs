use super::{Invariant, Violation, is_exposed};
use crate::state::ClusterState;
use crate::topology::{NodeIx, Topology};

/// Checks I7 for a command that ends the process of `node`: no balancer instance may send or still owe it a request.
///
/// # Errors
/// The violation.
pub fn drained(topology: &Topology, state: &ClusterState, node: NodeIx) -> Result<(), Violation> {
    if !is_exposed(state, node) {
        return Ok(());
    }
    let facts = format!("{} would be stopped while a balancer can still send it requests", topology.node(node).name);
    Err(Violation::new(Invariant::Drained, facts))
}
