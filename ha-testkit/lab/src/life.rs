//! The process of a server that its own scripts start: who it is, and its end.

use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// How long a server may take to begin or to end.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Returns the process that a pid file names, where it runs and has `identity` as a whole argument.
pub(crate) fn running(pid_file: &Path, identity: &str) -> Option<u32> {
    let pid_file = fs::read(pid_file).unwrap_or_default();
    let digits: String = pid_file.iter().map(|byte| char::from(*byte)).take_while(char::is_ascii_digit).collect();
    let command_line = fs::read(format!("/proc/{digits}/cmdline")).ok()?;
    let own = command_line.split(|byte| *byte == 0).any(|word| word == identity.as_bytes());
    own.then_some(()).and_then(|()| digits.parse().ok())
}

/// Sends a signal that ends the process and waits for its end; `false` when it is gone already.
pub(crate) fn end(pid: u32, signal: Signal) -> io::Result<bool> {
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

/// Tells whether nothing is left of the process but what its parent has to reap: its ports are then closed.
fn has_ended(pid: u32) -> bool {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count);
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    threads <= 1 && stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with(['Z', 'X']))
}

/// Waits until something holds; `false` when it does not in that time.
pub(crate) fn within(patience: Duration, mut holds: impl FnMut() -> bool) -> bool {
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
