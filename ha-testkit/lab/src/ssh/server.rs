use std::io::{self, Read};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::launch::Files;
use super::pid_space::PidSpace;
use super::{Guardian, SshAccess, SshSpec, tools};
use crate::Lab;

/// How long a host may take until its sshd greets.
const READY: Duration = Duration::from_secs(20);

/// An sshd that is process 1 of a process namespace, with mounts and a host name of its own.
#[derive(Debug)]
pub(crate) struct Server {
    guardian: Arc<Guardian>,
    access: SshAccess,
    files: Files,
    /// What puts the server into its network.
    enter: Vec<String>,
    running: Mutex<Option<PidSpace>>,
}

impl Server {
    /// Installs it without starting it.
    pub(crate) fn install(
        lab: &Lab,
        name: &str,
        address: SocketAddrV4,
        spec: &SshSpec,
        enter: Vec<String>,
    ) -> io::Result<Self> {
        if name.is_empty() || name.len() > 63 || !name.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-') {
            let text = format!("{name:?} is no host name: letters, digits and hyphens");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let program = &lab.relaunch().program;
        let visible = [lab.path(), program.parent().unwrap_or(program)];
        let dir = lab.path().join(name);
        let files = Files::create(dir.clone(), name, spec, &visible)?;
        let access = SshAccess::create(name, address, &dir)?;
        let listen = if enter.is_empty() { access.address() } else { Ipv4Addr::UNSPECIFIED };
        files.configure(&access, listen, spec)?;
        Ok(Self { guardian: lab.guardian()?, access, files, enter, running: Mutex::new(None) })
    }

    pub(crate) fn access(&self) -> &SshAccess {
        &self.access
    }

    pub(crate) fn guardian(&self) -> &Guardian {
        &self.guardian
    }

    pub(crate) fn boot_id(&self) -> io::Result<String> {
        self.files.boot_id()
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.files.log()
    }

    pub(crate) fn outside(&self, inside: &Path) -> io::Result<PathBuf> {
        self.files.outside(inside).ok_or_else(|| {
            let text = format!("{} is the system's: a host has /tmp, /run, /root, /srv of its own", inside.display());
            io::Error::new(io::ErrorKind::InvalidInput, text)
        })
    }

    /// Starts it with a new boot id and waits until it greets. One that runs stays as it is.
    pub(crate) fn start(&self) -> io::Result<()> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        // A closed lab answers with an error.
        if self.guardian.runs(self.access.name())? {
            return Ok(());
        }
        self.files.boot()?;
        let unshare = tools::program("unshare")?;
        let mut argv = self.enter.clone();
        argv.push(unshare);
        argv.extend(
            ["--mount", "--uts", "--ipc", "--pid", "--fork", "--kill-child=SIGKILL", "--mount-proc", "sh"]
                .map(Into::into),
        );
        argv.push(self.files.script().display().to_string());
        let pid = self.guardian.spawn(self.access.name(), argv, self.files.log())?;
        if let Err(error) = self.await_banner().and_then(|()| self.await_systemd()) {
            let _ = self.guardian.stop(self.access.name());
            let log = std::fs::read_to_string(self.files.log()).unwrap_or_default();
            return Err(io::Error::other(format!("host {}: {error}: {}", self.access.name(), log.trim())));
        }
        *running = PidSpace::below(pid);
        Ok(())
    }

    /// Kills it and all that runs on it. One that does not run stays as it is.
    pub(crate) fn stop(&self) -> io::Result<()> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        *running = None;
        self.guardian.stop(self.access.name())
    }

    pub(crate) fn pids(&self) -> Vec<i32> {
        self.space().map_or_else(Vec::new, |space| space.pids())
    }

    /// Sends a signal to the processes that serve one connection each, and returns how many they were.
    pub(crate) fn signal_sessions(&self, signal: Signal) -> usize {
        let Some(space) = self.space() else { return 0 };
        let sessions = space.sessions();
        space.signal(&sessions, signal);
        sessions.len()
    }

    fn space(&self) -> Option<PidSpace> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until its systemd, if it has one, can be asked.
    fn await_systemd(&self) -> io::Result<()> {
        let Some(socket) = self.files.systemd_socket() else { return Ok(()) };
        let until = Instant::now() + READY;
        while !socket.exists() {
            if Instant::now() >= until {
                return Err(io::Error::other(format!("systemd did not listen in {READY:?}")));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    fn await_banner(&self) -> io::Result<()> {
        let until = Instant::now() + READY;
        for turn in 0.. {
            let error = match greets(self.access.socket_address()) {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            if turn % 16 == 15 && !self.guardian.runs(self.access.name())? {
                return Err(io::Error::other("sshd ended at once"));
            }
            if Instant::now() >= until {
                return Err(io::Error::other(format!("sshd did not greet in {READY:?}: {error}")));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.stop();
    }
}

fn greets(address: SocketAddrV4) -> io::Result<()> {
    let limit = Duration::from_secs(2);
    let mut stream = TcpStream::connect_timeout(&address.into(), limit)?;
    stream.set_read_timeout(Some(limit))?;
    let mut greeting = [0; 4];
    stream.read_exact(&mut greeting)?;
    if &greeting == b"SSH-" { Ok(()) } else { Err(io::Error::other("the greeting is not ssh's")) }
}
