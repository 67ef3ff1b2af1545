use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Degraded, DegradedWindow, Digest, PlanApproval, Reach};
use crate::action::{Action, KnownGood, Order};
use crate::law::Phase;
use crate::state::{ClusterState, Facts, GenerationId, ReleaseId, Route, Schema};
use crate::topology::{Name, NodeIx, Policy, SiteIx};

/// The format of plans that this library writes; a plan of a later format is refused.
pub const PLAN_FORMAT: u32 = 7;

/// What a run will do, as data: nothing in it is code, so that another controller can go on with it. Made from a
/// [`Draft`](crate::plan::Draft). Its JSON Schema is published as `schema/plan.json`.
///
/// # Examples
///
/// ```
/// # mod observed { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/observed.rs")); }
/// use ha_core::procedure::{PatchRequest, Snapshot, plan};
///
/// # let (topology, state, facts) = observed::cluster()?;
/// # let patch = PatchRequest::new("2.0", vec!["apply".into()], vec!["restore".into()]).with_beside("1.0");
/// # let planned = plan(&patch, Snapshot::new(&topology, &state, &facts))?;
/// let plan = planned.plan();
/// assert!(plan.is_for(&topology) && plan.check(&topology).is_ok());
/// println!("{}", plan.to_text(&topology)); // or to_mermaid
/// for stage in plan.stages() {
///     println!("{}: {} steps", stage.name, stage.steps.len());
/// }
/// // A plan is data: it can be written down, and read again.
/// let text = serde_json::to_string(plan)?;
/// assert_eq!(serde_json::from_str::<ha_core::plan::Plan>(&text)?.digest(), plan.digest());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct Plan {
    /// The format that it is written in.
    pub(crate) format: u32,
    /// The procedure that made it, as `patch`.
    pub(crate) procedure: String,
    /// The cluster that it is for.
    pub(crate) cluster: Name,
    /// The digest of the topology that it was made for: of what its proof rests on.
    pub(crate) topology: Digest,
    /// How balancers and nodes were reached when it was made, by digest.
    #[serde(default)]
    pub(crate) reach: Reach,
    /// The releases and generations that it speaks of, and what was declared of them.
    pub(crate) facts: Facts,
    /// The phase of the law that it begins in.
    pub(crate) phase: Phase,
    /// What all members have at the end.
    pub(crate) goal: Goal,
    /// What its ends are called.
    pub(crate) ends: Ends,
    /// The state of the cluster when the plan was made.
    pub(crate) start: ClusterState,
    /// What it carries on; left out of the first plan of a run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) carries_on: Option<Box<CarriesOn>>,
    /// For each node where a rollback leads back to; `null` for a node that the plan does not change.
    pub(crate) known_good: Vec<Option<KnownGood>>,
    /// The commands that make the change on a host.
    pub(crate) commands: ChangeCommands,
    /// What is done, in order.
    pub(crate) stages: Vec<Stage>,
    /// The stage, from 0 on, from which on the run goes forward only; the number of stages where it can be rolled back to the end.
    pub(crate) point_of_no_return: usize,
    /// Where full service is not promised.
    pub(crate) windows: Vec<DegradedWindow>,
    /// Where the run waits for a person's approval; left out where it does nowhere.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) approvals: Vec<PlanApproval>,
}

impl Plan {
    /// Names the procedure that made it, as `patch`.
    pub fn procedure(&self) -> &str {
        &self.procedure
    }

    /// Names the cluster it is for.
    pub fn cluster(&self) -> &Name {
        &self.cluster
    }

    /// Returns the digest of the topology it was made for.
    pub fn topology(&self) -> &Digest {
        &self.topology
    }

    /// Returns how balancers and nodes were reached when it was made.
    pub fn reach(&self) -> &Reach {
        &self.reach
    }

    /// Returns the releases and generations it speaks of, and what was declared of them.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Returns the phase of the law that it begins in.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Returns what all members have at the end.
    pub fn goal(&self) -> Goal {
        self.goal
    }

    /// Returns what its ends are called.
    pub fn ends(&self) -> &Ends {
        &self.ends
    }

    /// Returns the state of the cluster when the plan was made.
    pub fn start(&self) -> &ClusterState {
        &self.start
    }

    /// Returns the state in which the run began: of a plan that carries a run on after a loss, that of the run's first plan; of
    /// every other plan, its own start. What a balancer that loses its runtime state goes back to is in it.
    pub fn configured(&self) -> &ClusterState {
        self.carries_on.as_ref().map_or(&self.start, |carried| &carried.began)
    }

    /// Returns what the plan carries on: a run that met the loss of a failure domain; `None` for the first plan of a run.
    pub fn carries_on(&self) -> Option<&CarriesOn> {
        self.carries_on.as_deref()
    }

    /// Tells whether its last step leads back to all old.
    pub fn goes_back(&self) -> bool {
        self.carries_on.as_ref().is_some_and(|carried| carried.back)
    }

    /// Returns for each node where a rollback leads back to; `None` for a node that the plan does not change.
    pub fn known_good(&self) -> &[Option<KnownGood>] {
        &self.known_good
    }

    /// Returns the commands that make the change on a host.
    pub fn commands(&self) -> &ChangeCommands {
        &self.commands
    }

    /// Lists what is done, in order.
    pub fn stages(&self) -> &[Stage] {
        &self.stages
    }

    /// Returns the stage from which on the run goes forward only; the number of stages where it can be rolled back to the end.
    pub fn point_of_no_return(&self) -> usize {
        self.point_of_no_return
    }

    /// Tells whether it declares that one more loss is not survived while a node that is left is changed.
    pub(crate) fn is_unprotected(&self) -> bool {
        self.windows.iter().any(|window| window.what == Degraded::OneMoreFailure)
    }

    /// Returns for how long at most it declares that the database refuses writes.
    pub(crate) fn writes_refused(&self) -> Option<Duration> {
        self.windows.iter().find(|window| window.what == Degraded::WritesRefused).map(|window| window.at_most)
    }

    /// Lists where full service is not promised.
    pub fn windows(&self) -> &[DegradedWindow] {
        &self.windows
    }
}

/// What a plan carries on, after a run has met the loss of a failure domain.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct CarriesOn {
    /// The state in which the run began.
    pub began: ClusterState,
    /// Whether it leads the living members back to what they had then, instead of finishing the change.
    pub back: bool,
    /// Whether the run was past its point of no return: then it is only finished.
    pub forward_only: bool,
}

impl CarriesOn {
    /// Carries on a run that began in this state.
    pub fn new(began: ClusterState, back: bool) -> Self {
        Self { began, back, forward_only: false }
    }
}

/// What the two good ends of a plan are called.
///
/// # Examples
///
/// ```
/// use ha_core::plan::Ends;
/// use ha_core::record::End;
///
/// let ends = Ends::new("all restarted", "as before");
/// assert_eq!(End::AllNew.message(&ends), "all restarted");
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Ends {
    /// When it has reached its goal. Default `all new`.
    pub reached: String,
    /// When it was rolled back. Default `all old`.
    pub rolled_back: String,
}

impl Ends {
    /// Names both.
    pub fn new(reached: impl Into<String>, rolled_back: impl Into<String>) -> Self {
        Self { reached: reached.into(), rolled_back: rolled_back.into() }
    }
}

impl Default for Ends {
    fn default() -> Self {
        Self::new("all new", "all old")
    }
}

/// What the end of a run is called "all new" for.
///
/// # Examples
///
/// ```
/// use ha_core::plan::Goal;
/// use ha_core::state::{Releases, Schema};
///
/// let mut releases = Releases::default();
/// let goal = Goal::of_release(releases.enter("5.0")?).with_schema(Schema::Contracted);
/// assert_eq!(goal.generation, None);
/// # Ok::<(), ha_core::state::TooManyReleases>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Goal {
    /// The release that all members have.
    pub release: Option<ReleaseId>,
    /// The set of shared files that all members have.
    pub generation: Option<GenerationId>,
    /// The state of the schema.
    pub schema: Option<Schema>,
    /// The state of the route of the plan's service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exposure: Option<Route>,
    /// The site that serves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site: Option<SiteIx>,
}

impl Goal {
    /// Nothing that the members did not have before.
    pub fn unchanged() -> Self {
        Self { release: None, generation: None, schema: None, exposure: None, site: None }
    }

    /// All members have a release.
    pub fn of_release(release: ReleaseId) -> Self {
        Self { release: Some(release), ..Self::unchanged() }
    }

    /// All members have a set of shared files.
    pub fn of_generation(generation: GenerationId) -> Self {
        Self { generation: Some(generation), ..Self::unchanged() }
    }

    /// A site serves.
    pub fn of_site(site: SiteIx) -> Self {
        Self { site: Some(site), ..Self::unchanged() }
    }

    /// And the schema is in this state.
    #[must_use]
    pub fn with_schema(mut self, schema: Schema) -> Self {
        self.schema = Some(schema);
        self
    }

    /// And the route of the service is in this state.
    #[must_use]
    pub fn with_exposure(mut self, exposure: Route) -> Self {
        self.exposure = Some(exposure);
        self
    }
}

/// The commands that make a change on a host, each an argument vector. The engine sets `HA_NODE` and `HA_RELEASE`, and for a release
/// that uses a clone of the database `HA_DATABASE_URL`, without user and password.
///
/// # Examples
///
/// ```
/// use ha_core::plan::ChangeCommands;
///
/// let script = |what: &str| vec!["bin/patch.sh".to_string(), what.to_string()];
/// let commands = ChangeCommands::new(script("apply"), script("restore"));
/// assert!(commands.deploy.is_empty());
/// ```
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct ChangeCommands {
    /// Installs the new release on a stopped server.
    pub apply: Vec<String>,
    /// Brings the recorded release back on a stopped server, whatever half of the change is there.
    pub restore: Vec<String>,
    /// Puts the set of shared files with the number in `HA_GENERATION` on a node, staged and swapped, an old set from the
    /// artifact store included: it is in the folder `HA_ARTIFACT`, where a store is declared that the node can read.
    pub deploy: Vec<String>,
}

impl ChangeCommands {
    /// States both commands.
    pub fn new(apply: Vec<String>, restore: Vec<String>) -> Self {
        Self { apply, restore, deploy: Vec::new() }
    }

    /// States the command of a deployment.
    pub fn deployment(deploy: Vec<String>) -> Self {
        Self { deploy, ..Self::default() }
    }
}

/// Steps applied one after another, each to all targets, with a barrier after each.
///
/// # Examples
///
/// ```
/// # mod observed { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/observed.rs")); }
/// use ha_core::action::TrafficAction;
/// use ha_core::plan::{Stage, Step};
///
/// # let topology = observed::topology()?;
/// // A wave of two: each of them is out before the next step begins.
/// let wave = topology.members().map(|(node, _)| node).collect();
/// let stage = Stage::new("take both out", wave, vec![Step::new(TrafficAction::TakeOut, topology.policy())]);
/// assert_eq!(stage.orders(TrafficAction::TakeOut.into()).count(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Stage {
    /// What the stage is for, as text.
    pub name: String,
    /// The nodes; empty where every step acts on what the cluster shares.
    pub nodes: Vec<NodeIx>,
    /// What is done to them.
    pub steps: Vec<Step>,
}

impl Stage {
    /// Describes a stage.
    pub fn new(name: impl Into<String>, nodes: Vec<NodeIx>, steps: Vec<Step>) -> Self {
        Self { name: name.into(), nodes, steps }
    }

    /// Lists the orders of one of its actions: one for each node, or a single one where the cluster shares the target.
    pub fn orders(&self, action: Action) -> impl Iterator<Item = Order> + '_ {
        let shared = action.shared();
        let nodes = if shared.is_some() { &[][..] } else { &self.nodes };
        shared.into_iter().chain(nodes.iter().map(move |node| action.on(*node)))
    }
}

/// One action with its limits.
///
/// # Examples
///
/// ```
/// use ha_core::action::TrafficAction;
/// use ha_core::plan::{OnFailure, Step};
/// use ha_core::topology::Policy;
///
/// let step = Step::new(TrafficAction::Admit, &Policy::default()).with_attempts(2).with_on_failure(OnFailure::Hold);
/// assert_eq!((step.attempts, step.on_failure), (2, OnFailure::Hold));
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Step {
    /// What is done.
    pub action: Action,
    /// How long it may take; past it the outcome is unknown and is looked up.
    #[serde(with = "crate::millis", rename = "deadline_ms")]
    #[cfg_attr(feature = "schemars", schemars(with = "u64"))]
    pub deadline: Duration,
    /// How often it may be tried in all, at least once.
    pub attempts: u8,
    /// What follows when it did not happen in the last attempt.
    pub on_failure: OnFailure,
}

impl Step {
    /// Describes a step that is tried once, inside the policy's deadline, and rolls back when it fails.
    pub fn new(action: impl Into<Action>, policy: &Policy) -> Self {
        let action = action.into();
        Self { action, deadline: action.deadline(policy), attempts: 1, on_failure: OnFailure::RollBack }
    }

    /// Allows more attempts.
    #[must_use]
    pub fn with_attempts(mut self, attempts: u8) -> Self {
        self.attempts = attempts.max(1);
        self
    }

    /// Sets what follows a failure.
    #[must_use]
    pub fn with_on_failure(mut self, on_failure: OnFailure) -> Self {
        self.on_failure = on_failure;
        self
    }
}

/// What follows when a step failed for good.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum OnFailure {
    /// The recorded steps are compensated in reverse; past the point of no return the run holds instead.
    RollBack,
    /// The run ends for a person to decide.
    Hold,
    /// The recorded steps of the stage are compensated in reverse, then the run ends for a person to decide: its nodes have
    /// what they had, the others keep the change. Past the point of no return the run holds at once.
    Withdraw,
}

impl Plan {
    /// Digests the whole plan.
    pub fn digest(&self) -> Digest {
        // Serialising data of strings, numbers and lists into memory has no way to fail.
        Digest::of(&serde_json::to_vec(self).unwrap_or_default())
    }

    /// Returns a step, or `None` past the end.
    pub fn step(&self, stage: usize, step: usize) -> Option<&Step> {
        self.stages.get(stage)?.steps.get(step)
    }

    /// Counts the steps, each once however many targets it has.
    pub fn steps(&self) -> usize {
        self.stages.iter().map(|stage| stage.steps.len()).sum()
    }
}
