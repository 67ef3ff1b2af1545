use crate::plan::Plan;
use crate::safety::Proof;

/// A plan with its proof.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Planned {
    /// The plan.
    pub plan: Plan,
    /// Its proof.
    pub proof: Proof,
}
