use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{
    ExposureAction, Facets, FilesAction, KnownGood, ProvisionAction, SchemaAction, ServerAction, SiteAction,
    TrafficAction, WorkAction,
};
use crate::law::{Invariant, Law};
use crate::state::{ClusterState, Facts, Rejected, Target};
use crate::topology::{NodeIx, Policy, Topology};

/// What is done. Absolute: each action names the state it leads to, so that doing it twice equals once.
///
/// # Examples
///
/// ```
/// use ha_core::action::{Action, SchemaAction, ServerAction, TrafficAction};
/// use ha_core::state::Schema;
///
/// let rolling: [Action; 3] = [TrafficAction::TakeOut.into(), ServerAction::Stop.into(), ServerAction::Start.into()];
/// assert_eq!(rolling[0].name(), "take out");
/// let shared = Action::Schema(SchemaAction::Migrate { to: Schema::Expanded });
/// assert!(shared.shared().is_some()); // one target, whatever the node
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Action {
    /// To a node's server.
    Server(ServerAction),
    /// To a node's traffic.
    Traffic(TrafficAction),
    /// To a node's pulled work.
    Work(WorkAction),
    /// To the shared files that a node gets.
    Files(FilesAction),
    /// To the shared database's schema.
    Schema(SchemaAction),
    /// To the route of the plan's service.
    Exposure(ExposureAction),
    /// To a node that joins the members, or leaves them.
    Provision(ProvisionAction),
    /// To a site.
    Site(SiteAction),
}

/// An action on one node.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct At<A> {
    /// The node.
    pub node: NodeIx,
    /// What is done.
    pub action: A,
}

/// One action on one target.
///
/// # Examples
///
/// ```
/// # mod observed { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/observed.rs")); }
/// use ha_core::action::ServerAction;
///
/// # let topology = observed::topology()?;
/// let esb1 = topology.find("esb1").ok_or("no such node")?;
/// let order = ServerAction::Stop.on(esb1);
/// assert_eq!((order.name(), order.target_name(&topology)), ("stop", "esb1".to_string()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Order {
    /// To a node's server.
    Server(At<ServerAction>),
    /// To a node's traffic.
    Traffic(At<TrafficAction>),
    /// To a node's pulled work.
    Work(At<WorkAction>),
    /// To the shared files that a node gets.
    Files(At<FilesAction>),
    /// To the shared database's schema.
    Schema(SchemaAction),
    /// To the route of the plan's service.
    Exposure(ExposureAction),
    /// To a node that joins the members, or leaves them.
    Provision(At<ProvisionAction>),
    /// To a site.
    Site(SiteAction),
}

impl Action {
    /// Gives the action to a node. What the cluster shares has one target, whatever the node.
    pub fn on(self, node: NodeIx) -> Order {
        match self {
            Self::Server(action) => Order::Server(At { node, action }),
            Self::Traffic(action) => Order::Traffic(At { node, action }),
            Self::Work(action) => Order::Work(At { node, action }),
            Self::Files(action) => Order::Files(At { node, action }),
            Self::Schema(action) => Order::Schema(action),
            Self::Exposure(action) => Order::Exposure(action),
            Self::Provision(action) => Order::Provision(At { node, action }),
            Self::Site(action) => Order::Site(action),
        }
    }

    /// Returns the order of an action whose target the cluster shares; `None` for one that needs a node.
    pub fn shared(self) -> Option<Order> {
        match self {
            Self::Schema(action) => Some(Order::Schema(action)),
            Self::Exposure(action) => Some(Order::Exposure(action)),
            Self::Site(action) => Some(Order::Site(action)),
            Self::Server(_) | Self::Traffic(_) | Self::Work(_) | Self::Files(_) | Self::Provision(_) => None,
        }
    }

    /// Returns the action's name, as reports and journals show it.
    pub fn name(self) -> &'static str {
        self.anywhere().name()
    }

    /// Says what is done, with its value, as `apply 4.2.1`.
    pub fn what(self, facts: &Facts) -> String {
        self.anywhere().facets().what(facts)
    }

    /// Returns how long the action may take by policy.
    pub fn deadline(self, policy: &Policy) -> Duration {
        self.anywhere().deadline(policy)
    }

    /// Tells whether the action changes what its node serves with, so that the node needs its gate again.
    pub fn puts_under_change(self) -> bool {
        self.anywhere().facets().puts_under_change()
    }

    /// The facets that do not depend on the node are the same on each.
    fn anywhere(self) -> Order {
        self.on(NodeIx::new(0))
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl Order {
    /// The one dispatch.
    fn facets(&self) -> &dyn Facets {
        match self {
            Self::Server(order) => order,
            Self::Traffic(order) => order,
            Self::Work(order) => order,
            Self::Files(order) => order,
            Self::Schema(order) => order,
            Self::Exposure(order) => order,
            Self::Provision(order) => order,
            Self::Site(order) => order,
        }
    }

    /// Returns what is done, without its target.
    pub fn action(self) -> Action {
        match self {
            Self::Server(order) => Action::Server(order.action),
            Self::Traffic(order) => Action::Traffic(order.action),
            Self::Work(order) => Action::Work(order.action),
            Self::Files(order) => Action::Files(order.action),
            Self::Schema(action) => Action::Schema(action),
            Self::Exposure(action) => Action::Exposure(action),
            Self::Provision(order) => Action::Provision(order.action),
            Self::Site(action) => Action::Site(action),
        }
    }

    /// Returns what the order acts on.
    pub fn target(&self) -> Target {
        self.facets().target()
    }

    /// Returns the node that the order acts on; `None` where the cluster shares the target.
    pub fn node(&self) -> Option<NodeIx> {
        self.target().node()
    }

    /// Tells whether the order changes a resource while it is in flight. What it does not change is observed meanwhile.
    pub fn changes(&self, target: Target) -> bool {
        self.facets().changes(target)
    }

    /// Tells whether the order is a command of the user's, run on the node's host.
    pub fn is_command(&self) -> bool {
        self.facets().is_command()
    }

    /// Tells whether the order begins only after an observation of the whole cluster that is from after the step before. The
    /// run machine makes one exception: an admit right after the node's own gate, where no database is shared.
    pub fn needs_fresh_observation(&self) -> bool {
        self.facets().needs_fresh_observation()
    }

    /// Checks that the order may be given in this state.
    ///
    /// # Errors
    /// What is in the way, for people.
    pub fn precondition(&self, law: Law<'_>, state: &ClusterState) -> Result<(), String> {
        if let Some(node) = self.node().map(|node| law.topology.node(node))
            && state.is_lost(node.domain)
            && !self.cuts_off()
        {
            return Err(format!("{} is lost", node.name));
        }
        self.facets().precondition(law, state)
    }

    /// Tells whether the order only tells the balancers to give its node nothing: of a node that is lost they can still be told.
    fn cuts_off(&self) -> bool {
        match self {
            Self::Traffic(order) => {
                matches!(order.action, TrafficAction::Isolate | TrafficAction::Reassert { admitted: false })
            }
            Self::Server(_)
            | Self::Work(_)
            | Self::Files(_)
            | Self::Schema(_)
            | Self::Exposure(_)
            | Self::Provision(_)
            | Self::Site(_) => false,
        }
    }

    /// Returns the invariant that a broken precondition stands for.
    pub fn guards(&self) -> Invariant {
        self.facets().guards()
    }

    /// Marks what holds from the moment the intent is recorded: the node is under change, and the loan is open.
    pub fn begin(&self, law: Law<'_>, state: &mut ClusterState) {
        let (facets, loan) = (self.facets(), self.facets().opens(law, state));
        facets.begin(law, state);
        if let Some(node) = self.node().map(|node| state.node_mut(node)) {
            node.under_change |= facets.puts_under_change();
            if let Some(loan) = loan {
                node.loans.open(loan);
            }
        }
    }

    /// Makes the order's full effect hold, and repays the loans that it takes back.
    ///
    /// # Errors
    /// [`Rejected`] when the effect cannot follow the state: the order was given where it must not be, or what it changed has
    /// been changed by somebody else. The state may be changed in part.
    pub fn complete(&self, law: Law<'_>, state: &mut ClusterState) -> Result<(), Rejected> {
        self.facets().complete(law, state)?;
        if let Some(node) = self.node().map(|node| state.node_mut(node)) {
            for loan in self.facets().repays() {
                node.loans.repay(*loan);
            }
        }
        Ok(())
    }

    /// Lists the states that the order can leave behind when it happens in part. The intent is marked already.
    pub fn partial_effects(&self, law: Law<'_>, state: &ClusterState) -> Vec<ClusterState> {
        self.facets().partial_effects(law, state)
    }

    /// Tells whether the order's full effect holds already, its loans repaid.
    pub fn holds(&self, law: Law<'_>, state: &ClusterState) -> bool {
        let loans = self.node().map(|node| state.node(node).loans).unwrap_or_default();
        self.facets().holds(law, state) && !self.facets().repays().iter().any(|loan| loans.contains(*loan))
    }

    /// Returns what takes the order back, in order: to how its node was at the start. What the cluster shares needs none; an order
    /// on a node of which that is not known is not taken back.
    pub fn inverse(&self, known_good: impl Into<Option<KnownGood>>) -> Vec<Order> {
        self.facets().inverse(known_good.into())
    }

    /// Returns how long the order may take by policy.
    pub fn deadline(&self, policy: &Policy) -> Duration {
        self.facets().deadline(policy)
    }

    /// Returns the action's name, as reports and journals show it.
    pub fn name(&self) -> &'static str {
        self.facets().name()
    }

    /// Names what the order acts on: a node, `database`, `exposure` or a site.
    pub fn target_name(&self, topology: &Topology) -> String {
        match self.target() {
            Target::Server(node) | Target::Traffic(node) | Target::Work(node) | Target::Files(node) => {
                topology.node(node).name.to_string()
            }
            Target::Database => "database".into(),
            Target::Exposure => "exposure".into(),
            Target::Site(site) => format!("site {}", topology.site(site).name),
        }
    }

    /// Says what is done to what, as `apply 4.2.1 on esb1`.
    pub fn message(&self, topology: &Topology, facts: &Facts) -> String {
        self.facets().message(topology, facts)
    }
}
