use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use ha_core::backend::{Database, FileSync, Host, LoadBalancer, Probe, Workload};
use ha_core::topology::{Component, SettingErrors, Topology};

use crate::backends::Backends;
use crate::error::{ConnectError, ConnectErrors, Place};
use crate::shared;

/// What a factory builds a backend from.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Part<'a> {
    /// The whole cluster.
    pub topology: &'a Topology,
    /// The balancer's or the node's name; the cluster's for files and databases.
    pub name: &'a str,
    /// The backend's name and its settings. Read them with [`Settings`](ha_core::topology::Settings).
    pub component: &'a Component,
}

type Factory<T> = Arc<dyn Fn(Part<'_>) -> Result<Arc<T>, SettingErrors> + Send + Sync>;

/// The factories of one kind of backend, by the names that a topology uses.
struct Factories<T: ?Sized> {
    known: BTreeMap<String, Factory<T>>,
    /// Names of backends of this workspace, each with the feature of `ha-backends` that has it.
    ours: &'static [(&'static str, &'static str)],
}

impl<T: ?Sized> Factories<T> {
    fn new(ours: &'static [(&'static str, &'static str)]) -> Self {
        Self { known: BTreeMap::new(), ours }
    }

    fn insert(
        &mut self,
        name: impl Into<String>,
        factory: impl Fn(Part<'_>) -> Result<Arc<T>, SettingErrors> + Send + Sync + 'static,
    ) {
        self.known.insert(name.into(), Arc::new(factory));
    }

    /// Builds one backend, or notes why it cannot be built.
    fn build(&self, key: &str, part: Part<'_>, wrong: &mut Vec<ConnectError>) -> Option<Arc<T>> {
        let (component, backend) = (part.component, part.component.backend.as_str());
        let place = |key: String, setting: &str| Place { line: component.line_of(setting), key };
        let Some(factory) = self.known.get(backend) else {
            let place = place(format!("{key}.backend"), "backend");
            let feature = self.ours.iter().find(|(name, _)| *name == backend).map(|(_, feature)| *feature);
            let backend = backend.to_string();
            wrong.push(match feature {
                Some(feature) => ConnectError::FeatureOff { place, backend, feature },
                None => ConnectError::UnknownBackend { place, backend, known: self.known.keys().cloned().collect() },
            });
            return None;
        };
        let refused = match factory(part) {
            Ok(built) => return Some(built),
            Err(refused) => refused,
        };
        wrong.extend(refused.errors().iter().map(|error| ConnectError::Setting {
            place: place(format!("{key}.{}", error.key()), error.key()),
            what: error.what().into(),
        }));
        None
    }
}

impl<T: ?Sized> Clone for Factories<T> {
    fn clone(&self) -> Self {
        Self { known: self.known.clone(), ours: self.ours }
    }
}

impl<T: ?Sized> fmt::Debug for Factories<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.known.keys()).finish()
    }
}

/// The backends that a topology may name, each with what builds it. A value: nothing registers itself.
///
/// # Examples
///
/// A balancer of another crate, named in TOML as `backend = "mine"`:
///
/// ```
/// use std::sync::Arc;
/// use ha_backends::Registry;
/// # use ha_core::backend::LoadBalancer;
/// use ha_core::topology::Settings;
/// # fn connect_to(_: String) -> Arc<dyn LoadBalancer> { unreachable!() }
///
/// let registry = Registry::builtin().with_balancer("mine", |part| {
///     let mut settings = Settings::of(part.component);
///     let address = settings.required_text("address");
///     settings.finish(address).map(connect_to)
/// });
/// ```
#[derive(Clone, Debug)]
pub struct Registry {
    balancers: Factories<dyn LoadBalancer>,
    hosts: Factories<dyn Host>,
    probes: Factories<dyn Probe>,
    files: Factories<dyn FileSync>,
    databases: Factories<dyn Database>,
    work: Factories<dyn Workload>,
}

impl Registry {
    /// Makes a registry without any backend.
    pub fn empty() -> Self {
        const PROBE: &str = "probe";
        Self {
            balancers: Factories::new(&[("haproxy", "haproxy"), ("local", "local")]),
            hosts: Factories::new(&[("local", "local"), ("ssh", "ssh")]),
            probes: Factories::new(&[("http", PROBE), ("tcp", PROBE), ("command", PROBE), ("log", PROBE)]),
            files: Factories::new(&[]),
            databases: Factories::new(&[]),
            work: Factories::new(&[]),
        }
    }

    /// Makes a registry of the backends that the features compiled in.
    pub fn builtin() -> Self {
        #[allow(unused_mut, reason = "without features there is none")]
        let mut registry = Self::empty();
        #[cfg(feature = "haproxy")]
        registry.balancers.insert("haproxy", |part: Part<'_>| {
            let config = ha_haproxy::HaProxyConfig::from_component(part.component)?;
            Ok(Arc::new(ha_haproxy::HaProxy::new(config)) as Arc<dyn LoadBalancer>)
        });
        #[cfg(feature = "local")]
        {
            registry.balancers.insert("local", |part: Part<'_>| {
                Ok(Arc::new(ha_local::LocalBalancer::from_component(part.component)?) as Arc<dyn LoadBalancer>)
            });
            registry.hosts.insert("local", |part: Part<'_>| {
                let config = ha_local::LocalHostConfig::from_component(part.component)?;
                Ok(Arc::new(ha_local::LocalHost::new(config)) as Arc<dyn Host>)
            });
        }
        #[cfg(feature = "ssh")]
        registry.hosts.insert("ssh", |part: Part<'_>| {
            let config = ha_ssh::SshHostConfig::from_component(part.component)?;
            Ok(Arc::new(ha_ssh::SshHost::new(config)) as Arc<dyn Host>)
        });
        #[cfg(feature = "probe")]
        for kind in ha_probe::BACKENDS {
            registry.probes.insert(*kind, |part: Part<'_>| ha_probe::from_component(part.component));
        }
        registry
    }

    /// Builds the balancers with this name by `factory`.
    #[must_use]
    pub fn with_balancer(
        mut self,
        name: impl Into<String>,
        factory: impl Fn(Part<'_>) -> Result<Arc<dyn LoadBalancer>, SettingErrors> + Send + Sync + 'static,
    ) -> Self {
        self.balancers.insert(name, factory);
        self
    }

    /// Builds the hosts with this name by `factory`.
    #[must_use]
    pub fn with_host(
        mut self,
        name: impl Into<String>,
        factory: impl Fn(Part<'_>) -> Result<Arc<dyn Host>, SettingErrors> + Send + Sync + 'static,
    ) -> Self {
        self.hosts.insert(name, factory);
        self
    }

    /// Builds the probes with this name by `factory`.
    #[must_use]
    pub fn with_probe(
        mut self,
        name: impl Into<String>,
        factory: impl Fn(Part<'_>) -> Result<Arc<dyn Probe>, SettingErrors> + Send + Sync + 'static,
    ) -> Self {
        self.probes.insert(name, factory);
        self
    }

    /// Builds the file sync with this name by `factory`.
    #[must_use]
    pub fn with_files(
        mut self,
        name: impl Into<String>,
        factory: impl Fn(Part<'_>) -> Result<Arc<dyn FileSync>, SettingErrors> + Send + Sync + 'static,
    ) -> Self {
        self.files.insert(name, factory);
        self
    }

    /// Builds the database with this name by `factory`.
    #[must_use]
    pub fn with_database(
        mut self,
        name: impl Into<String>,
        factory: impl Fn(Part<'_>) -> Result<Arc<dyn Database>, SettingErrors> + Send + Sync + 'static,
    ) -> Self {
        self.databases.insert(name, factory);
        self
    }

    /// Builds what drives pulled work with this name by `factory`.
    #[must_use]
    pub fn with_work(
        mut self,
        name: impl Into<String>,
        factory: impl Fn(Part<'_>) -> Result<Arc<dyn Workload>, SettingErrors> + Send + Sync + 'static,
    ) -> Self {
        self.work.insert(name, factory);
        self
    }

    /// Builds the backends that a topology names. Touches nothing: no socket is opened, no process started.
    ///
    /// # Errors
    /// [`ConnectErrors`] with everything that is wrong, in the order of the lines: backends that are not here, settings
    /// that are wrong, two balancers with one socket, two nodes with one home.
    pub fn connect(&self, topology: &Topology) -> Result<Backends, ConnectErrors> {
        let (mut backends, mut wrong) = (Backends::default(), Vec::new());
        for (_, balancer) in topology.balancers() {
            let part = Part { topology, name: balancer.name.as_str(), component: &balancer.component };
            let built = self.balancers.build(&format!("balancer {}", balancer.name), part, &mut wrong);
            backends.balancers.extend(built.map(|built| (balancer.name.to_string(), built)));
        }
        for (_, node) in topology.nodes() {
            let (name, part) = (node.name.as_str(), |component| Part { topology, name: node.name.as_str(), component });
            let host = self.hosts.build(&format!("node {name}.host"), part(&node.host), &mut wrong);
            backends.hosts.extend(host.map(|built| (name.to_string(), built)));
            let probe = self.probes.build(&format!("node {name}.probe"), part(&node.probe), &mut wrong);
            backends.probes.extend(probe.map(|built| (name.to_string(), built)));
            if let Some(work) = &node.work {
                let work = self.work.build(&format!("node {name}.work"), part(work), &mut wrong);
                backends.work.extend(work.map(|built| (name.to_string(), built)));
            }
        }
        let part = |component| Part { topology, name: topology.name().as_str(), component };
        if let Some(files) = topology.files() {
            backends.files = self.files.build("files", part(files), &mut wrong);
        }
        if let Some(database) = topology.database() {
            backends.database = self.databases.build("database", part(database), &mut wrong);
        }
        wrong.extend(shared::find(topology));
        if wrong.is_empty() { Ok(backends) } else { Err(ConnectErrors::new(wrong)) }
    }
}

/// Builds the backends that a topology names, from those that the features compiled in: [`Registry::connect`] of
/// [`Registry::builtin`].
///
/// # Errors
/// As [`Registry::connect`].
pub fn connect(topology: &Topology) -> Result<Backends, ConnectErrors> {
    Registry::builtin().connect(topology)
}
