use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Action, At, Facets, KnownGood, Order};
use crate::law::{self, Invariant, Law};
use crate::state::{ClusterState, Facts, LoanKind, Process, ProcessEvent, Rejected, ReleaseId, Target, WriterEpoch};
use crate::topology::{NodeIx, Policy, Topology};

/// What is done to a node that joins the members, or leaves them.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ProvisionAction {
    /// Brings a node, out of traffic and stopped, to the installation of a member, by digest.
    Install {
        /// The release that is installed afterwards.
        to: ReleaseId,
        /// The member whose installation it gets.
        like: NodeIx,
    },
    /// Takes the installation of a stopped node away.
    Remove,
    /// Lets a node that is out of traffic, stopped and held stay so when the run ends: that is no loan any more.
    Retire,
}

use ProvisionAction as A;

impl ProvisionAction {
    /// Gives the action to a node.
    pub fn on(self, node: NodeIx) -> Order {
        Order::Provision(At { node, action: self })
    }
}

impl From<ProvisionAction> for Action {
    fn from(action: ProvisionAction) -> Self {
        Self::Provision(action)
    }
}

impl Facets for At<ProvisionAction> {
    fn target(&self) -> Target {
        Target::Server(self.node)
    }

    fn changes(&self, target: Target) -> bool {
        match self.action {
            A::Install { .. } | A::Remove => self.target() == target,
            A::Retire => false,
        }
    }

    fn puts_under_change(&self) -> bool {
        match self.action {
            A::Install { .. } | A::Remove => true,
            A::Retire => false,
        }
    }

    fn is_command(&self) -> bool {
        false
    }

    fn needs_fresh_observation(&self) -> bool {
        true
    }

    fn precondition(&self, law: Law<'_>, state: &ClusterState) -> Result<(), String> {
        let (node, name) = (state.node(self.node), &law.topology.node(self.node).name);
        let demand = |holds: bool, what: &str| {
            if holds { Ok(()) } else { Err(format!("{name} {what}; it is {:?}", node.process)) }
        };
        let gone = matches!(node.process, Process::Stopped | Process::Absent) && !law::is_exposed(state, self.node);
        match self.action {
            A::Install { like, .. } => {
                demand(gone, "must be stopped and out of traffic before anything is installed on it")?;
                let member = state.node(like);
                let serves = member.process.is_ready() && member.is_tested();
                demand(serves, "gets the installation of a member that is not ready and tested")
            }
            A::Remove => {
                demand(gone, "must be stopped and out of traffic before its installation is removed")?;
                demand(!node.sync.is_open(), "gets shared files still: the file sync into it must be held")
            }
            A::Retire => {
                demand(gone, "must be stopped and out of traffic to be retired")?;
                demand(!node.sync.is_open(), "gets shared files still: the file sync into it must be held")?;
                demand(node.writer == WriterEpoch::default(), "writes the shared files: they must be handed over first")
            }
        }
    }

    fn guards(&self) -> Invariant {
        Invariant::Order
    }

    fn opens(&self, _: Law<'_>, _: &ClusterState) -> Option<LoanKind> {
        None
    }

    fn begin(&self, _: Law<'_>, state: &mut ClusterState) {
        match self.action {
            A::Install { .. } | A::Remove => state.node_mut(self.node).half_changed = true,
            A::Retire => {}
        }
    }

    fn complete(&self, _: Law<'_>, state: &mut ClusterState) -> Result<(), Rejected> {
        let node = state.node_mut(self.node);
        match self.action {
            A::Install { to, .. } => {
                (node.release, node.half_changed, node.process) = (Some(to), false, Process::Stopped);
                node.tested.clear();
            }
            A::Remove => {
                (node.release, node.half_changed) = (None, false);
                node.process = node.process.on(ProcessEvent::HostLost)?;
                node.tested.clear();
            }
            A::Retire => {}
        }
        Ok(())
    }

    fn partial_effects(&self, _: Law<'_>, state: &ClusterState) -> Vec<ClusterState> {
        match self.action {
            A::Install { .. } | A::Remove => {
                let mut next = state.clone();
                next.node_mut(self.node).release = None;
                vec![next]
            }
            A::Retire => Vec::new(),
        }
    }

    fn repays(&self) -> &'static [LoanKind] {
        match self.action {
            A::Install { .. } | A::Remove => &[],
            A::Retire => &[LoanKind::HeldOut, LoanKind::Stopped, LoanKind::SyncHeld, LoanKind::WorkPaused],
        }
    }

    fn holds(&self, _: Law<'_>, state: &ClusterState) -> bool {
        let node = state.node(self.node);
        match self.action {
            A::Install { to, .. } => node.release == Some(to) && !node.half_changed && node.process != Process::Absent,
            A::Remove => node.process == Process::Absent,
            // Its loans say whether it is retired.
            A::Retire => matches!(node.process, Process::Stopped | Process::Absent),
        }
    }

    fn inverse(&self, _: Option<KnownGood>) -> Vec<Order> {
        Vec::new()
    }

    fn deadline(&self, policy: &Policy) -> Duration {
        match self.action {
            A::Install { .. } | A::Remove => policy.command_deadline,
            A::Retire => Duration::from_secs(30),
        }
    }

    fn name(&self) -> &'static str {
        match self.action {
            A::Install { .. } => "install",
            A::Remove => "remove",
            A::Retire => "retire",
        }
    }

    fn what(&self, facts: &Facts) -> String {
        let name = self.name();
        match self.action {
            A::Install { to, .. } => format!("{name} {}", facts.releases.name(to)),
            A::Remove | A::Retire => name.into(),
        }
    }

    fn message(&self, topology: &Topology, facts: &Facts) -> String {
        let (what, node) = (self.what(facts), &topology.node(self.node).name);
        match self.action {
            A::Install { like, .. } => format!("{what} on {node}, as on {}", topology.node(like).name),
            A::Remove => format!("remove what is installed on {node}"),
            A::Retire => format!("{what} {node}"),
        }
    }
}
