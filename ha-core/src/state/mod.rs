//! How the cluster stands: one small state machine per resource, and [`ClusterState`], their product.
//!
//! States are observed, never assumed; `Unknown` is a value. A state is compact and `Hash`, so that the explorer can
//! remember millions of them.

mod cluster;
mod epoch;
mod observation;
mod process;
mod progress;
mod release;
mod traffic;

pub use cluster::{ClusterState, NodeState, Row};
pub use epoch::LeaseEpoch;
pub use observation::{NodeSeen, Observation};
pub use process::{Process, ProcessEvent, ProcessRejected};
pub use progress::{LoanKind, LoanSet, Progress};
pub use release::{ReleaseId, ReleaseSet, Releases, TooManyReleases};
pub use traffic::{RowKind, Traffic, TrafficEvent, TrafficRejected};
