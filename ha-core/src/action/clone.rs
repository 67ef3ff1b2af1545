use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Action, Facets, KnownGood, Order};
use crate::law::{Invariant, Law};
use crate::state::{CloneStep, ClusterState, Facts, LoanKind, Rejected, Target};
use crate::topology::{Policy, Topology};

/// What is done to the two copies of the shared database.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct CloneAction(pub CloneStep);

impl From<CloneStep> for Action {
    fn from(step: CloneStep) -> Self {
        Self::Clone(CloneAction(step))
    }
}

impl Facets for CloneAction {
    fn target(&self) -> Target {
        Target::Database
    }

    fn changes(&self, target: Target) -> bool {
        // A comparison only reads, but for its verdict, which the clone keeps.
        self.target() == target
    }

    fn puts_under_change(&self) -> bool {
        false
    }

    fn is_command(&self) -> bool {
        false
    }

    fn needs_fresh_observation(&self) -> bool {
        true
    }

    /// Nothing is done to a clone that a server uses, or may use, but to open it; and writes are let in where nobody can be served
    /// from the other copy.
    fn precondition(&self, law: Law<'_>, state: &ClusterState) -> Result<(), String> {
        if law.facts.on_clone().is_none() {
            return Err("the plan names no release that uses a clone".into());
        }
        state.copies.on(self.0).map_err(|rejected| rejected.to_string())?;
        let name = |node| &law.topology.node(node).name;
        match self.0 {
            CloneStep::Freeze | CloneStep::Compare => Ok(()),
            CloneStep::Copy | CloneStep::Migrate | CloneStep::Drop => match law.may_use_clone(state) {
                Some(node) => Err(format!("{} runs, or may run, on the clone", name(node))),
                None => Ok(()),
            },
            CloneStep::Thaw => match law.may_be_served_from(state, true) {
                Some(node) => Err(format!("{} may receive requests, and uses the clone", name(node))),
                None => Ok(()),
            },
            CloneStep::Open => match law.may_be_served_from(state, false) {
                Some(node) => Err(format!("{} may receive requests, and does not use the clone", name(node))),
                None => Ok(()),
            },
        }
    }

    fn guards(&self) -> Invariant {
        match self.0 {
            CloneStep::Thaw | CloneStep::Open => Invariant::Schema,
            CloneStep::Freeze | CloneStep::Copy | CloneStep::Compare | CloneStep::Migrate | CloneStep::Drop => {
                Invariant::Order
            }
        }
    }

    /// The state of the copies, from the intent on, is the loan: there is no node that it could be open on.
    fn opens(&self, _: Law<'_>, _: &ClusterState) -> Option<LoanKind> {
        None
    }

    fn begin(&self, _: Law<'_>, state: &mut ClusterState) {
        state.copies = state.copies.half_way(self.0);
    }

    fn complete(&self, _: Law<'_>, state: &mut ClusterState) -> Result<(), Rejected> {
        state.copies = state.copies.on(self.0)?;
        Ok(())
    }

    /// What it leaves in half is what its intent has marked; an end of nothing is seen by the next observation.
    fn partial_effects(&self, _: Law<'_>, _: &ClusterState) -> Vec<ClusterState> {
        Vec::new()
    }

    fn repays(&self) -> &'static [LoanKind] {
        &[]
    }

    fn holds(&self, _: Law<'_>, state: &ClusterState) -> bool {
        state.copies.has(self.0)
    }

    fn inverse(&self, _: Option<KnownGood>) -> Vec<Order> {
        let undone = match self.0 {
            CloneStep::Freeze => CloneStep::Thaw,
            CloneStep::Copy => CloneStep::Drop,
            // What was done to the clone goes with it; and what was opened, or given back, is past the point of no return.
            CloneStep::Compare | CloneStep::Migrate | CloneStep::Open | CloneStep::Thaw | CloneStep::Drop => {
                return Vec::new();
            }
        };
        vec![Order::Clone(Self(undone))]
    }

    fn deadline(&self, policy: &Policy) -> Duration {
        policy.migrate_deadline
    }

    fn name(&self) -> &'static str {
        match self.0 {
            CloneStep::Freeze => "freeze",
            CloneStep::Thaw => "thaw",
            CloneStep::Copy => "copy",
            CloneStep::Compare => "compare",
            CloneStep::Migrate => "migrate clone",
            CloneStep::Open => "open clone",
            CloneStep::Drop => "drop clone",
        }
    }

    fn what(&self, _: &Facts) -> String {
        match self.0 {
            CloneStep::Freeze => "refuse writes to the database",
            CloneStep::Thaw => "take writes to the database again",
            CloneStep::Copy => "copy the database into its clone",
            CloneStep::Compare => "compare rows and checksums of the clone",
            CloneStep::Migrate => "run the migration scripts on the clone",
            CloneStep::Open => "take writes to the clone",
            CloneStep::Drop => "drop the clone",
        }
        .into()
    }

    fn message(&self, _: &Topology, facts: &Facts) -> String {
        self.what(facts)
    }
}
