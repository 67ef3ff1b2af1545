use std::future::pending;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use ha_core::action::Order;
use ha_core::journal::{Journal, JournalError, Lease, LeaseError, LeaseHolder, MemoryStore, ObserveLease};
use ha_core::record::{Entry, Record, RunId};
use ha_core::state::LeaseEpoch;
use ha_core::topology::Topology;
use tokio::time::sleep;

/// One controller of the simulated world, which can die: from then on none of its calls to the cluster does or answers anything,
/// and its journal and lease refuse, so that whoever waits for its run gets an error.
///
/// # Examples
///
/// ```
/// use ha_core::record::End;
/// use ha_testkit::world::{Controller, Death, Moment, World};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap().block_on(async {
/// let world = World::active_passive();
/// let death = Death::In { moment: Moment::BeforeOutcome, action: "stop", target: "esb2" };
/// let first = world.engine_of(&Controller::dying(death));
/// let planned = first.plan(&world.patch_to("2.0")).await.unwrap();
/// assert!(first.run("first".into(), planned).await.unwrap().wait().await.is_err());
/// // The lease of the dead one runs out, and another one goes on from the journal.
/// tokio::time::sleep(std::time::Duration::from_secs(31)).await;
/// let report = world.engine().resume("first".into()).await.unwrap().wait().await.unwrap();
/// assert_eq!(report.end, End::AllNew);
/// # });
/// ```
#[derive(Clone, Debug, Default)]
pub struct Controller {
    dead: Arc<AtomicBool>,
    death: Arc<Mutex<Option<Death>>>,
}

/// The moment at which a controller dies.
///
/// # Examples
///
/// ```
/// use ha_testkit::world::{Controller, Death};
///
/// let dies_early = Controller::dying(Death::Before(3));
/// assert!(!dies_early.is_dead());
/// dies_early.kill();
/// assert!(dies_early.is_dead());
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Death {
    /// Before the entry with this sequence number is written.
    Before(u64),
    /// After the entry with this sequence number is written, before anything else.
    After(u64),
    /// At a moment of the first step of this kind, both as reports name them: `stop` on `esb1`.
    In {
        /// Which moment.
        moment: Moment,
        /// What the step does.
        action: &'static str,
        /// What it is done to.
        target: &'static str,
    },
}

/// A moment of a step.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Moment {
    /// It is about to be recorded.
    BeforeIntent,
    /// It is recorded, and nothing of it has happened.
    AfterIntent,
    /// It has happened, and its outcome is not recorded.
    BeforeOutcome,
    /// Its outcome is recorded.
    AfterOutcome,
}

impl Death {
    /// Tells whether it comes with an entry, before that is written or after.
    fn comes_with(self, entry: &Entry, before: bool, topology: &Topology) -> bool {
        let (moment, action, target) = match self {
            Self::Before(sequence) => return before && entry.sequence == sequence,
            Self::After(sequence) => return !before && entry.sequence == sequence,
            Self::In { moment, action, target } => (moment, action, target),
        };
        let is_it = |order: &Order| order.name() == action && order.target_name(topology) == target;
        match &entry.record {
            Record::Intent { order, .. } => {
                let wanted = if before { Moment::BeforeIntent } else { Moment::AfterIntent };
                moment == wanted && is_it(order)
            }
            Record::Outcome { order, .. } => {
                let wanted = if before { Moment::BeforeOutcome } else { Moment::AfterOutcome };
                moment == wanted && is_it(order)
            }
            _ => false,
        }
    }
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
    pub(super) topology: Topology,
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
        let dies = |before: bool| {
            death.is_some_and(|death| entries.iter().any(|entry| death.comes_with(entry, before, &self.topology)))
        };
        let (before, after) = (dies(true), dies(false));
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
impl ObserveLease for ReachedStore {
    async fn holder(&self, cluster: &str) -> Result<Option<LeaseHolder>, LeaseError> {
        self.store.holder(cluster).await
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
