//! What the cluster is: nodes, the pools they serve, the balancers in front, and the policy. Declared, not observed.
//!
//! Which node is active, passive or spare-in-use is state, since procedures change it. Read from TOML with
//! [`Topology::from_toml_str`], or put together in code with [`Topology::builder`]; both give the same validated value.

mod at_rest;
mod builder;
mod component;
mod diagnostic;
mod draft;
mod expect;
mod index;
mod members;
mod model;
mod name;
mod parse;
mod policy;
mod profile;
mod query;
pub(crate) mod reader;
mod resolve;
mod settings;
mod sharing;
mod spec;

pub use builder::TopologyBuilder;
pub use component::{Component, Declared, Owner, Role};
pub use diagnostic::{Diagnostic, TopologyError};
pub use expect::{Expect, InvalidJavaRange, JavaRange};
pub use index::{BalancerIx, DomainIx, MemberIx, NodeIx, PoolIx, SiteIx};
pub use members::{Entrance, MemberLayout, Seat};
pub use model::{
    AfterLoss, ApprovalPoint, Balancer, Node, OnDrainDeadline, OnNoApproval, Permille, Policy, Pool, Port, Setting,
    SiteRole, SiteSpec, Topology,
};
pub use name::{InvalidName, Name};
pub use profile::{FilledIn, ToolEnd, UpdateTool, profiles, update_tool};
pub(crate) use settings::climbs;
pub use settings::{Reported, SettingError, SettingErrors, Settings};
pub use sharing::FileSharing;
pub use spec::{NodeSpec, PoolSpec, PortSpec};
