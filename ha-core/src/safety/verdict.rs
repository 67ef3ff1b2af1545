use std::fmt;

use serde::{Deserialize, Serialize};

use crate::law::Violation;
use crate::plan::{DegradedWindow, Digest, Plan};
use crate::topology::{Name, Topology};

/// States that a plan holds the law in every state it can reach, and what was explored to know it.
///
/// # Examples
///
/// ```
/// use ha_core::safety::Proof;
///
/// /// The least that any quiet state of the plan has to spare, over all pools.
/// fn to_spare(proof: &Proof) -> Option<u64> {
///     proof.pools.iter().filter_map(|pool| pool.now.lowest).min()
/// }
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Proof {
    /// The digest of the proven plan.
    pub plan: Digest,
    /// How it was proven.
    pub method: Method,
    /// Different states visited.
    pub states: usize,
    /// Transitions followed.
    pub transitions: usize,
    /// Faults injected.
    pub faults: usize,
    /// How many faults one run may meet.
    pub fault_budget: u8,
    /// The lowest capacities of each pool, in the order of the topology.
    pub pools: Vec<PoolMargins>,
    /// Until when at the latest the reaction has begun, after the fault is seen.
    pub reaction_within_ms: u64,
    /// The declared windows that a fault can open.
    pub windows: Vec<DegradedWindow>,
}

/// The lowest capacities of one pool in the states that were visited.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct PoolMargins {
    /// The pool.
    pub pool: Name,
    /// I1: the serving capacity against what is required now, in every quiet state.
    pub now: Margin,
    /// I2: what the worst loss would leave against what is required then, in every quiet state.
    pub one_more_failure: Margin,
    /// After a loss, once the reaction has ended.
    pub settled: Margin,
    /// The lowest serving capacity between a fault and the end of the reaction; `None` where no fault shook the cluster.
    pub lowest_shaken: Option<u64>,
}

/// How a plan was proven.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Method {
    /// Every reachable state was visited.
    Exhaustive,
    /// Nodes of a wave that nothing tells apart were counted: of each class the first and the last were followed one by one,
    /// every fault included, and one node stood for all between them.
    ByClass,
}

/// The lowest figure of an invariant that compares a capacity with what is required.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Margin {
    /// The lowest capacity above what is required, in the unit of the load; `None` where no state asked for it.
    pub lowest: Option<u64>,
}

impl Margin {
    pub(super) fn note(&mut self, has: u64, required: u64) {
        let margin = has.saturating_sub(required);
        self.lowest = Some(self.lowest.map_or(margin, |least| least.min(margin)));
    }
}

impl PoolMargins {
    fn begin(pool: Name) -> Self {
        let none = Margin::default();
        Self { pool, now: none, one_more_failure: none, settled: none, lowest_shaken: None }
    }

    pub(super) fn note_shaken(&mut self, capacity: u64) {
        self.lowest_shaken = Some(self.lowest_shaken.map_or(capacity, |least| least.min(capacity)));
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, several: bool, reaction_within_ms: u64) -> fmt::Result {
        write!(f, "; ")?;
        if several {
            write!(f, "pool {}: ", self.pool)?;
        }
        write!(f, "capacity to spare at the least:")?;
        let margins = [
            ("now", self.now.lowest),
            ("after one more failure", self.one_more_failure.lowest),
            ("once a loss has settled", self.settled.lowest),
        ];
        for (number, (name, lowest)) in margins.into_iter().enumerate() {
            let lowest = lowest.map_or_else(|| "-".into(), |lowest| lowest.to_string());
            write!(f, "{} {lowest} {name}", if number == 0 { "" } else { "," })?;
        }
        if let Some(capacity) = self.lowest_shaken {
            write!(
                f,
                "; between a fault and the reaction (begun within {reaction_within_ms} ms) at least {capacity} serves"
            )?;
        }
        Ok(())
    }
}

impl Proof {
    pub(super) fn begin(topology: &Topology, plan: &Plan, fault_budget: u8) -> Self {
        Self {
            plan: plan.digest(),
            method: Method::Exhaustive,
            states: 0,
            transitions: 0,
            faults: 0,
            fault_budget,
            pools: topology.pools().map(|(_, pool)| PoolMargins::begin(pool.name.clone())).collect(),
            reaction_within_ms: u64::try_from(crate::machine::GUARD_INTERVAL.as_millis()).unwrap_or(u64::MAX),
            windows: Vec::new(),
        }
    }

    pub(super) fn use_window(&mut self, window: &DegradedWindow) {
        if !self.windows.contains(window) {
            self.windows.push(window.clone());
        }
    }
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let faults = if self.fault_budget == 1 { "single faults" } else { "faults" };
        let by_class = if self.method == Method::ByClass { ", nodes that are alike counted" } else { "" };
        write!(
            f,
            "proof: plan {} holds the law in all {} states it can reach{by_class} ({} transitions, {} {faults})",
            self.plan.short(),
            self.states,
            self.transitions,
            self.faults,
        )?;
        for pool in &self.pools {
            pool.write(f, self.pools.len() > 1, self.reaction_within_ms)?;
        }
        for window in &self.windows {
            write!(f, "; declared window: {}, at most {:?}", window.what, window.at_most)?;
        }
        Ok(())
    }
}

/// Shows how a plan breaks the law: the shortest way there.
///
/// # Examples
///
/// ```
/// use ha_core::safety::Counterexample;
///
/// fn last_event(counterexample: &Counterexample) -> Option<&str> {
///     counterexample.trace.last().map(String::as_str)
/// }
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Counterexample {
    /// What happens, one line an event, from the start on.
    pub trace: Vec<String>,
    /// What is broken then.
    pub violation: Violation,
    /// How many of the events are faults.
    pub faults: usize,
    /// The stage and the step, both from 0 on, at which the run is then; `None` for a plan that is none.
    pub at: Option<(usize, usize)>,
}

impl fmt::Display for Counterexample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let faults = match self.faults {
            0 => "without any fault".into(),
            1 => "after one fault".into(),
            more => format!("after {more} faults"),
        };
        writeln!(f, "the plan breaks the law {faults}: {}", self.violation)?;
        for (number, event) in self.trace.iter().enumerate() {
            writeln!(f, "  {:>2}. {event}", number + 1)?;
        }
        Ok(())
    }
}

impl std::error::Error for Counterexample {}
