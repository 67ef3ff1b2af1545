use std::future::Future;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::tally::{LoadReport, Snapshot, Tally};

/// A load that runs.
///
/// # Examples
///
/// ```
/// use ha_lab::load::RunningLoad;
///
/// /// Lets a load run until so many right answers are there.
/// async fn until(load: RunningLoad, answers: u64) -> u64 {
///     while load.snapshot().ok < answers {
///         tokio::time::sleep(std::time::Duration::from_millis(5)).await;
///     }
///     load.stop().await.counts.failures()
/// }
/// ```
#[derive(Debug)]
pub struct RunningLoad {
    tally: Arc<Mutex<Tally>>,
    stop: Arc<AtomicBool>,
    task: JoinHandle<()>,
    began: Instant,
}

impl RunningLoad {
    pub(super) fn start<F>(load: impl FnOnce(Arc<Mutex<Tally>>, Arc<AtomicBool>) -> F) -> io::Result<Self>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let tally = Arc::new(Mutex::new(Tally::new().map_err(io::Error::other)?));
        let stop = Arc::new(AtomicBool::new(false));
        HAS_BEGUN.store(true, Ordering::SeqCst);
        let task = tokio::spawn(load(tally.clone(), stop.clone()));
        Ok(Self { tally, stop, task, began: Instant::now() })
    }

    /// Returns the counts so far.
    pub fn snapshot(&self) -> Snapshot {
        lock(&self.tally).snapshot()
    }

    /// Returns how long the load has been running: the clock of the report's first and last failure.
    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// Sends no more, waits for every request under way, and reports.
    pub async fn stop(self) -> LoadReport {
        self.stop.store(true, Ordering::SeqCst);
        self.finish().await
    }

    /// Waits for the limit of the load, and reports.
    pub async fn finish(self) -> LoadReport {
        if let Err(error) = self.task.await {
            std::panic::resume_unwind(error.into_panic());
        }
        lock(&self.tally).report()
    }
}

static HAS_BEGUN: AtomicBool = AtomicBool::new(false);

/// Tells whether this process has started a load.
pub fn has_begun() -> bool {
    HAS_BEGUN.load(Ordering::SeqCst)
}

pub(super) fn lock(tally: &Mutex<Tally>) -> MutexGuard<'_, Tally> {
    tally.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns what the request ids of one load begin with; no other load of this machine has the same.
pub(super) fn prefix() -> String {
    static LOADS: AtomicU64 = AtomicU64::new(0);
    format!("{}-{}-", std::process::id(), LOADS.fetch_add(1, Ordering::SeqCst))
}
