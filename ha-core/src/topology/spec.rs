use super::component::Components;
use super::reader::At;
use super::{Expect, Permille, SiteRole};

/// Declares a pool, for [`Topology::builder`](super::Topology::builder). What it means: [`Pool`](super::Pool).
///
/// # Examples
///
/// ```
/// use ha_core::topology::{Permille, PoolSpec};
///
/// // Two of its members serve at rest; 1,000 requests a second come at peak.
/// let pool = PoolSpec::new("esb", 2, 1000)
///     .with_backend("be_esb")
///     .with_survive_one(Permille::THREE_QUARTERS)
///     .with_balancers(["lb1", "lb2"]);
/// # drop(pool);
/// ```
#[derive(Clone, Debug, Default)]
pub struct PoolSpec {
    pub(super) path: String,
    pub(super) line: usize,
    pub(super) name: Option<At<String>>,
    pub(super) backend: Option<At<String>>,
    pub(super) serve: Option<At<u64>>,
    pub(super) peak_load: Option<At<u64>>,
    pub(super) serve_now: Option<At<Permille>>,
    pub(super) survive_one: Option<At<Permille>>,
    pub(super) balancers: Option<At<Vec<At<String>>>>,
    pub(super) site: Option<At<String>>,
}

impl PoolSpec {
    /// Declares a pool of which `serve` members serve at rest, and its load at peak.
    pub fn new(name: impl Into<String>, serve: u16, peak_load: u64) -> Self {
        Self {
            name: Some(At::unlined(name.into())),
            serve: Some(At::unlined(serve.into())),
            peak_load: Some(At::unlined(peak_load)),
            ..Self::default()
        }
    }

    /// Says what its balancers call it. Default: its name.
    #[must_use]
    pub fn with_backend(mut self, backend: impl Into<String>) -> Self {
        self.backend = Some(At::unlined(backend.into()));
        self
    }

    /// Sets the share of the peak that is carried in every fault-free state. Default 1.0.
    #[must_use]
    pub fn with_serve_now(mut self, share: Permille) -> Self {
        self.serve_now = Some(At::unlined(share));
        self
    }

    /// Sets the share of the peak that is carried after one failure domain more is lost. Default 0.75 where all members
    /// serve, 1.0 where some stand by.
    #[must_use]
    pub fn with_survive_one(mut self, share: Permille) -> Self {
        self.survive_one = Some(At::unlined(share));
        self
    }

    /// Names the site of its nodes, where sites are declared. Default: the one that serves at rest.
    #[must_use]
    pub fn with_site(mut self, site: impl Into<String>) -> Self {
        self.site = Some(At::unlined(site.into()));
        self
    }

    /// Names the balancer instances in front of it. Default: all.
    #[must_use]
    pub fn with_balancers<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.balancers = Some(At::unlined(names.into_iter().map(|name| At::unlined(name.into())).collect()));
        self
    }
}

/// Declares a node, for [`Topology::builder`](super::Topology::builder). What it means: [`Node`](super::Node).
///
/// # Examples
///
/// ```
/// use ha_core::topology::{Component, Name, NodeSpec, Permille};
///
/// let (host, probe) = (Component::new(Name::new("local")?), Component::new(Name::new("http")?));
/// let node = NodeSpec::new("esb1", 500, host, probe)
///     .with_member("app1")
///     .with_domain("rack-1")
///     .with_warm_up(Permille::new(500));
/// # drop(node);
/// # Ok::<(), ha_core::topology::InvalidName>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct NodeSpec {
    pub(super) path: String,
    pub(super) line: usize,
    pub(super) name: Option<At<String>>,
    pub(super) member: Option<At<String>>,
    pub(super) capacity: Option<At<u64>>,
    pub(super) pools: Option<At<Vec<At<String>>>>,
    pub(super) ports: Vec<PortSpec>,
    pub(super) warm_up: Option<At<Permille>>,
    pub(super) domain: Option<At<String>>,
    pub(super) site: Option<At<String>>,
    pub(super) spare: bool,
    pub(super) expect: Expect,
    pub(super) profile: Option<At<String>>,
    pub(super) address: Option<String>,
    pub(super) offset: Option<u16>,
    pub(super) components: Components,
}

impl NodeSpec {
    /// Says what the balancers call it. Default: its name.
    #[must_use]
    pub fn with_member(mut self, member: impl Into<String>) -> Self {
        self.member = Some(At::unlined(member.into()));
        self
    }

    /// Names its pools. Default: all of its site.
    #[must_use]
    pub fn with_pools<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.pools = Some(At::unlined(names.into_iter().map(|name| At::unlined(name.into())).collect()));
        self
    }

    /// Says where its name or its capacity differs in one of its pools.
    #[must_use]
    pub fn with_port(mut self, port: PortSpec) -> Self {
        self.ports.push(port);
        self
    }

    /// Sets the share of its capacity that it carries before it is warm. Default 1.0.
    #[must_use]
    pub fn with_warm_up(mut self, share: Permille) -> Self {
        self.warm_up = Some(At::unlined(share));
        self
    }

    /// Names its failure domain. Default: itself alone.
    #[must_use]
    pub fn with_domain(mut self, domain: impl Into<String>) -> Self {
        self.domain = Some(At::unlined(domain.into()));
        self
    }

    /// Names its site, where sites are declared.
    #[must_use]
    pub fn with_site(mut self, site: impl Into<String>) -> Self {
        self.site = Some(At::unlined(site.into()));
        self
    }

    /// Names the profile of its product, which fills in what is not said here. Default: the cluster's.
    #[must_use]
    pub fn with_profile(mut self, profile: impl Into<String>) -> Self {
        self.profile = Some(At::unlined(profile.into()));
        self
    }

    /// Says where its profile finds its ports. Default: the address of its host.
    #[must_use]
    pub fn with_address(mut self, address: impl Into<String>) -> Self {
        self.address = Some(address.into());
        self
    }

    /// Says by how much all its ports are shifted. Default: as its profile says.
    #[must_use]
    pub fn with_offset(mut self, offset: u16) -> Self {
        self.offset = Some(offset);
        self
    }

    /// Says what the doctor holds it against. What it does not say comes from the cluster.
    #[must_use]
    pub fn with_expect(mut self, expect: Expect) -> Self {
        self.expect = expect;
        self
    }

    /// Makes it a spare: entered on the balancers, held out, and used only while a change needs it.
    #[must_use]
    pub fn as_spare(mut self) -> Self {
        self.spare = true;
        self
    }
}

/// Declares where a node differs in one of its pools.
///
/// # Examples
///
/// ```
/// use ha_core::topology::{NodeSpec, PortSpec};
///
/// fn with_management(node: NodeSpec) -> NodeSpec {
///     node.with_port(PortSpec::new("mgmt").with_member("esb1-mgmt").with_capacity(10))
/// }
/// ```
#[derive(Clone, Debug, Default)]
pub struct PortSpec {
    pub(super) path: String,
    pub(super) line: usize,
    pub(super) pool: Option<At<String>>,
    pub(super) member: Option<At<String>>,
    pub(super) capacity: Option<At<u64>>,
}

impl PortSpec {
    /// Declares the port in a pool of the node.
    pub fn new(pool: impl Into<String>) -> Self {
        Self { pool: Some(At::unlined(pool.into())), ..Self::default() }
    }

    /// Says what the pool's balancers call the node there. Default: as elsewhere.
    #[must_use]
    pub fn with_member(mut self, member: impl Into<String>) -> Self {
        self.member = Some(At::unlined(member.into()));
        self
    }

    /// Says what it can carry there. Default: as elsewhere.
    #[must_use]
    pub fn with_capacity(mut self, capacity: u64) -> Self {
        self.capacity = Some(At::unlined(capacity));
        self
    }
}

#[derive(Clone, Debug)]
pub(super) struct BalancerDraft {
    pub(super) path: String,
    pub(super) line: usize,
    pub(super) name: Option<At<String>>,
    pub(super) components: Components,
}

#[derive(Clone, Debug)]
pub(super) struct SiteDraft {
    pub(super) path: String,
    pub(super) line: usize,
    pub(super) name: Option<At<String>>,
    pub(super) role: Option<SiteRole>,
    pub(super) components: Components,
}
