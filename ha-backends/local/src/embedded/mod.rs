mod admin;
mod check;
mod connector;
mod epoch;
#[cfg(fuzzing)]
pub(crate) mod fuzz;
mod proxy;
mod rows;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ha_core::state::RowKind;
use ha_core::topology::Name;
use tokio::net::{TcpListener, UnixListener};
use tokio::task::JoinSet;

use epoch::KeptEpoch;
use rows::Rows;

/// A health check that the embedded balancer runs on every row.
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
/// It never retries and never queues: a request that its server loses is lost for the client, so that a test sees it. The
/// primary rows that are up take turns; where none is up, the first backup row that is takes everything. Dropping the
/// value ends it.
#[derive(Debug)]
pub struct EmbeddedBalancer {
    address: SocketAddr,
    socket: PathBuf,
    _tasks: JoinSet<()>,
}

/// Puts an [`EmbeddedBalancer`] together.
#[derive(Debug)]
pub struct EmbeddedBuilder {
    rows: Rows,
    check: Option<Check>,
}

impl EmbeddedBalancer {
    /// Begins a balancer for one pool.
    pub fn builder(pool: Name) -> EmbeddedBuilder {
        EmbeddedBuilder { rows: Rows::new(pool), check: None }
    }

    /// Returns the address that clients use.
    pub fn address(&self) -> SocketAddr {
        self.address
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
    /// Adds a row that takes traffic from the beginning.
    #[must_use]
    pub fn with_member(mut self, name: Name, address: SocketAddr, kind: RowKind) -> Self {
        self.rows.add(name, address, kind, false);
        self
    }

    /// Adds a row that begins in maintenance.
    #[must_use]
    pub fn with_member_held_out(mut self, name: Name, address: SocketAddr, kind: RowKind) -> Self {
        self.rows.add(name, address, kind, true);
        self
    }

    /// Checks the health of every row. Default: no checks.
    #[must_use]
    pub fn with_check(mut self, check: Check) -> Self {
        self.check = Some(check);
        self
    }

    /// Starts it in the current tokio runtime; a `listen` port of 0 takes a free one.
    ///
    /// # Errors
    /// When the address or the socket's path is taken, or the lease epoch that is kept beside the socket (in a file with
    /// `.epoch` behind the socket's name) cannot be read.
    pub async fn start(mut self, listen: SocketAddr, socket: &Path) -> io::Result<EmbeddedBalancer> {
        let clients = TcpListener::bind(listen).await?;
        let admin = UnixListener::bind(socket)?;
        let address = clients.local_addr()?;
        let mut tasks = JoinSet::new();
        self.rows.keep_epoch(KeptEpoch::of(socket)?);
        self.rows.set_checked(self.check.is_some());
        let rows = Arc::new(self.rows);
        if let Some(check) = self.check {
            for row in 0..rows.len() {
                tasks.spawn(check::watch(rows.clone(), row, check.clone()));
            }
        }
        tasks.spawn(proxy::serve(clients, rows.clone()));
        tasks.spawn(admin::serve(admin, rows));
        Ok(EmbeddedBalancer { address, socket: socket.to_path_buf(), _tasks: tasks })
    }
}
