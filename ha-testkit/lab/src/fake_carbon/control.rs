use std::fs;
use std::io;
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::CarbonHome;
use crate::Paused;

/// How long a server may take to begin or to end.
const PATIENCE: Duration = Duration::from_secs(20);

/// The running server, past its scripts.
impl CarbonHome {
    /// Starts the server by its script and waits until its port is open; a warm-up is not waited for. The pid file of a
    /// server that has ended is removed first, as operators do: the script takes whatever has that pid for the server,
    /// even a process that only waits to be reaped.
    ///
    /// # Errors
    /// When the script fails, and when the port is not open in 20 s, with what the server printed.
    pub fn start(&self) -> io::Result<()> {
        if self.pid().is_none() {
            let _ = fs::remove_file(self.path().join("wso2carbon.pid"));
        }
        let script = self.path().join("bin/wso2server.sh");
        let status = Command::new(script).arg("start").status()?;
        let out = self.path().join("repository/logs/wso2carbon.out");
        let open = || self.pid().is_some() && TcpStream::connect(self.address()).is_ok();
        if status.success() && within(PATIENCE, open) {
            return Ok(());
        }
        let printed = fs::read_to_string(out).unwrap_or_default();
        Err(io::Error::other(format!("the server did not start: {printed}")))
    }

    /// Returns the process id of the running server; `None` when none runs. A process that is not this server does not
    /// count, whatever the pid file says.
    pub fn pid(&self) -> Option<u32> {
        let pid_file = fs::read(self.path().join("wso2carbon.pid")).unwrap_or_default();
        let digits: String = pid_file.iter().map(|byte| char::from(*byte)).take_while(char::is_ascii_digit).collect();
        let command_line = fs::read(format!("/proc/{digits}/cmdline")).ok()?;
        let identity = self.identity();
        let own = command_line.split(|byte| *byte == 0).any(|word| word == identity.as_bytes());
        own.then_some(()).and_then(|()| digits.parse().ok())
    }

    /// Ends the running server with kill -9 and waits for its end; `false` when none runs.
    ///
    /// # Errors
    /// When the signal cannot be sent, and when the server still runs after 20 s.
    pub fn kill(&self) -> io::Result<bool> {
        self.signal(Signal::KILL)
    }

    /// Ends the running server with SIGTERM and waits for its end; `false` when none runs.
    ///
    /// # Errors
    /// When the signal cannot be sent, and when the server still runs after 20 s.
    pub fn terminate(&self) -> io::Result<bool> {
        self.signal(Signal::TERM)
    }

    /// Freezes the running server (SIGSTOP): it accepts connections and answers nothing until the guard is dropped.
    ///
    /// # Errors
    /// When no server runs, or it does not stop.
    pub fn freeze(&self) -> io::Result<Paused> {
        let none = || io::Error::new(io::ErrorKind::NotFound, "no server runs that could be frozen");
        Paused::stop(self.pid().ok_or_else(none)?)
    }

    fn signal(&self, signal: Signal) -> io::Result<bool> {
        let Some(pid) = self.pid() else { return Ok(false) };
        let Some(process) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return Ok(false) };
        match kill_process(process, signal) {
            Ok(()) => {}
            Err(rustix::io::Errno::SRCH) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        if within(PATIENCE, || has_ended(pid)) {
            return Ok(true);
        }
        Err(io::Error::new(io::ErrorKind::TimedOut, format!("process {pid} does not end")))
    }
}

/// Tells whether nothing is left of the process but what its parent has to reap: its ports are then closed.
fn has_ended(pid: u32) -> bool {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count);
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    threads <= 1 && stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with(['Z', 'X']))
}

fn within(patience: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let until = Instant::now() + patience;
    loop {
        if holds() {
            return true;
        }
        if Instant::now() >= until {
            return false;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}
