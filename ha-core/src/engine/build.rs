use std::collections::BTreeMap;
use std::sync::Arc;

use super::error::BuildError;
use crate::backend::{
    ArtifactStore, Database, Exposure, Fence, FileSync, Host, LoadBalancer, MemberRef, Probe, Provisioner, Replica,
    SiteSwitch, Workload,
};
use crate::journal::{Journal, Lease, MemoryStore};
use crate::machine::rotation::Place;
use crate::topology::{BalancerIx, MemberIx, NodeIx, Owner, Port, Role, Topology};

/// Changes one cluster: it observes, plans, proves and runs.
///
/// Cheap to clone. Needs a tokio runtime with time enabled.
///
/// # Examples
///
/// ```
/// use ha_core::engine::{Engine, RunError};
/// use ha_core::procedure::PatchRequest;
///
/// async fn patch(engine: &Engine, request: &PatchRequest) -> Result<(), RunError> {
///     let planned = engine.plan(request).await?; // changes nothing
///     println!("{}", planned.plan().to_text(engine.topology()));
///     let report = engine.run("patch-2026-07".into(), planned).await?.wait().await?;
///     println!("{report}");
///     Ok(())
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Engine {
    pub(super) shared: Arc<Shared>,
}

/// What every task of the engine uses.
#[derive(Debug)]
pub(super) struct Shared {
    // Dropped in this order: the journal is closed before any machine is let go of.
    pub(super) journal: Arc<dyn Journal>,
    pub(super) lease: Arc<dyn Lease>,
    pub(super) topology: Arc<Topology>,
    pub(super) balancers: Vec<Arc<dyn LoadBalancer>>,
    pub(super) hosts: Vec<Arc<dyn Host>>,
    pub(super) probes: Vec<Arc<dyn Probe>>,
    pub(super) files: Option<Arc<dyn FileSync>>,
    pub(super) database: Option<Arc<dyn Database>>,
    pub(super) exposure: Option<Arc<dyn Exposure>>,
    pub(super) artifacts: Option<Arc<dyn ArtifactStore>>,
    pub(super) work: Vec<Option<Arc<dyn Workload>>>,
    pub(super) switch: Option<Arc<dyn SiteSwitch>>,
    /// Those of each site, in the order of the topology.
    pub(super) fences: Vec<Option<Arc<dyn Fence>>>,
    pub(super) replicas: Vec<Option<Arc<dyn Replica>>>,
    pub(super) provision: Vec<Option<Arc<dyn Provisioner>>>,
    pub(super) owner: String,
}

/// One of a node's servers: in one pool, on one balancer instance.
#[derive(Clone, Debug)]
pub(super) struct NodeMember {
    pub(super) member: MemberIx,
    pub(super) backend: Arc<dyn LoadBalancer>,
    pub(super) place: Place,
    /// Where it is: the balancer, with the pool where there are several.
    pub(super) name: String,
}

impl Shared {
    /// Lists a node's members, in the order of its topology.
    pub(super) fn members(&self, node: NodeIx) -> Vec<NodeMember> {
        let several = self.topology.pools().count() > 1;
        let of = |(member, port, balancer): (MemberIx, &Port, BalancerIx)| {
            let (pool, name) = (self.topology.pool(port.pool), &self.topology.balancer(balancer).name);
            let name = if several { format!("{name} (pool {})", pool.name) } else { name.to_string() };
            let at = MemberRef::new(pool.backend.clone(), port.member.clone());
            let place = Place::new(at).in_pool(pool.name.clone(), format!("balancer {name}"));
            NodeMember { member, backend: self.balancers[balancer.index()].clone(), place, name }
        };
        self.topology.memberships(node).map(of).collect()
    }
}

/// Puts an engine together.
///
/// # Examples
///
/// ```
/// # mod observed { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/observed.rs")); }
/// use std::sync::Arc;
/// use ha_core::engine::Engine;
/// use ha_core::journal::MemoryStore;
///
/// # let topology = observed::topology()?;
/// let store = Arc::new(MemoryStore::new());
/// let builder = Engine::builder(topology).with_store(store.clone(), store).with_owner("deploy-1");
/// // Each balancer, host and probe of the topology needs its backend: `ha_backends::connect` gives them all.
/// let refused = builder.build().unwrap_err();
/// assert!(refused.to_string().contains("lb1: add one with EngineBuilder::with_balancer"), "{refused}");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct EngineBuilder {
    topology: Topology,
    balancers: BTreeMap<String, Arc<dyn LoadBalancer>>,
    hosts: BTreeMap<String, Arc<dyn Host>>,
    probes: BTreeMap<String, Arc<dyn Probe>>,
    files: Option<Arc<dyn FileSync>>,
    database: Option<Arc<dyn Database>>,
    exposure: Option<Arc<dyn Exposure>>,
    artifacts: Option<Arc<dyn ArtifactStore>>,
    work: BTreeMap<String, Arc<dyn Workload>>,
    switch: Option<Arc<dyn SiteSwitch>>,
    fences: BTreeMap<String, Arc<dyn Fence>>,
    replicas: BTreeMap<String, Arc<dyn Replica>>,
    provision: BTreeMap<String, Arc<dyn Provisioner>>,
    journal: Arc<dyn Journal>,
    lease: Arc<dyn Lease>,
    owner: String,
}

impl Engine {
    /// Begins an engine for a topology. Journal and lease are in memory until they are given.
    pub fn builder(topology: Topology) -> EngineBuilder {
        let store = Arc::new(MemoryStore::new());
        EngineBuilder {
            topology,
            balancers: BTreeMap::new(),
            hosts: BTreeMap::new(),
            probes: BTreeMap::new(),
            files: None,
            database: None,
            exposure: None,
            artifacts: None,
            work: BTreeMap::new(),
            switch: None,
            fences: BTreeMap::new(),
            replicas: BTreeMap::new(),
            provision: BTreeMap::new(),
            journal: store.clone(),
            lease: store,
            owner: "controller".into(),
        }
    }

    /// Returns the topology.
    pub fn topology(&self) -> &Topology {
        &self.shared.topology
    }
}

impl EngineBuilder {
    /// Gives the backend of a balancer instance, by its name in the topology.
    #[must_use]
    pub fn with_balancer(mut self, name: impl Into<String>, backend: Arc<dyn LoadBalancer>) -> Self {
        self.balancers.insert(name.into(), backend);
        self
    }

    /// Gives the host of a node, by the node's name.
    #[must_use]
    pub fn with_host(mut self, node: impl Into<String>, backend: Arc<dyn Host>) -> Self {
        self.hosts.insert(node.into(), backend);
        self
    }

    /// Gives the probe of a node, by the node's name.
    #[must_use]
    pub fn with_probe(mut self, node: impl Into<String>, backend: Arc<dyn Probe>) -> Self {
        self.probes.insert(node.into(), backend);
        self
    }

    /// Gives the file sync of a topology with `[files]`.
    #[must_use]
    pub fn with_files(mut self, backend: Arc<dyn FileSync>) -> Self {
        self.files = Some(backend);
        self
    }

    /// Gives the database of a topology with `[database]`.
    #[must_use]
    pub fn with_database(mut self, backend: Arc<dyn Database>) -> Self {
        self.database = Some(backend);
        self
    }

    /// Gives what exposes the services of a topology with `[exposure]`.
    #[must_use]
    pub fn with_exposure(mut self, backend: Arc<dyn Exposure>) -> Self {
        self.exposure = Some(backend);
        self
    }

    /// Gives the artifact store of a topology with `[artifacts]`.
    #[must_use]
    pub fn with_artifacts(mut self, backend: Arc<dyn ArtifactStore>) -> Self {
        self.artifacts = Some(backend);
        self
    }

    /// Gives what drives the pulled work of a node with `[node.work]`, by the node's name.
    #[must_use]
    pub fn with_work(mut self, node: impl Into<String>, backend: Arc<dyn Workload>) -> Self {
        self.work.insert(node.into(), backend);
        self
    }

    /// Gives what leads consumers to one of the sites, of a topology with `[switch]`.
    #[must_use]
    pub fn with_switch(mut self, backend: Arc<dyn SiteSwitch>) -> Self {
        self.switch = Some(backend);
        self
    }

    /// Gives the fence of a site with `[site.fence]`, by the site's name.
    #[must_use]
    pub fn with_fence(mut self, site: impl Into<String>, backend: Arc<dyn Fence>) -> Self {
        self.fences.insert(site.into(), backend);
        self
    }

    /// Gives what drives the database's copy in a site with `[site.replica]`, by the site's name.
    #[must_use]
    pub fn with_replica(mut self, site: impl Into<String>, backend: Arc<dyn Replica>) -> Self {
        self.replicas.insert(site.into(), backend);
        self
    }

    /// Gives what installs on a node with `[node.provision]`, by the node's name.
    #[must_use]
    pub fn with_provisioner(mut self, node: impl Into<String>, backend: Arc<dyn Provisioner>) -> Self {
        self.provision.insert(node.into(), backend);
        self
    }

    /// Gives journal and lease. Several controllers of one cluster must share them.
    #[must_use]
    pub fn with_store(mut self, journal: Arc<dyn Journal>, lease: Arc<dyn Lease>) -> Self {
        self.journal = journal;
        self.lease = lease;
        self
    }

    /// Names this controller, for the lease and the journal. Default `controller`.
    #[must_use]
    pub fn with_owner(mut self, owner: impl Into<String>) -> Self {
        self.owner = owner.into();
        self
    }

    /// Builds the engine.
    ///
    /// # Errors
    /// [`BuildError`] when a backend is missing, or was given for a name that the topology does not have.
    pub fn build(self) -> Result<Engine, BuildError> {
        let topology = &self.topology;
        let balancers = in_order(topology, Role::Balancer, "balancer", "with_balancer", self.balancers)?;
        let hosts = in_order(topology, Role::Host, "host", "with_host", self.hosts)?;
        let probes = in_order(topology, Role::Probe, "probe", "with_probe", self.probes)?;
        let switch = where_declared(topology, Role::Switch, "site switch", "with_switch", self.switch)?;
        let fences = of_each(topology, Role::Fence, "fence", "with_fence", self.fences)?;
        let replicas = of_each(topology, Role::Replica, "replica", "with_replica", self.replicas)?;
        let work = of_each(topology, Role::Work, "workload", "with_work", self.work)?;
        let provision = of_each(topology, Role::Provision, "provisioner", "with_provisioner", self.provision)?;
        let files = where_declared(topology, Role::Files, "file sync", "with_files", self.files)?;
        let database = where_declared(topology, Role::Database, "database", "with_database", self.database)?;
        let exposure = where_declared(topology, Role::Exposure, "exposure", "with_exposure", self.exposure)?;
        let artifacts = where_declared(topology, Role::Artifacts, "artifact store", "with_artifacts", self.artifacts)?;
        let shared = Shared {
            topology: Arc::new(self.topology),
            balancers,
            hosts,
            probes,
            files,
            database,
            exposure,
            artifacts,
            work,
            switch,
            fences,
            replicas,
            provision,
            journal: self.journal,
            lease: self.lease,
            owner: self.owner,
        };
        Ok(Engine { shared: Arc::new(shared) })
    }
}

/// Returns the backends of a role in the order of their owners.
fn in_order<T: ?Sized>(
    topology: &Topology,
    role: Role,
    what: &'static str,
    method: &'static str,
    mut given: BTreeMap<String, Arc<T>>,
) -> Result<Vec<Arc<T>>, BuildError> {
    let mut take =
        |name: &str| given.remove(name).ok_or_else(|| BuildError::Missing { what, name: name.into(), method });
    let declared = topology.components(role).into_iter();
    let ordered = declared.map(|declared| take(declared.name.as_str())).collect::<Result<Vec<_>, _>>()?;
    match given.into_keys().next() {
        Some(name) => Err(BuildError::Unknown { what, name }),
        None => Ok(ordered),
    }
}

/// Returns the backends of a role that not every node, or not every site, has: one entry for each.
fn of_each<T: ?Sized>(
    topology: &Topology,
    role: Role,
    what: &'static str,
    method: &'static str,
    given: BTreeMap<String, Arc<T>>,
) -> Result<Vec<Option<Arc<T>>>, BuildError> {
    let mut given = in_order(topology, role, what, method, given)?.into_iter();
    let has: Vec<bool> = match role.owner() {
        Owner::Site => topology.sites.iter().map(|site| site.component(role).is_some()).collect(),
        Owner::Cluster | Owner::Balancer | Owner::Node => {
            topology.nodes.iter().map(|node| node.component(role).is_some()).collect()
        }
    };
    Ok(has.into_iter().map(|has| if has { given.next() } else { None }).collect())
}

/// Returns the backend of a role of the cluster itself, where it is declared.
fn where_declared<T>(
    topology: &Topology,
    role: Role,
    what: &'static str,
    method: &'static str,
    given: Option<T>,
) -> Result<Option<T>, BuildError> {
    match (!topology.components(role).is_empty(), &given) {
        (true, None) => Err(BuildError::Missing { what, name: "the cluster".into(), method }),
        (false, Some(_)) => Err(BuildError::Unknown { what, name: "the cluster".into() }),
        (true, Some(_)) | (false, None) => Ok(given),
    }
}
