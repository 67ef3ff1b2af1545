use super::{Invariant, Violation, capacity};
use crate::state::ClusterState;
use crate::topology::Topology;

/// Checks I1: the serving capacity carries the owed load now.
///
/// # Errors
/// The violation, with both figures.
pub fn now(topology: &Topology, state: &ClusterState) -> Result<(), Violation> {
    let (has, owed) = (capacity(topology, state), topology.owed_now());
    if has >= owed {
        return Ok(());
    }
    Err(Violation::new(Invariant::Now, format!("capacity {has} serves, {owed} is owed now")))
}
