//! The safety law: the invariants, one small piece each, and what is derived from a state.
//!
//! Pure functions of what is declared and of a state, used by the planners, by the explorer and, live, by the run
//! machine. What is required depends on the [`Phase`]; I8 (the rollback) and I11 (repaid) are properties of paths and of
//! ends, which the explorer checks.
//!
//! May change in any minor version: [what is stable](crate#what-is-stable).

mod derived;
mod drained;
mod exposure;
mod fenced;
mod now;
mod one_more_failure;
mod one_site;
mod one_writer;
mod repaid;
mod schema;
mod settled;
mod shaken;
mod sync;
mod tested;

pub(crate) use derived::no_site_serves;
pub use derived::{consumers_wait, is_exposed, writer};
pub use fenced::fenced;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::state::{ClusterState, Facts};
use crate::topology::Topology;

/// The law over one cluster: what its owner declared of it, and of the releases that serve.
///
/// # Examples
///
/// ```
/// # mod observed { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/observed.rs")); }
/// use ha_core::law::{Invariant, Law};
/// use ha_core::state::Traffic;
///
/// # let (topology, mut state, facts) = observed::cluster()?;
/// let law = Law::new(&topology, &facts);
/// assert!(law.broken(&state).is_empty());
/// for (node, _) in topology.members() {
///     state.set_traffic_everywhere(node, |_| Traffic::Out);
/// }
/// assert!(law.broken(&state).iter().any(|broken| broken.invariant == Invariant::Now));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Law<'a> {
    /// The cluster.
    pub topology: &'a Topology,
    /// The releases and generations that a state speaks of.
    pub facts: &'a Facts,
}

/// What is required depends on what has happened.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// No fault, or only the controller's death and steps that failed, half-happened or are unknown.
    Quiet,
    /// A failure domain was lost or a balancer forgot, until the reaction has ended. The fault may have broken capacity
    /// and exposed what is under change; what binds are our own commands.
    Shaken,
    /// A failure domain stays lost.
    Settled,
}

/// An invariant of the law.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Invariant {
    /// I1: the serving capacity carries the required load now.
    Now,
    /// I2: it still would after the loss of any one failure domain.
    OneMoreFailure,
    /// I3: at most one node may write shared files, with the highest epoch that any host has seen.
    OneWriter,
    /// I4: every release in use can use the schema, and those exposed at once may serve side by side.
    Schema,
    /// I5: files are copied only from a tested writer to a node that takes no requests.
    Sync,
    /// I6: what may receive requests is ready and has passed its gate after its last change; while a service is exposed, it has
    /// that service.
    Tested,
    /// I7: no server is stopped while it may have requests or pulled work in progress.
    Drained,
    /// I8: before the point of no return the rollback leads to all old.
    Rollback,
    /// I9: at most one site may write, with the highest epoch.
    OneSite,
    /// I10: every effect carries a lease epoch no lower than the last one seen.
    Fenced,
    /// I11: a run ends with every loan repaid, or lists what is open.
    Repaid,
    /// After a loss: what is left carries what is required after a loss.
    Settled,
    /// A step cannot follow at its place in the plan.
    Order,
}

impl Invariant {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 13] = [
        Self::Now,
        Self::OneMoreFailure,
        Self::OneWriter,
        Self::Schema,
        Self::Sync,
        Self::Tested,
        Self::Drained,
        Self::Rollback,
        Self::OneSite,
        Self::Fenced,
        Self::Repaid,
        Self::Settled,
        Self::Order,
    ];
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Now => "I1 now",
            Self::OneMoreFailure => "I2 one more failure",
            Self::OneWriter => "I3 one writer",
            Self::Schema => "I4 schema",
            Self::Sync => "I5 sync",
            Self::Tested => "I6 tested",
            Self::Drained => "I7 drained",
            Self::Rollback => "I8 rollback",
            Self::OneSite => "I9 one site",
            Self::Fenced => "I10 fenced",
            Self::Repaid => "I11 repaid",
            Self::Settled => "settled",
            Self::Order => "order of steps",
        })
    }
}

/// Says how a state breaks an invariant.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Violation {
    /// Which.
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

type Check = Result<(), Violation>;

impl<'a> Law<'a> {
    /// Puts together what is declared.
    pub fn new(topology: &'a Topology, facts: &'a Facts) -> Self {
        Self { topology, facts }
    }

    /// Checks everything that binds in a phase, a reaction under way or the end of one.
    ///
    /// # Errors
    /// The first violation: what is wrong with a node before what that does to the capacity.
    pub fn check(&self, state: &ClusterState, phase: Phase) -> Check {
        match phase {
            Phase::Quiet => {
                self.bound(state)?;
                self.now(state)?;
                self.one_more_failure(state)
            }
            Phase::Shaken => self.always(state),
            Phase::Settled => {
                self.bound(state)?;
                self.settled(state)
            }
        }
    }

    /// Lists everything that a quiet state breaks.
    pub fn broken(&self, state: &ClusterState) -> Vec<Violation> {
        let checks = [
            self.now(state),
            self.one_more_failure(state),
            self.one_writer(state),
            self.schema(state),
            self.sync(state),
            self.tested(state),
            self.exposed_service(state),
            self.one_site(state),
        ];
        checks.into_iter().filter_map(Result::err).collect()
    }

    /// What no fault can break: only a command of ours could.
    fn always(&self, state: &ClusterState) -> Check {
        self.one_writer(state)?;
        self.one_site(state)
    }

    /// Checks everything but capacity.
    ///
    /// # Errors
    /// The first violation.
    pub fn bound(&self, state: &ClusterState) -> Check {
        self.one_writer(state)?;
        self.schema(state)?;
        self.sync(state)?;
        self.tested(state)?;
        self.exposed_service(state)?;
        self.one_site(state)
    }
}
