use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Action, At, Facets, KnownGood, Order, ServerAction};
use crate::law::{Invariant, Law};
use crate::state::{ClusterState, Facts, LoanKind, Rejected, Target, Work, WorkEvent};
use crate::topology::{NodeIx, Policy, Topology};

/// What is done to the work that a node pulls by itself.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum WorkAction {
    /// Stops the node from pulling work, and waits until none is in progress.
    Quiesce,
    /// Lets the node pull work again.
    Resume,
}

use WorkAction as A;

impl WorkAction {
    /// Gives the action to a node.
    pub fn on(self, node: NodeIx) -> Order {
        Order::Work(At { node, action: self })
    }
}

impl From<WorkAction> for Action {
    fn from(action: WorkAction) -> Self {
        Self::Work(action)
    }
}

impl Facets for At<WorkAction> {
    fn target(&self) -> Target {
        Target::Work(self.node)
    }

    fn changes(&self, target: Target) -> bool {
        self.target() == target
    }

    fn puts_under_change(&self) -> bool {
        false
    }

    fn is_command(&self) -> bool {
        false
    }

    fn needs_fresh_observation(&self) -> bool {
        true
    }

    fn precondition(&self, law: Law<'_>, state: &ClusterState) -> Result<(), String> {
        let node = state.node(self.node);
        match self.action {
            A::Quiesce => Ok(()),
            A::Resume if node.process.is_ready() && node.is_tested() => Ok(()),
            A::Resume => {
                let name = &law.topology.node(self.node).name;
                Err(format!("{name} must be ready and tested to pull work; it is {:?}", node.process))
            }
        }
    }

    fn guards(&self) -> Invariant {
        Invariant::Order
    }

    fn opens(&self, _: Law<'_>, state: &ClusterState) -> Option<LoanKind> {
        let pulls = state.node(self.node).work != Work::None;
        (self.action == A::Quiesce && pulls).then_some(LoanKind::WorkPaused)
    }

    fn begin(&self, _: Law<'_>, _: &mut ClusterState) {}

    fn complete(&self, _: Law<'_>, state: &mut ClusterState) -> Result<(), Rejected> {
        let node = state.node_mut(self.node);
        node.work = match self.action {
            A::Quiesce => node.work.on(WorkEvent::Quiesced),
            A::Resume => node.work.on(WorkEvent::Resumed),
        };
        Ok(())
    }

    fn partial_effects(&self, _: Law<'_>, state: &ClusterState) -> Vec<ClusterState> {
        if state.node(self.node).work == Work::None {
            return Vec::new();
        }
        let mut next = state.clone();
        next.node_mut(self.node).work = Work::Unknown;
        vec![next]
    }

    fn repays(&self) -> &'static [LoanKind] {
        match self.action {
            A::Quiesce => &[],
            A::Resume => &[LoanKind::WorkPaused],
        }
    }

    fn holds(&self, _: Law<'_>, state: &ClusterState) -> bool {
        let work = state.node(self.node).work;
        match self.action {
            A::Quiesce => !work.may_run(),
            A::Resume => matches!(work, Work::On | Work::None),
        }
    }

    fn inverse(&self, known_good: Option<KnownGood>) -> Vec<Order> {
        if known_good.is_none() {
            return Vec::new();
        }
        match self.action {
            A::Quiesce => vec![ServerAction::Gate.on(self.node), A::Resume.on(self.node)],
            A::Resume => vec![A::Quiesce.on(self.node)],
        }
    }

    fn deadline(&self, policy: &Policy) -> Duration {
        match self.action {
            A::Quiesce => policy.drain_deadline,
            A::Resume => Duration::from_secs(30),
        }
    }

    fn name(&self) -> &'static str {
        match self.action {
            A::Quiesce => "quiesce",
            A::Resume => "resume work",
        }
    }

    fn what(&self, _: &Facts) -> String {
        self.name().into()
    }

    fn message(&self, topology: &Topology, _: &Facts) -> String {
        format!("{} {}", self.name(), topology.node(self.node).name)
    }
}
