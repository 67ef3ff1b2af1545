use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{BalancerIx, DomainIx, Name, NodeIx, SiteIx};

/// The declared cluster. Read with [`Topology::from_toml_str`]; always valid.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Topology {
    /// The cluster's name: the lease is taken on it.
    pub name: Name,
    /// What is owed to its users.
    pub policy: Policy,
    /// The pool that the nodes serve.
    pub pool: Pool,
    /// Every balancer instance in front of the pool, standby instances included. 1 to 16.
    pub balancers: Vec<Balancer>,
    /// The nodes, spares included. 1 to 65,535.
    pub nodes: Vec<Node>,
    /// The failure domains, in the order of their first node.
    pub domains: Vec<Name>,
    /// How files are shared, from one writer to the readers; `None` where each node has its own.
    pub files: Option<Component>,
    /// The shared database, where releases may need different schemas of it.
    pub database: Option<Component>,
    /// The data centres; empty where there is one. At most 4.
    pub sites: Vec<SiteSpec>,
}

/// One data centre.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct SiteSpec {
    /// Its name.
    pub name: Name,
    /// What it is for at rest.
    pub role: SiteRole,
}

/// What a site is for at rest.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SiteRole {
    /// It serves. One site does.
    Serving,
    /// Its servers run beside a replica.
    Hot,
    /// Its database is a replica; its servers are stopped.
    Warm,
    /// Backups only.
    Cold,
}

/// The pool in front of the nodes.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Pool {
    /// The pool's name on every balancer (HAProxy: the backend).
    pub name: Name,
    /// How many members serve at rest; the others stand by. From 1 to the number of members.
    pub serve: u16,
}

/// One balancer instance.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Balancer {
    /// Its name.
    pub name: Name,
    /// The backend that drives it.
    pub component: Component,
}

/// One node: a server on a host.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Node {
    /// Its name.
    pub name: Name,
    /// Its name on the balancers; by default its own.
    pub member: Name,
    /// What it can carry, in the unit of [`Policy::peak_load`]. At least 1.
    pub capacity: u64,
    /// The share of its capacity that it carries before it is warm. Default 1.0.
    pub warm_up: Permille,
    /// What drives the work that it pulls by itself; `None` where it pulls none.
    pub work: Option<Component>,
    /// Its site; `None` where no sites are declared.
    pub site: Option<SiteIx>,
    /// What fails with it; by default itself alone.
    pub domain: DomainIx,
    /// Whether it is a spare: entered on the balancers, held out, and used only while a change needs it.
    pub spare: bool,
    /// The backend that drives its host.
    pub host: Component,
    /// The backend that probes it directly.
    pub probe: Component,
}

/// Names a backend and gives it its settings, which the backend validates.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Component {
    /// The backend's name, as `haproxy` or `local`.
    pub backend: Name,
    /// Its settings.
    pub settings: BTreeMap<String, Setting>,
}

impl Component {
    /// Names a backend without settings.
    pub fn new(backend: Name) -> Self {
        Self { backend, settings: BTreeMap::new() }
    }
}

/// The value of a backend's setting.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Setting {
    /// A string.
    Text(String),
    /// An integer.
    Integer(i64),
    /// A boolean.
    Flag(bool),
    /// A list of strings, as an argument vector.
    List(Vec<String>),
}

/// A share in thousandths; 1000 is the whole.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Permille(u16);

impl Permille {
    /// The whole.
    pub const WHOLE: Self = Self(1000);
    /// Three quarters: what the nodes that are left must carry where all nodes serve.
    pub const THREE_QUARTERS: Self = Self(750);

    /// Wraps a number of thousandths, 0 to 1000; more is cut to 1000.
    pub const fn new(thousandths: u16) -> Self {
        Self(if thousandths > 1000 { 1000 } else { thousandths })
    }

    /// Returns the number of thousandths.
    pub const fn thousandths(self) -> u16 {
        self.0
    }

    /// Returns this share of `amount`, rounded up, so that a requirement is never understated.
    pub fn of(self, amount: u64) -> u64 {
        let product = u128::from(amount) * u128::from(self.0);
        u64::try_from(product.div_ceil(1000)).unwrap_or(u64::MAX)
    }
}

impl Permille {
    /// Returns this share of `amount`, rounded down, so that what is there is never overstated.
    pub fn at_most(self, amount: u64) -> u64 {
        let product = u128::from(amount) * u128::from(self.0) / 1000;
        u64::try_from(product).unwrap_or(u64::MAX)
    }
}

impl fmt::Display for Permille {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03}", self.0 / 1000, self.0 % 1000)
    }
}

/// What happens when requests do not end inside the drain deadline.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum OnDrainDeadline {
    /// The node goes back into traffic and the run rolls back.
    RollBack,
    /// The node goes back into traffic and the run ends for a person to decide.
    Hold,
    /// The requests are cut, counted and reported.
    Cut,
}

/// What is owed to the users of the cluster, and how long things may take.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Policy {
    /// The load at peak, in a unit of the owner's choice (requests a second, say). At least 1; declared, never guessed.
    pub peak_load: u64,
    /// The share of the peak that is carried in every fault-free state. Default 1.0.
    pub serve_now: Permille,
    /// The share of the peak that is carried after one failure domain more is lost. Default 0.75 where all members
    /// serve, 1.0 where some stand by.
    pub survive_one: Permille,
    /// How long requests in flight may take to end. Default 60 s; at 0 only an idle node can be taken out.
    pub drain_deadline: Duration,
    /// What happens then. Default `roll-back`.
    pub on_drain_deadline: OnDrainDeadline,
    /// How long the longest request takes: what a reloaded balancer may still hide, where its older processes cannot be
    /// asked. Default: the drain deadline.
    pub longest_request: Duration,
    /// How long clients bound to a node (a cookie, a stick table) keep it once it drains; then they are moved. Default 2 s.
    pub persistence_grace: Duration,
    /// The share of its weight that a node gets first when it comes back. Default: none, it gets all at once.
    pub canary: Option<Permille>,
    /// How long that is watched. Default 10 s; without `canary` it means nothing.
    pub canary_watch: Duration,
    /// How long a started server may take to be ready. Default 300 s.
    pub ready_deadline: Duration,
    /// How long a stopped server may take to be gone. Default 300 s.
    pub stop_deadline: Duration,
    /// How long a command of a change (a patch, its restore) may take. Default 600 s.
    pub command_deadline: Duration,
    /// How long a changed node carries traffic before the next one is touched. Default 10 s; 0 skips the soak.
    pub soak: Duration,
    /// How long the lease lasts unless renewed, which happens every third of it. Default 30 s, at least 3 s.
    pub lease_ttl: Duration,
    /// How long a node that should serve must look dead before it counts as lost. Default 2 s.
    pub lost_after: Duration,
}

impl Topology {
    /// Lists the nodes with their positions.
    pub fn nodes(&self) -> impl Iterator<Item = (NodeIx, &Node)> {
        self.nodes.iter().enumerate().map(|(index, node)| (NodeIx::new(index), node))
    }

    /// Tells whether a node is in the site that serves at rest.
    pub fn is_home(&self, node: &Node) -> bool {
        let role = node.site.and_then(|site| self.sites.get(site.index())).map(|site| site.role);
        role.is_none_or(|role| role == SiteRole::Serving)
    }

    /// Lists the members: the nodes of the serving site that are no spares.
    pub fn members(&self) -> impl Iterator<Item = (NodeIx, &Node)> {
        self.nodes().filter(|(_, node)| !node.spare && self.is_home(node))
    }

    /// Lists the spares of the serving site.
    pub fn spares(&self) -> impl Iterator<Item = (NodeIx, &Node)> {
        self.nodes().filter(|(_, node)| node.spare && self.is_home(node))
    }

    /// Returns a node.
    ///
    /// # Panics
    /// For an index of another topology.
    pub fn node(&self, node: NodeIx) -> &Node {
        &self.nodes[node.index()]
    }

    /// Finds a node by name.
    pub fn find(&self, name: &str) -> Option<NodeIx> {
        self.nodes().find(|(_, node)| node.name.as_str() == name).map(|(index, _)| index)
    }

    /// Lists the balancer instances with their positions.
    pub fn balancers(&self) -> impl Iterator<Item = (BalancerIx, &Balancer)> {
        self.balancers.iter().zip(0..).map(|(balancer, index)| (BalancerIx::new(index), balancer))
    }

    /// Lists the failure domains.
    pub fn domains(&self) -> impl Iterator<Item = DomainIx> + use<> {
        (0..self.domains.len()).map(DomainIx::new)
    }

    /// Lists the nodes of a failure domain.
    pub fn nodes_of(&self, domain: DomainIx) -> impl Iterator<Item = NodeIx> + '_ {
        self.nodes().filter(move |(_, node)| node.domain == domain).map(|(index, _)| index)
    }

    /// Returns the capacity that is owed in every fault-free state.
    pub fn owed_now(&self) -> u64 {
        self.policy.serve_now.of(self.policy.peak_load)
    }

    /// Returns the capacity that is owed after one failure domain more is lost.
    pub fn owed_after_loss(&self) -> u64 {
        self.policy.survive_one.of(self.policy.peak_load)
    }
}
