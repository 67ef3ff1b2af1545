//! The state of the cluster: one small state machine per resource, and [`ClusterState`], their product.
//!
//! States are observed, never assumed; `Unknown` is a value. A state is compact and `Hash`, so that the explorer can
//! remember millions of them.
//!
//! May change in any minor version: [what is stable](crate#what-is-stable).

mod cluster;
mod epoch;
mod exposure;
mod facts;
mod files;
mod generation;
mod loan;
mod node;
mod observation;
mod rejected;
mod release;
mod schema;
mod schema_change;
mod server;
mod site;
mod site_facts;
mod target;
mod traffic;
mod work;

pub use cluster::ClusterState;
pub use epoch::{LeaseEpoch, SiteEpoch, WriterEpoch};
pub use exposure::{InvalidRouteKey, Route, RouteEvent, RouteKey, Service, ServiceRoute};
pub use facts::Facts;
pub use files::{Sync, SyncEvent, SyncRejected};
pub use generation::{Generation, GenerationId, Generations, TooManyGenerations};
pub use loan::{LoanKind, LoanSet};
pub use node::NodeState;
pub use observation::{NodeSeen, Observation, SharedSeen};
pub use rejected::Rejected;
pub use release::{ReleaseId, ReleaseSet, Releases, TooManyReleases};
pub use schema::{Schema, SchemaEvent, SchemaRange, SchemaRejected};
pub use schema_change::{SchemaChange, SchemaVerdict};
pub use server::{Process, ProcessEvent, ProcessRejected, ServerDomain};
pub use site::{Site, SiteEvent, SiteRejected, SiteState};
pub use site_facts::{Drill, DrillTerm, FenceLevel, ReplicaRole, ReplicaSeen, SiteFacts};
pub use target::Target;
pub use traffic::{MemberKind, MemberState, Traffic, TrafficEvent, TrafficRejected};
pub use work::{Work, WorkEvent};
