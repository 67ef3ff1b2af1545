use super::{Check, Invariant, Law, Violation};
use crate::state::ClusterState;

impl Law<'_> {
    /// Checks I2: after the loss of any one failure domain, the serving and the reserve nodes carry what is owed then.
    ///
    /// # Errors
    /// The violation, for the domain whose loss leaves the least.
    pub fn one_more_failure(&self, state: &ClusterState) -> Check {
        let owed = self.topology.owed_after_loss();
        match self.worst_loss(state) {
            Some((has, domain)) if has < owed => {
                let name = &self.topology.domains[domain.index()];
                let facts = format!("if {name} is lost, capacity {has} is left, {owed} is owed then");
                Err(Violation::new(Invariant::OneMoreFailure, facts))
            }
            Some(_) | None => Ok(()),
        }
    }
}
