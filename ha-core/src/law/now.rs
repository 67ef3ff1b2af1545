use super::{Check, Invariant, Law, Violation};
use crate::state::ClusterState;

impl Law<'_> {
    /// Checks I1: in each pool the serving capacity carries the required load now.
    ///
    /// # Errors
    /// The violation in the first such pool, with both figures.
    pub fn now(&self, state: &ClusterState) -> Check {
        for (index, pool) in self.topology.pools() {
            let (has, required) = (self.capacity(state, index), pool.required_now());
            if has < required {
                let prefix = self.topology.prefix(index);
                let facts = format!("{prefix}capacity {has} serves, {required} is required now");
                return Err(Violation::new(Invariant::Now, facts));
            }
        }
        Ok(())
    }
}
