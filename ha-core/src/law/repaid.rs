use super::{Invariant, Violation};
use crate::state::ClusterState;
use crate::topology::Topology;

/// Checks I11 at an end: no loan is open.
///
/// # Errors
/// The violation, with every open loan.
pub fn repaid(topology: &Topology, state: &ClusterState) -> Result<(), Violation> {
    let open: Vec<String> = state
        .nodes()
        .flat_map(|(index, node)| node.loans.iter().map(move |loan| (index, loan)))
        .map(|(index, loan)| format!("{} {loan}", topology.node(index).name))
        .collect();
    if open.is_empty() {
        return Ok(());
    }
    Err(Violation::new(Invariant::Repaid, format!("still open: {}", open.join(", "))))
}
