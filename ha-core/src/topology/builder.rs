use super::component::Components;
use super::draft::Draft;
use super::reader::{At, Findings};
use super::spec::{BalancerDraft, NodeSpec, PoolSpec, SiteDraft};
use super::{Component, Expect, Policy, Role, SiteRole, Topology, TopologyError};

/// Puts a topology together; begun with [`Topology::builder`].
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use ha_core::topology::{Policy, PoolSpec, Topology};
///
/// let refused = Topology::builder("orders")
///     .policy(Policy::default().with_soak(Duration::from_secs(5)))
///     .pool(PoolSpec::new("esb", 1, 1000))
///     .build()
///     .unwrap_err();
/// // All that is wrong at once: there are no nodes, and there is no balancer.
/// assert!(refused.diagnostics().len() > 1);
/// ```
#[derive(Clone, Debug)]
pub struct TopologyBuilder {
    pub(super) draft: Draft,
}

impl Topology {
    /// Begins a topology in code: validated as [`from_toml_str`](Topology::from_toml_str) validates, by the same rules.
    ///
    /// # Examples
    ///
    /// ```
    /// use ha_core::topology::{Component, Name, NodeSpec, PoolSpec, Topology};
    ///
    /// let fake = || Component::new(Name::new("fake").unwrap());
    /// let topology = Topology::builder("orders")
    ///     .balancer("lb1", fake())
    ///     .pool(PoolSpec::new("esb", 2, 1000))
    ///     .pool(PoolSpec::new("mgmt", 1, 10))
    ///     .node(NodeSpec::new("esb1", 1000, fake(), fake()))
    ///     .node(NodeSpec::new("esb2", 1000, fake(), fake()).with_member("esb-two"))
    ///     .build()
    ///     .unwrap();
    /// assert_eq!(topology.pools().count(), 2);
    /// ```
    pub fn builder(name: impl Into<String>) -> TopologyBuilder {
        let draft = Draft { name: Some(At::unlined(name.into())), ..Draft::default() };
        TopologyBuilder { draft }
    }
}

impl TopologyBuilder {
    /// Says how long things may take. Default: [`Policy::default`]; where the policy has that for `ready_deadline` or `stop_deadline`, a
    /// profile may say another.
    #[must_use]
    pub fn policy(mut self, policy: Policy) -> Self {
        let default = Policy::default();
        let differs = [
            ("ready_deadline", policy.ready_deadline != default.ready_deadline),
            ("stop_deadline", policy.stop_deadline != default.stop_deadline),
        ];
        self.draft.policy.given = differs.into_iter().filter(|(_, differs)| *differs).map(|(key, _)| key).collect();
        self.draft.policy.policy = policy;
        self
    }

    /// Names the profile of the product of each node that has none itself. Default: none.
    #[must_use]
    pub fn profile(mut self, profile: impl Into<String>) -> Self {
        self.draft.profile = Some(At::unlined(profile.into()));
        self
    }

    /// Says what the doctor holds the cluster against, and each node that does not say it itself. Default: [`Expect::new`].
    #[must_use]
    pub fn expect(mut self, expect: Expect) -> Self {
        self.draft.expect = expect;
        self
    }

    /// Adds a pool. 1 to 16.
    #[must_use]
    pub fn pool(mut self, mut pool: PoolSpec) -> Self {
        pool.path = format!("pool[{}]", self.draft.pools.len());
        self.draft.pools.push(pool);
        self
    }

    /// Adds a balancer instance. 1 to 16.
    #[must_use]
    pub fn balancer(mut self, name: impl Into<String>, component: Component) -> Self {
        let path = format!("balancer[{}]", self.draft.balancers.len());
        let name = Some(At::unlined(name.into()));
        let mut components = Components::default();
        components.set(Role::Balancer, component);
        self.draft.balancers.push(BalancerDraft { path, line: 0, name, components });
        self
    }

    /// Adds a node. 1 to 65,535.
    #[must_use]
    pub fn node(mut self, mut node: NodeSpec) -> Self {
        node.path = format!("node[{}]", self.draft.nodes.len());
        for (index, port) in node.ports.iter_mut().enumerate() {
            port.path = format!("{}.port[{index}]", node.path);
        }
        self.draft.nodes.push(node);
        self
    }

    /// Adds a data centre. At most 4, exactly one of which serves; none where there is one data centre.
    #[must_use]
    pub fn site(mut self, name: impl Into<String>, role: SiteRole) -> Self {
        let path = format!("site[{}]", self.draft.sites.len());
        let (name, role, components) = (Some(At::unlined(name.into())), Some(role), Components::default());
        self.draft.sites.push(SiteDraft { path, line: 0, name, role, components });
        self
    }

    /// Validates it.
    ///
    /// # Errors
    /// [`TopologyError`] with everything that is wrong at once, by key as in `cluster.toml`; there are no lines.
    pub fn build(self) -> Result<Topology, TopologyError> {
        let findings = Findings::new("");
        let topology = self.draft.validate(&findings);
        findings.into_result(topology).map_err(TopologyError::new)
    }
}
