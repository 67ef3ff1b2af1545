use super::{Invariant, Violation, is_exposed};
use crate::state::ClusterState;
use crate::topology::Topology;

/// Checks I6: every exposed node is ready and has passed its gate after its last change. A node of a lost domain is
/// excepted: the fault took it, and no command of ours can reach it.
///
/// # Errors
/// The violation, for the first such node.
pub fn tested(topology: &Topology, state: &ClusterState) -> Result<(), Violation> {
    for (index, node) in topology.nodes() {
        let stands = state.node(index);
        if state.lost() == Some(node.domain) || !is_exposed(state, index) {
            continue;
        }
        if !(stands.process.is_ready() && stands.is_tested()) {
            let facts = format!(
                "{} may receive requests while its server is {:?} and its release {} its gate",
                node.name,
                stands.process,
                if stands.is_tested() { "has passed" } else { "has not passed" },
            );
            return Err(Violation::new(Invariant::Tested, facts));
        }
    }
    Ok(())
}
