use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;

use super::{Applied, StepError};
use crate::state::{Generation, LeaseEpoch, Sync, WriterEpoch};
use crate::topology::Name;

/// How one node takes part in file sharing.
///
/// # Examples
///
/// ```
/// use ha_core::backend::Shared;
/// use ha_core::state::{Generation, Sync, WriterEpoch};
///
/// // The writer: nothing is copied into it, and it writes with epoch 3.
/// let writer = Shared::new(Sync::None, Some(Generation::new(42, "9f86d081")))
///     .with_writer(WriterEpoch::new(3), WriterEpoch::new(3));
/// assert!(!writer.sync.is_open());
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Shared {
    /// The file sync into it.
    pub sync: Sync,
    /// The set of files that it has; `None` while one is half there.
    pub generation: Option<Generation>,
    /// The epoch with which it may write; 0 when it may not.
    pub writer: WriterEpoch,
    /// The highest epoch that its host has seen, whoever it was given to.
    pub seen: WriterEpoch,
}

impl Shared {
    /// Describes a node that may not write, and has seen nobody who may.
    pub fn new(sync: Sync, generation: Option<Generation>) -> Self {
        Self { sync, generation, writer: WriterEpoch::default(), seen: WriterEpoch::default() }
    }

    /// Adds the epoch with which it may write, 0 for none, and the highest that its host has seen.
    #[must_use]
    pub fn with_writer(mut self, writer: WriterEpoch, seen: WriterEpoch) -> Self {
        (self.writer, self.seen) = (writer, seen);
        self
    }
}

/// Asks to hold the file sync into one node.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use ha_core::backend::HoldFiles;
/// use ha_core::topology::Name;
///
/// let request = HoldFiles::new(Name::new("esb2")?).with_deadline(Duration::from_secs(60));
/// # drop(request);
/// # Ok::<(), ha_core::topology::InvalidName>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct HoldFiles {
    /// The node.
    pub node: Name,
    /// How long it may take, the end of a transfer under way included. Default 600 s; at 0 only what is held already is.
    pub deadline: Duration,
}

impl HoldFiles {
    /// Asks to hold the sync into `node`.
    pub fn new(node: Name) -> Self {
        Self { node, deadline: super::DEADLINE }
    }

    /// Limits how long it may take.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }
}

/// Asks to release the file sync into one node.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use ha_core::backend::ReleaseFiles;
/// use ha_core::topology::Name;
///
/// let request = ReleaseFiles::new(Name::new("esb2")?).with_deadline(Duration::from_secs(60));
/// # drop(request);
/// # Ok::<(), ha_core::topology::InvalidName>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ReleaseFiles {
    /// The node.
    pub node: Name,
    /// How long it may take until the node has what the writer has. Default 600 s; at 0 only what is released already is.
    pub deadline: Duration,
}

impl ReleaseFiles {
    /// Asks to release the sync into `node`.
    pub fn new(node: Name) -> Self {
        Self { node, deadline: super::DEADLINE }
    }

    /// Limits how long it may take.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }
}

/// Asks that one node writes the shared files, and no other.
///
/// # Examples
///
/// ```
/// use ha_core::backend::HandWriter;
/// use ha_core::state::WriterEpoch;
/// use ha_core::topology::Name;
///
/// let request = HandWriter::new(Name::new("esb2")?, WriterEpoch::new(4));
/// assert!(request.passed_over.is_empty());
/// # Ok::<(), ha_core::topology::InvalidName>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct HandWriter {
    /// The node.
    pub node: Name,
    /// The epoch with which it writes, higher than any before.
    pub writer: WriterEpoch,
    /// The nodes that are passed over where they cannot be asked, though one of them may be the writer: a person answers for it
    /// that none of them writes. Default none.
    pub passed_over: Vec<Name>,
}

impl HandWriter {
    /// Asks that `node` writes with this epoch.
    pub fn new(node: Name, writer: WriterEpoch) -> Self {
        Self { node, writer, passed_over: Vec::new() }
    }

    /// Passes these nodes over where they cannot be asked.
    #[must_use]
    pub fn passing_over(mut self, nodes: Vec<Name>) -> Self {
        self.passed_over = nodes;
        self
    }
}

/// Reads how files are shared.
#[async_trait]
pub trait ObserveFileSync: Debug + Send + std::marker::Sync + 'static {
    /// Reads how a node takes part.
    ///
    /// # Errors
    /// `NotFound`, `Unreachable`, `Timeout`, `Protocol`; all without effect.
    /// # Cancel safety
    /// Cancel safe: it only reads.
    async fn shared(&self, node: &Name) -> Result<Shared, StepError>;

    /// Looks for what later calls need on a node, and lists what is not there, one line each, with what to do. Empty where nothing
    /// is missing, or nothing can be told without an effect.
    ///
    /// # Errors
    /// As [`shared`](Self::shared).
    /// # Cancel safety
    /// Cancel safe: it only reads.
    async fn missing(&self, node: &Name) -> Result<Vec<String>, StepError>;
}

/// Holds and releases the file sync into a node, and says who may write. All values are absolute: twice equals once.
///
/// # Examples
///
/// ```
/// use ha_core::backend::{FileSync, HoldFiles, LeaseEpoch, StepError};
/// use ha_core::state::Sync;
/// use ha_core::topology::Name;
///
/// async fn hold(files: &dyn FileSync, epoch: LeaseEpoch, node: Name) -> Result<bool, StepError> {
///     files.hold(epoch, HoldFiles::new(node.clone())).await?;
///     Ok(files.shared(&node).await?.sync == Sync::Held)
/// }
/// ```
#[async_trait]
pub trait FileSync: ObserveFileSync {
    /// Holds the sync into a node durably, a restart of its host included, after a transfer under way has ended.
    ///
    /// # Errors
    /// `Fenced`, `NotFound`, `Denied`: no effect. `Timeout` past the deadline of the request, `Unreachable`: unknown; read
    /// `shared`.
    /// # Cancel safety
    /// Not cancel safe: read `shared`.
    async fn hold(&self, epoch: LeaseEpoch, request: HoldFiles) -> Result<Applied, StepError>;

    /// Releases the sync into a node: what the writer has is brought there, staged and swapped, and kept in step.
    ///
    /// # Errors
    /// As [`hold`](Self::hold).
    /// # Cancel safety
    /// Not cancel safe: read `shared`.
    async fn release(&self, epoch: LeaseEpoch, request: ReleaseFiles) -> Result<Applied, StepError>;

    /// Takes the right to write from whoever has it, then gives it to a node with a writer epoch that is higher than any before. The
    /// sync into the old writer is there from then on, held; the one into the new writer is gone.
    ///
    /// # Errors
    /// As [`hold`](Self::hold); `Conflict` when a higher writer epoch was seen, without effect. A node that cannot be asked and may
    /// be the writer is an error without effect, unless the request passes it over.
    /// # Cancel safety
    /// Not cancel safe: nobody may be able to write; read `shared`.
    async fn hand_writer(&self, epoch: LeaseEpoch, request: HandWriter) -> Result<Applied, StepError>;
}
