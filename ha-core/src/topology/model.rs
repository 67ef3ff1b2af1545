use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::component::Components;
use super::members::Members;
use super::{BalancerIx, DomainIx, Expect, FileSharing, FilledIn, Name, PoolIx, SiteIx};

/// The declared cluster: read with [`Topology::from_toml_str`], or put together with [`Topology::builder`]. Always valid.
///
/// # Examples
///
/// ```
/// # mod observed { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/observed.rs")); }
/// # let topology = observed::topology()?;
/// let esb2 = topology.find("esb2").ok_or("no such node")?;
/// assert_eq!(topology.node(esb2).name.as_str(), "esb2");
/// assert_eq!(topology.members().count(), 2);
/// assert_eq!(topology.spares().count(), 1);
/// assert_eq!(topology.pools().next().map(|(_, pool)| pool.serve), Some(1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Topology {
    pub(crate) name: Name,
    pub(crate) policy: Policy,
    pub(crate) pools: Vec<Pool>,
    pub(crate) balancers: Vec<Balancer>,
    pub(crate) nodes: Vec<Node>,
    /// The failure domains, in the order of their first node.
    pub(crate) domains: Vec<Name>,
    /// The components of the cluster itself.
    pub(crate) components: Components,
    #[serde(skip_serializing_if = "FileSharing::is_copied")]
    pub(crate) sharing: FileSharing,
    pub(crate) sites: Vec<SiteSpec>,
    /// What the cluster as a whole is held against by the doctor. No plan depends on it.
    #[serde(skip)]
    pub(crate) expect: Expect,
    /// What its profiles have filled in.
    #[serde(skip)]
    pub(crate) filled_in: Vec<FilledIn>,
    /// What follows from the above: where the members are.
    #[serde(skip)]
    pub(super) members: Members,
}

/// One data centre.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct SiteSpec {
    /// Its name.
    pub name: Name,
    /// What it is for at rest.
    pub role: SiteRole,
    /// What fences it, and what drives its copy of the database.
    pub(crate) components: Components,
}

/// What a site is for at rest.
///
/// # Examples
///
/// ```
/// use ha_core::topology::{SiteRole, Topology};
///
/// let builder = Topology::builder("orders").site("north", SiteRole::Serving).site("south", SiteRole::Warm);
/// # drop(builder);
/// ```
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

/// A traffic entrance that nodes share: one backend on the balancers in front of it.
///
/// # Examples
///
/// ```
/// # mod observed { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/observed.rs")); }
/// # let topology = observed::topology()?;
/// for (_, pool) in topology.pools() {
///     // One of two members serves: the other alone must carry the whole peak.
///     assert_eq!((pool.required_now(), pool.required_after_loss()), (1000, 1000));
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Pool {
    /// Its name; each pool has its own.
    pub name: Name,
    /// What its balancers call it (HAProxy: the backend); by default its name. The same on all its balancers; two pools on
    /// different balancers may have the same.
    pub backend: Name,
    /// How many members serve at rest; the others stand by. From 1 to the number of its members.
    pub serve: u16,
    /// The load at peak, in a unit of the owner's choice (requests a second, say). At least 1; declared, never guessed.
    pub peak_load: u64,
    /// The share of the peak that is carried in every fault-free state. Default 1.0.
    pub serve_now: Permille,
    /// The share of the peak that is carried after one failure domain more is lost. Default 0.75 where all members
    /// serve, 1.0 where some stand by.
    pub survive_one: Permille,
    /// The balancer instances in front of it, standby instances included; by default all.
    pub balancers: Vec<BalancerIx>,
    /// The site of its nodes: each site has its own pools. `None` where no sites are declared.
    pub site: Option<SiteIx>,
}

impl Pool {
    /// Returns the capacity that is required in every fault-free state.
    pub fn required_now(&self) -> u64 {
        self.serve_now.of(self.peak_load)
    }

    /// Returns the capacity that is required after one failure domain more is lost.
    pub fn required_after_loss(&self) -> u64 {
        self.survive_one.of(self.peak_load)
    }
}

/// One balancer instance.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Balancer {
    /// Its name.
    pub name: Name,
    /// What drives it.
    pub(crate) components: Components,
}

/// One node: a server on a host.
///
/// # Examples
///
/// ```
/// # mod observed { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/observed.rs")); }
/// use ha_core::topology::Role;
///
/// # let topology = observed::topology()?;
/// let (pool, _) = topology.pools().next().ok_or("no pool")?;
/// for (_, node) in topology.nodes() {
///     assert_eq!(node.port(pool).map(|port| port.capacity), Some(1000));
///     assert!(node.component(Role::Host).is_some());
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Node {
    /// Its name.
    pub name: Name,
    /// Its ports: one entry for each pool that it is in, in the order of the pools. At least one.
    pub ports: Vec<Port>,
    /// The share of its capacity that it carries before it is warm. Default 1.0.
    pub warm_up: Permille,
    /// Its site; `None` where no sites are declared.
    pub site: Option<SiteIx>,
    /// What fails with it; by default itself alone.
    pub domain: DomainIx,
    /// Whether it is a spare: entered on the balancers, held out, and used only while a change needs it.
    pub spare: bool,
    /// What drives and probes it.
    pub(crate) components: Components,
    /// What it is held against by the doctor. No plan depends on it.
    #[serde(skip)]
    pub expect: Expect,
    /// How many nodes it stands for: 1, but for the explorer's own topologies, in which one speaks for others like it.
    #[serde(skip)]
    pub(crate) stands_for: u16,
}

/// One port of a node: its membership in a pool.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Port {
    /// The pool.
    pub pool: PoolIx,
    /// What the pool's balancers call the node there (HAProxy: the server); by default the node's name.
    pub member: Name,
    /// What the node can carry there, in the unit of the pool's [`peak_load`](Pool::peak_load). At least 1.
    pub capacity: u64,
}

/// The value of a backend's setting.
///
/// # Examples
///
/// ```
/// use ha_core::topology::{Component, Name, Setting};
///
/// let mut host = Component::new(Name::new("local")?);
/// host.settings.insert("home".into(), Setting::Text("/srv/esb1".into()));
/// host.settings.insert("start".into(), Setting::List(vec!["bin/server.sh".into(), "start".into()]));
/// # Ok::<(), ha_core::topology::InvalidName>(())
/// ```
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
///
/// # Examples
///
/// ```
/// use ha_core::topology::Permille;
///
/// let share = Permille::new(750);
/// assert_eq!(share.of(1001), 751); // a requirement is rounded up
/// assert_eq!(share.at_most(1001), 750); // what is there is rounded down
/// assert_eq!(share.to_string(), "0.750");
/// ```
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
///
/// # Examples
///
/// ```
/// use ha_core::topology::{OnDrainDeadline, Policy};
///
/// let policy = Policy::default().with_on_drain_deadline(OnDrainDeadline::Hold);
/// assert_eq!(policy.on_drain_deadline, OnDrainDeadline::Hold);
/// ```
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

/// What becomes of a change once a failure domain was lost and not enough is left to change a node and survive one more loss
/// meanwhile.
///
/// # Examples
///
/// ```
/// use ha_core::topology::{AfterLoss, Policy};
///
/// let policy = Policy::default().with_after_loss(AfterLoss::Finish);
/// assert_eq!(policy.after_loss, AfterLoss::Finish);
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum AfterLoss {
    /// The run ends for a person to decide, who repairs the node, or resumes the run with `Finish`.
    #[default]
    Hold,
    /// The change is brought to one of its ends all the same, in a declared window in which one more loss is not survived.
    Finish,
}

/// How long things may take, and what happens when they take longer. What a pool has to carry is declared in [`Pool`].
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use ha_core::topology::{Permille, Policy};
///
/// let policy = Policy::default()
///     .with_drain_deadline(Duration::from_secs(120))
///     .with_canary(Permille::new(50), Duration::from_secs(30))
///     .with_soak(Duration::from_secs(60));
/// assert_eq!(policy.longest_request, Duration::from_secs(120));
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Policy {
    /// How long requests in flight may take to end. Default 60 s; at 0 only an idle node can be taken out.
    #[serde(with = "crate::millis", rename = "drain_deadline_ms")]
    pub drain_deadline: Duration,
    /// What happens then. Default `roll-back`.
    pub on_drain_deadline: OnDrainDeadline,
    /// How long the longest request takes: what a reloaded balancer may still hide, where its older processes cannot be
    /// asked. Default: the drain deadline.
    #[serde(with = "crate::millis", rename = "longest_request_ms")]
    pub longest_request: Duration,
    /// How long clients bound to a node (a cookie, a stick table) keep it once it drains; then they are moved. Default 2 s.
    #[serde(with = "crate::millis", rename = "persistence_grace_ms")]
    pub persistence_grace: Duration,
    /// The share of its weight that a node gets first when it comes back. Default: none, it gets all at once.
    pub canary: Option<Permille>,
    /// How long that is watched. Default 10 s; without `canary` it means nothing.
    #[serde(with = "crate::millis", rename = "canary_watch_ms")]
    pub canary_watch: Duration,
    /// How long a started server may take to be ready. Default 300 s.
    #[serde(with = "crate::millis", rename = "ready_deadline_ms")]
    pub ready_deadline: Duration,
    /// How long a stopped server may take to be gone. Default 300 s.
    #[serde(with = "crate::millis", rename = "stop_deadline_ms")]
    pub stop_deadline: Duration,
    /// How long a command of a change (a patch, its restore, an installation) may take, and a step that fences a site, demotes or
    /// promotes its database or leads consumers to it. Default 600 s.
    #[serde(with = "crate::millis", rename = "command_deadline_ms")]
    pub command_deadline: Duration,
    /// How long one phase of a database's migration may take (a backfill runs through every row), a step of its clone, and a site's
    /// copy that follows another. Default 1 h.
    #[serde(with = "crate::millis", rename = "migrate_deadline_ms")]
    pub migrate_deadline: Duration,
    /// How long a changed node carries traffic before the next one is touched. Default 10 s; 0 skips the soak.
    #[serde(with = "crate::millis", rename = "soak_ms")]
    pub soak: Duration,
    /// How long the lease lasts unless renewed, which happens every third of it. Default 30 s, at least 3 s.
    #[serde(with = "crate::millis", rename = "lease_ttl_ms")]
    pub lease_ttl: Duration,
    /// How long a node that should serve must look dead before it counts as lost. Default 2 s.
    #[serde(with = "crate::millis", rename = "lost_after_ms")]
    pub lost_after: Duration,
    /// What becomes of a change that meets a loss, where not enough is left to finish or undo it under the law. Default `hold`.
    /// No part of a topology's digest: no plan depends on it before a loss, and a run that is held for it can be resumed with
    /// the other answer.
    #[serde(skip)]
    pub after_loss: AfterLoss,
}
