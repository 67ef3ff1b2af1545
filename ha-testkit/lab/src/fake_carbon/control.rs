use std::fs;
use std::io;
use std::net::TcpStream;
use std::process::Command;

use rustix::process::Signal;

use super::CarbonHome;
use crate::Paused;
use crate::life::{PATIENCE, end, running, within};

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
        running(&self.path().join("wso2carbon.pid"), &self.identity())
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
        self.pid().map_or(Ok(false), |pid| end(pid, signal))
    }
}
