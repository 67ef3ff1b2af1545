use super::{Check, Invariant, Law, Violation};
use crate::state::ClusterState;

impl Law<'_> {
    /// Checks I9: at most one site takes writes, and no other has a higher epoch. Two that write part the data.
    ///
    /// # Errors
    /// The violation, with the sites.
    pub fn one_site(&self, state: &ClusterState) -> Check {
        let named = || self.topology.sites.iter().zip(&state.sites);
        let mut serving = named().filter(|(_, site)| site.site.writes());
        let Some((first, holder)) = serving.next() else { return Ok(()) };
        if let Some((second, _)) = serving.next() {
            let facts = format!("{} and {} may both write", first.name, second.name);
            return Err(Violation::new(Invariant::OneSite, facts));
        }
        if let Some((newer, _)) = named().find(|(_, site)| site.epoch > holder.epoch) {
            let facts = format!("{} takes writes, and {} was given a higher epoch", first.name, newer.name);
            return Err(Violation::new(Invariant::OneSite, facts));
        }
        Ok(())
    }
}
