use super::{Invariant, Violation, potential_capacity};
use crate::state::ClusterState;
use crate::topology::Topology;

/// Checks I2: after the loss of any one failure domain, the serving and the reserve nodes carry what is owed then.
///
/// # Errors
/// The violation, for the domain whose loss leaves the least.
pub fn one_more_failure(topology: &Topology, state: &ClusterState) -> Result<(), Violation> {
    let owed = topology.owed_after_loss();
    let left = |domain| (potential_capacity(topology, state, domain), domain);
    match topology.domains().map(left).min() {
        Some((has, domain)) if has < owed => {
            let name = &topology.domains[domain.index()];
            let facts = format!("if {name} is lost, capacity {has} is left, {owed} is owed then");
            Err(Violation::new(Invariant::OneMoreFailure, facts))
        }
        Some(_) | None => Ok(()),
    }
}
