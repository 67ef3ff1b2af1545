use std::fmt;
use std::iter;

use super::{PlanError, Planned, remedy};
use crate::plan::Plan;
use crate::safety::prove;
use crate::state::{CloneStage, ClusterState, Facts, ServiceRoute, Source};
use crate::topology::Topology;

/// A cluster as it was observed: all that a procedure may know.
///
/// # Examples
///
/// ```
/// # mod observed { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/observed.rs")); }
/// use ha_core::procedure::Snapshot;
///
/// # let (topology, state, facts) = observed::cluster()?;
/// let seen = Snapshot::new(&topology, &state, &facts);
/// assert_eq!(seen.state.nodes().count(), seen.topology.nodes().count());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Snapshot<'a> {
    /// What is declared.
    pub topology: &'a Topology,
    /// What was seen.
    pub state: &'a ClusterState,
    /// The releases and generations that the state speaks of.
    pub facts: &'a Facts,
}

impl<'a> Snapshot<'a> {
    /// Puts together what was declared and what was seen.
    pub fn new(topology: &'a Topology, state: &'a ClusterState, facts: &'a Facts) -> Self {
        Self { topology, state, facts }
    }
}

/// Proposes plans for a change. Pure: it gets an observation, never a backend.
///
/// # Examples
///
/// ```
/// # mod observed { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/observed.rs")); }
/// use ha_core::action::ServerAction;
/// use ha_core::plan::{Draft, Goal, Stage, Step};
/// use ha_core::procedure::{PlanError, Procedure, Proposal, Snapshot, plan};
///
/// /// Tests every member where it is, and changes nothing.
/// #[derive(Debug)]
/// struct TestAll;
///
/// impl Procedure for TestAll {
///     fn propose<'a>(&'a self, seen: Snapshot<'a>) -> Result<Proposal<'a>, PlanError> {
///         let members = seen.topology.members().map(|(node, _)| node).collect();
///         let gate = Step::new(ServerAction::Gate, seen.topology.policy());
///         let draft = Draft::new("test all", seen.topology, seen.state.clone(), seen.facts.clone(), Goal::unchanged());
///         Ok(Proposal::one(draft.with_stage(Stage::new("test", members, vec![gate])), "repair what fails"))
///     }
/// }
///
/// # let (topology, state, facts) = observed::cluster()?;
/// let planned = plan(&TestAll, Snapshot::new(&topology, &state, &facts))?;
/// assert_eq!(planned.plan().procedure(), "test all");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Procedure: fmt::Debug + Send + Sync {
    /// Proposes plans, cheapest first. They need not be safe: each is proven before it is used.
    ///
    /// # Errors
    /// [`PlanError`] when there is nothing to propose, with what is missing.
    fn propose<'a>(&'a self, seen: Snapshot<'a>) -> Result<Proposal<'a>, PlanError>;

    /// Names the route of a service whose state [`propose`](Self::propose) needs, so that it is observed; `None`, which is the
    /// default, for a procedure that exposes and hides nothing: to it the route is `Unknown`.
    fn route(&self) -> Option<&ServiceRoute> {
        None
    }
}

/// A plan that is there already, as one that was changed by hand or by a [`Remedy`](super::Remedy): it proposes itself. A run refuses it
/// where the cluster is not found as the plan begins.
impl Procedure for Plan {
    fn propose<'a>(&'a self, _: Snapshot<'a>) -> Result<Proposal<'a>, PlanError> {
        let mut proposal = Proposal::one(self.clone(), "change the plan, or plan again by a procedure");
        proposal.advice.by_hand = true;
        Ok(proposal)
    }

    fn route(&self) -> Option<&ServiceRoute> {
        self.facts().service.as_ref().map(|service| &service.route)
    }
}

/// What a procedure proposes.
///
/// # Examples
///
/// ```
/// use ha_core::plan::Plan;
/// use ha_core::procedure::Proposal;
///
/// /// Cheapest first: the plan without a spare, then the one with it.
/// fn both<'a>(without_spare: Plan, with_spare: Plan) -> Proposal<'a> {
///     Proposal::new([without_spare, with_spare].into_iter(), "add a member, so that one can be missed")
/// }
/// ```
pub struct Proposal<'a> {
    pub(super) plans: Box<dyn Iterator<Item = Plan> + 'a>,
    advice: Advice,
}

/// What is said where no remedy is found.
pub(super) struct Advice {
    pub(super) text: String,
    /// Whether the plan was there before: it is looked at more closely than what a procedure makes.
    pub(super) by_hand: bool,
}

impl fmt::Debug for Proposal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proposal").finish_non_exhaustive()
    }
}

impl<'a> Proposal<'a> {
    /// Proposes plans, cheapest first. Where none of them can be proven a [`Remedy`](super::Remedy) is searched; `advice` is what is
    /// said where there is none.
    pub fn new(plans: impl Iterator<Item = Plan> + 'a, advice: impl Into<String>) -> Self {
        Self { plans: Box::new(plans), advice: Advice { text: advice.into(), by_hand: false } }
    }

    /// Proposes one plan.
    pub fn one(plan: impl Into<Plan>, advice: impl Into<String>) -> Self {
        Self::new(iter::once(plan.into()), advice)
    }
}

/// Derives a plan and proves it: the first that the procedure proposes and the law lets pass.
///
/// # Errors
/// [`PlanError`]; nothing was changed.
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
/// // Nothing says that 2.0 may serve beside 1.0, and while one node after another is patched both do.
/// assert!(matches!(plan(&patch, seen), Err(PlanError::Unprovable { .. })));
/// let planned = plan(&patch.with_beside("1.0"), seen)?;
/// assert_eq!(planned.proof().plan, planned.plan().digest());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn plan(procedure: &dyn Procedure, seen: Snapshot<'_>) -> Result<Planned, PlanError> {
    one_database(seen.state)?;
    let Proposal { plans, advice } = procedure.propose(seen)?;
    let mut refused = None;
    for plan in plans {
        let plan = plan.with_approvals(seen.topology);
        match prove(seen.topology, &plan) {
            Ok(proof) => return Ok(Planned::new(plan, proof)),
            Err(counterexample) => refused = Some((Box::new(plan), counterexample)),
        }
    }
    match refused {
        Some((plan, counterexample)) => {
            let remedy = remedy::for_procedure(procedure, seen, (&plan, &counterexample), &advice);
            Err(PlanError::Unprovable { plan, counterexample, remedy: Box::new(remedy) })
        }
        None => Err(PlanError::Incomplete(format!("{procedure:?} proposes no plan"))),
    }
}

/// Refuses to plan where an upgrade has left the database of the topology behind, or has not come to its end.
fn one_database(state: &ClusterState) -> Result<(), PlanError> {
    let fix = match (state.copies.clone, state.copies.source) {
        (CloneStage::Opening, _) => "resume the run that clones it (Engine::resume): the clone is not open in full yet",
        (CloneStage::Open, _) => {
            "the clone is the database now: once the run that cloned it has ended (Engine::resume, where it has not), set url of \
             [database] to clone_url, and remove clone_url"
        }
        (_, Source::Open) => return Ok(()),
        (_, Source::Freezing | Source::Frozen) => {
            "resume the run that clones it (Engine::resume), which gives it back; without that run, \
             CloneDatabase::clone_step with CloneStep::Thaw; then plan again"
        }
    };
    let what = state.copies.to_string();
    Err(PlanError::NotReady { node: "the database".into(), what, fix: fix.into() })
}
