use super::{
    CarriesOn, ChangeCommands, DegradedWindow, Digest, Ends, Goal, PLAN_FORMAT, Plan, PlanApproval, Reach, Stage,
};
use crate::action::KnownGood;
use crate::law::Phase;
use crate::state::{ClusterState, Facts};
use crate::topology::{Name, NodeIx, Topology};

/// A plan that is being made, or changed: every part of it open. [`Plan::from`] closes it; nothing is proven by that.
///
/// # Examples
///
/// ```
/// # mod observed { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/observed.rs")); }
/// use ha_core::action::{ServerAction, TrafficAction};
/// use ha_core::plan::{Draft, Ends, Goal, Plan, Stage, Step};
///
/// # let (topology, state, facts) = observed::cluster()?;
/// let esb2 = topology.find("esb2").ok_or("no such node")?;
/// let policy = topology.policy();
/// let steps = vec![Step::new(TrafficAction::TakeOut, policy), Step::new(ServerAction::Stop, policy)];
/// let mut draft = Draft::new("stop one", &topology, state, facts, Goal::unchanged());
/// draft.ends = Ends::new("stopped", "as before");
/// let plan = Plan::from(draft.with_stage(Stage::new("stop esb2", vec![esb2], steps)));
/// assert_eq!(plan.steps(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Draft {
    /// The procedure that made it, as `patch`.
    pub procedure: String,
    /// The cluster it is for.
    pub cluster: Name,
    /// The digest of the topology it was made for ([`Plan::digest_of`]).
    pub topology: Digest,
    /// How balancers and nodes were reached when it was made.
    pub reach: Reach,
    /// The releases and generations it speaks of, and what was declared of them.
    pub facts: Facts,
    /// The phase of the law that it begins in: `Quiet`, or `Settled` where a failure domain is lost at the start.
    pub phase: Phase,
    /// What all members have at the end.
    pub goal: Goal,
    /// What its ends are called.
    pub ends: Ends,
    /// The state of the cluster when the plan was made; a run refuses to start from another state.
    pub start: ClusterState,
    /// What it carries on; `None` for the first plan of a run.
    pub carries_on: Option<Box<CarriesOn>>,
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
    /// Where the run waits for a person's approval. Planning fills it in as the policy of the topology says.
    pub approvals: Vec<PlanApproval>,
}

impl Draft {
    /// Begins a plan for a cluster in a state, without stages: it rolls back to the end, and declares no window.
    pub fn new(
        procedure: impl Into<String>,
        topology: &Topology,
        start: ClusterState,
        facts: Facts,
        goal: Goal,
    ) -> Self {
        let phase = if start.lost().is_empty() { Phase::Quiet } else { Phase::Settled };
        Self {
            procedure: procedure.into(),
            cluster: topology.name().clone(),
            topology: Plan::digest_of(topology),
            reach: Reach::of(topology),
            facts,
            phase,
            goal,
            ends: Ends::default(),
            known_good: topology.nodes().map(|(node, _)| known_good_of(topology, &start, node)).collect(),
            start,
            carries_on: None,
            commands: ChangeCommands::default(),
            stages: Vec::new(),
            point_of_no_return: usize::MAX,
            windows: Vec::new(),
            approvals: Vec::new(),
        }
    }

    /// Adds a stage.
    #[must_use]
    pub fn with_stage(mut self, stage: Stage) -> Self {
        self.stages.push(stage);
        self
    }

    /// Declares where full service is not promised.
    #[must_use]
    pub fn with_window(mut self, window: DegradedWindow) -> Self {
        self.windows.push(window);
        self
    }
}

/// Where a rollback of a node leads back to: how it was at the start.
pub(crate) fn known_good_of(topology: &Topology, start: &ClusterState, node: NodeIx) -> Option<KnownGood> {
    let state = start.node(node);
    let admitted = start.members(node).iter().any(|member| !member.is_out());
    let writer = crate::law::writer(start);
    let home = topology.is_home(topology.node(node));
    home.then(|| Some(KnownGood::new(state.release?, admitted).with_files(state.generation?, writer))).flatten()
}

impl From<Draft> for Plan {
    fn from(draft: Draft) -> Self {
        let Draft {
            procedure,
            cluster,
            topology,
            reach,
            facts,
            phase,
            goal,
            ends,
            start,
            carries_on,
            known_good,
            commands,
            stages,
            point_of_no_return,
            windows,
            approvals,
        } = draft;
        let point_of_no_return = point_of_no_return.min(stages.len());
        Self {
            format: PLAN_FORMAT,
            procedure,
            cluster,
            topology,
            reach,
            facts,
            phase,
            goal,
            ends,
            start,
            carries_on,
            known_good,
            commands,
            stages,
            point_of_no_return,
            windows,
            approvals,
        }
    }
}

impl From<Plan> for Draft {
    fn from(plan: Plan) -> Self {
        let Plan {
            format: _,
            procedure,
            cluster,
            topology,
            reach,
            facts,
            phase,
            goal,
            ends,
            start,
            carries_on,
            known_good,
            commands,
            stages,
            point_of_no_return,
            windows,
            approvals,
        } = plan;
        Self {
            procedure,
            cluster,
            topology,
            reach,
            facts,
            phase,
            goal,
            ends,
            start,
            carries_on,
            known_good,
            commands,
            stages,
            point_of_no_return,
            windows,
            approvals,
        }
    }
}
