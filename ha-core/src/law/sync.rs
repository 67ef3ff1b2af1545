use super::{Check, Invariant, Law, Violation, is_exposed, writer};
use crate::state::ClusterState;

impl Law<'_> {
    /// Checks I5: a file sync that is open and whose ends differ brings a tested, newer set from the writer to a node that
    /// takes no requests. A node of a lost domain is excepted, as from I6: nothing is copied to it by a command of ours, and nobody
    /// can read what it has.
    ///
    /// # Errors
    /// The violation, for the first such sync.
    pub fn sync(&self, state: &ClusterState) -> Check {
        let Some(source) = writer(state) else { return Ok(()) };
        let from = state.node(source);
        for (target, node) in state.nodes() {
            if target == source
                || state.is_lost(self.topology.node(target).domain)
                || !node.sync.is_open()
                || node.generation.is_some() && node.generation == from.generation
            {
                continue;
            }
            let sequence = |generation| self.facts.generations.sequence(generation);
            let newer = match (from.generation, node.generation) {
                (Some(theirs), Some(own)) => sequence(theirs) > sequence(own),
                (Some(_), None) => true,
                (None, _) => false,
            };
            let wrong = if !from.is_tested() {
                "what it would bring has not passed its test"
            } else if !newer {
                "what it would bring is not newer"
            } else if is_exposed(state, target) {
                "its target may be receiving requests"
            } else {
                continue;
            };
            let name = |index| &self.topology.node(index).name;
            let facts = format!("the file sync from {} to {} is open, and {wrong}", name(source), name(target));
            return Err(Violation::new(Invariant::Sync, facts));
        }
        Ok(())
    }
}
