//! What would make a refused change provable, as data: each remedy was tried, and proven, before it is given.

mod amendment;
mod host;
mod near;
mod search;

use std::fmt;

pub use amendment::Amendment;
pub(super) use search::for_procedure;

use super::Snapshot;
use crate::plan::Plan;
use crate::safety::Counterexample;
use crate::state::{ClusterState, Facts};
use crate::topology::Topology;

/// The smallest change that was found to make a refused plan provable; or none, and why. In the order in which they are tried:
/// what needs no host (a declaration on the request, then the plan itself: files held earlier, a stage or a step moved, a wave split,
/// a step or a declared spare added, a window declared), then the fewest hosts, then the least capacity of them.
///
/// It was proven before it is given: [`apply`](Self::apply) it and plan again, or [`amend`](Self::amend) the refused plan.
///
/// # Examples
///
/// ```
/// # mod observed { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/observed.rs")); }
/// use ha_core::procedure::{PatchRequest, PlanError, Snapshot, plan};
///
/// # let (topology, state, facts) = observed::cluster()?;
/// let script = |what: &str| vec!["bin/patch.sh".to_string(), what.to_string()];
/// let patch = PatchRequest::new("2.0", script("apply"), script("restore"));
/// let seen = Snapshot::new(&topology, &state, &facts);
/// let Err(PlanError::Unprovable { remedy, .. }) = plan(&patch, seen) else { panic!("nothing declares that 2.0 fits") };
/// // if 2.0 may serve beside 1.0 ..., declare it: beside = ["1.0"] among the facts of 2.0 (with_beside on ..)
/// println!("{remedy}");
/// let amended = remedy.apply(seen).ok_or("no remedy")?;
/// assert!(plan(&patch, amended.snapshot()).is_ok());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Remedy {
    amendments: Vec<Amendment>,
    message: String,
}

impl Remedy {
    fn new(amendments: Vec<Amendment>, message: String) -> Self {
        Self { amendments, message }
    }

    fn none(message: String) -> Self {
        Self { amendments: Vec::new(), message }
    }

    /// Tells whether none was found: the text says why.
    pub fn is_none(&self) -> bool {
        self.amendments.is_empty()
    }

    /// Lists what is to be changed, all of it, in this order; empty where no remedy was found.
    pub fn amendments(&self) -> &[Amendment] {
        &self.amendments
    }

    /// Returns how many hosts it needs that are not declared yet; 0 where nothing is to be bought.
    pub fn hosts(&self) -> usize {
        self.amendments.iter().filter(|amendment| amendment.is_host()).count()
    }

    /// Returns the cluster as it would be with the remedy, to plan the same request again; `None` where there is no remedy, or it
    /// changes the plan itself ([`amend`](Self::amend)). Pure: nothing is changed.
    pub fn apply(&self, seen: Snapshot<'_>) -> Option<Amended> {
        let mut amended = Amended::of(seen);
        self.amendments.iter().try_for_each(|amendment| amendment.apply(&mut amended))?;
        (!self.is_none()).then_some(amended)
    }

    /// Returns the plan with the remedy, and the topology that it is for then; `None` where there is no remedy, or it fits another
    /// plan. Pure: nothing is changed. A [`Plan`] is a [`Procedure`](super::Procedure) that proposes itself, so that the amended plan
    /// can be proven and run as any other.
    pub fn amend(&self, topology: &Topology, plan: &Plan) -> Option<(Topology, Plan)> {
        let applied = amendment::amend(topology, plan, &self.amendments)?;
        (!self.is_none()).then_some(applied)
    }
}

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// A cluster as it would be with a remedy: what is declared, how it would be found, and what would be known.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Amended {
    /// What would be declared.
    pub topology: Topology,
    /// How the cluster would be found.
    pub state: ClusterState,
    /// The releases and generations that the state speaks of.
    pub facts: Facts,
}

impl Amended {
    fn of(seen: Snapshot<'_>) -> Self {
        Self { topology: seen.topology.clone(), state: seen.state.clone(), facts: seen.facts.clone() }
    }

    /// Returns it as an observation, to plan from.
    pub fn snapshot(&self) -> Snapshot<'_> {
        Snapshot::new(&self.topology, &self.state, &self.facts)
    }
}

/// Finds what would make a refused plan provable by changes of the plan: files held earlier, a stage or a step moved, a wave split, a
/// step or a declared spare added, a window declared; then with one or two spares more. Bounded and deterministic: some hundred plans
/// are tried at most, fewer where the cluster is large, and none where it is very large: the text says so then.
///
/// # Examples
///
/// ```
/// # mod observed { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/observed.rs")); }
/// use ha_core::plan::{Draft, Plan};
/// use ha_core::procedure::{PatchRequest, Snapshot, plan, remedy_for};
/// use ha_core::safety::prove;
///
/// # let (topology, state, facts) = observed::cluster()?;
/// # let patch = PatchRequest::new("2.0", vec!["apply".into()], vec!["restore".into()]).with_beside("1.0");
/// # let planned = plan(&patch, Snapshot::new(&topology, &state, &facts))?;
/// // The stages of a patch, written down in the wrong order.
/// let mut draft = Draft::from(planned.plan().clone());
/// draft.stages.swap(0, 1);
/// let wrong = Plan::from(draft);
/// let refused = prove(&topology, &wrong).unwrap_err();
/// let remedy = remedy_for(&topology, &wrong, &refused);
/// let (topology, right) = remedy.amend(&topology, &wrong).ok_or(remedy.to_string())?;
/// assert!(prove(&topology, &right).is_ok());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn remedy_for(topology: &Topology, plan: &Plan, refused: &Counterexample) -> Remedy {
    search::for_plan(topology, plan, refused)
}
