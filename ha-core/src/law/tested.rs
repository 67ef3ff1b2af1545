use super::{Check, Invariant, Law, Violation, is_exposed};
use crate::state::{ClusterState, ServerDomain};

impl Law<'_> {
    /// Checks I6: every exposed node is ready, in the production domain, and has passed its gate after its last change. A
    /// node of a lost domain is excepted: the fault took it, and no command of ours can reach it.
    ///
    /// # Errors
    /// The violation, for the first such node.
    pub fn tested(&self, state: &ClusterState) -> Check {
        for (index, node) in self.topology.nodes() {
            // Who is in a site that no consumers are led to is tested before they are.
            if !self.is_in_service(state, index) {
                continue;
            }
            let node_state = state.node(index);
            if state.is_lost(node.domain) || !is_exposed(state, index) {
                continue;
            }
            if node_state.process.is_ready()
                && node_state.is_tested()
                && node_state.server_domain == ServerDomain::Production
            {
                continue;
            }
            let facts = format!(
                "{} may receive requests while its server is {:?}{} and its release {} its gate",
                node.name,
                node_state.process,
                if node_state.server_domain == ServerDomain::Test { " in its test domain" } else { "" },
                if node_state.is_tested() { "has passed" } else { "has not passed" },
            );
            return Err(Violation::new(Invariant::Tested, facts));
        }
        Ok(())
    }
}
