use super::{Check, Invariant, Law, Violation};
use crate::state::ClusterState;

impl Law<'_> {
    /// Checks I1: the serving capacity carries the owed load now.
    ///
    /// # Errors
    /// The violation, with both figures.
    pub fn now(&self, state: &ClusterState) -> Check {
        let (has, owed) = (self.capacity(state), self.topology.owed_now());
        if has >= owed {
            return Ok(());
        }
        Err(Violation::new(Invariant::Now, format!("capacity {has} serves, {owed} is owed now")))
    }
}
