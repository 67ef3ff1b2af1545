use std::fmt;

use serde::{Deserialize, Serialize};

use crate::law::Violation;
use crate::plan::Digest;

/// States that a plan holds the law in every state it can reach, and what was explored to know it.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Proof {
    /// The digest of the proven plan.
    pub plan: Digest,
    /// Different states visited.
    pub states: usize,
    /// Transitions followed.
    pub transitions: usize,
    /// Faults injected.
    pub faults: usize,
    /// The least capacity above what is owed now, over all fault-free and failed-step states, in the unit of the load.
    pub lowest_margin_now: u64,
    /// The least capacity above what is owed after a loss, once the reaction has ended.
    pub lowest_margin_settled: Option<u64>,
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "proof: plan {} holds the law in all {} states it can reach ({} transitions, {} single faults); lowest \
             capacity margin {}",
            self.plan.short(),
            self.states,
            self.transitions,
            self.faults,
            self.lowest_margin_now,
        )?;
        match self.lowest_margin_settled {
            Some(margin) => write!(f, ", {margin} after the loss of a failure domain"),
            None => Ok(()),
        }
    }
}

/// Shows how a plan breaks the law: the shortest way there.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Counterexample {
    /// What happens, one line an event, from the start on.
    pub trace: Vec<String>,
    /// What is broken then.
    pub violation: Violation,
}

impl fmt::Display for Counterexample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "the plan breaks the law: {}", self.violation)?;
        for (number, event) in self.trace.iter().enumerate() {
            writeln!(f, "  {:>2}. {event}", number + 1)?;
        }
        Ok(())
    }
}
