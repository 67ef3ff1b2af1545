//! The safety law: the invariants, one small piece each, and what is derived from a state.
//!
//! Pure functions of a topology and a state, used by the planner, by the explorer and, live, by the run machine. I1,
//! I2, I6, I7 and I11 are here; the others wait for the resources that they speak of.

mod derived;
mod drained;
mod now;
mod one_more_failure;
mod repaid;
mod tested;

pub use derived::{capacity, is_exposed, is_reserve, is_serving, potential_capacity};
pub use drained::drained;
pub use now::now;
pub use one_more_failure::one_more_failure;
pub use repaid::repaid;
pub use tested::tested;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::state::ClusterState;
use crate::topology::Topology;

/// An invariant of the law.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Invariant {
    /// I1: the serving capacity carries the owed load.
    Now,
    /// I2: it still does after one failure domain more is lost.
    OneMoreFailure,
    /// I6: every exposed node serves what it has been tested with.
    Tested,
    /// I7: no process is stopped with requests in flight.
    Drained,
    /// I11: every loan is repaid at the end, or listed.
    Repaid,
    /// After a domain was lost and the reaction has ended, the rest carries what is owed then.
    Settled,
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Now => "I1 now",
            Self::OneMoreFailure => "I2 one more failure",
            Self::Tested => "I6 tested",
            Self::Drained => "I7 drained",
            Self::Repaid => "I11 repaid",
            Self::Settled => "settled",
        })
    }
}

/// Says how a state breaks an invariant.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Violation {
    /// The broken invariant.
    pub invariant: Invariant,
    /// The facts, with names and figures.
    pub facts: String,
}

impl Violation {
    pub(crate) fn new(invariant: Invariant, facts: impl Into<String>) -> Self {
        Self { invariant, facts: facts.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.invariant, self.facts)
    }
}

/// Lists what a state without a lost domain breaks.
pub fn quiet(topology: &Topology, state: &ClusterState) -> Vec<Violation> {
    let mut broken: Vec<Violation> = Vec::new();
    broken.extend(now(topology, state).err());
    broken.extend(one_more_failure(topology, state).err());
    broken.extend(tested(topology, state).err());
    broken
}

/// Lists what a state with a lost domain breaks once the reaction to the loss has ended.
pub fn settled(topology: &Topology, state: &ClusterState) -> Vec<Violation> {
    let mut broken: Vec<Violation> = Vec::new();
    let (has, owed) = (capacity(topology, state), topology.owed_after_loss());
    if has < owed {
        broken.push(Violation::new(
            Invariant::Settled,
            format!("capacity {has} is left of the {owed} owed after a loss"),
        ));
    }
    broken.extend(tested(topology, state).err());
    broken
}
