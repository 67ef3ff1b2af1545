use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::class::{Class, Mix};
use super::client::{Jar, Shot};
use super::ledger;
use super::running::{RunningLoad, lock};
use super::tally::Tally;
use super::wire::Wire;

/// A load to put on one address, or on several in turn.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use ha_lab::load::{Class, FaultyServer, Load, Misbehaviour};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// let server = FaultyServer::start(vec![Misbehaviour::None]).await?;
/// let load = Load::new(server.address(), 500)
///     .with_class(Class::new("/orders", "orders ", 1))
///     .with_timeout(Duration::from_secs(5))
///     .with_limit(50);
/// let report = load.start()?.finish().await;
/// assert_eq!((report.counts.sent, report.counts.failures()), (50, 0));
/// # Ok::<(), std::io::Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct Load {
    addresses: Vec<SocketAddr>,
    per_second: u32,
    classes: Vec<Class>,
    timeout: Duration,
    limit: Option<u64>,
    fails_over: bool,
    sessions: usize,
}

impl Load {
    /// Describes a load of `per_second` requests (at least 1) on `address`. Each request carries an `x-request-id`.
    pub fn new(address: SocketAddr, per_second: u32) -> Self {
        Self {
            addresses: vec![address],
            per_second: per_second.max(1),
            classes: Vec::new(),
            timeout: Duration::from_secs(15),
            limit: None,
            fails_over: false,
            sessions: 0,
        }
    }

    /// Adds an address; the requests of each class go to all of them in turn.
    #[must_use]
    pub fn with_address(mut self, address: SocketAddr) -> Self {
        self.addresses.push(address);
        self
    }

    /// Lets a client that cannot connect to an address go to the others, as one does that has found several by name. Default: it
    /// fails.
    #[must_use]
    pub fn with_failover(mut self) -> Self {
        self.fails_over = true;
        self
    }

    /// Lets the requests come from so many clients in turn, each of which keeps the cookie that it is given. Default 0:
    /// nobody keeps cookies.
    #[must_use]
    pub fn with_cookie_clients(mut self, clients: usize) -> Self {
        self.sessions = clients;
        self
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
    /// When the load has no class with a share, and when the ledger that `HA_LEDGER` names cannot be opened.
    pub fn start(self) -> io::Result<RunningLoad> {
        let mix = Mix::new(&self.classes)?;
        ledger::begin()?;
        RunningLoad::start(|tally, stop| self.fire(mix, tally, stop))
    }

    async fn fire(self, mix: Mix, tally: Arc<Mutex<Tally>>, stop: Arc<AtomicBool>) {
        let (began, prefix) = (Instant::now(), super::running::prefix());
        let gap = Duration::from_secs(1) / self.per_second;
        let pools: Vec<Arc<Pool>> = self.addresses.iter().map(|_| Arc::default()).collect();
        let jars: Vec<Arc<Jar>> = (0..self.sessions).map(|_| Arc::default()).collect();
        let others: Arc<[SocketAddr]> = if self.fails_over { self.addresses.clone().into() } else { Arc::new([]) };
        let mut requests: JoinSet<()> = JoinSet::new();
        let mut due = began;
        for number in 0_u64.. {
            if stop.load(Ordering::SeqCst) || self.limit.is_some_and(|limit| number >= limit) {
                break;
            }
            sleep_until(due).await;
            let (class, turn) = (mix.class(number).clone(), mix.turn(number, pools.len()));
            let jar = jars.get(mix.turn(number, jars.len())).cloned();
            let (address, pool, tally, scheduled) = (self.addresses[turn], pools[turn].clone(), tally.clone(), due);
            let (id, timeout) = (format!("{prefix}{number}"), self.timeout);
            let others = others.clone();
            lock(&tally).sent();
            requests.spawn(async move {
                let shot =
                    Shot { address, others: &others, class: &class, id: id.clone(), timeout, jar: jar.as_deref() };
                let mut wire = if class.closing { None } else { pool.take() };
                let outcome = shot.fire(&mut wire).await;
                pool.put_back(wire);
                ledger::note(&id, &outcome);
                lock(&tally).ended(began.elapsed(), scheduled.elapsed(), outcome);
            });
            while requests.try_join_next().is_some() {}
            due += gap;
        }
        while requests.join_next().await.is_some() {}
    }
}

/// The kept-alive connections of all clients of one address.
#[derive(Debug, Default)]
struct Pool(Mutex<Vec<Wire>>);

impl Pool {
    /// Takes the connection that was used last, of those that the server has not closed meanwhile.
    fn take(&self) -> Option<Wire> {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::iter::from_fn(|| idle.pop()).find(Wire::is_fresh)
    }

    fn put_back(&self, wire: Option<Wire>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(wire);
    }
}
