use super::{Check, Invariant, Law, Violation};
use crate::state::ClusterState;

impl Law<'_> {
    /// Checks what is owed while a failure domain stays lost: what is left carries what was promised for that.
    ///
    /// # Errors
    /// The violation, with both figures.
    pub fn settled(&self, state: &ClusterState) -> Check {
        let (has, owed) = (self.capacity(state), self.topology.owed_after_loss());
        if has >= owed {
            return Ok(());
        }
        let facts = format!("capacity {has} is left of the {owed} owed after a loss");
        Err(Violation::new(Invariant::Settled, facts))
    }
}
