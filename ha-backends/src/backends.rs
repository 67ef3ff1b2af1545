use std::sync::Arc;

use ha_core::backend::{Database, FileSync, Host, LoadBalancer, Probe, Workload};
use ha_core::engine::{Engine, EngineBuilder};
use ha_core::topology::Topology;

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
    /// The file sync, where files are shared.
    pub files: Option<Arc<dyn FileSync>>,
    /// The database, where one is shared.
    pub database: Option<Arc<dyn Database>>,
    /// One a node that pulls work.
    pub work: Vec<(String, Arc<dyn Workload>)>,
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
        for (node, backend) in self.work {
            builder = builder.with_work(node, backend);
        }
        if let Some(files) = self.files {
            builder = builder.with_files(files);
        }
        if let Some(database) = self.database {
            builder = builder.with_database(database);
        }
        builder
    }
}
