use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::admin::{ask, ask_master, pid_in, workers_in};
use super::config::{Place, render};
use super::{HaProxySpec, Workers};
use crate::fake_carbon::Relaunch;
use crate::{Inside, Paused, Warded};

/// A running HAProxy of the lab. Dropping it ends its master and all its workers, old ones included.
#[derive(Debug)]
pub struct HaProxyProcess {
    relaunch: Relaunch,
    place: Place,
    /// The newest last; the others were told by a reload to end after their last connection.
    generations: Mutex<Vec<Warded>>,
}

/// How long HAProxy may take to answer on its socket.
const READY: Duration = Duration::from_secs(20);

impl HaProxyProcess {
    pub(super) fn start(relaunch: Relaunch, place: Place, spec: &HaProxySpec) -> io::Result<Self> {
        let process = Self { relaunch, place, generations: Mutex::default() };
        process.write(spec)?;
        process.launch(None)?;
        Ok(process)
    }

    /// Returns the traffic port.
    pub fn port(&self) -> u16 {
        self.place.address.port()
    }

    /// Returns the traffic address.
    pub fn address(&self) -> SocketAddr {
        self.place.address
    }

    /// Returns the path of its configuration.
    pub fn config_file(&self) -> &Path {
        &self.place.config
    }

    /// Returns the path of the admin socket.
    pub fn socket(&self) -> &Path {
        &self.place.socket
    }

    /// Returns the path of the master's socket; `None` without a master.
    pub fn master_socket(&self) -> Option<&Path> {
        self.place.master.as_deref()
    }

    /// Returns the address of the TCP admin socket; `None` without one.
    pub fn tcp_admin(&self) -> Option<SocketAddr> {
        self.place.tcp_admin
    }

    /// Sends one command to the admin socket and returns the raw answer: the truth by another route than a backend's.
    ///
    /// # Errors
    /// What the socket says.
    pub fn ask(&self, command: &str) -> io::Result<String> {
        ask(&self.place.socket, command)
    }

    /// Sends one command to the master's socket, such as `@!4711 show info`, and returns the raw answer.
    ///
    /// # Errors
    /// Without a master, and what the socket says; it refuses connections in the moment of a reload.
    pub fn ask_master(&self, command: &str) -> io::Result<String> {
        let socket = self.place.master.as_ref().ok_or_else(|| io::Error::other("this HAProxy has no master"))?;
        ask_master(socket, command)
    }

    /// Returns the process id of the worker that answers on the admin socket.
    ///
    /// # Errors
    /// What the socket says, and an answer without a pid.
    pub fn pid(&self) -> io::Result<u32> {
        pid_in(&self.ask("show info")?).ok_or_else(|| io::Error::other("`show info` has no Pid"))
    }

    /// Returns the workers, those that a reload left behind included.
    ///
    /// # Errors
    /// What the sockets say.
    pub fn worker_pids(&self) -> io::Result<Workers> {
        if self.place.master.is_some() {
            return Ok(workers_in(&self.ask_master("show proc")?));
        }
        let mut workers = Workers::default();
        for generation in self.generations().iter_mut().rev() {
            if generation.has_ended()? {
                continue;
            }
            let list = if workers.current.is_empty() { &mut workers.current } else { &mut workers.old };
            list.push(generation.pid());
        }
        Ok(workers)
    }

    /// Stops the current worker (SIGSTOP), traffic and admin socket alike, until the guard is dropped.
    ///
    /// # Errors
    /// When the worker cannot be asked for its pid or does not stop.
    pub fn pause(&self) -> io::Result<Paused> {
        Paused::stop(self.pid()?)
    }

    /// Reloads the configuration as it is on disk and waits until a new worker answers on the admin socket. The old
    /// worker goes on until its last connection has ended.
    ///
    /// # Errors
    /// When HAProxy refuses the configuration (the old worker then goes on alone), and when nothing new answers in 20 s.
    pub fn reload(&self) -> io::Result<()> {
        let old = self.pid()?;
        if self.place.master.is_none() {
            return self.launch(Some(old));
        }
        let failed = self.worker_pids()?.failed_reloads;
        let master = self.generations().last().map(Warded::pid).ok_or_else(ended)?;
        signal(master, Signal::USR2)?;
        self.until("a new worker", || {
            // The master's socket refuses connections while it starts anew.
            if self.worker_pids().is_ok_and(|workers| workers.failed_reloads > failed) {
                return Err(io::Error::other(format!("HAProxy refused to reload: {}", self.printed())));
            }
            Ok(self.answers_with(|pid| pid != old))
        })
    }

    /// Writes the configuration anew, at the same ports and sockets, and reloads it.
    ///
    /// # Errors
    /// As [`reload`](Self::reload).
    pub fn reload_with(&self, spec: &HaProxySpec) -> io::Result<()> {
        self.write(spec)?;
        self.reload()
    }

    /// Writes the states of the servers to the state file, as whoever reloads has to do right before.
    ///
    /// # Errors
    /// What the socket and the file system say.
    pub fn save_state(&self) -> io::Result<()> {
        std::fs::write(&self.place.state, self.ask("show servers state")?)
    }

    /// Returns the path of the server state file.
    pub fn state_file(&self) -> &Path {
        &self.place.state
    }

    /// Ends the whole HAProxy with SIGKILL, old workers included. The socket files stay behind.
    pub fn kill(&self) {
        self.generations().clear();
    }

    /// Starts it anew on the same ports and sockets, after a [`kill`](Self::kill) where it still runs.
    ///
    /// # Errors
    /// As [`Lab::haproxy`](crate::Lab::haproxy).
    pub fn restart(&self) -> io::Result<()> {
        self.kill();
        self.launch(None)
    }

    fn write(&self, spec: &HaProxySpec) -> io::Result<()> {
        if spec.state_file && !self.place.state.exists() {
            std::fs::write(&self.place.state, "1\n")?;
        }
        std::fs::write(&self.place.config, render(spec, &self.place, haproxy_version()?))
    }

    /// Starts a process and waits until it answers; `replaces` is the pid of the one that then takes no more.
    fn launch(&self, replaces: Option<u32>) -> io::Result<()> {
        let mut argv = vec![program()?.display().to_string()];
        match &self.place.master {
            Some(master) => argv.extend(["-W".into(), "-S".into(), master.display().to_string()]),
            None => argv.push("-db".into()),
        }
        argv.extend(["-f".into(), self.place.config.display().to_string()]);
        if let Some(old) = replaces {
            argv.extend(["-sf".into(), old.to_string()]);
        }
        let argv = Inside::argv(self.place.inside.as_ref(), argv);
        let mut started = Warded::start(&self.relaunch, &argv, &self.place.log)?;
        self.until("HAProxy", || {
            if started.has_ended()? {
                return Err(io::Error::other(format!("HAProxy ended at once: {}", self.printed())));
            }
            Ok(self.answers_with(|pid| replaces != Some(pid)))
        })?;
        self.generations().push(started);
        Ok(())
    }

    /// Asks every admin socket whether a worker answers whose pid is the right one.
    fn answers_with(&self, right: impl Fn(u32) -> bool) -> bool {
        // For a moment an older process may still accept there, in turn with the new one.
        let answers = |address| (0..4).all(|_| super::admin::pid_over_tcp(address).is_some_and(&right));
        let tcp = self.place.tcp_admin.map(answers);
        let master = self.place.master.is_none() || self.worker_pids().is_ok();
        self.pid().is_ok_and(&right) && tcp.unwrap_or(true) && master
    }

    fn until(&self, what: &str, mut holds: impl FnMut() -> io::Result<bool>) -> io::Result<()> {
        let until = Instant::now() + READY;
        while !holds()? {
            if Instant::now() >= until {
                let words = format!("{what} did not answer in {READY:?}: {}", self.printed());
                return Err(io::Error::new(io::ErrorKind::TimedOut, words));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    fn printed(&self) -> String {
        std::fs::read_to_string(&self.place.log).unwrap_or_default()
    }

    fn generations(&self) -> MutexGuard<'_, Vec<Warded>> {
        self.generations.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn ended() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, "this HAProxy was killed")
}

fn signal(pid: u32, signal: Signal) -> io::Result<()> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or_else(ended)?;
    Ok(kill_process(pid, signal)?)
}

/// Finds HAProxy: what `HA_HAPROXY` names, or `haproxy` of the search path.
fn program() -> io::Result<PathBuf> {
    if let Some(named) = std::env::var_os("HA_HAPROXY").map(PathBuf::from) {
        let wrong = || format!("HA_HAPROXY names {}, and there is no such file", named.display());
        return if named.is_file() { Ok(named) } else { Err(io::Error::new(io::ErrorKind::NotFound, wrong())) };
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let beside = [PathBuf::from("/usr/sbin"), PathBuf::from("/usr/local/sbin")];
    let dirs = std::env::split_paths(&path).chain(beside);
    dirs.map(|dir| dir.join("haproxy"))
        .find(|file| file.is_file())
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "haproxy is not installed: apt-get install haproxy"))
}

/// Returns the major and minor version of the HAProxy that the lab starts, asked once.
///
/// # Errors
/// When it is not installed, or does not tell.
pub fn haproxy_version() -> io::Result<(u32, u32)> {
    static VERSION: OnceLock<(u32, u32)> = OnceLock::new();
    if let Some(version) = VERSION.get() {
        return Ok(*version);
    }
    let program = program()?;
    let printed = Command::new(&program).arg("-v").output()?;
    let text = String::from_utf8_lossy(&printed.stdout).into_owned();
    let numbers = |word: &str| {
        let mut numbers = word.split(['.', '-']).map(str::parse);
        numbers.next()?.ok().zip(numbers.next()?.ok())
    };
    let unread = || io::Error::other(format!("{} -v does not tell a version: {text}", program.display()));
    let version = text.split_whitespace().find_map(numbers).ok_or_else(unread)?;
    Ok(*VERSION.get_or_init(|| version))
}
