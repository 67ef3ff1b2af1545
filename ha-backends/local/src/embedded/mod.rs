mod admin;
mod check;
mod connector;
mod epoch;
#[cfg(fuzzing)]
pub(crate) mod fuzz;
mod proxy;
mod routes;
mod servers;
mod sites;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ha_core::state::MemberKind;
use ha_core::topology::Name;
use tokio::net::{TcpListener, UnixListener};
use tokio::task::JoinSet;

use epoch::KeptEpoch;
use routes::Routes;
use servers::Servers;

/// A health check that the embedded balancer runs on every server.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Check {
    /// The path that answers 200 when the server is up.
    pub path: String,
    /// The pause between two checks. Default 100 ms.
    pub interval: Duration,
    /// Checks in a row that must pass before a server is up. Default 2.
    pub rise: u32,
    /// Checks in a row that must fail before a server is down. Default 3.
    pub fall: u32,
}

impl Check {
    /// Checks `path` with the default pace.
    pub fn new(path: impl Into<String>) -> Self {
        Self { path: path.into(), interval: Duration::from_millis(100), rise: 2, fall: 3 }
    }
}

/// An HTTP/1.1 reverse proxy inside the embedding program, driven by [`LocalBalancer`](crate::LocalBalancer).
///
/// It never retries, and queues only where it is the front of several sites: a request that its server loses is lost for the client, so that a test sees it. The
/// primary servers that are up take turns; where none is up, the first backup server that is takes everything. Dropping the
/// value ends it.
///
/// # Examples
///
/// ```
/// use ha_core::state::MemberKind;
/// use ha_core::topology::Name;
/// use ha_local::{Check, EmbeddedBalancer};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// let dir = tempfile::tempdir()?;
/// let any = ([127, 0, 0, 1], 0).into();
/// let balancer = EmbeddedBalancer::builder(Name::new("esb")?)
///     .with_member(Name::new("esb1")?, ([127, 0, 0, 1], 8280).into(), MemberKind::Primary)
///     .with_member_held_out(Name::new("spare1")?, ([127, 0, 0, 1], 8281).into(), MemberKind::Backup)
///     .with_check(Check::new("/services/Version"))
///     .start(any, &dir.path().join("admin.sock"))
///     .await?;
/// assert_ne!(balancer.address().port(), 0);
/// # Ok(())
/// # })
/// # }
/// ```
#[derive(Debug)]
pub struct EmbeddedBalancer {
    /// One a pool, in the order in which the pools were added.
    addresses: Vec<SocketAddr>,
    socket: PathBuf,
    _tasks: JoinSet<()>,
}

/// Puts an [`EmbeddedBalancer`] together.
#[derive(Debug)]
pub struct EmbeddedBuilder {
    servers: Servers,
    /// Where the pools after the first one listen.
    listens: Vec<SocketAddr>,
    check: Option<Check>,
    routes: Option<PathBuf>,
    sites: Option<PathBuf>,
}

impl EmbeddedBalancer {
    /// Begins a balancer with its first pool.
    pub fn builder(pool: Name) -> EmbeddedBuilder {
        EmbeddedBuilder { servers: Servers::new(pool), listens: Vec::new(), check: None, routes: None, sites: None }
    }

    /// Returns the address that clients of the first pool use.
    pub fn address(&self) -> SocketAddr {
        self.addresses.first().copied().unwrap_or(([0, 0, 0, 0], 0).into())
    }

    /// Returns the addresses that clients use, one a pool in the order in which the pools were added.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Returns the path of the admin socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }
}

impl Drop for EmbeddedBalancer {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.socket);
    }
}

impl EmbeddedBuilder {
    /// Adds a server that takes traffic from the beginning.
    #[must_use]
    pub fn with_member(mut self, name: Name, address: SocketAddr, kind: MemberKind) -> Self {
        self.servers.add(name, address, kind, false);
        self
    }

    /// Adds a server that begins in maintenance.
    #[must_use]
    pub fn with_member_held_out(mut self, name: Name, address: SocketAddr, kind: MemberKind) -> Self {
        self.servers.add(name, address, kind, true);
        self
    }

    /// Begins another pool with an address of its own, where a port of 0 takes a free one; the servers that are added from now
    /// on are in it.
    #[must_use]
    pub fn with_pool(mut self, pool: Name, listen: SocketAddr) -> Self {
        self.servers.add_pool(pool);
        self.listens.push(listen);
        self
    }

    /// Leads the clients of the first pool by the routes of a file: one line each, a path prefix or a host, and the pool
    /// that answers it; the longest prefix counts, then the host, and what neither fits is answered with 404. A file that is not there is one without routes.
    /// [`LocalExposure`](crate::LocalExposure) changes it. Default: no routes, each pool's clients are its own.
    #[must_use]
    pub fn with_routes(mut self, file: impl Into<PathBuf>) -> Self {
        self.routes = Some(file.into());
        self
    }

    /// Makes it the front of several sites: the clients of the first pool are led to one of the other pools, each of which is a
    /// site's, or wait, or are refused, as the file says; one that is not there leads them to the second pool.
    /// [`LocalSwitch`](crate::LocalSwitch) changes it. Default: no sites, each pool's clients are its own.
    #[must_use]
    pub fn with_sites(mut self, file: impl Into<PathBuf>) -> Self {
        self.sites = Some(file.into());
        self
    }

    /// Checks the health of every server. Default: no checks.
    #[must_use]
    pub fn with_check(mut self, check: Check) -> Self {
        self.check = Some(check);
        self
    }

    /// Starts it in the current tokio runtime, its first pool on `listen`, where a port of 0 takes a free one.
    ///
    /// # Errors
    /// When the address or the socket's path is taken, the routes file has a line that is no route, the sites file names no pool, or the lease epoch that is kept beside the socket (in a file with
    /// `.epoch` behind the socket's name) cannot be read.
    pub async fn start(mut self, listen: SocketAddr, socket: &Path) -> io::Result<EmbeddedBalancer> {
        let (mut listeners, mut addresses) = (Vec::new(), Vec::new());
        for listen in [listen].into_iter().chain(self.listens) {
            let clients = TcpListener::bind(listen).await?;
            addresses.push(clients.local_addr()?);
            listeners.push(clients);
        }
        let admin = UnixListener::bind(socket)?;
        let mut tasks = JoinSet::new();
        self.servers.keep_epoch(KeptEpoch::of(socket)?);
        if let Some(file) = self.routes {
            self.servers.set_routes(Routes::of(file)?);
        }
        if let Some(file) = self.sites {
            self.servers.set_sites(file)?;
        }
        self.servers.set_check(self.check.as_ref().map(|check| check.path.as_str()));
        let servers = Arc::new(self.servers);
        if let Some(check) = self.check {
            for server in 0..servers.len() {
                tasks.spawn(check::watch(servers.clone(), server, check.clone()));
            }
        }
        for (pool, clients) in listeners.into_iter().enumerate() {
            tasks.spawn(proxy::serve(clients, servers.clone(), pool));
        }
        tasks.spawn(admin::serve(admin, servers));
        Ok(EmbeddedBalancer { addresses, socket: socket.to_path_buf(), _tasks: tasks })
    }
}
