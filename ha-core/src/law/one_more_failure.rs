use super::{Check, Invariant, Law, Violation};
use crate::state::ClusterState;

impl Law<'_> {
    /// Checks I2: in each pool, after the loss of any one failure domain, the serving and the reserve nodes carry what is
    /// required then.
    ///
    /// # Errors
    /// The violation in the first such pool, for the domain whose loss leaves the least.
    pub fn one_more_failure(&self, state: &ClusterState) -> Check {
        self.some_site(state, Invariant::OneMoreFailure)?;
        for (index, pool) in self.required_pools(state) {
            let required = pool.required_after_loss();
            let worst = self.worst_loss(state, index);
            if let Some((has, domain)) = worst.filter(|(has, _)| *has < required) {
                let (prefix, name) = (self.topology.prefix(index), self.topology.domain_name(domain));
                let facts = format!("{prefix}if {name} is lost, capacity {has} is left, {required} is required then");
                return Err(Violation::new(Invariant::OneMoreFailure, facts));
            }
        }
        Ok(())
    }
}
