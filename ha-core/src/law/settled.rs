use super::{Check, Invariant, Law, Violation};
use crate::state::ClusterState;

impl Law<'_> {
    /// Checks what is required while a failure domain stays lost: in each pool, what is left carries what was promised for
    /// that.
    ///
    /// # Errors
    /// The violation in the first such pool, with both figures.
    pub fn settled(&self, state: &ClusterState) -> Check {
        for (index, pool) in self.topology.pools() {
            let (has, required) = (self.capacity(state, index), pool.required_after_loss());
            if has < required {
                let prefix = self.topology.prefix(index);
                let facts = format!("{prefix}capacity {has} is left of the {required} required after a loss");
                return Err(Violation::new(Invariant::Settled, facts));
            }
        }
        Ok(())
    }
}
