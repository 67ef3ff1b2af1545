use std::future::pending;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use ha_core::journal::{Journal, JournalError, Lease, LeaseError, MemoryStore};
use ha_core::record::{Entry, RunId};
use ha_core::state::LeaseEpoch;
use tokio::time::sleep;

/// One controller of the simulated world, which can die: from then on none of its calls to the cluster does or answers anything,
/// and its journal and lease refuse, so that whoever waits for its run gets an error.
#[derive(Clone, Debug, Default)]
pub struct Controller {
    dead: Arc<AtomicBool>,
    death: Arc<Mutex<Option<Death>>>,
}

/// The moment at which a controller dies.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Death {
    /// Before the entry with this sequence number is written.
    Before(u64),
    /// After the entry with this sequence number is written, before anything else.
    After(u64),
}

const ROUND_TRIP: Duration = Duration::from_millis(1);

impl Controller {
    /// Makes a controller that lives until it is killed.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes a controller that dies at a record.
    pub fn dying(death: Death) -> Self {
        let controller = Self::new();
        *controller.death.lock().unwrap_or_else(PoisonError::into_inner) = Some(death);
        controller
    }

    /// Ends it, as kill -9 does: what it has asked for already goes on, nothing more is asked.
    pub fn kill(&self) {
        self.dead.store(true, Ordering::SeqCst);
    }

    /// Tells whether it has died.
    pub fn is_dead(&self) -> bool {
        self.dead.load(Ordering::SeqCst)
    }

    /// Returns at once while it lives, and never afterwards.
    pub(super) async fn lives(&self) {
        if self.is_dead() {
            pending::<()>().await;
        }
    }

    pub(super) async fn round_trip(&self) {
        sleep(ROUND_TRIP).await;
        self.lives().await;
    }
}

/// The world's journal and lease as one controller reaches them.
#[derive(Debug)]
pub(super) struct ReachedStore {
    pub(super) store: Arc<MemoryStore>,
    pub(super) controller: Controller,
}

impl ReachedStore {
    fn lives(&self) -> Result<(), JournalError> {
        let what = || JournalError::Broken { what: "the controller was killed".into() };
        if self.controller.is_dead() { Err(what()) } else { Ok(()) }
    }

    fn holds(&self, cluster: &str, epoch: LeaseEpoch) -> Result<(), LeaseError> {
        let lost = || LeaseError::Lost { cluster: cluster.into(), epoch };
        if self.controller.is_dead() { Err(lost()) } else { Ok(()) }
    }
}

#[async_trait]
impl Journal for ReachedStore {
    async fn append(&self, run: &RunId, entries: Vec<Entry>) -> Result<(), JournalError> {
        let death = *self.controller.death.lock().unwrap_or_else(PoisonError::into_inner);
        let dies = |at: fn(u64) -> Death| entries.iter().any(|entry| death == Some(at(entry.sequence)));
        let (before, after) = (dies(Death::Before), dies(Death::After));
        if before {
            self.controller.kill();
        }
        self.lives()?;
        let appended = self.store.append(run, entries).await;
        if after {
            self.controller.kill();
        }
        self.lives()?;
        appended
    }

    async fn read(&self, run: &RunId) -> Result<Vec<Entry>, JournalError> {
        self.store.read(run).await
    }

    async fn runs(&self) -> Result<Vec<RunId>, JournalError> {
        self.store.runs().await
    }

    async fn open_runs(&self, cluster: &str) -> Result<Vec<RunId>, JournalError> {
        self.store.open_runs(cluster).await
    }
}

#[async_trait]
impl Lease for ReachedStore {
    async fn acquire(&self, cluster: &str, owner: &str, ttl: Duration) -> Result<LeaseEpoch, LeaseError> {
        self.controller.lives().await;
        self.store.acquire(cluster, owner, ttl).await
    }

    async fn renew(&self, cluster: &str, epoch: LeaseEpoch, ttl: Duration) -> Result<(), LeaseError> {
        self.holds(cluster, epoch)?;
        self.store.renew(cluster, epoch, ttl).await
    }

    async fn release(&self, cluster: &str, epoch: LeaseEpoch) -> Result<(), LeaseError> {
        self.holds(cluster, epoch)?;
        self.store.release(cluster, epoch).await
    }
}
