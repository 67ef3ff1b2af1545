use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::FailureKind;
use super::class::{Class, Mix};
use super::client::{Jar, Shot};
use super::running::{RunningLoad, lock};
use super::tally::Tally;

/// Clients in a closed loop: each sends its next request as soon as its answer is whole, over a kept-alive connection.
///
/// They find what an open loop misses: with every connection busy at every moment, a server that goes away always meets
/// a request. A connection that the other end closed while it was idle is not used; one that ends after the request was
/// written is a failure.
///
/// # Examples
///
/// ```
/// use ha_lab::load::{Class, FaultyServer, Misbehaviour, Saturate};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// let server = FaultyServer::start(vec![Misbehaviour::None]).await?;
/// let clients = Saturate::new(server.address()).with_clients(4).with_class(Class::new("/", "orders ", 1));
/// let report = clients.with_limit(40).start()?.finish().await;
/// assert_eq!((report.counts.ok, report.counts.failures()), (40, 0));
/// # Ok::<(), std::io::Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct Saturate {
    addresses: Vec<SocketAddr>,
    clients: usize,
    classes: Vec<Class>,
    timeout: Duration,
    limit: Option<u64>,
    cookies: bool,
}

impl Saturate {
    /// Describes 32 clients of `address`. Each request carries an `x-request-id`.
    pub fn new(address: SocketAddr) -> Self {
        let timeout = Duration::from_secs(15);
        Self { addresses: vec![address], clients: 32, classes: Vec::new(), timeout, limit: None, cookies: false }
    }

    /// Adds an address; the clients are spread over all, and each stays with its own.
    #[must_use]
    pub fn with_address(mut self, address: SocketAddr) -> Self {
        self.addresses.push(address);
        self
    }

    /// Sets how many clients there are, at least 1. Default 32.
    #[must_use]
    pub fn with_clients(mut self, clients: usize) -> Self {
        self.clients = clients.max(1);
        self
    }

    /// Adds a kind of request.
    #[must_use]
    pub fn with_class(mut self, class: Class) -> Self {
        self.classes.push(class);
        self
    }

    /// Sets how long a request may take. Default 15 s.
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

    /// Lets each client keep the cookie that it is given.
    #[must_use]
    pub fn with_cookies(mut self) -> Self {
        self.cookies = true;
        self
    }

    /// Starts the load in the current tokio runtime.
    ///
    /// # Errors
    /// When the load has no class with a share.
    pub fn start(self) -> io::Result<RunningLoad> {
        let mix = Mix::new(&self.classes)?;
        RunningLoad::start(|tally, stop| self.run(mix, tally, stop))
    }

    async fn run(self, mix: Mix, tally: Arc<Mutex<Tally>>, stop: Arc<AtomicBool>) {
        let (began, next, prefix) = (Instant::now(), Arc::new(AtomicU64::new(0)), super::running::prefix());
        let (load, mix) = (Arc::new(self), Arc::new(mix));
        let mut clients = JoinSet::new();
        for client in 0..load.clients {
            let (load, mix, tally, stop) = (load.clone(), mix.clone(), tally.clone(), stop.clone());
            let (next, prefix) = (next.clone(), prefix.clone());
            clients.spawn(async move {
                let (mut kept, jar) = (None, Jar::default());
                while !stop.load(Ordering::SeqCst) {
                    let number = next.fetch_add(1, Ordering::SeqCst);
                    if load.limit.is_some_and(|limit| number >= limit) {
                        return;
                    }
                    let shot = Shot {
                        address: load.addresses[client % load.addresses.len()],
                        others: &[],
                        class: mix.class(number),
                        id: format!("{prefix}{number}"),
                        timeout: load.timeout,
                        jar: load.cookies.then_some(&jar),
                    };
                    let sent = Instant::now();
                    lock(&tally).sent();
                    let outcome = shot.fire(&mut kept).await;
                    let refused = outcome == Err(FailureKind::Refused);
                    lock(&tally).ended(began.elapsed(), sent.elapsed(), outcome);
                    if refused {
                        sleep(AFTER_REFUSAL).await;
                    }
                }
            });
        }
        while clients.join_next().await.is_some() {}
    }
}

/// Keeps the clients of a closed port from counting nothing but their own haste.
const AFTER_REFUSAL: Duration = Duration::from_millis(5);
