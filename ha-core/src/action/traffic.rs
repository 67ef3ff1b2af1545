use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Action, At, Facets, KnownGood, Order, ServerAction};
use crate::law::{self, Invariant, Law};
use crate::state::{ClusterState, Facts, LoanKind, MemberState, Rejected, ServerDomain, Target, Traffic, TrafficEvent};
use crate::topology::{NodeIx, Policy, Topology};

/// What is done to a node's traffic, in all its pools on every balancer.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum TrafficAction {
    /// Takes the node out of traffic on every balancer instance: drain, idle, maintenance, connections closed.
    TakeOut,
    /// Puts the node into traffic on every balancer instance, one after another.
    Admit,
    /// Re-applies on every balancer instance what the run desires of the node, after one lost its runtime state.
    Reassert {
        /// Whether it is to be in traffic.
        admitted: bool,
    },
    /// Leaves a tested node out of traffic, as the standby from now on.
    StandBy,
    /// Holds a node of a lost failure domain out on every balancer, without a drain: should it come back by itself, it gets
    /// nothing before it was compared and tested.
    Isolate,
    /// Takes a spare into the place of a member that is lost: it stays as it is when the run ends, and is no loan any more.
    StandIn,
}

use TrafficAction as A;

/// What a run desires of a node's traffic. A balancer in another state has lost its runtime state.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Desired {
    /// Nothing: the node is left as it was when the run began.
    #[default]
    Unchanged,
    /// It is to be out of traffic.
    Out,
    /// It is to be admitted.
    Admitted,
}

/// What a rotation may take beyond the drain deadline and the canary's watch: to close, to read back, and to turn back.
const ROTATION_OVERHEAD: Duration = Duration::from_secs(30);

impl TrafficAction {
    /// Gives the action to a node.
    pub fn on(self, node: NodeIx) -> Order {
        Order::Traffic(At { node, action: self })
    }

    /// Returns what the run desires of the balancers from the action's intent on; `None` where it leaves that as it is.
    pub fn desires(self) -> Option<Desired> {
        match self {
            Self::TakeOut | Self::Isolate => Some(Desired::Out),
            Self::Admit => Some(Desired::Admitted),
            Self::Reassert { .. } | Self::StandBy | Self::StandIn => None,
        }
    }
}

impl From<TrafficAction> for Action {
    fn from(action: TrafficAction) -> Self {
        Self::Traffic(action)
    }
}

impl At<TrafficAction> {
    fn all(&self, state: &ClusterState, holds: impl Fn(&MemberState) -> bool) -> bool {
        state.members(self.node).iter().all(holds)
    }
}

impl Facets for At<TrafficAction> {
    fn target(&self) -> Target {
        Target::Traffic(self.node)
    }

    fn changes(&self, target: Target) -> bool {
        !matches!(self.action, A::StandBy | A::StandIn) && self.target() == target
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
        let (node, name) = (state.node(self.node), &law.topology.node(self.node).name);
        let demand = |holds: bool, what: &str| {
            if holds { Ok(()) } else { Err(format!("{name} {what}; it is {:?}", node.process)) }
        };
        let passed = node.process.is_ready() && node.is_tested();
        match self.action {
            A::TakeOut | A::Reassert { admitted: false } => Ok(()),
            A::Isolate if state.is_lost(law.topology.node(self.node).domain) => Ok(()),
            A::Isolate => Err(format!("{name} is not lost: it is drained, not cut off")),
            A::StandIn if !law.topology.node(self.node).spare => Err(format!("{name} is no spare")),
            A::StandIn if state.lost().is_empty() => {
                Err(format!("{name} takes nobody's place: no failure domain is lost"))
            }
            A::StandIn => demand(passed, "must be ready and tested to take a lost member's place"),
            A::Admit | A::Reassert { admitted: true } => demand(
                passed && node.server_domain == ServerDomain::Production,
                "must be ready in the production domain and have passed its gate before traffic",
            ),
            A::StandBy => demand(
                passed && !law::is_exposed(state, self.node),
                "must be ready, tested and out of traffic to stand by",
            ),
        }
    }

    fn guards(&self) -> Invariant {
        match self.action {
            A::Admit | A::StandBy | A::StandIn => Invariant::Tested,
            A::TakeOut | A::Reassert { .. } | A::Isolate => Invariant::Order,
        }
    }

    fn opens(&self, law: Law<'_>, state: &ClusterState) -> Option<LoanKind> {
        let spare = law.topology.node(self.node).spare || !law.is_in_service(state, self.node);
        match self.action {
            A::TakeOut if !spare && law::is_exposed(state, self.node) => Some(LoanKind::HeldOut),
            A::Admit if spare => Some(LoanKind::SpareAdmitted),
            A::TakeOut | A::Admit | A::Reassert { .. } | A::StandBy | A::Isolate | A::StandIn => None,
        }
    }

    fn begin(&self, _: Law<'_>, _: &mut ClusterState) {}

    fn complete(&self, _: Law<'_>, state: &mut ClusterState) -> Result<(), Rejected> {
        match self.action {
            A::TakeOut | A::Reassert { admitted: false } => {
                state.try_each_member(self.node, |member| {
                    member.traffic.on(TrafficEvent::DrainStarted)?.on(TrafficEvent::Drained)?.on(TrafficEvent::Closed)
                })?;
            }
            A::Admit | A::Reassert { admitted: true } => {
                state.try_each_member(self.node, |member| member.traffic.on(TrafficEvent::Admitted(member.kind)))?;
            }
            // Nobody answers there any more: what was in progress is lost with the node.
            A::Isolate => state.set_traffic_everywhere(self.node, |_| Traffic::Out),
            A::StandBy | A::StandIn => {}
        }
        Ok(())
    }

    fn partial_effects(&self, _: Law<'_>, state: &ClusterState) -> Vec<ClusterState> {
        let changed = |traffic: &dyn Fn(MemberState) -> Traffic| {
            let mut next = state.clone();
            next.set_traffic_everywhere(self.node, traffic);
            next
        };
        let first_only = |traffic: &dyn Fn(MemberState) -> Traffic| {
            let (mut next, mut first) = (state.clone(), true);
            let mut of =
                |member: MemberState| if std::mem::take(&mut first) { traffic(member) } else { member.traffic };
            next.set_traffic_everywhere(self.node, &mut of);
            next
        };
        match self.action {
            A::TakeOut | A::Reassert { admitted: false } => {
                let draining = |member: MemberState| match member.traffic {
                    Traffic::Out | Traffic::Gone => member.traffic,
                    Traffic::Backup | Traffic::In | Traffic::Draining { .. } | Traffic::Unknown | Traffic::Down => {
                        Traffic::Draining { in_flight: true }
                    }
                };
                vec![changed(&draining), first_only(&|_| Traffic::Out)]
            }
            A::Admit | A::Reassert { admitted: true } => vec![first_only(&MemberState::admitted)],
            A::Isolate => vec![first_only(&|_| Traffic::Out)],
            A::StandBy | A::StandIn => Vec::new(),
        }
    }

    fn repays(&self) -> &'static [LoanKind] {
        match self.action {
            A::TakeOut => &[LoanKind::SpareAdmitted],
            A::Admit | A::StandBy => &[LoanKind::HeldOut],
            // What was lent of a lost node goes with it: whoever takes it back compares and tests it first.
            A::Isolate => &LoanKind::ALL,
            A::StandIn => &[LoanKind::SpareRunning, LoanKind::SpareAdmitted],
            A::Reassert { .. } => &[],
        }
    }

    fn holds(&self, _: Law<'_>, state: &ClusterState) -> bool {
        match self.action {
            A::TakeOut | A::StandBy | A::Isolate | A::Reassert { admitted: false } => {
                self.all(state, |member| member.is_out())
            }
            // Its loans say whether it has taken the place.
            A::StandIn => state.node(self.node).process.is_ready(),
            A::Admit | A::Reassert { admitted: true } => self.all(state, |member| member.traffic == member.admitted()),
        }
    }

    fn inverse(&self, known_good: Option<KnownGood>) -> Vec<Order> {
        let Some(known_good) = known_good else { return Vec::new() };
        let gate = ServerAction::Gate.on(self.node);
        match self.action {
            A::TakeOut if known_good.stopped => Vec::new(),
            A::TakeOut if known_good.admitted => vec![gate, A::Admit.on(self.node)],
            A::TakeOut => vec![gate, A::StandBy.on(self.node)],
            A::Admit => vec![A::TakeOut.on(self.node)],
            A::StandBy | A::Reassert { .. } | A::Isolate | A::StandIn => Vec::new(),
        }
    }

    fn deadline(&self, policy: &Policy) -> Duration {
        match self.action {
            A::TakeOut | A::Admit | A::Reassert { .. } => {
                policy.drain_deadline.saturating_add(policy.canary_watch).saturating_add(ROTATION_OVERHEAD)
            }
            A::StandBy | A::Isolate | A::StandIn => Duration::from_secs(30),
        }
    }

    fn name(&self) -> &'static str {
        match self.action {
            A::TakeOut => "take out",
            A::Admit => "admit",
            A::Reassert { .. } => "reassert",
            A::StandBy => "stand by",
            A::Isolate => "isolate",
            A::StandIn => "stand in",
        }
    }

    fn what(&self, _: &Facts) -> String {
        self.name().into()
    }

    fn message(&self, topology: &Topology, _: &Facts) -> String {
        format!("{} {}", self.name(), topology.node(self.node).name)
    }
}
