//! Private database servers: each with a folder, a port and a socket of its own, ready in about 0.1 s.

mod folder;
mod mariadb;
mod postgres;
mod process;
mod template;
mod user;

pub use mariadb::MariaDbServer;
pub use postgres::PostgresServer;
pub use process::PausedServer;

use std::io;
use std::path::PathBuf;
use std::process::Command;

use super::{Inside, Lab};

/// How a database server is to run.
///
/// # Examples
///
/// ```
/// use ha_lab::DatabaseSpec;
///
/// let spec = DatabaseSpec::default().durable().with_setting("max_connections=200");
/// assert!(spec.durable);
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct DatabaseSpec {
    /// A commit that was answered survives the death of the server (fsync, double writes). Default false: faster.
    pub durable: bool,
    /// The data lies on the disk of the temporary folder. Default false: in memory (`/dev/shm`), where there is room.
    pub on_disk: bool,
    /// A clean stop is followed by a start, as a service manager does it. Of PostgreSQL only. Default false.
    pub supervised: bool,
    /// The machine in whose network it runs and is reached. Of PostgreSQL only. Default: this one, at 127.0.0.1.
    pub inside: Option<Inside>,
    /// More settings, `name=value` each, as the server's command line takes them: `-c` (PostgreSQL), `--` (MariaDB).
    pub settings: Vec<String>,
}

impl DatabaseSpec {
    /// Sets [`durable`](Self::durable).
    #[must_use]
    pub fn durable(mut self) -> Self {
        self.durable = true;
        self
    }

    /// Sets [`on_disk`](Self::on_disk).
    #[must_use]
    pub fn on_disk(mut self) -> Self {
        self.on_disk = true;
        self
    }

    /// Sets [`supervised`](Self::supervised).
    #[must_use]
    pub fn supervised(mut self) -> Self {
        self.supervised = true;
        self
    }

    /// Sets [`inside`](Self::inside).
    #[must_use]
    pub fn inside(mut self, machine: Inside) -> Self {
        self.inside = Some(machine);
        self
    }

    /// Adds a setting.
    #[must_use]
    pub fn with_setting(mut self, setting: impl Into<String>) -> Self {
        self.settings.push(setting.into());
        self
    }
}

impl Lab {
    /// Starts a PostgreSQL and waits until it answers.
    ///
    /// # Errors
    /// When it is not installed (with the package to install), and when it does not answer in 20 s (with what it printed).
    pub fn postgres(&self, name: &str, spec: &DatabaseSpec) -> io::Result<PostgresServer> {
        PostgresServer::start(self, name, spec)
    }

    /// Starts a PostgreSQL that follows another one of this lab, from a base backup of it, and waits until it answers. Both must have
    /// `wal_level=replica` and `max_wal_senders`.
    ///
    /// # Errors
    /// As [`postgres`](Self::postgres), and what the backup says.
    pub fn postgres_standby(&self, name: &str, of: &PostgresServer, spec: &DatabaseSpec) -> io::Result<PostgresServer> {
        PostgresServer::start_standby(self, name, of, spec)
    }

    /// Starts a MariaDB and waits until it answers.
    ///
    /// # Errors
    /// As [`postgres`](Self::postgres).
    pub fn mariadb(&self, name: &str, spec: &DatabaseSpec) -> io::Result<MariaDbServer> {
        MariaDbServer::start(self, name, spec)
    }
}

/// Runs a client or tool to its end and returns what it printed.
pub(crate) fn output(command: &mut Command) -> io::Result<String> {
    let done = command.output()?;
    if done.status.success() {
        return Ok(String::from_utf8_lossy(&done.stdout).into_owned());
    }
    let program = command.get_program().display().to_string();
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    Err(io::Error::other(format!("{program}: {}: {}", done.status, said.trim())))
}

/// Finds a program in the folders of system programs and the search path.
pub(crate) fn program(name: &str, package: &str) -> io::Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let beside = ["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from);
    let mut files = std::env::split_paths(&path).chain(beside).map(|dir| dir.join(name));
    files.find(|file| file.is_file()).ok_or_else(|| not_installed(name, package))
}

pub(crate) fn not_installed(name: &str, package: &str) -> io::Error {
    let words = format!("{name} is not installed: RUNLEVEL=1 apt-get install {package}");
    io::Error::new(io::ErrorKind::NotFound, words)
}
