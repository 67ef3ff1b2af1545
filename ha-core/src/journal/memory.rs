use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;

use super::{Journal, JournalError, Lease, LeaseError, LeaseHolder, ObserveLease, check_next, cluster_of, is_open};
use crate::record::{Entry, RunId};
use crate::state::LeaseEpoch;

/// Keeps journal and lease in memory: for tests, and for runs that need not survive their process.
///
/// `MemoryStore::new` reads the engine's clock.
pub struct MemoryStore {
    clock: Box<dyn Fn() -> Duration + Send + Sync>,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    order: Vec<RunId>,
    runs: BTreeMap<RunId, Vec<Entry>>,
    leases: BTreeMap<String, Held>,
}

#[derive(Debug)]
struct Held {
    epoch: LeaseEpoch,
    owner: String,
    /// On the store's clock; `None` once it was given back.
    until: Option<Duration>,
}

impl MemoryStore {
    /// Makes an empty store whose leases run out by `clock`: the time since some moment of its choice, never going back.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    /// use ha_core::journal::MemoryStore;
    ///
    /// let began = Instant::now();
    /// let store = MemoryStore::with_clock(move || began.elapsed());
    /// ```
    pub fn with_clock(clock: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        Self { clock: Box::new(clock), inner: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").field("inner", &self.inner).finish_non_exhaustive()
    }
}

#[async_trait]
impl Journal for MemoryStore {
    async fn append(&self, run: &RunId, entries: Vec<Entry>) -> Result<(), JournalError> {
        let mut inner = self.lock();
        let last = inner.runs.get(run).and_then(|known| known.last());
        check_next(run, last.map(|last| (last.sequence, last.epoch)), &entries)?;
        if !entries.is_empty() && !inner.runs.contains_key(run) {
            inner.order.push(run.clone());
        }
        if !entries.is_empty() {
            inner.runs.entry(run.clone()).or_default().extend(entries);
        }
        Ok(())
    }

    async fn read(&self, run: &RunId) -> Result<Vec<Entry>, JournalError> {
        Ok(self.lock().runs.get(run).cloned().unwrap_or_default())
    }

    async fn runs(&self) -> Result<Vec<RunId>, JournalError> {
        Ok(self.lock().order.clone())
    }

    async fn open_runs(&self, cluster: &str) -> Result<Vec<RunId>, JournalError> {
        let inner = self.lock();
        let is_wanted = |run: &&RunId| {
            let entries = inner.runs.get(run).map_or(&[][..], Vec::as_slice);
            let of_cluster = entries.first().and_then(cluster_of).is_none_or(|of| of == cluster);
            of_cluster && is_open(entries.iter())
        };
        Ok(inner.order.iter().filter(is_wanted).cloned().collect())
    }
}

#[async_trait]
impl ObserveLease for MemoryStore {
    async fn holder(&self, cluster: &str) -> Result<Option<LeaseHolder>, LeaseError> {
        let now = (self.clock)();
        let inner = self.lock();
        let held = inner.leases.get(cluster).and_then(|held| Some((held, held.until?)));
        let held = held.filter(|(_, until)| *until > now);
        Ok(held.map(|(held, until)| LeaseHolder::new(&held.owner, held.epoch, until - now)))
    }
}

#[async_trait]
impl Lease for MemoryStore {
    async fn acquire(&self, cluster: &str, owner: &str, ttl: Duration) -> Result<LeaseEpoch, LeaseError> {
        let now = (self.clock)();
        let mut inner = self.lock();
        let before = inner.leases.get(cluster);
        if let Some(held) = before
            && let Some(until) = held.until
            && until > now
        {
            return Err(LeaseError::Held {
                cluster: cluster.into(),
                owner: held.owner.clone(),
                epoch: held.epoch,
                left: until - now,
            });
        }
        let epoch = LeaseEpoch::new(before.map_or(0, |held| held.epoch.number()) + 1);
        let held = Held { epoch, owner: owner.into(), until: Some(now + ttl) };
        inner.leases.insert(cluster.into(), held);
        Ok(epoch)
    }

    async fn renew(&self, cluster: &str, epoch: LeaseEpoch, ttl: Duration) -> Result<(), LeaseError> {
        let now = (self.clock)();
        let mut inner = self.lock();
        match inner.leases.get_mut(cluster) {
            Some(held) if held.epoch == epoch && held.until.is_some_and(|until| until > now) => {
                held.until = Some(now + ttl);
                Ok(())
            }
            Some(_) | None => Err(LeaseError::Lost { cluster: cluster.into(), epoch }),
        }
    }

    async fn release(&self, cluster: &str, epoch: LeaseEpoch) -> Result<(), LeaseError> {
        if let Some(held) = self.lock().leases.get_mut(cluster)
            && held.epoch == epoch
        {
            held.until = None;
        }
        Ok(())
    }
}
