use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Action, At, Facets, KnownGood, Order};
use crate::law::{self, Invariant, Law};
use crate::state::{
    ClusterState, Facts, LoanKind, NodeState, Process, ProcessEvent, Rejected, ReleaseId, ServerDomain, Target,
};
use crate::topology::{NodeIx, Permille, Policy, Topology};

/// What is done to a node's server.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ServerAction {
    /// Stops the server and sees it gone.
    Stop,
    /// Runs the change's command, which installs this release.
    Apply {
        /// The release that is installed afterwards.
        to: ReleaseId,
    },
    /// Runs the change's restore command, which brings this release back.
    Restore {
        /// The release that is installed afterwards.
        to: ReleaseId,
    },
    /// Starts the server in the production domain and sees a new process ready.
    Start,
    /// Starts the server in its test domain and sees a new process ready.
    StartInTest,
    /// Tests the node directly, past the balancer.
    Gate,
    /// Watches the node carry traffic.
    Soak,
}

use ServerAction as A;

impl ServerAction {
    /// Gives the action to a node.
    pub fn on(self, node: NodeIx) -> Order {
        Order::Server(At { node, action: self })
    }
}

impl From<ServerAction> for Action {
    fn from(action: ServerAction) -> Self {
        Self::Server(action)
    }
}

impl Facets for At<ServerAction> {
    fn target(&self) -> Target {
        Target::Server(self.node)
    }

    fn changes(&self, target: Target) -> bool {
        match self.action {
            A::Stop | A::Apply { .. } | A::Restore { .. } | A::Start | A::StartInTest => self.target() == target,
            // Tests and watches change nothing: the server is observed as ever.
            A::Gate | A::Soak => false,
        }
    }

    fn puts_under_change(&self) -> bool {
        match self.action {
            A::Stop | A::Apply { .. } | A::Restore { .. } | A::Start | A::StartInTest => true,
            A::Gate | A::Soak => false,
        }
    }

    fn is_command(&self) -> bool {
        matches!(self.action, A::Apply { .. } | A::Restore { .. })
    }

    fn needs_fresh_observation(&self) -> bool {
        matches!(self.action, A::Stop | A::Soak)
    }

    fn precondition(&self, law: Law<'_>, state: &ClusterState) -> Result<(), String> {
        let (node, name) = (state.node(self.node), &law.topology.node(self.node).name);
        let demand = |holds: bool, what: &str| {
            if holds { Ok(()) } else { Err(format!("{name} {what}; it is {:?}", node.process)) }
        };
        match self.action {
            A::Stop => law.drained(state, self.node).map_err(|violation| violation.facts),
            A::Apply { .. } | A::Restore { .. } => demand(node.process == Process::Stopped, "must be stopped first"),
            A::Start | A::StartInTest => {
                let there = self.action == A::StartInTest;
                let here = node.process == Process::Stopped || (node.server_domain == ServerDomain::Test) == there;
                demand(here, "runs in its other domain and must be stopped first")?;
                demand(node.release.is_some() && !node.half_changed, "has no release installed that can be trusted")
            }
            A::Gate => demand(node.process.is_ready(), "must be ready before it can be tested"),
            A::Soak => demand(
                node.process.is_ready() && law::is_exposed(state, self.node),
                "must be ready and in traffic to be watched there",
            ),
        }
    }

    fn guards(&self) -> Invariant {
        if self.action == A::Stop { Invariant::Drained } else { Invariant::Order }
    }

    fn opens(&self, law: Law<'_>, state: &ClusterState) -> Option<LoanKind> {
        // In a site that does not serve all servers are as spares are.
        let spare = law.topology.node(self.node).spare || !law.is_in_service(state, self.node);
        match self.action {
            A::Stop if !spare => Some(LoanKind::Stopped),
            A::Start if spare => Some(LoanKind::SpareRunning),
            A::StartInTest => Some(LoanKind::InTestDomain),
            A::Stop | A::Start | A::Apply { .. } | A::Restore { .. } | A::Gate | A::Soak => None,
        }
    }

    fn begin(&self, _: Law<'_>, state: &mut ClusterState) {
        match self.action {
            A::Apply { .. } | A::Restore { .. } => state.node_mut(self.node).half_changed = true,
            A::Stop | A::Start | A::StartInTest | A::Gate | A::Soak => {}
        }
    }

    fn complete(&self, law: Law<'_>, state: &mut ClusterState) -> Result<(), Rejected> {
        let warm_up = law.topology.node(self.node).warm_up;
        let node = state.node_mut(self.node);
        match self.action {
            A::Stop => {
                node.process = node.process.on(ProcessEvent::Exited)?;
                node.server_domain = ServerDomain::Production;
            }
            A::Apply { to } | A::Restore { to } => {
                (node.release, node.half_changed) = (Some(to), false);
                // What passed before passed with other files.
                node.tested.clear();
            }
            A::Start => start(node, ServerDomain::Production)?,
            A::StartInTest => start(node, ServerDomain::Test)?,
            A::Gate => {
                // Where a cold server carries less, only traffic makes it warm.
                let event = if warm_up == Permille::WHOLE { ProcessEvent::Warmed } else { ProcessEvent::BecameReady };
                node.process = node.process.on(event)?;
                if let Some(release) = node.release {
                    node.tested.insert(release);
                    node.under_change = false;
                }
            }
            A::Soak => node.process = node.process.on(ProcessEvent::Warmed)?,
        }
        Ok(())
    }

    fn partial_effects(&self, _: Law<'_>, state: &ClusterState) -> Vec<ClusterState> {
        let changed = |change: &dyn Fn(&mut NodeState)| {
            let mut next = state.clone();
            change(next.node_mut(self.node));
            next
        };
        let became = |process, domain| changed(&|node| (node.process, node.server_domain) = (process, domain));
        match self.action {
            A::Stop => vec![changed(&|node| node.process = Process::Sick)],
            A::Apply { .. } | A::Restore { .. } => vec![changed(&|node| node.release = None)],
            A::Start => {
                [Process::Starting, Process::Sick].map(|process| became(process, ServerDomain::Production)).into()
            }
            A::StartInTest => {
                [Process::Starting, Process::Sick].map(|process| became(process, ServerDomain::Test)).into()
            }
            A::Gate | A::Soak => Vec::new(),
        }
    }

    fn repays(&self) -> &'static [LoanKind] {
        match self.action {
            A::Stop => &[LoanKind::InTestDomain, LoanKind::SpareRunning],
            A::Start => &[LoanKind::Stopped],
            A::Apply { .. } | A::Restore { .. } | A::StartInTest | A::Gate | A::Soak => &[],
        }
    }

    fn holds(&self, _: Law<'_>, state: &ClusterState) -> bool {
        let node = state.node(self.node);
        let runs_in = |domain| node.process.is_ready() && node.server_domain == domain;
        match self.action {
            A::Stop => node.process == Process::Stopped,
            A::Apply { to } | A::Restore { to } => node.release == Some(to) && !node.half_changed,
            A::Start => runs_in(ServerDomain::Production),
            A::StartInTest => runs_in(ServerDomain::Test),
            A::Gate => node.process.is_ready() && node.is_tested(),
            A::Soak => false,
        }
    }

    fn inverse(&self, known_good: Option<KnownGood>) -> Vec<Order> {
        let Some(known_good) = known_good else { return Vec::new() };
        match self.action {
            A::Stop if known_good.stopped => Vec::new(),
            A::Stop => vec![A::Start.on(self.node)],
            A::Apply { .. } | A::Restore { .. } => vec![A::Restore { to: known_good.release }.on(self.node)],
            A::Start | A::StartInTest => vec![A::Stop.on(self.node)],
            A::Gate | A::Soak => Vec::new(),
        }
    }

    fn deadline(&self, policy: &Policy) -> Duration {
        match self.action {
            A::Stop => policy.stop_deadline,
            A::Start | A::StartInTest => policy.ready_deadline,
            A::Apply { .. } | A::Restore { .. } => policy.command_deadline,
            A::Soak => policy.soak.saturating_mul(2).saturating_add(Duration::from_secs(5)),
            A::Gate => Duration::from_secs(30),
        }
    }

    fn name(&self) -> &'static str {
        match self.action {
            A::Stop => "stop",
            A::Apply { .. } => "apply",
            A::Restore { .. } => "restore",
            A::Start => "start",
            A::StartInTest => "start in test domain",
            A::Gate => "gate",
            A::Soak => "soak",
        }
    }

    fn what(&self, facts: &Facts) -> String {
        let name = self.name();
        match self.action {
            A::Apply { to } | A::Restore { to } => format!("{name} {}", facts.releases.name(to)),
            A::Stop | A::Start | A::StartInTest | A::Gate | A::Soak => name.into(),
        }
    }

    fn message(&self, topology: &Topology, facts: &Facts) -> String {
        let (what, node) = (self.what(facts), &topology.node(self.node).name);
        match self.action {
            A::Apply { .. } | A::Restore { .. } => format!("{what} on {node}"),
            A::Stop | A::Start | A::StartInTest | A::Gate | A::Soak => format!("{what} {node}"),
        }
    }
}

/// A server that runs already is not started twice, and does not change its domain while it runs.
fn start(node: &mut NodeState, domain: ServerDomain) -> Result<(), Rejected> {
    if node.process == Process::Stopped || node.server_domain != domain {
        node.process = node.process.on(ProcessEvent::StartIssued)?;
    }
    node.process = node.process.on(ProcessEvent::BecameReady)?;
    node.server_domain = domain;
    Ok(())
}
