use super::{Check, Invariant, Law, Violation, is_exposed};
use crate::state::{ClusterState, Service};
use crate::topology::NodeIx;

impl Law<'_> {
    /// Checks I6 of the plan's service: while its route is exposed, or may be, every node that may receive requests has the set of
    /// files with the service, tested. A node without it fails its share of the service's requests. A node of a lost domain is
    /// excepted, as in [`tested`](Self::tested).
    ///
    /// # Errors
    /// The violation, for the first such node.
    pub fn exposed_service(&self, state: &ClusterState) -> Check {
        let Some(service) = self.facts.service.as_ref().filter(|_| state.exposure.is_open()) else { return Ok(()) };
        match self.without_service(state, service, |node| is_exposed(state, node)) {
            Some((node, what)) => {
                let (name, route) = (&self.topology.node(node).name, &service.route);
                let facts =
                    format!("{name} may receive requests while the route {route} is {}, and {what}", state.exposure);
                Err(Violation::new(Invariant::Tested, facts))
            }
            None => Ok(()),
        }
    }

    /// Checks that a service may be exposed: every node that may receive requests, or could be admitted at once, has the set of
    /// files with it, tested.
    pub(crate) fn ready_to_expose(&self, state: &ClusterState, service: &Service) -> Result<(), String> {
        let counts = |node| is_exposed(state, node) || self.is_reserve(state, node);
        match self.without_service(state, service, counts) {
            Some((node, what)) => {
                let name = &self.topology.node(node).name;
                Err(format!(
                    "{name} takes requests or is a reserve, and {what}: it would fail its share of {}",
                    service.route
                ))
            }
            None => Ok(()),
        }
    }

    /// Finds the first of the nodes that count without the service, and what it lacks.
    fn without_service(
        &self,
        state: &ClusterState,
        service: &Service,
        counts: impl Fn(NodeIx) -> bool,
    ) -> Option<(NodeIx, String)> {
        for (index, node) in self.topology.nodes() {
            if state.is_lost(node.domain) || !counts(index) {
                continue;
            }
            let node_state = state.node(index);
            if node_state.generation != Some(service.generation) {
                let wanted = self.facts.generations.sequence(service.generation);
                let has = node_state.generation.map_or_else(
                    || "half a set of files".into(),
                    |generation| format!("generation {}", self.facts.generations.sequence(generation)),
                );
                return Some((index, format!("it has {has}, the service is in generation {wanted}")));
            }
            if !node_state.is_tested() {
                return Some((index, "it has not passed its test since its last change".into()));
            }
        }
        None
    }
}
