use super::{Check, Invariant, Law, Violation};
use crate::state::ClusterState;

impl Law<'_> {
    /// Checks I11 at an end: no loan is open.
    ///
    /// # Errors
    /// The violation, with every open loan.
    pub fn repaid(&self, state: &ClusterState) -> Check {
        let open = self.open_loans(state);
        if open.is_empty() {
            return Ok(());
        }
        Err(Violation::new(Invariant::Repaid, format!("still open: {}", open.join(", "))))
    }

    /// Lists the open loans, as text.
    pub fn open_loans(&self, state: &ClusterState) -> Vec<String> {
        state
            .nodes()
            .flat_map(|(index, node)| node.loans.iter().map(move |loan| (index, loan)))
            .map(|(index, loan)| format!("{}: {loan}", self.topology.node(index).name))
            .collect()
    }
}
