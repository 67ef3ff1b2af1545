use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{Lab, Warded};

/// One server row of a lab's HAProxy.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServerSpec {
    /// The row's name.
    pub name: String,
    /// Its port on 127.0.0.1.
    pub port: u16,
    /// A backup row.
    pub backup: bool,
    /// Begins in maintenance.
    pub held_out: bool,
}

impl ServerSpec {
    /// Describes a row that takes traffic from the beginning.
    pub fn new(name: impl Into<String>, port: u16) -> Self {
        Self { name: name.into(), port, backup: false, held_out: false }
    }

    /// Makes it a backup row.
    #[must_use]
    pub fn as_backup(mut self) -> Self {
        self.backup = true;
        self
    }

    /// Lets it begin in maintenance.
    #[must_use]
    pub fn held_out(mut self) -> Self {
        self.held_out = true;
        self
    }
}

/// What a lab's HAProxy is to do. It hides nothing: no retries, no redispatch.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HaProxySpec {
    /// The backend's name.
    pub pool: String,
    /// Its rows.
    pub servers: Vec<ServerSpec>,
    /// The path of the health check, every 100 ms; `None` for no checks.
    pub check: Option<String>,
    /// The level of the admin socket: `admin`, `operator` or `user`.
    pub level: String,
}

impl HaProxySpec {
    /// Describes a backend with checks of `/services/Version` and an admin socket.
    pub fn new(pool: impl Into<String>, servers: Vec<ServerSpec>) -> Self {
        Self { pool: pool.into(), servers, check: Some("/services/Version".into()), level: "admin".into() }
    }

    fn config(&self, port: u16, socket: &Path) -> String {
        let mut text = format!(
            "global\n    stats socket {} level {}\n    stats timeout 10s\n    maxconn 2000\n\
             defaults\n    mode http\n    timeout connect 2s\n    timeout client 60s\n    timeout server 60s\n    \
             retries 0\n    option idle-close-on-response\n\
             frontend in\n    bind 127.0.0.1:{port}\n    default_backend {}\n\
             backend {}\n    balance roundrobin\n",
            socket.display(),
            self.level,
            self.pool,
            self.pool,
        );
        if let Some(path) = &self.check {
            let _ = writeln!(text, "    option httpchk GET {path}\n    http-check expect status 200");
        }
        for server in &self.servers {
            let _ = write!(text, "    server {} 127.0.0.1:{}", server.name, server.port);
            if self.check.is_some() {
                let _ = write!(text, " check inter 100ms fall 3 rise 2");
            }
            let _ = write!(text, "{}", if server.backup { " backup" } else { "" });
            let _ = writeln!(text, "{}", if server.held_out { " disabled" } else { "" });
        }
        text
    }
}

/// A running HAProxy of the lab.
#[derive(Debug)]
pub struct HaProxyProcess {
    port: u16,
    socket: PathBuf,
    _process: Warded,
}

/// How long HAProxy may take to answer on its socket.
const READY: Duration = Duration::from_secs(20);

impl Lab {
    /// Starts HAProxy and waits until its admin socket answers.
    ///
    /// # Errors
    /// When HAProxy is not installed (with the package to install), when it refuses its configuration (with what it
    /// printed), and when it does not answer in 20 s.
    pub fn haproxy(&self, name: &str, spec: &HaProxySpec) -> io::Result<HaProxyProcess> {
        let program = haproxy_program()?;
        let (port, dir) = (self.free_port()?, self.path().join(name));
        std::fs::create_dir(&dir)?;
        let (config, socket, log) = (dir.join("haproxy.cfg"), dir.join("admin.sock"), dir.join("haproxy.log"));
        std::fs::write(&config, spec.config(port, &socket))?;
        let argv = [program.display().to_string(), "-db".into(), "-f".into(), config.display().to_string()];
        let mut process = Warded::start(self.relaunch(), &argv, &log)?;
        let until = Instant::now() + READY;
        while !answers(&socket) {
            let printed = || std::fs::read_to_string(&log).unwrap_or_default();
            if process.has_ended()? {
                return Err(io::Error::other(format!("HAProxy ended at once: {}", printed())));
            }
            if Instant::now() >= until {
                return Err(io::Error::other(format!("HAProxy did not answer in {READY:?}: {}", printed())));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(HaProxyProcess { port, socket, _process: process })
    }
}

impl HaProxyProcess {
    /// Returns the traffic port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the path of the admin socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Sends one command to the admin socket and returns the raw answer: the truth by another route than a backend's.
    ///
    /// # Errors
    /// What the socket says.
    pub fn ask(&self, command: &str) -> io::Result<String> {
        ask(&self.socket, command)
    }
}

fn haproxy_program() -> io::Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let beside = [PathBuf::from("/usr/sbin"), PathBuf::from("/usr/local/sbin")];
    let dirs = std::env::split_paths(&path).chain(beside);
    dirs.map(|dir| dir.join("haproxy"))
        .find(|file| file.is_file())
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "haproxy is not installed: apt-get install haproxy"))
}

fn answers(socket: &Path) -> bool {
    ask(socket, "show info").is_ok_and(|answer| answer.contains("Pid:"))
}

fn ask(socket: &Path, command: &str) -> io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(format!("{command}\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
