//! How the cluster stands: one small state machine per resource, and [`ClusterState`], their product.
//!
//! States are observed, never assumed; `Unknown` is a value. A state is compact and `Hash`, so that the explorer can
//! remember millions of them.

mod cluster;
mod epoch;
mod facts;
mod generation;
mod observation;
mod process;
mod progress;
mod release;
mod schema;
mod site;
mod sync;
mod traffic;
mod work;

pub use cluster::{ClusterState, NodeState, Row, Said, SiteState};
pub use epoch::{LeaseEpoch, SiteEpoch, WriterEpoch};
pub use facts::Facts;
pub use generation::{Generation, GenerationId, Generations, TooManyGenerations};
pub use observation::{NodeSeen, Observation, SharedSeen};
pub use process::{Process, ProcessEvent, ProcessRejected};
pub use progress::{LoanKind, LoanSet, Progress};
pub use release::{ReleaseId, ReleaseSet, Releases, TooManyReleases};
pub use schema::{Schema, SchemaEvent, SchemaRange, SchemaRejected};
pub use site::{Site, SiteEvent, SiteRejected};
pub use sync::{Sync, SyncEvent, SyncRejected};
pub use traffic::{RowKind, Traffic, TrafficEvent, TrafficRejected};
pub use work::{ServerDomain, Work};
