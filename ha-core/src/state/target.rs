use serde::{Deserialize, Serialize};

use crate::topology::{NodeIx, SiteIx};

/// What an action acts on: one resource of the cluster.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Target {
    /// A node's server: its process and what is installed.
    Server(NodeIx),
    /// A node's traffic, in all its pools on every balancer.
    Traffic(NodeIx),
    /// The work that a node pulls by itself.
    Work(NodeIx),
    /// The shared files that a node gets, and whether it may write them.
    Files(NodeIx),
    /// The shared database.
    Database,
    /// The route of the plan's service, on every balancer instance.
    Exposure,
    /// A site: whether it may act, its copy of the database, and whether consumers are led to it.
    Site(SiteIx),
}

impl Target {
    /// Returns the node that the resource belongs to; `None` for what the cluster shares.
    pub fn node(self) -> Option<NodeIx> {
        match self {
            Self::Server(node) | Self::Traffic(node) | Self::Work(node) | Self::Files(node) => Some(node),
            Self::Database | Self::Exposure | Self::Site(_) => None,
        }
    }
}
