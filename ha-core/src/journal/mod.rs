//! Where a run is written down, and who may run: the [`Journal`] and [`Lease`] traits, and an in-memory pair.

mod memory;

pub use memory::MemoryStore;

use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::record::{Entry, Record, RunId};
use crate::state::LeaseEpoch;

/// Appends records durably. One journal holds many runs.
///
/// # Examples
///
/// ```
/// use ha_core::journal::{Journal, JournalError, MemoryStore};
/// use ha_core::record::{Entry, Record, RunId};
/// use ha_core::state::LeaseEpoch;
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let (store, run) = (MemoryStore::new(), RunId::new("patch-1"));
/// let entry = |sequence| {
///     let turned = Record::Turned { to: ha_core::record::Cursor::START, message: "a step failed".into() };
///     Entry::new(sequence, LeaseEpoch::new(1), 0, turned)
/// };
/// store.append(&run, vec![entry(0), entry(1)]).await?;
/// assert!(matches!(store.append(&run, vec![entry(1)]).await, Err(JournalError::Conflict { expected: 2, .. })));
/// assert_eq!(store.read(&run).await?.len(), 2);
/// # Ok::<(), JournalError>(())
/// # }).unwrap();
/// ```
#[async_trait]
pub trait Journal: Debug + Send + Sync + 'static {
    /// Appends `entries` to `run`, all of them or none; when this returns, they survive a power cut.
    ///
    /// Their sequence numbers are the next ones of the run, from 0 on; their epoch is the writer's. Without entries nothing is
    /// written, and no run begins.
    ///
    /// # Idempotency
    /// None: the same sequence number twice is `Conflict`, never a second row.
    /// # Errors
    /// [`JournalError::Conflict`], [`JournalError::Fenced`]: nothing was written. [`JournalError::Broken`]: unknown;
    /// the journal takes nothing more until it has been reopened and read.
    /// # Cancel safety
    /// Not cancel safe: read the run back.
    async fn append(&self, run: &RunId, entries: Vec<Entry>) -> Result<(), JournalError>;

    /// Reads a run's entries in order; an unknown run has none.
    ///
    /// # Errors
    /// [`JournalError::Newer`] for an entry of a later format; [`JournalError::Corrupt`] with the place.
    /// # Cancel safety
    /// Cancel safe.
    async fn read(&self, run: &RunId) -> Result<Vec<Entry>, JournalError>;

    /// Lists the runs, oldest first.
    ///
    /// # Errors
    /// [`JournalError::Broken`].
    /// # Cancel safety
    /// Cancel safe.
    async fn runs(&self) -> Result<Vec<RunId>, JournalError>;

    /// Lists the runs of a cluster that are open, oldest first: [`Record::leaves_open`] says which are. A run whose first
    /// record names no cluster is listed for each. It does not read the runs: what is damaged shows when one is read.
    ///
    /// # Errors
    /// [`JournalError::Broken`].
    /// # Cancel safety
    /// Cancel safe.
    async fn open_runs(&self, cluster: &str) -> Result<Vec<RunId>, JournalError>;
}

/// Returns the cluster of the run that an entry begins; `None` where it begins none, or names none.
///
/// # Examples
///
/// ```
/// use ha_core::journal::cluster_of;
/// use ha_core::record::{Cursor, Entry, Record};
/// use ha_core::state::LeaseEpoch;
///
/// // Only the first entry of a run has its plan, and with it the name of the cluster.
/// let later = Record::TakenOver { owner: "deploy-2".into(), at: Cursor::START };
/// assert_eq!(cluster_of(&Entry::new(7, LeaseEpoch::new(2), 0, later)), None);
/// ```
pub fn cluster_of(entry: &Entry) -> Option<&str> {
    match &entry.record {
        Record::Opened { plan } => Some(plan.cluster.as_str()),
        Record::TakenOver { .. }
        | Record::Turned { .. }
        | Record::Intent { .. }
        | Record::Outcome { .. }
        | Record::DomainLost { .. }
        | Record::Replanned { .. }
        | Record::Closed { .. } => None,
    }
}

/// Tells whether a run with these entries is open: the last one that says so decides.
///
/// # Examples
///
/// ```
/// use ha_core::journal::is_open;
/// use ha_core::record::{Cursor, End, Entry, Record};
/// use ha_core::state::LeaseEpoch;
///
/// let entry = |sequence, record| Entry::new(sequence, LeaseEpoch::new(1), 0, record);
/// let begun = entry(0, Record::TakenOver { owner: "deploy-2".into(), at: Cursor::START });
/// let ended = entry(1, Record::Closed { end: End::AllNew, open: Vec::new() });
/// assert!(is_open([&begun].into_iter()));
/// assert!(!is_open([&begun, &ended].into_iter()));
/// ```
pub fn is_open<'a>(entries: impl DoubleEndedIterator<Item = &'a Entry>) -> bool {
    entries.rev().find_map(|entry| entry.record.leaves_open()).unwrap_or(true)
}

/// Makes sure that `entries` are the next ones of a run whose last entry has this sequence number and epoch (`None`: it has
/// none, and the first is 0). Every journal does it before it writes, in the same transaction.
///
/// # Errors
/// [`JournalError::Conflict`], [`JournalError::Fenced`], for the first entry that does not follow: write none of them then.
///
/// # Examples
///
/// ```
/// use ha_core::journal::{JournalError, check_next};
/// use ha_core::record::{Cursor, Entry, Record, RunId};
/// use ha_core::state::LeaseEpoch;
///
/// let record = Record::TakenOver { owner: "deploy-2".into(), at: Cursor::START };
/// let next = [Entry::new(5, LeaseEpoch::new(2), 0, record)];
/// let run = RunId::new("patch-1");
/// assert!(check_next(&run, Some((4, LeaseEpoch::new(1))), &next).is_ok());
/// let refused = check_next(&run, Some((4, LeaseEpoch::new(3))), &next);
/// assert!(matches!(refused, Err(JournalError::Fenced { .. })));
/// ```
pub fn check_next(run: &RunId, last: Option<(u64, LeaseEpoch)>, entries: &[Entry]) -> Result<(), JournalError> {
    let mut current = last.map_or(LeaseEpoch::new(0), |(_, epoch)| epoch);
    for (expected, entry) in (last.map_or(0, |(sequence, _)| sequence + 1)..).zip(entries) {
        if entry.epoch < current {
            return Err(JournalError::Fenced { run: run.clone(), epoch: entry.epoch, current });
        }
        if entry.sequence != expected {
            return Err(JournalError::Conflict { run: run.clone(), sequence: entry.sequence, expected });
        }
        current = entry.epoch;
    }
    Ok(())
}

/// Who holds a lease.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use ha_core::journal::LeaseHolder;
/// use ha_core::state::LeaseEpoch;
///
/// let holder = LeaseHolder::new("deploy-1", LeaseEpoch::new(7), Duration::from_secs(4));
/// assert!(!holder.has_ended);
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct LeaseHolder {
    /// The controller.
    pub owner: String,
    /// Its epoch.
    pub epoch: LeaseEpoch,
    /// How long the lease lasts unless it is renewed.
    pub left: Duration,
    /// Whether the store knows for certain that the controller's process has ended. The next one gets the lease at once then.
    pub has_ended: bool,
}

impl LeaseHolder {
    /// Describes a holder whose process may live.
    pub fn new(owner: impl Into<String>, epoch: LeaseEpoch, left: Duration) -> Self {
        Self { owner: owner.into(), epoch, left, has_ended: false }
    }

    /// Says whether its process has ended for certain.
    #[must_use]
    pub fn with_ended(mut self, has_ended: bool) -> Self {
        self.has_ended = has_ended;
        self
    }
}

/// Reads who may act.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use ha_core::journal::{Lease, MemoryStore, ObserveLease};
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// let store = MemoryStore::new();
/// assert_eq!(store.holder("orders").await?, None);
/// store.acquire("orders", "deploy-1", Duration::from_secs(30)).await?;
/// assert!(store.holder("orders").await?.is_some_and(|holder| holder.owner == "deploy-1"));
/// # Ok::<(), ha_core::journal::LeaseError>(())
/// # }).unwrap();
/// ```
#[async_trait]
pub trait ObserveLease: Debug + Send + Sync + 'static {
    /// Reads who holds the lease of `cluster`; `None` where it was given back, has run out, or was never taken.
    ///
    /// # Errors
    /// [`LeaseError::Broken`].
    /// # Cancel safety
    /// Cancel safe: it only reads.
    async fn holder(&self, cluster: &str) -> Result<Option<LeaseHolder>, LeaseError>;
}

/// Says who may act: one holder at a time, each with a higher epoch than all before.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use ha_core::journal::{Lease, LeaseError, MemoryStore};
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// let (store, ttl) = (MemoryStore::new(), Duration::from_secs(30));
/// let first = store.acquire("orders", "deploy-1", ttl).await?;
/// assert!(matches!(store.acquire("orders", "deploy-2", ttl).await, Err(LeaseError::Held { .. })));
/// store.release("orders", first).await?;
/// assert!(store.acquire("orders", "deploy-2", ttl).await? > first);
/// # Ok::<(), LeaseError>(())
/// # }).unwrap();
/// ```
#[async_trait]
pub trait Lease: ObserveLease {
    /// Takes the lease of `cluster` for `ttl`, with an epoch higher than any before.
    ///
    /// # Errors
    /// [`LeaseError::Held`] by another owner, with what is left of its time.
    /// # Cancel safety
    /// Not cancel safe: the lease may be taken; it ends by itself after `ttl`.
    async fn acquire(&self, cluster: &str, owner: &str, ttl: Duration) -> Result<LeaseEpoch, LeaseError>;

    /// Makes the lease last `ttl` from now.
    ///
    /// # Errors
    /// [`LeaseError::Lost`] when another epoch holds it or it has run out.
    /// # Cancel safety
    /// Cancel safe: at worst the lease is renewed.
    async fn renew(&self, cluster: &str, epoch: LeaseEpoch, ttl: Duration) -> Result<(), LeaseError>;

    /// Gives the lease back. A lease that is no longer ours is left alone.
    ///
    /// # Errors
    /// [`LeaseError::Broken`].
    /// # Cancel safety
    /// Not cancel safe: at worst the lease ends by itself.
    async fn release(&self, cluster: &str, epoch: LeaseEpoch) -> Result<(), LeaseError>;
}

/// Refuses or fails a journal call.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// The sequence number is not the next one: somebody else writes this run.
    #[error(
        "entry {sequence} of run {run} is not the next one ({expected}): another controller writes this run; nothing was written"
    )]
    Conflict {
        /// The run.
        run: RunId,
        /// The refused number.
        sequence: u64,
        /// The number that would have been taken.
        expected: u64,
    },
    /// The run was written with a higher epoch: this controller must stop.
    #[error(
        "run {run} was taken over with epoch {current}, this controller has {epoch}: it must stop; nothing was written"
    )]
    Fenced {
        /// The run.
        run: RunId,
        /// The refused epoch.
        epoch: LeaseEpoch,
        /// The run's epoch.
        current: LeaseEpoch,
    },
    /// An entry is of a later format than this library knows.
    #[error(
        "entry {sequence} of run {run} has format {format}, this library knows up to {known}: use the library version that wrote it"
    )]
    Newer {
        /// The run.
        run: RunId,
        /// The entry.
        sequence: u64,
        /// Its format.
        format: u32,
        /// The highest format known here.
        known: u32,
    },
    /// The journal cannot be read: what is stored there is not what was written.
    #[error("the journal is damaged at {place}: {what}; nothing was changed, restore it or decide by hand")]
    Corrupt {
        /// File, row or byte.
        place: String,
        /// What is wrong there.
        what: String,
    },
    /// The store failed.
    #[error("the journal cannot be used: {what}")]
    Broken {
        /// What the store said.
        what: String,
    },
}

/// Refuses or fails a lease call.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum LeaseError {
    /// Another controller acts on this cluster.
    #[error(
        "the cluster {cluster} is being changed by {owner} (epoch {epoch}, up to {left:?} left): wait for it or stop it"
    )]
    Held {
        /// The cluster.
        cluster: String,
        /// Who holds the lease.
        owner: String,
        /// Its epoch.
        epoch: LeaseEpoch,
        /// How long it lasts unless renewed.
        left: Duration,
    },
    /// The lease ran out or another took it.
    #[error(
        "the lease of cluster {cluster} with epoch {epoch} is lost: this controller must stop before its next effect"
    )]
    Lost {
        /// The cluster.
        cluster: String,
        /// The lost epoch.
        epoch: LeaseEpoch,
    },
    /// The store failed.
    #[error("the lease store cannot be used: {what}")]
    Broken {
        /// What the store said.
        what: String,
    },
}
