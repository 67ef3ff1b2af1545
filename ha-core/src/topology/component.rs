//! What a cluster is driven by, role by role. All that is declared of a role is in this file: its table, its owner, whether
//! it is required, and what builders and accessors call it. The other files of this folder iterate over the roles.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::reader::{At, Findings, MISSING};
use super::{Balancer, Name, Node, NodeSpec, Setting, SiteSpec, Topology, TopologyBuilder};

/// What a component does for the cluster: one for each backend trait.
///
/// # Examples
///
/// ```
/// use ha_core::topology::{Owner, Role};
///
/// assert_eq!((Role::Host.owner(), Role::Host.table()), (Owner::Node, Some("host")));
/// assert!(Role::ALL.iter().any(|role| !role.is_required()));
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Role {
    /// Drives a balancer instance.
    Balancer,
    /// Drives a node's host.
    Host,
    /// Probes a node directly.
    Probe,
    /// Drives the work that a node pulls by itself.
    Work,
    /// Shares files, from one writer to the readers.
    Files,
    /// Drives the shared database.
    Database,
    /// Exposes services to consumers, and hides them.
    Exposure,
    /// Keeps sets of shared files, for rollbacks.
    Artifacts,
    /// Leads consumers to one of the sites.
    Switch,
    /// Makes sure that a site can no longer act.
    Fence,
    /// Drives a site's copy of the database.
    Replica,
    /// Installs a node as the members are, and takes its installation away.
    Provision,
}

/// Whom a component belongs to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Owner {
    /// The cluster: there is one at most.
    Cluster,
    /// A balancer instance.
    Balancer,
    /// A node.
    Node,
    /// A site.
    Site,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 12] = [
        Self::Balancer,
        Self::Host,
        Self::Probe,
        Self::Work,
        Self::Files,
        Self::Database,
        Self::Exposure,
        Self::Artifacts,
        Self::Switch,
        Self::Fence,
        Self::Replica,
        Self::Provision,
    ];

    /// Returns its owner, its table inside the owner's (`None` where it is the owner's table itself), and whether each owner
    /// must have it.
    const fn declared(self) -> (Owner, Option<&'static str>, bool) {
        match self {
            Self::Balancer => (Owner::Balancer, None, true),
            Self::Host => (Owner::Node, Some("host"), true),
            Self::Probe => (Owner::Node, Some("probe"), true),
            Self::Work => (Owner::Node, Some("work"), false),
            Self::Files => (Owner::Cluster, Some("files"), false),
            Self::Database => (Owner::Cluster, Some("database"), false),
            Self::Exposure => (Owner::Cluster, Some("exposure"), false),
            Self::Artifacts => (Owner::Cluster, Some("artifacts"), false),
            Self::Switch => (Owner::Cluster, Some("switch"), false),
            Self::Fence => (Owner::Site, Some("fence"), false),
            Self::Replica => (Owner::Site, Some("replica"), false),
            Self::Provision => (Owner::Node, Some("provision"), false),
        }
    }

    /// Returns whom it belongs to.
    pub fn owner(self) -> Owner {
        self.declared().0
    }

    /// Returns its table in `cluster.toml`, inside its owner's; `None` where it is the owner's table itself.
    pub fn table(self) -> Option<&'static str> {
        self.declared().1
    }

    /// Tells whether each of its owners must have it.
    pub fn is_required(self) -> bool {
        self.declared().2
    }

    /// Lists the roles of an owner.
    pub(super) fn of(owner: Owner) -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(move |role| role.owner() == owner)
    }

    /// Returns where it is written, below its owner's path.
    fn key(self, owner: &str) -> String {
        match self.table() {
            Some(table) if owner.is_empty() => table.into(),
            Some(table) => format!("{owner}.{table}"),
            None => owner.into(),
        }
    }
}

impl Topology {
    /// Returns how files are shared, from one writer to the readers; `None` where each node has its own.
    pub fn files(&self) -> Option<&Component> {
        self.components.get(Role::Files)
    }

    /// Returns the shared database, where releases may need different schemas of it.
    pub fn database(&self) -> Option<&Component> {
        self.components.get(Role::Database)
    }

    /// Returns what exposes services to consumers; `None` where routes are not this library's to change.
    pub fn exposure(&self) -> Option<&Component> {
        self.components.get(Role::Exposure)
    }

    /// Returns what keeps sets of shared files for rollbacks; `None` where that is the deploy command's own concern.
    pub fn artifacts(&self) -> Option<&Component> {
        self.components.get(Role::Artifacts)
    }

    /// Returns what leads consumers to one of the sites; `None` where that is not this library's to change.
    pub fn switch(&self) -> Option<&Component> {
        self.components.get(Role::Switch)
    }

    /// Lists the components with a role, in the order of their owners.
    pub fn components(&self, role: Role) -> Vec<Declared<'_>> {
        match role.owner() {
            Owner::Cluster => self.components.declared(role, &self.name).into_iter().collect(),
            Owner::Balancer => {
                self.balancers.iter().filter_map(|one| one.components.declared(role, &one.name)).collect()
            }
            Owner::Node => self.nodes.iter().filter_map(|one| one.components.declared(role, &one.name)).collect(),
            Owner::Site => self.sites.iter().filter_map(|one| one.components.declared(role, &one.name)).collect(),
        }
    }
}

impl Balancer {
    /// Returns its component with a role; `None` where it has none.
    pub fn component(&self, role: Role) -> Option<&Component> {
        self.components.get(role)
    }
}

impl Node {
    /// Returns its component with a role; `None` where it has none.
    pub fn component(&self, role: Role) -> Option<&Component> {
        self.components.get(role)
    }
}

impl SiteSpec {
    /// Returns its component with a role; `None` where it has none.
    pub fn component(&self, role: Role) -> Option<&Component> {
        self.components.get(role)
    }
}

impl TopologyBuilder {
    /// Says how files are shared. Default: each node has its own.
    #[must_use]
    pub fn files(mut self, files: Component) -> Self {
        self.draft.components.set(Role::Files, files);
        self
    }

    /// Declares the shared database. Default: none.
    #[must_use]
    pub fn database(mut self, database: Component) -> Self {
        self.draft.components.set(Role::Database, database);
        self
    }

    /// Says what exposes services to consumers. Default: nothing does.
    #[must_use]
    pub fn exposure(mut self, exposure: Component) -> Self {
        self.draft.components.set(Role::Exposure, exposure);
        self
    }

    /// Says what keeps sets of shared files for rollbacks. Default: nothing does.
    #[must_use]
    pub fn artifacts(mut self, artifacts: Component) -> Self {
        self.draft.components.set(Role::Artifacts, artifacts);
        self
    }

    /// Says what leads consumers to one of the sites. Default: nothing does.
    #[must_use]
    pub fn switch(mut self, switch: Component) -> Self {
        self.draft.components.set(Role::Switch, switch);
        self
    }

    /// Says what makes sure that the site declared last can no longer act; before any [`site`](Self::site) it has no effect. Default:
    /// nothing does.
    #[must_use]
    pub fn site_fence(self, fence: Component) -> Self {
        self.of_last_site(Role::Fence, fence)
    }

    /// Says what drives the copy of the database in the site declared last; before any [`site`](Self::site) it has no effect.
    /// Default: nothing does.
    #[must_use]
    pub fn site_replica(self, replica: Component) -> Self {
        self.of_last_site(Role::Replica, replica)
    }

    fn of_last_site(mut self, role: Role, component: Component) -> Self {
        if let Some(site) = self.draft.sites.last_mut() {
            site.components.set(role, component);
        }
        self
    }
}

impl NodeSpec {
    /// Declares a node that can carry `capacity` in each of its pools.
    pub fn new(name: impl Into<String>, capacity: u64, host: Component, probe: Component) -> Self {
        let mut components = Components::default();
        components.set(Role::Host, host);
        components.set(Role::Probe, probe);
        Self {
            name: Some(At::unlined(name.into())),
            capacity: Some(At::unlined(capacity)),
            components,
            ..Self::default()
        }
    }

    /// Says what drives the work that it pulls by itself. Default: it pulls none.
    #[must_use]
    pub fn with_work(mut self, work: Component) -> Self {
        self.components.set(Role::Work, work);
        self
    }

    /// Says what installs it as the members are, and takes its installation away. Default: nothing does.
    #[must_use]
    pub fn with_provision(mut self, provision: Component) -> Self {
        self.components.set(Role::Provision, provision);
        self
    }
}

/// A component of a topology, with its owner.
///
/// # Examples
///
/// ```
/// # mod observed { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/observed.rs")); }
/// use ha_core::topology::Role;
///
/// # let topology = observed::topology()?;
/// let hosts: Vec<String> = topology.components(Role::Host).iter().map(|declared| declared.key()).collect();
/// assert_eq!(hosts, ["node esb1.host", "node esb2.host", "node spare1.host"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Declared<'a> {
    /// What it does.
    pub role: Role,
    /// The name of the balancer instance, the node, the site or the cluster that it belongs to.
    pub name: &'a Name,
    /// What is declared.
    pub component: &'a Component,
}

impl Declared<'_> {
    /// Names it for a message: `balancer lb1`, `node esb1.host`, `files`.
    pub fn key(&self) -> String {
        match self.role.owner() {
            Owner::Cluster => self.role.key(""),
            Owner::Balancer => self.role.key(&format!("balancer {}", self.name)),
            Owner::Node => self.role.key(&format!("node {}", self.name)),
            Owner::Site => self.role.key(&format!("site {}", self.name)),
        }
    }
}

/// The components of one owner, by role.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
#[serde(transparent)]
pub(crate) struct Components(BTreeMap<Role, Component>);

impl Components {
    pub(crate) fn get(&self, role: Role) -> Option<&Component> {
        self.0.get(&role)
    }

    pub(super) fn get_mut(&mut self, role: Role) -> Option<&mut Component> {
        self.0.get_mut(&role)
    }

    pub(super) fn set(&mut self, role: Role, component: Component) {
        self.0.insert(role, component);
    }

    pub(super) fn remove(&mut self, roles: &[Role]) {
        self.0.retain(|role, _| !roles.contains(role));
    }

    fn declared<'a>(&'a self, role: Role, name: &'a Name) -> Option<Declared<'a>> {
        self.get(role).map(|component| Declared { role, name, component })
    }

    /// Reports what an owner must have and has not, unless a finding says why already. Tells whether all are there.
    pub(super) fn check(&self, owner: Owner, findings: &Findings<'_>, path: &str, line: usize) -> bool {
        let missing = Role::of(owner).filter(|role| role.is_required() && self.get(*role).is_none());
        let reported = missing.map(|role| {
            let key = role.key(path);
            if !findings.has(&key) {
                findings.add(line, key, MISSING, format!("add {}", role.table().unwrap_or("backend")));
            }
        });
        reported.count() == 0
    }
}

/// Names a backend and gives it its settings, which the backend validates.
///
/// # Examples
///
/// ```
/// use ha_core::topology::{Component, Name, Setting};
///
/// let mut balancer = Component::new(Name::new("haproxy")?);
/// balancer.settings.insert("socket".into(), Setting::Text("/run/haproxy/admin.sock".into()));
/// assert_eq!(balancer.line(), 0); // it was not read from a file
/// # Ok::<(), ha_core::topology::InvalidName>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Component {
    /// The backend's name, as `haproxy` or `local`.
    pub backend: Name,
    /// Its settings.
    pub settings: BTreeMap<String, Setting>,
    /// Where it is written.
    #[serde(skip)]
    pub(super) lines: Lines,
}

impl Component {
    /// Names a backend without settings.
    pub fn new(backend: Name) -> Self {
        Self { backend, settings: BTreeMap::new(), lines: Lines::default() }
    }

    /// Returns the line where it is written, from 1 on; 0 where it was not read from a file.
    pub fn line(&self) -> usize {
        self.lines.component
    }

    /// Returns the line of a setting; the component's where the setting is not given.
    pub fn line_of(&self, key: &str) -> usize {
        self.lines.settings.get(key).copied().unwrap_or(self.lines.component)
    }
}

/// Where a component is written. Lines are no part of what it is: two components that say the same are equal, and a plan
/// for one is a plan for the other.
#[derive(Clone, Debug, Default)]
pub(super) struct Lines {
    pub(super) component: usize,
    pub(super) settings: BTreeMap<String, usize>,
}

impl PartialEq for Lines {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Lines {}

#[cfg(test)]
mod tests {
    use super::*;

    /// A topology in which every owner has a component with each of its roles.
    fn with_every_role() -> String {
        let table = |owner: &str, owned: Owner| {
            let tables = Role::of(owned).filter_map(|role| role.table());
            tables.map(|table| format!("[{owner}{table}]\nbackend = \"my-{table}\"\n")).collect::<String>()
        };
        let node = |name: &str| {
            format!("[[node]]\nname = \"{name}\"\nsite = \"north\"\ncapacity = 9\n{}", table("node.", Owner::Node))
        };
        let site = |name: &str, role: &str| {
            format!("[[site]]\nname = \"{name}\"\nrole = \"{role}\"\n{}", table("site.", Owner::Site))
        };
        format!(
            "[cluster]\nname = \"orders\"\n[policy]\npeak_load = 9\n[pool]\nname = \"esb\"\nserve = 1\n{}\
             [[balancer]]\nname = \"lb1\"\nbackend = \"my-balancer\"\nsocket = \"/s\"\n{}{}{}{}{}",
            table("", Owner::Cluster),
            table("balancer.", Owner::Balancer),
            site("north", "serving"),
            site("south", "warm"),
            node("esb1"),
            node("esb2"),
        )
    }

    #[test]
    fn each_role_is_read_from_its_table_for_each_of_its_owners() {
        let topology = Topology::from_toml_str(&with_every_role()).unwrap();
        for role in Role::ALL {
            let (names, prefix): (&[&str], _) = match role.owner() {
                Owner::Cluster => (&["orders"], ""),
                Owner::Balancer => (&["lb1"], "balancer "),
                Owner::Node => (&["esb1", "esb2"], "node "),
                Owner::Site => (&["north", "south"], "site "),
            };
            let declared = topology.components(role);
            assert_eq!(declared.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), names, "{role:?}");
            for one in declared {
                let owner = if prefix.is_empty() { String::new() } else { format!("{prefix}{}", one.name) };
                assert_eq!(one.key(), role.key(&owner));
                assert_eq!(one.component.backend.as_str(), format!("my-{}", role.table().unwrap_or("balancer")));
                assert!(one.component.line() > 0);
            }
        }
        let balancer = topology.components(Role::Balancer);
        assert_eq!(balancer[0].component.settings.keys().collect::<Vec<_>>(), ["socket"], "the name is no setting");
        let keys: Vec<String> = Role::ALL.iter().map(|role| topology.components(*role)[0].key()).collect();
        let nodes = ["node esb1.host", "node esb1.probe", "node esb1.work"];
        let cluster = ["files", "database", "exposure", "artifacts", "switch"];
        let sites = ["site north.fence", "site north.replica"];
        let own = ["balancer lb1", nodes[0], nodes[1], nodes[2]];
        let expected = [&own[..], &cluster, &sites, &["node esb1.provision"]].concat();
        assert_eq!(keys, expected);
    }

    #[test]
    fn a_node_without_a_required_component_is_refused_by_the_builder_too() {
        let component = |name: &str| Component::new(Name::new(name).unwrap());
        let mut node = NodeSpec::new("esb1", 9, component("h"), component("p"));
        node.components = Components::default();
        let built = Topology::builder("orders")
            .balancer("lb1", component("b"))
            .pool(super::super::PoolSpec::new("esb", 1, 9))
            .node(node);
        let refused = built.build().unwrap_err();
        let keys: Vec<String> = refused.diagnostics().iter().map(ToString::to_string).collect();
        assert_eq!(keys, ["node[0].host: is missing; add host", "node[0].probe: is missing; add probe"]);
    }
}
