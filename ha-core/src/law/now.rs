use super::derived::{consumers_wait, no_site_serves};
use super::{Check, Invariant, Law, Violation};
use crate::state::ClusterState;

impl Law<'_> {
    /// Checks that a site serves where sites are declared, or that consumers wait: for that a plan has to declare a window.
    pub(crate) fn some_site(&self, state: &ClusterState, invariant: Invariant) -> Check {
        if no_site_serves(state) && !consumers_wait(state) {
            return Err(Violation::new(invariant, "no site serves"));
        }
        Ok(())
    }

    /// Checks I1: in each pool the serving capacity carries the required load now.
    ///
    /// # Errors
    /// The violation in the first such pool, with both figures.
    pub fn now(&self, state: &ClusterState) -> Check {
        self.some_site(state, Invariant::Now)?;
        for (index, pool) in self.required_pools(state) {
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
