use std::sync::Arc;

use ha_core::backend::{
    ArtifactStore, Database, Exposure, Fence, FileSync, Host, LoadBalancer, Probe, Provisioner, Replica, SiteSwitch,
    Workload,
};
use ha_core::engine::{Engine, EngineBuilder};
use ha_core::topology::{Component, Role, SettingErrors, Topology};

use crate::error::{ConnectError, ConnectErrors};
use crate::roles::{Factories, roles};
use crate::shared;

/// What a factory builds a backend from.
///
/// # Examples
///
/// ```
/// use ha_backends::Part;
/// use ha_core::topology::{SettingErrors, Settings};
///
/// /// What a factory of one's own does first.
/// fn address_of(part: Part<'_>) -> Result<String, SettingErrors> {
///     let mut settings = Settings::of(part.component);
///     let address = settings.required_text("address");
///     settings.finish(address)
/// }
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Part<'a> {
    /// The whole cluster.
    pub topology: &'a Topology,
    /// The balancer's, the node's or the site's name; the cluster's for files, databases, exposures and artifacts.
    pub name: &'a str,
    /// The backend's name and its settings. Read them with [`Settings`](ha_core::topology::Settings).
    pub component: &'a Component,
    /// The hosts of the nodes, for what acts over them; those that could not be built are missing, and reported.
    pub hosts: &'a [(String, Arc<dyn Host>)],
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
    factories: ByRole,
}

const PROBE: &str = "probe";
/// One of them: each has a driver.
const MIGRATE: &str = "migrate-postgres, migrate-mariadb or migrate-sqlite";

/// The commands, and one of the drivers.
const QUERY: &str = "local and one of migrate-postgres, migrate-mariadb and migrate-sqlite";

roles! {
    each {
        balancers: LoadBalancer, Balancer, with_balancer, "drives a balancer instance",
            [("haproxy", "haproxy"), ("local", "local")];
        hosts: Host, Host, with_host, "drives a node's host",
            [("local", "local"), ("ssh", "ssh")];
        probes: Probe, Probe, with_probe, "probes a node",
            [("http", PROBE), ("tcp", PROBE), ("command", PROBE), ("log", PROBE)];
        work: Workload, Work, with_work, "drives a node's pulled work", [("command", "local"), ("query", QUERY)];
        fences: Fence, Fence, with_fence, "fences a site", [("command", "local")];
        replicas: Replica, Replica, with_replica, "drives a site's copy of the database",
            [("command", "local"), ("postgres", "migrate-postgres")];
        provision: Provisioner, Provision, with_provisioner, "installs on a node", [("command", "local")];
    }
    cluster {
        files: FileSync, Files, with_files, "shares files",
            [("local", "local"), ("rsync", "rsync")];
        database: Database, Database, with_database, "drives the database", [("migrate", MIGRATE), ("command", "local")];
        exposure: Exposure, Exposure, with_exposure, "exposes services to consumers",
            [("haproxy", "haproxy"), ("local", "local"), ("command", "local")];
        artifacts: ArtifactStore, Artifacts, with_artifacts, "keeps sets of shared files",
            [("local", "local"), ("rsync", "rsync")];
        switch: SiteSwitch, Switch, with_switch, "leads consumers to one of the sites",
            [("haproxy", "haproxy"), ("local", "local"), ("command", "local")];
    }
}

impl Registry {
    /// Makes a registry without any backend.
    pub fn empty() -> Self {
        Self { factories: ByRole::empty() }
    }

    /// Makes a registry of the backends that the features compiled in.
    pub fn builtin() -> Self {
        #[allow(unused_mut, reason = "without features there is none")]
        let mut registry = Self::empty();
        #[cfg(feature = "haproxy")]
        {
            registry.factories.balancers.insert(ha_haproxy::NAME, |part: Part<'_>| {
                let config = ha_haproxy::HaProxyConfig::from_component(part.component)?;
                Ok(Arc::new(ha_haproxy::HaProxy::new(config)) as Arc<dyn LoadBalancer>)
            });
            registry.factories.exposure.insert(ha_haproxy::NAME, |part: Part<'_>| {
                let maps = ha_haproxy::MapOn::from_component(part.component, part.topology)?;
                Ok(Arc::new(ha_haproxy::HaProxyExposure::new(maps)) as Arc<dyn Exposure>)
            });
            registry.factories.switch.insert(ha_haproxy::NAME, |part: Part<'_>| {
                let switch = ha_haproxy::HaProxySwitch::from_component(part.component, part.topology)?;
                Ok(Arc::new(switch) as Arc<dyn SiteSwitch>)
            });
        }
        #[cfg(feature = "local")]
        {
            registry.factories.balancers.insert(ha_local::NAME, |part: Part<'_>| {
                Ok(Arc::new(ha_local::LocalBalancer::from_component(part.component)?) as Arc<dyn LoadBalancer>)
            });
            registry.factories.hosts.insert(ha_local::NAME, |part: Part<'_>| {
                let config = ha_local::LocalHostConfig::from_component(part.component)?;
                Ok(Arc::new(ha_local::LocalHost::new(config)) as Arc<dyn Host>)
            });
            registry.factories.files.insert(ha_local::NAME, |part: Part<'_>| {
                let config = ha_local::LocalFilesConfig::from_component(part.component, part.topology)?;
                Ok(Arc::new(ha_local::LocalFiles::new(config)) as Arc<dyn FileSync>)
            });
            registry.factories.exposure.insert(ha_local::NAME, |part: Part<'_>| {
                let exposure = ha_local::LocalExposure::from_component(part.component, part.topology)?;
                Ok(Arc::new(exposure) as Arc<dyn Exposure>)
            });
            registry.factories.exposure.insert("command", |part: Part<'_>| {
                let config = ha_local::CommandExposureConfig::from_component(part.component)?;
                Ok(Arc::new(ha_local::CommandExposure::new(config)) as Arc<dyn Exposure>)
            });
            registry.factories.database.insert("command", |part: Part<'_>| {
                let config = ha_local::CommandDatabaseConfig::from_component(part.component)?;
                Ok(Arc::new(ha_local::CommandDatabase::new(config)) as Arc<dyn Database>)
            });
            registry.factories.switch.insert(ha_local::NAME, |part: Part<'_>| {
                let switch = ha_local::LocalSwitch::from_component(part.component, part.topology)?;
                Ok(Arc::new(switch) as Arc<dyn SiteSwitch>)
            });
            registry.factories.switch.insert("command", |part: Part<'_>| {
                let config = ha_local::CommandSwitchConfig::from_component(part.component, part.topology)?;
                Ok(Arc::new(ha_local::CommandSwitch::new(config)) as Arc<dyn SiteSwitch>)
            });
            registry.factories.fences.insert("command", |part: Part<'_>| {
                let config = ha_local::CommandFenceConfig::from_component(part.component)?;
                Ok(Arc::new(ha_local::CommandFence::new(part.name, config)) as Arc<dyn Fence>)
            });
            registry.factories.replicas.insert("command", |part: Part<'_>| {
                let config = ha_local::CommandReplicaConfig::from_component(part.component, part.topology, part.name)?;
                Ok(Arc::new(ha_local::CommandReplica::new(part.name, config)) as Arc<dyn Replica>)
            });
            registry.factories.provision.insert("command", |part: Part<'_>| {
                let config = ha_local::CommandProvisionerConfig::from_component(part.component)?;
                let provisioner = ha_local::CommandProvisioner::new(part.name, own_host(part)?, config);
                Ok(Arc::new(provisioner) as Arc<dyn Provisioner>)
            });
            registry.factories.work.insert("command", |part: Part<'_>| work_by_commands(part, part.component));
            registry.factories.artifacts.insert(ha_local::NAME, |part: Part<'_>| {
                let config = ha_local::LocalArtifactsConfig::from_component(part.component, part.topology)?;
                Ok(Arc::new(ha_local::LocalArtifacts::new(config)) as Arc<dyn ArtifactStore>)
            });
        }
        #[cfg(any(feature = "migrate-mariadb", feature = "migrate-postgres", feature = "migrate-sqlite"))]
        registry.factories.database.insert(ha_migrate::NAME, |part: Part<'_>| {
            let config = ha_migrate::MigrateConfig::from_component(part.component)?;
            let database = ha_migrate::ConfiguredDatabase::new(config).map_err(|error| refused("url", error))?;
            Ok(Arc::new(database) as Arc<dyn Database>)
        });
        #[cfg(all(
            feature = "local",
            any(feature = "migrate-mariadb", feature = "migrate-postgres", feature = "migrate-sqlite")
        ))]
        registry.factories.work.insert("query", counted_work);
        #[cfg(feature = "migrate-postgres")]
        registry.factories.replicas.insert("postgres", |part: Part<'_>| {
            let config = ha_migrate::PostgresReplicaConfig::from_component(part.component, part.topology, part.name)?;
            let replica = ha_migrate::PostgresReplica::new(config).map_err(|error| refused("url", error))?;
            Ok(Arc::new(replica) as Arc<dyn Replica>)
        });
        #[cfg(feature = "rsync")]
        {
            registry.factories.files.insert(ha_rsync::NAME, |part: Part<'_>| {
                Ok(Arc::new(rsync(part.component, part)?) as Arc<dyn FileSync>)
            });
            registry.factories.artifacts.insert(ha_rsync::NAME, |part: Part<'_>| {
                let files = ha_rsync::RsyncArtifacts::files_of(part.component, part.topology)?;
                // What is wrong with the settings of the file sync is reported as its own.
                let store =
                    rsync(files, part).map_err(|_| refused("backend", "the settings of [files] are refused"))?;
                let store = ha_rsync::RsyncArtifacts::new(store).map_err(|error| refused("backend", error))?;
                Ok(Arc::new(store) as Arc<dyn ArtifactStore>)
            });
        }
        #[cfg(feature = "ssh")]
        registry.factories.hosts.insert("ssh", |part: Part<'_>| {
            let config = ha_ssh::SshHostConfig::from_component(part.component)?;
            Ok(Arc::new(ha_ssh::SshHost::new(config)) as Arc<dyn Host>)
        });
        #[cfg(feature = "probe")]
        for kind in ha_probe::BACKENDS {
            registry.factories.probes.insert(*kind, |part: Part<'_>| ha_probe::from_component(part.component));
        }
        registry
    }

    /// Builds the backends that a topology names. Touches nothing: no socket is opened, no process started.
    ///
    /// # Errors
    /// [`ConnectErrors`] with everything that is wrong, in the order of the lines: backends that are not here, settings
    /// that are wrong, two balancers with one socket, two nodes with one home.
    pub fn connect(&self, topology: &Topology) -> Result<Backends, ConnectErrors> {
        let mut wrong = Vec::new();
        let backends = self.factories.build(topology, &mut wrong);
        wrong.extend(shared::find(topology));
        if wrong.is_empty() { Ok(backends) } else { Err(ConnectErrors::new(wrong)) }
    }
}

/// Builds the backends that a topology names, from those that the features compiled in: [`Registry::connect`] of
/// [`Registry::builtin`].
///
/// # Errors
/// As [`Registry::connect`].
///
/// # Examples
///
/// ```
/// use ha_core::topology::{Component, Name, NodeSpec, PoolSpec, Topology};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let unknown = Component::new(Name::new("haprxy")?);
/// let node = |name| NodeSpec::new(name, 1000, unknown.clone(), unknown.clone());
/// let topology = Topology::builder("orders")
///     .balancer("lb1", unknown.clone())
///     .pool(PoolSpec::new("esb", 1, 1000))
///     .node(node("esb1"))
///     .node(node("esb2"));
/// let refused = ha_backends::connect(&topology.build()?).unwrap_err();
/// assert_eq!(refused.errors().len(), 5); // a balancer, two hosts and two probes, at once
/// # Ok(())
/// # }
/// ```
pub fn connect(topology: &Topology) -> Result<Backends, ConnectErrors> {
    Registry::builtin().connect(topology)
}

/// Finds the host of the node that a part belongs to. One that could not be built is reported as such, and nothing is connected then.
#[cfg(feature = "local")]
fn own_host(part: Part<'_>) -> Result<Arc<dyn Host>, SettingErrors> {
    let host = part.hosts.iter().find(|(name, _)| name == part.name).map(|(_, host)| host.clone());
    host.ok_or_else(|| refused("backend", "the settings of the node's host are refused"))
}

/// Builds the work of a node by commands of its host.
#[cfg(feature = "local")]
fn work_by_commands(part: Part<'_>, component: &Component) -> Result<Arc<dyn Workload>, SettingErrors> {
    let config = ha_local::CommandWorkloadConfig::from_component(component)?;
    Ok(Arc::new(ha_local::CommandWorkload::new(part.name, own_host(part)?, config)))
}

/// Builds the same, where a query counts what is left: the settings of the query are told apart by their keys.
#[cfg(all(
    feature = "local",
    any(feature = "migrate-mariadb", feature = "migrate-postgres", feature = "migrate-sqlite")
))]
fn counted_work(part: Part<'_>) -> Result<Arc<dyn Workload>, SettingErrors> {
    let (mut query, mut commands) = (part.component.clone(), part.component.clone());
    query.settings.retain(|key, _| ha_migrate::LeftQueryConfig::KEYS.contains(&key.as_str()));
    commands.settings.retain(|key, _| !ha_migrate::LeftQueryConfig::KEYS.contains(&key.as_str()));
    let left = ha_migrate::LeftQueryConfig::from_component(&query);
    let (inner, left) = match (work_by_commands(part, &commands), left) {
        (Ok(inner), Ok(left)) => (inner, left),
        (Err(wrong), Err(too)) => return Err(wrong.with(too)),
        (Err(wrong), Ok(_)) | (Ok(_), Err(wrong)) => return Err(wrong),
    };
    let counted = ha_migrate::CountedWorkload::new(part.name, inner, left);
    Ok(Arc::new(counted.map_err(|error| refused("url", error))?))
}

/// Builds the file sharing that a component declares over the hosts that there are.
#[cfg(feature = "rsync")]
fn rsync(component: &Component, part: Part<'_>) -> Result<ha_rsync::Rsync, SettingErrors> {
    let mut config = ha_rsync::RsyncConfig::from_component(component, part.topology)?;
    // A host that could not be built is reported as such, and nothing is connected then.
    config.nodes.retain(|node| part.hosts.iter().any(|(name, _)| *name == node.name.as_str()));
    ha_rsync::Rsync::new(&config, part.hosts).map_err(|error| refused("backend", error))
}

#[cfg(any(
    feature = "local",
    feature = "migrate-mariadb",
    feature = "migrate-postgres",
    feature = "migrate-sqlite",
    feature = "rsync"
))]
fn refused(key: &str, what: impl std::fmt::Display) -> SettingErrors {
    ha_core::topology::SettingError::new(key, what.to_string()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_role_of_a_topology_is_connected() {
        for role in Role::ALL {
            assert_eq!(ByRole::ROLES.iter().filter(|listed| **listed == role).count(), 1, "{role:?}");
        }
    }
}
