use super::{ProcessRejected, SchemaRejected, SiteRejected, SyncRejected, TrafficRejected};

/// Refuses an event that cannot follow a resource's state. An action whose effect is refused was given where it must not be.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Rejected {
    /// By a server's process.
    #[error(transparent)]
    Process(#[from] ProcessRejected),
    /// By a node's traffic on a balancer.
    #[error(transparent)]
    Traffic(#[from] TrafficRejected),
    /// By a file sync.
    #[error(transparent)]
    Sync(#[from] SyncRejected),
    /// By the schema.
    #[error(transparent)]
    Schema(#[from] SchemaRejected),
    /// By a site.
    #[error(transparent)]
    Site(#[from] SiteRejected),
}
