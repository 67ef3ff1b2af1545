use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ha_core::backend::{Admin, ErrorKind, StepError};
use ha_core::engine::{Engine, EngineBuilder};
use ha_core::journal::MemoryStore;
use ha_core::procedure::{PatchRequest, ReleaseFacts, UpdateRequest, UpgradeRequest};
use ha_core::state::{
    Copies, Generation, Schema, SchemaChange, SchemaRange, SchemaVerdict, ServerDomain, Sync, Work, WriterEpoch,
};
use ha_core::topology::{Role, Topology, TopologyError};
use tokio::time::Instant;

use super::artifact::Artifacts;
use super::clone::{FakeCopies, FakeTable};
use super::controller::ReachedStore;
use super::database::FakeScripts;
use super::exposure::Routes;
use super::health::Health;
use super::model::{FakeNode, Inner, Life, Members, members_of_pool, runs_at_rest};
use super::site::Sites;
use super::{
    Clients, Controller, FakeArtifacts, FakeBalancer, FakeDatabase, FakeExposure, FakeFence, FakeFiles, FakeHost,
    FakeProbe, FakeProvisioner, FakeReplica, FakeSwitch, FakeWorkload,
};

/// One simulated cluster. Cheap to clone; clones share the world.
///
/// # Examples
///
/// ```
/// use ha_core::topology::TopologyError;
/// use ha_testkit::world::Shape;
///
/// # fn main() -> Result<(), TopologyError> {
/// # tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap().block_on(async {
/// let world = Shape::active_active(3, 1000).world()?;
/// let planned = world.engine().plan(&world.patch_to("2.0")).await.unwrap();
/// assert_eq!(planned.plan().procedure(), "patch");
/// assert_eq!(world.installed("esb1").as_deref(), Some("1.0")); // a plan changes nothing
/// # Ok(())
/// # })
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct World {
    pub(crate) inner: Arc<Mutex<Inner>>,
    topology: Topology,
    store: Arc<MemoryStore>,
}

impl World {
    /// Makes the world of a topology: every member serves release 1.0 as its role says, every spare is installed and
    /// stopped. In each pool the first `serve` members are primary, all others backup.
    ///
    /// # Errors
    /// What is wrong in the topology.
    pub fn from_toml_str(text: &str) -> Result<Self, TopologyError> {
        Topology::from_toml_str(text).map(Self::new)
    }

    /// Makes the world of a topology, as [`from_toml_str`](Self::from_toml_str) does.
    pub fn new(topology: Topology) -> Self {
        let mut inner = Inner {
            nodes: BTreeMap::new(),
            waiting: BTreeMap::new(),
            balancers: BTreeMap::new(),
            restarts: BTreeMap::new(),
            kills: BTreeMap::new(),
            gone: BTreeMap::new(),
            began: topology.balancers().map(|(_, balancer)| (balancer.name.to_string(), Instant::now())).collect(),
            faults: BTreeMap::new(),
            lasting: BTreeMap::new(),
            fired: Vec::new(),
            calls: BTreeMap::new(),
            lives: 0,
            epoch: 0,
            schema: Schema::Base,
            scripts: FakeScripts::default(),
            copies: FakeCopies::default(),
            schema_change: SchemaChange::new(SchemaVerdict::Splittable, "scripts"),
            routes: BTreeMap::new(),
            artifacts: Artifacts::of(&topology),
            sites: Sites::of(&topology),
            health: Health::default(),
            deployed: Vec::new(),
        };
        let now = Instant::now();
        let writer = topology.members().last().map(|(index, _)| index).filter(|_| topology.files().is_some());
        for (index, node) in topology.nodes() {
            inner.lives += 1;
            let writes = writer == Some(index);
            let life = Life { number: inner.lives, release: "1.0".into(), ready_at: now };
            let fake = FakeNode {
                installed: "1.0".into(),
                damaged: false,
                absent: false,
                configuration: "c1".into(),
                on_clone: false,
                stop_budget: None,
                missing: BTreeSet::new(),
                process: runs_at_rest(&topology, node).then_some(life),
                stopping: false,
                start_delay: Duration::from_secs(2),
                never_ready: false,
                said_down_until: None,
                fails_test_of: None,
                host_lost: false,
                generation: topology.files().map(|_| Generation::new(1, "g1")),
                sync: if topology.files().is_none() || writes { Sync::None } else { Sync::Active },
                writer: WriterEpoch::new(u64::from(writes)),
                seen_writer: WriterEpoch::new(u64::from(writer.is_some())),
                work: if node.component(Role::Work).is_some() { Work::On } else { Work::None },
                quiesced: false,
                work_held: false,
                domain: ServerDomain::Production,
                passed: None,
                applied: 0,
            };
            let mut fake: FakeNode = fake;
            fake.pass_test();
            inner.nodes.insert(node.name.to_string(), fake);
        }
        for (_, balancer) in topology.balancers() {
            inner.balancers.insert(balancer.name.to_string(), Members::new());
            inner.routes.insert(balancer.name.to_string(), Routes::default());
        }
        for (index, pool) in topology.pools() {
            for balancer in &pool.balancers {
                let members = members_of_pool(&topology, index);
                inner.balancers.entry(topology.balancer(*balancer).name.to_string()).or_default().extend(members);
            }
        }
        let inner = Arc::new(Mutex::new(inner));
        Self { inner, topology, store: Arc::new(MemoryStore::new()) }
    }

    /// Makes a world of one active node, one passive and one spare behind one balancer.
    ///
    /// # Panics
    /// Never: its topology is valid.
    #[allow(clippy::expect_used, reason = "a fixed text, held by a test")]
    pub fn active_passive() -> Self {
        Self::from_toml_str(ACTIVE_PASSIVE).expect("the built-in topology is valid")
    }

    /// Returns the topology.
    pub fn topology(&self) -> &Topology {
        &self.topology
    }

    /// Builds an engine over the world's fakes. All engines of one world share its journal and lease.
    ///
    /// # Panics
    /// Never: the world has a fake for every component.
    pub fn engine(&self) -> Engine {
        self.engine_of(&Controller::new())
    }

    /// Builds the engine of a controller that can die.
    ///
    /// # Panics
    /// Never: the world has a fake for every component.
    #[allow(clippy::expect_used, reason = "the world has a fake for every component")]
    pub fn engine_of(&self, controller: &Controller) -> Engine {
        self.builder(controller).build().expect("the world has a fake for every component")
    }

    /// Begins the engine of a controller over the world's fakes; the caller may give another journal.
    pub fn builder(&self, controller: &Controller) -> EngineBuilder {
        self.builder_for(self.topology.clone(), controller)
    }

    /// The same with another topology of the same nodes, as an operator has edited it.
    pub fn builder_for(&self, topology: Topology, controller: &Controller) -> EngineBuilder {
        let store = Arc::new(ReachedStore {
            store: self.store.clone(),
            controller: controller.clone(),
            topology: topology.clone(),
        });
        let mut builder = Engine::builder(topology).with_store(store.clone(), store);
        for (_, balancer) in self.topology.balancers() {
            let name = balancer.name.to_string();
            let fake = FakeBalancer::new(self.clone(), controller.clone(), name.clone());
            builder = builder.with_balancer(name, Arc::new(fake));
        }
        for (_, node) in self.topology.nodes() {
            let name = node.name.to_string();
            let host = FakeHost::new(self.clone(), controller.clone(), name.clone());
            let probe = FakeProbe::new(self.clone(), controller.clone(), name.clone());
            if node.component(Role::Work).is_some() {
                let work = FakeWorkload::new(self.clone(), controller.clone(), name.clone());
                builder = builder.with_work(name.clone(), Arc::new(work));
            }
            if node.component(Role::Provision).is_some() {
                let provisioner = FakeProvisioner::new(self.clone(), controller.clone(), name.clone());
                builder = builder.with_provisioner(name.clone(), Arc::new(provisioner));
            }
            builder = builder.with_host(name.clone(), Arc::new(host)).with_probe(name, Arc::new(probe));
        }
        if self.topology.files().is_some() {
            builder = builder.with_files(Arc::new(FakeFiles::new(self.clone(), controller.clone())));
        }
        if self.topology.database().is_some() {
            builder = builder.with_database(Arc::new(FakeDatabase::new(self.clone(), controller.clone())));
        }
        if self.topology.exposure().is_some() {
            builder = builder.with_exposure(Arc::new(FakeExposure::new(self.clone(), controller.clone())));
        }
        if self.topology.artifacts().is_some() {
            builder = builder.with_artifacts(Arc::new(FakeArtifacts::new(self.clone(), controller.clone())));
        }
        if self.topology.switch().is_some() {
            builder = builder.with_switch(Arc::new(FakeSwitch::new(self.clone(), controller.clone())));
        }
        for site in self.topology.sites() {
            let name = site.name.to_string();
            if site.component(Role::Fence).is_some() {
                let fence = FakeFence::new(self.clone(), controller.clone(), name.clone());
                builder = builder.with_fence(name.clone(), Arc::new(fence));
            }
            if site.component(Role::Replica).is_some() {
                let replica = FakeReplica::new(self.clone(), controller.clone(), name.clone());
                builder = builder.with_replica(name, Arc::new(replica));
            }
        }
        builder
    }

    /// Returns the world's journal and lease.
    pub fn store(&self) -> Arc<MemoryStore> {
        self.store.clone()
    }

    /// Asks for a patch that the fake hosts understand.
    pub fn patch_to(&self, release: &str) -> PatchRequest {
        PatchRequest::new(release, vec!["patch".into(), "apply".into()], vec!["patch".into(), "restore".into()])
            .with_beside("1.0")
    }

    /// Asks for an update to a set of shared files that the fake hosts can deploy.
    pub fn update_to(&self, sequence: u64) -> UpdateRequest {
        UpdateRequest::new(Generation::new(sequence, format!("g{sequence}")), vec!["deploy".into()])
    }

    /// Asks for a version upgrade over the fake database, with a contraction at its end.
    pub fn upgrade_to(&self, release: &str) -> UpgradeRequest {
        let old = ReleaseFacts::new("1.0").with_schema(SchemaRange::OLD);
        let new = ReleaseFacts::new(release).with_schema(SchemaRange::NEW);
        UpgradeRequest::new(self.patch_to(release).with_facts(old).with_facts(new))
    }

    /// Sets what the review of the fake database says of the scripts that wait. At first they can be split into those that add and
    /// those that remove.
    pub fn set_schema_change(&self, change: SchemaChange) {
        self.lock().schema_change = change;
    }

    /// Returns how the database and its clone are.
    pub fn copies(&self) -> Copies {
        self.lock().copies.copies()
    }

    /// Counts the rows of all tables of the database and of its clone.
    pub fn rows(&self) -> (usize, usize) {
        let inner = self.lock();
        let count = |tables: &[FakeTable]| tables.iter().map(|table| table.rows.len()).sum();
        (count(&inner.copies.source), count(&inner.copies.clone))
    }

    /// Lets the next copy of the database lack a row.
    pub fn lose_a_row_of_the_copy(&self) {
        self.lock().copies.loses_a_row = true;
    }

    /// Opens a transaction that has written to the database, or ends it.
    pub fn hold_write(&self, held: bool) {
        let mut inner = self.lock();
        if let Some(row) = inner.copies.uncommitted.take() {
            inner.copies.write(false, row);
        }
        inner.copies.uncommitted = held.then_some(4711);
    }

    /// Puts something into the database that is declared for the clone.
    pub fn occupy_clone(&self) {
        let other = FakeTable { name: "others", rows: vec![1], frozen: false };
        self.lock().copies.clone.push(other);
    }

    /// Returns the state of the shared database's schema.
    pub fn schema(&self) -> Schema {
        self.lock().schema
    }

    /// Returns the number of the set of shared files on a node; `None` for half a set.
    pub fn generation(&self, node: &str) -> Option<u64> {
        self.lock().nodes.get(node)?.generation.as_ref().map(|generation| generation.sequence)
    }

    /// Returns the nodes that may write shared files.
    pub fn writers(&self) -> Vec<String> {
        let inner = self.lock();
        let writers = inner.nodes.iter().filter(|(_, node)| node.writer > WriterEpoch::default());
        writers.map(|(name, _)| name.clone()).collect()
    }

    /// Returns the state of the file sync into a node, and its pulled work.
    pub fn shared(&self, node: &str) -> Option<(Sync, Work)> {
        self.lock().nodes.get(node).map(|node| (node.sync, node.work))
    }

    /// Starts simulated clients.
    pub fn clients(&self) -> Clients {
        self.clients_every(Duration::from_millis(10))
    }

    /// Starts simulated clients that send over each balancer every so often.
    pub fn clients_every(&self, pause: Duration) -> Clients {
        Clients::start(self.clone(), pause, None)
    }

    /// Starts simulated clients that send to one site, wherever consumers are led: those that have not heard of a switch.
    pub fn clients_of_site(&self, site: &str, pause: Duration) -> Clients {
        Clients::start(self.clone(), pause, Some(site.into()))
    }

    /// Returns the release that is installed on a node, or `None` for an unknown node, a damaged installation or none.
    pub fn installed(&self, node: &str) -> Option<String> {
        let inner = self.lock();
        inner.nodes.get(node).filter(|node| !node.damaged && !node.absent).map(|node| node.installed.clone())
    }

    /// Returns how often the command of a change was carried out on a node.
    pub fn applied(&self, node: &str) -> u32 {
        self.lock().nodes.get(node).map_or(0, |node| node.applied)
    }

    /// Returns whether a node's server runs.
    pub fn runs(&self, node: &str) -> bool {
        self.lock().nodes.get(node).is_some_and(|node| node.process.is_some())
    }

    /// Returns the state of a node on a balancer, seen from inside, in the first of its pools there.
    pub fn admin(&self, balancer: &str, node: &str) -> Option<Admin> {
        let inner = self.lock();
        inner.balancers.get(balancer)?.iter().find(|fake| fake.node == node).map(|fake| fake.admin)
    }

    /// Lists the state of a node on every balancer in every pool, seen from inside.
    pub fn admins(&self, node: &str) -> Vec<Admin> {
        let inner = self.lock();
        inner.balancers.values().flatten().filter(|fake| fake.node == node).map(|fake| fake.admin).collect()
    }

    /// Copies the world: what happens to the copy does not happen to the original.
    pub(crate) fn copied(&self) -> Self {
        let inner = Arc::new(Mutex::new(self.lock().clone()));
        Self { inner, topology: self.topology.clone(), store: Arc::new(MemoryStore::new()) }
    }

    /// Returns the world's own state, for those who watch it from outside.
    pub(crate) fn truth(&self) -> MutexGuard<'_, Inner> {
        self.lock()
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Refuses a lower epoch than the highest seen, and remembers a higher one.
    pub(crate) fn fence(&self, epoch: u64, operation: &'static str, target: &str) -> Result<(), StepError> {
        let mut inner = self.lock();
        if epoch < inner.epoch {
            let seen = inner.epoch;
            return Err(StepError::new(ErrorKind::Fenced, operation, target)
                .with_context(format!("epoch {seen} was seen, this call has {epoch}: a newer controller acts"))
                .without_effect());
        }
        inner.epoch = epoch;
        Ok(())
    }

    pub(super) fn change(&self, node: &str, change: impl FnOnce(&mut FakeNode)) {
        if let Some(node) = self.lock().nodes.get_mut(node) {
            change(node);
        }
    }
}

const ACTIVE_PASSIVE: &str = r#"
[cluster]
name = "orders"

[policy]
peak_load = 1000
soak = "2s"
drain_deadline = "10s"
ready_deadline = "30s"
stop_deadline = "30s"

[pool]
name = "esb"
serve = 1

[[balancer]]
name = "lb1"
backend = "fake"

[[node]]
name = "esb1"
capacity = 1000
[node.host]
backend = "fake"
[node.probe]
backend = "fake"

[[node]]
name = "esb2"
capacity = 1000
[node.host]
backend = "fake"
[node.probe]
backend = "fake"

[[node]]
name = "spare1"
capacity = 1000
spare = true
[node.host]
backend = "fake"
[node.probe]
backend = "fake"
"#;
