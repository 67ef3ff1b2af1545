use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep_until};

use super::request::{Pool, Shot};
use super::tally::{LoadReport, Snapshot, Tally};

/// One kind of request.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Class {
    /// Path and query.
    pub path: String,
    /// How the body of a right answer begins.
    pub expect: String,
    /// Its share: this many of the sum of all shares.
    pub share: u32,
}

impl Class {
    /// Describes a kind of request.
    pub fn new(path: impl Into<String>, expect: impl Into<String>, share: u32) -> Self {
        Self { path: path.into(), expect: expect.into(), share }
    }
}

/// A load to put on one address.
#[derive(Clone, Debug)]
pub struct Load {
    address: SocketAddr,
    per_second: u32,
    classes: Vec<Class>,
    timeout: Duration,
    limit: Option<u64>,
    prefix: String,
}

impl Load {
    /// Describes a load of `per_second` requests (at least 1) on `address`. Each request carries an `x-request-id`.
    pub fn new(address: SocketAddr, per_second: u32) -> Self {
        Self {
            address,
            per_second: per_second.max(1),
            classes: Vec::new(),
            timeout: Duration::from_secs(15),
            limit: None,
            prefix: format!("{}-", std::process::id()),
        }
    }

    /// Adds a kind of request.
    #[must_use]
    pub fn with_class(mut self, class: Class) -> Self {
        self.classes.push(class);
        self
    }

    /// Sets how long a request may take from the moment it is sent. Default 15 s.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Ends the load after this many requests. Default: when it is stopped.
    #[must_use]
    pub fn with_limit(mut self, requests: u64) -> Self {
        self.limit = Some(requests);
        self
    }

    /// Starts the load in the current tokio runtime.
    ///
    /// # Errors
    /// When the load has no class with a share.
    pub fn start(self) -> io::Result<RunningLoad> {
        let shares: Vec<Class> = self
            .classes
            .iter()
            .flat_map(|class| std::iter::repeat_n(class.clone(), usize::try_from(class.share).unwrap_or(0)))
            .collect();
        if shares.is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the load has no class with a share"));
        }
        let tally = Tally::new().map_err(io::Error::other)?;
        let (tally, stop) = (Arc::new(Mutex::new(tally)), Arc::new(AtomicBool::new(false)));
        let task = tokio::spawn(self.fire(shares, tally.clone(), stop.clone()));
        Ok(RunningLoad { tally, stop, task, began: Instant::now() })
    }

    async fn fire(self, shares: Vec<Class>, tally: Arc<Mutex<Tally>>, stop: Arc<AtomicBool>) {
        let (pool, began) = (Arc::new(Pool::new(self.address)), Instant::now());
        let gap = Duration::from_secs(1) / self.per_second;
        let mut requests: JoinSet<()> = JoinSet::new();
        let mut due = began;
        for number in 0_u64.. {
            if stop.load(Ordering::SeqCst) || self.limit.is_some_and(|limit| number >= limit) {
                break;
            }
            sleep_until(due).await;
            let place = number.wrapping_mul(STRIDE) % u64::try_from(shares.len()).unwrap_or(1);
            let class = &shares[usize::try_from(place).unwrap_or(0)];
            let shot = Shot {
                path: class.path.clone(),
                id: format!("{}{number}", self.prefix),
                timeout: self.timeout,
                expect: class.expect.clone(),
            };
            let (pool, tally, scheduled) = (pool.clone(), tally.clone(), due);
            lock(&tally).sent();
            requests.spawn(async move {
                let outcome = pool.fire(&shot).await;
                lock(&tally).ended(began.elapsed(), scheduled.elapsed(), outcome);
            });
            while requests.try_join_next().is_some() {}
            due += gap;
        }
        while requests.join_next().await.is_some() {}
    }
}

/// Spreads the classes over the sequence; coprime to any usual sum of shares.
const STRIDE: u64 = 7919;

/// A load that runs.
#[derive(Debug)]
pub struct RunningLoad {
    tally: Arc<Mutex<Tally>>,
    stop: Arc<AtomicBool>,
    task: JoinHandle<()>,
    began: Instant,
}

impl RunningLoad {
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

fn lock(tally: &Mutex<Tally>) -> MutexGuard<'_, Tally> {
    tally.lock().unwrap_or_else(PoisonError::into_inner)
}
