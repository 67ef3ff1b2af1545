//! What the cluster is: nodes, the pool they serve, the balancers in front, and the policy. Declared, not observed.
//!
//! Which node is active, passive or spare-in-use is state, since procedures change it. See [`Topology::from_toml_str`]
//! for the format.

mod diagnostic;
mod index;
mod model;
mod name;
mod parse;
mod reader;
mod settings;

pub use diagnostic::{Diagnostic, TopologyError};
pub use index::{BalancerIx, DomainIx, NodeIx, SiteIx};
pub use model::{
    Balancer, Component, Node, OnDrainDeadline, Permille, Policy, Pool, Setting, SiteRole, SiteSpec, Topology,
};
pub use name::{InvalidName, Name};
pub use settings::{Reported, SettingError, SettingErrors, Settings};
