//! The traits that connect the engine to a cluster, and their one error type.
//!
//! Reading and acting are separate traits: planning and observation get the reading half only, and every write
//! carries a [`LeaseEpoch`]. Every write answers `Applied | AlreadySo`, or a [`StepError`] that says what is known of
//! its effect, and every write can be read back. No method has a default body, so that a wrapper cannot forget one.

mod artifact;
mod balancer;
mod clone;
mod database;
mod digest;
mod error;
mod exposure;
mod fence;
mod file_sync;
mod forward;
mod host;
mod host_files;
mod host_work;
pub mod linux;
mod probe;
mod provisioner;
mod replica;
mod site_switch;
mod workload;

pub use artifact::{ArtifactStore, Kept, ObserveArtifactStore, PruneArtifacts, PutArtifact};
pub use balancer::{
    AddMember, Admin, BalancerCapabilities, CloseSessions, Closed, Completeness, ConfigFinding, Counters, CutConsent,
    Expectations, Health, Instance, LoadBalancer, Member, MemberCheck, MemberRef, MemberSnapshot, Membership,
    ObserveBalancer, Quiescence, SetAdmin, SetWeight, Weight, look_by_parts,
};
pub use clone::{CloneDatabase, Cloned, TakeCloneStep};
pub use database::{ContractPermit, Database, Migrate, ObserveDatabase};
pub use digest::ContentDigest;
pub use error::{Effect, ErrorKind, Retry, StepError};
pub use exposure::{ExposeRoute, Exposure, HideRoute, ObserveExposure, RouteOn};
pub use fence::{Fence, FenceSite, Fenced, ObserveFence};
pub use file_sync::{FileSync, HandWriter, HoldFiles, ObserveFileSync, ReleaseFiles, Shared};
pub use host::{
    Ended, Fencing, Host, HostCapabilities, HostIdentity, Incarnation, Installed, ObserveHost, Ran, RunCommand,
    ServerProcess,
};
pub use host_files::{Content, Expect, FileStat, HostFiles, ObserveHostFiles, PutFile, SwitchLink, TreeDigest};
pub use host_work::{DetachedWork, InvalidWorkId, ObserveDetachedWork, WorkId, WorkOutput, WorkState};
pub use probe::{Probe, Ready};
pub use provisioner::{Deprovision, Installation, ObserveProvisioner, Provision, Provisioner};
pub use replica::{DemoteReplica, FollowReplica, ObserveReplica, PromoteReplica, Replica};
pub use site_switch::{Consumers, LeadConsumers, ObserveSiteSwitch, SiteSwitch};
pub use workload::{ObserveWorkload, Workload};

use serde::{Deserialize, Serialize};

/// Says whether a write changed its target.
///
/// # Examples
///
/// ```
/// use ha_core::backend::Applied;
///
/// fn line(applied: Applied) -> &'static str {
///     match applied {
///         Applied::Applied => "changed",
///         Applied::AlreadySo => "unchanged",
///     }
/// }
/// # line(Applied::Applied);
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Applied {
    /// The write changed the target.
    Applied,
    /// The target was in that state before.
    AlreadySo,
}

pub use crate::state::{FenceLevel, LeaseEpoch, ReplicaRole, ReplicaSeen};

/// How long a request may take that is given no deadline.
const DEADLINE: std::time::Duration = std::time::Duration::from_secs(600);
