use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Digest;
use crate::action::{KnownGood, Verb};
use crate::state::{ClusterState, Facts, GenerationId, ReleaseId, Schema};
use crate::topology::{Name, NodeIx, Policy, Topology};

/// The format of plans that this library writes; a plan of a later format is refused.
pub const PLAN_FORMAT: u32 = 1;

/// What a run will do, as data: nothing in it is code, so that another controller can go on with it.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Plan {
    /// The format of this value.
    pub format: u32,
    /// The procedure that made it, as `patch`.
    pub procedure: String,
    /// The cluster it is for.
    pub cluster: Name,
    /// The digest of the topology it was made for.
    pub topology: Digest,
    /// The releases and generations it speaks of, and what was declared of them.
    pub facts: Facts,
    /// What all members have at the end.
    pub goal: Goal,
    /// How the cluster stood when the plan was made; a run refuses to start from another state.
    pub start: ClusterState,
    /// For each node where a rollback leads back to; `None` for a node that the plan does not change.
    pub known_good: Vec<Option<KnownGood>>,
    /// The commands that make the change on a host.
    pub commands: ChangeCommands,
    /// What is done, in order.
    pub stages: Vec<Stage>,
    /// From this stage on the run goes forward only; `stages.len()` when it can be rolled back to the end.
    pub point_of_no_return: usize,
    /// Where full service cannot be promised: what is not declared here is refused.
    pub windows: Vec<DegradedWindow>,
}

/// What the end of a run is called "all new" for.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Goal {
    /// The release that all members have.
    pub release: Option<ReleaseId>,
    /// The set of shared files that all members have.
    pub generation: Option<GenerationId>,
    /// How the schema stands.
    pub schema: Option<Schema>,
}

impl Goal {
    /// All members have a release.
    pub fn release(release: ReleaseId) -> Self {
        Self { release: Some(release), generation: None, schema: None }
    }

    /// All members have a set of shared files.
    pub fn generation(generation: GenerationId) -> Self {
        Self { release: None, generation: Some(generation), schema: None }
    }

    /// And the schema stands there.
    #[must_use]
    pub fn with_schema(mut self, schema: Schema) -> Self {
        self.schema = Some(schema);
        self
    }
}

/// A stretch of a run in which full service is not promised, with its bound.
#[derive(Clone, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DegradedWindow {
    /// What is not promised.
    pub what: Degraded,
    /// For how long at most, each time.
    pub at_most: Duration,
}

impl DegradedWindow {
    /// Declares a window.
    pub fn new(what: Degraded, at_most: Duration) -> Self {
        Self { what, at_most }
    }
}

/// What a window takes away.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Degraded {
    /// A balancer that is reloaded or restarted in the middle of the run forgets that a node is held out, and sends it
    /// requests until the guard has held it out again.
    ReloadExposure,
    /// Nobody pulls work while the node that does is changed; it waits where it comes from.
    PulledWork,
}

impl std::fmt::Display for Degraded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::ReloadExposure => "a balancer that forgets may send requests to a node under change",
            Self::PulledWork => "nobody pulls work",
        })
    }
}

/// The commands that make a change on a host, each an argument vector. The engine sets `HA_NODE` and `HA_RELEASE`.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ChangeCommands {
    /// Installs the new release on a stopped server.
    pub apply: Vec<String>,
    /// Brings the recorded release back on a stopped server, whatever half of the change is there.
    pub restore: Vec<String>,
    /// Puts the set of shared files with the number in `HA_GENERATION` on a node, staged and swapped, an old set from the
    /// artifact store included.
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
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Stage {
    /// What the stage is for, in words.
    pub name: String,
    /// The nodes.
    pub targets: Vec<NodeIx>,
    /// What is done to them.
    pub steps: Vec<Step>,
}

impl Stage {
    /// Describes a stage.
    pub fn new(name: impl Into<String>, targets: Vec<NodeIx>, steps: Vec<Step>) -> Self {
        Self { name: name.into(), targets, steps }
    }
}

/// One verb with its limits.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Step {
    /// What is done.
    pub verb: Verb,
    /// How long it may take; past it the outcome is unknown and is looked up.
    pub deadline: Duration,
    /// How often it may be tried in all, at least once.
    pub attempts: u8,
    /// What follows when it did not happen in the last attempt.
    pub on_failure: OnFailure,
}

impl Step {
    /// Describes a step that is tried once, inside the policy's deadline, and rolls back when it fails.
    pub fn new(verb: Verb, policy: &Policy) -> Self {
        Self { verb, deadline: deadline_of(verb, policy), attempts: 1, on_failure: OnFailure::RollBack }
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
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum OnFailure {
    /// The recorded steps are compensated in reverse; past the point of no return the run holds instead.
    RollBack,
    /// The run ends for a person to decide.
    Hold,
}

impl Plan {
    /// Digests the whole plan.
    pub fn digest(&self) -> Digest {
        // Serialising data of strings, numbers and lists into memory has no way to fail.
        Digest::of(&serde_json::to_vec(self).unwrap_or_default())
    }

    /// Digests a topology, as [`Plan::topology`] holds it.
    pub fn digest_of(topology: &Topology) -> Digest {
        Digest::of(&serde_json::to_vec(topology).unwrap_or_default())
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

/// What a rotation may take beyond the drain deadline and the canary's watch: to close, to read back, and to turn back.
const ROTATION_OVERHEAD: Duration = Duration::from_secs(30);

/// Returns how long a verb may take by policy.
pub fn deadline_of(verb: Verb, policy: &Policy) -> Duration {
    match verb {
        Verb::TakeOut | Verb::Admit | Verb::Reassert { .. } => {
            policy.drain_deadline.saturating_add(policy.canary_watch).saturating_add(ROTATION_OVERHEAD)
        }
        Verb::Stop => policy.stop_deadline,
        Verb::Start | Verb::StartInTest => policy.ready_deadline,
        Verb::Apply { .. }
        | Verb::Restore { .. }
        | Verb::Deploy { .. }
        | Verb::Hold
        | Verb::Release
        | Verb::HandWriter { .. }
        | Verb::Migrate { .. } => policy.command_deadline,
        Verb::Quiesce => policy.drain_deadline,
        Verb::Soak => policy.soak.saturating_mul(2).saturating_add(Duration::from_secs(5)),
        Verb::Gate | Verb::StandBy | Verb::Resume => Duration::from_secs(30),
    }
}
