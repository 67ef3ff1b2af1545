use std::sync::Arc;

use ha_core::backend::{Host, LoadBalancer, Probe};
use ha_core::engine::{Engine, EngineBuilder};
use ha_core::topology::{Component, Topology};

/// The backends of one topology, by the names of what they drive.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Backends {
    /// One a balancer instance.
    pub balancers: Vec<(String, Arc<dyn LoadBalancer>)>,
    /// One a node.
    pub hosts: Vec<(String, Arc<dyn Host>)>,
    /// One a node.
    pub probes: Vec<(String, Arc<dyn Probe>)>,
}

/// Refuses to build the backends of a topology.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// No backend of this name for this purpose is compiled in.
    #[error("{key}.backend: no backend {backend:?} here; compiled in: {known}; others need a feature of ha-backends")]
    Unknown {
        /// The component, as `node esb1.host`.
        key: String,
        /// The backend's name in the topology.
        backend: String,
        /// The names that would do.
        known: String,
    },
    /// The backend refuses its settings.
    #[error("{key}: {what}")]
    Setting {
        /// The component, as `node esb1.host`.
        key: String,
        /// What the backend says.
        what: String,
    },
}

/// Builds the backends that a topology names. Touches nothing: no socket is opened, no process started.
///
/// # Errors
/// [`ConnectError`], for the first component that cannot be built.
pub fn connect(topology: &Topology) -> Result<Backends, ConnectError> {
    let mut backends = Backends::default();
    for (_, balancer) in topology.balancers() {
        let built = build_balancer(&format!("balancer {}", balancer.name), &balancer.component)?;
        backends.balancers.push((balancer.name.to_string(), built));
    }
    for (_, node) in topology.nodes() {
        let host = build_host(&format!("node {}.host", node.name), &node.host)?;
        backends.hosts.push((node.name.to_string(), host));
        let probe = build_probe(&format!("node {}.probe", node.name), &node.probe)?;
        backends.probes.push((node.name.to_string(), probe));
    }
    Ok(backends)
}

impl Backends {
    /// Begins an engine over these backends.
    pub fn engine(self, topology: Topology) -> EngineBuilder {
        let mut builder = Engine::builder(topology);
        for (name, backend) in self.balancers {
            builder = builder.with_balancer(name, backend);
        }
        for (node, backend) in self.hosts {
            builder = builder.with_host(node, backend);
        }
        for (node, backend) in self.probes {
            builder = builder.with_probe(node, backend);
        }
        builder
    }
}

fn build_balancer(key: &str, component: &Component) -> Result<Arc<dyn LoadBalancer>, ConnectError> {
    match component.backend.as_str() {
        #[cfg(feature = "haproxy")]
        "haproxy" => {
            let config = ha_haproxy::HaProxyConfig::from_component(component).map_err(|error| setting(key, error))?;
            Ok(Arc::new(ha_haproxy::HaProxy::new(config)))
        }
        #[cfg(feature = "local")]
        "local" => {
            let balancer = ha_local::LocalBalancer::from_component(component).map_err(|error| setting(key, error))?;
            Ok(Arc::new(balancer))
        }
        other => {
            Err(unknown(key, other, &[("haproxy", cfg!(feature = "haproxy")), ("local", cfg!(feature = "local"))]))
        }
    }
}

fn build_host(key: &str, component: &Component) -> Result<Arc<dyn Host>, ConnectError> {
    match component.backend.as_str() {
        #[cfg(feature = "local")]
        "local" => {
            let config = ha_local::LocalHostConfig::from_component(component).map_err(|error| setting(key, error))?;
            Ok(Arc::new(ha_local::LocalHost::new(config)))
        }
        #[cfg(feature = "ssh")]
        "ssh" => {
            let config = ha_ssh::SshHostConfig::from_component(component).map_err(|error| setting(key, error))?;
            Ok(Arc::new(ha_ssh::SshHost::new(config)))
        }
        other => Err(unknown(key, other, &[("local", cfg!(feature = "local")), ("ssh", cfg!(feature = "ssh"))])),
    }
}

fn build_probe(key: &str, component: &Component) -> Result<Arc<dyn Probe>, ConnectError> {
    match component.backend.as_str() {
        #[cfg(feature = "probe")]
        kind if ha_probe::BACKENDS.contains(&kind) => {
            ha_probe::from_component(component).map_err(|error| setting(key, error))
        }
        other => {
            Err(unknown(key, other, &["http", "tcp", "command", "log"].map(|kind| (kind, cfg!(feature = "probe")))))
        }
    }
}

#[cfg(any(feature = "haproxy", feature = "local", feature = "probe", feature = "ssh"))]
fn setting(key: &str, error: impl ToString) -> ConnectError {
    ConnectError::Setting { key: key.into(), what: error.to_string() }
}

fn unknown(key: &str, backend: &str, known: &[(&str, bool)]) -> ConnectError {
    let known: Vec<&str> = known.iter().filter(|(_, here)| *here).map(|(name, _)| *name).collect();
    let known = if known.is_empty() { "none".to_string() } else { known.join(", ") };
    ConnectError::Unknown { key: key.into(), backend: backend.into(), known }
}
