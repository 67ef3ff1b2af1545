use std::collections::BTreeMap;
use std::sync::Arc;

use super::error::BuildError;
use crate::backend::{Database, FileSync, Host, LoadBalancer, MemberRef, Probe, Workload};
use crate::journal::{Journal, Lease, MemoryStore};
use crate::machine::rotation::Place;
use crate::topology::{BalancerIx, MemberIx, NodeIx, Port, Topology};

/// Changes one cluster: it observes, plans, proves and runs.
///
/// Cheap to clone. Needs a tokio runtime with time enabled.
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
    pub(super) work: Vec<Option<Arc<dyn Workload>>>,
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
#[derive(Debug)]
pub struct EngineBuilder {
    topology: Topology,
    balancers: BTreeMap<String, Arc<dyn LoadBalancer>>,
    hosts: BTreeMap<String, Arc<dyn Host>>,
    probes: BTreeMap<String, Arc<dyn Probe>>,
    files: Option<Arc<dyn FileSync>>,
    database: Option<Arc<dyn Database>>,
    work: BTreeMap<String, Arc<dyn Workload>>,
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
            work: BTreeMap::new(),
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

    /// Gives what drives the pulled work of a node with `[node.work]`, by the node's name.
    #[must_use]
    pub fn with_work(mut self, node: impl Into<String>, backend: Arc<dyn Workload>) -> Self {
        self.work.insert(node.into(), backend);
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
        let balancer_names = topology.balancers.iter().map(|balancer| balancer.name.as_str());
        let node_names: Vec<&str> = topology.nodes.iter().map(|node| node.name.as_str()).collect();
        let balancers = in_order("balancer", "with_balancer", balancer_names, self.balancers)?;
        let hosts = in_order("host", "with_host", node_names.iter().copied(), self.hosts)?;
        let probes = in_order("probe", "with_probe", node_names.iter().copied(), self.probes)?;
        let pulling: Vec<&str> =
            topology.nodes.iter().filter(|node| node.work.is_some()).map(|node| node.name.as_str()).collect();
        let mut workloads = in_order("workload", "with_work", pulling.into_iter(), self.work)?.into_iter();
        let work = topology.nodes.iter().map(|node| node.work.as_ref().and_then(|_| workloads.next())).collect();
        let files = where_declared("file sync", "with_files", topology.files.is_some(), self.files)?;
        let database = where_declared("database", "with_database", topology.database.is_some(), self.database)?;
        let shared = Shared {
            topology: Arc::new(self.topology),
            balancers,
            hosts,
            probes,
            files,
            database,
            work,
            journal: self.journal,
            lease: self.lease,
            owner: self.owner,
        };
        Ok(Engine { shared: Arc::new(shared) })
    }
}

fn in_order<'a, T: ?Sized>(
    what: &'static str,
    method: &'static str,
    names: impl Iterator<Item = &'a str>,
    mut given: BTreeMap<String, Arc<T>>,
) -> Result<Vec<Arc<T>>, BuildError> {
    let take = |name: &str| given.remove(name).ok_or_else(|| BuildError::Missing { what, name: name.into(), method });
    let ordered = names.map(take).collect::<Result<Vec<_>, _>>()?;
    match given.into_keys().next() {
        Some(name) => Err(BuildError::Unknown { what, name }),
        None => Ok(ordered),
    }
}

fn where_declared<T>(
    what: &'static str,
    method: &'static str,
    declared: bool,
    given: Option<T>,
) -> Result<Option<T>, BuildError> {
    match (declared, &given) {
        (true, None) => Err(BuildError::Missing { what, name: "the cluster".into(), method }),
        (false, Some(_)) => Err(BuildError::Unknown { what, name: "the cluster".into() }),
        (true, Some(_)) | (false, None) => Ok(given),
    }
}
