use std::fmt::Debug;

use async_trait::async_trait;

use super::{Applied, StepError};
use crate::state::{Generation, LeaseEpoch};
use crate::topology::Name;

/// What an artifact store has of one set of shared files, found by reading all of its content.
///
/// # Examples
///
/// ```
/// use ha_core::backend::Kept;
///
/// fn line(kept: &Kept) -> String {
///     match kept {
///         Kept::Whole => "whole".into(),
///         Kept::Damaged(what) => format!("damaged: {what}"),
///         Kept::Absent => "absent".into(),
///     }
/// }
/// assert_eq!(line(&Kept::Damaged("its digest is 1b4f".into())), "damaged: its digest is 1b4f");
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Kept {
    /// The set is there, and its content has the digest and the number of the generation.
    Whole,
    /// Something is there in its place, and is not that set. Says what, for people.
    Damaged(String),
    /// Nothing is there.
    Absent,
}

/// Asks to keep a set of shared files.
///
/// # Examples
///
/// ```
/// use ha_core::backend::PutArtifact;
/// use ha_core::state::Generation;
///
/// let request = PutArtifact::new(Generation::new(42, "9f86d081"), "/srv/build/42");
/// assert_eq!(request.source, "/srv/build/42");
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct PutArtifact {
    /// What the folder must hold.
    pub generation: Generation,
    /// The folder, as an absolute path where the store reads it: on this machine, or on the host of the writer.
    pub source: String,
}

impl PutArtifact {
    /// Asks to keep the set `generation` that is in the folder `source`.
    pub fn new(generation: Generation, source: impl Into<String>) -> Self {
        Self { generation, source: source.into() }
    }
}

/// Asks to remove the oldest sets of an artifact store.
///
/// # Examples
///
/// ```
/// use ha_core::backend::PruneArtifacts;
/// use ha_core::state::Generation;
///
/// // The newest three stay, and what serves now, however old it is.
/// let request = PruneArtifacts::new(3).with_in_use([Generation::new(7, "9f86d081")]);
/// assert_eq!((request.keep, request.in_use.len()), (3, 1));
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct PruneArtifacts {
    /// How many of the newest sets stay. At 0 only what is in use stays.
    pub keep: u32,
    /// Sets that stay in any case: what serves now, and what a run may go back to. Default none.
    pub in_use: Vec<Generation>,
}

impl PruneArtifacts {
    /// Asks to remove all but the newest `keep`.
    pub fn new(keep: u32) -> Self {
        Self { keep, in_use: Vec::new() }
    }

    /// Names sets that stay in any case.
    #[must_use]
    pub fn with_in_use(mut self, in_use: impl IntoIterator<Item = Generation>) -> Self {
        self.in_use.extend(in_use);
        self
    }
}

/// Reads which sets of shared files are kept, and where nodes find them.
#[async_trait]
pub trait ObserveArtifactStore: Debug + Send + Sync + 'static {
    /// Lists the sets that the store has, those with the highest number first; of one number in the order of their digests. What a
    /// put has not finished is not listed. What was damaged later may be: [`keeps`](Self::keeps) reads it.
    ///
    /// # Errors
    /// `NotFound` where the store itself is not there, `Unreachable`, `Denied`, `Timeout`, `Protocol`; all without effect.
    /// # Cancel safety
    /// Cancel safe: it only reads.
    async fn generations(&self) -> Result<Vec<Generation>, StepError>;

    /// Reads what the store has of a set, all of its content: a name alone proves nothing.
    ///
    /// # Errors
    /// As [`generations`](Self::generations).
    /// # Cancel safety
    /// Cancel safe: it only reads.
    async fn keeps(&self, generation: &Generation) -> Result<Kept, StepError>;

    /// Returns the folder of a set as an absolute path under which the node's own processes read it; `None` where the node cannot,
    /// or the store does not have the set. Whether it is whole is not looked at.
    ///
    /// # Errors
    /// As [`generations`](Self::generations).
    /// # Cancel safety
    /// Cancel safe: it only reads.
    async fn place(&self, node: &Name, generation: &Generation) -> Result<Option<String>, StepError>;

    /// Looks for what later calls need on a node, and lists what is not there, one line each, with what to do. Empty where nothing
    /// is missing, or nothing can be told without an effect.
    ///
    /// # Errors
    /// As [`generations`](Self::generations).
    /// # Cancel safety
    /// Cancel safe: it only reads.
    async fn missing(&self, node: &Name) -> Result<Vec<String>, StepError>;
}

/// Keeps sets of shared files by their digest: the source of every rollback.
///
/// # Examples
///
/// ```
/// use ha_core::backend::{ArtifactStore, Kept, LeaseEpoch, PutArtifact, StepError};
/// use ha_core::state::Generation;
///
/// /// Keeps what was built before it is deployed.
/// async fn keep(store: &dyn ArtifactStore, epoch: LeaseEpoch, set: Generation) -> Result<bool, StepError> {
///     store.put(epoch, PutArtifact::new(set.clone(), "/srv/build/42")).await?;
///     Ok(store.keeps(&set).await? == Kept::Whole)
/// }
/// ```
#[async_trait]
pub trait ArtifactStore: ObserveArtifactStore {
    /// Copies a folder in beside what is there, reads the copy, and gives it its place in one step, durably. The source is left as
    /// it is. What is damaged in its place is replaced.
    ///
    /// # Idempotency
    /// Absolute: twice equals once. What an interrupted put has left is no set, and removed by the next put.
    /// # Errors
    /// `NotFound` where there is no such folder or no store, `Conflict` where the folder holds no set, another one, or one that
    /// changes while it is copied, `Denied` where it cannot be written, a full disk included, `Fenced`, `Busy`: no effect.
    /// `Timeout`, `Unreachable`: unknown, unless they say that nothing was changed; read `keeps`.
    /// # Cancel safety
    /// Not cancel safe: the set is whole there or absent; read `keeps`.
    async fn put(&self, epoch: LeaseEpoch, request: PutArtifact) -> Result<Applied, StepError>;

    /// Removes sets from the oldest on, until the newest of the request stay, and never one that the request names in use or that
    /// the store itself has to keep.
    ///
    /// # Idempotency
    /// Absolute: twice equals once; what is removed in part is no set.
    /// # Errors
    /// `NotFound` where there is no store, `Fenced`, `Busy`: no effect. `Denied`, `Timeout`, `Unreachable`: unknown; read
    /// `generations`.
    /// # Cancel safety
    /// Not cancel safe: some may be removed; read `generations`.
    async fn prune(&self, epoch: LeaseEpoch, request: PruneArtifacts) -> Result<Applied, StepError>;
}
