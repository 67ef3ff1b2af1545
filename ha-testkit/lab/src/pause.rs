use std::io::{self, BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A stopped process (SIGSTOP). It goes on when this is dropped, and also when the test panics or is killed.
#[derive(Debug)]
#[must_use = "the process goes on as soon as this is dropped"]
pub struct Paused {
    pid: u32,
    keeper: Child,
}

impl Paused {
    /// Stops the process `pid` and waits until none of its threads runs.
    ///
    /// # Errors
    /// When there is no such process, or it does not stop within 10 s.
    pub(crate) fn stop(pid: u32) -> io::Result<Self> {
        // The keeper outlives a killed test just long enough to let the process go on: its standard input ends.
        let mut keeper = Command::new("/bin/sh")
            .args(["-c", KEEPER, "sh", &pid.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()?;
        let mut line = String::new();
        if let Some(out) = keeper.stdout.take() {
            BufReader::new(out).read_line(&mut line)?;
        }
        let paused = Self { pid, keeper };
        if line.trim() != "stopped" {
            return Err(io::Error::new(io::ErrorKind::NotFound, format!("there is no process {pid} to stop")));
        }
        let until = Instant::now() + Duration::from_secs(10);
        while !is_stopped(pid) {
            if Instant::now() >= until {
                return Err(io::Error::new(io::ErrorKind::TimedOut, format!("process {pid} does not stop")));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(paused)
    }

    /// Returns the id of the stopped process.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Lets the process go on.
    pub fn resume(self) {}
}

impl Drop for Paused {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}

const KEEPER: &str = r#"kill -STOP "$1" || exit 1; echo stopped; read -r _; kill -CONT "$1""#;

/// Tells whether every thread of the process is stopped, or has ended and waits to be reaped by a parent that is stopped.
fn is_stopped(pid: u32) -> bool {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return false };
    threads.flatten().all(|thread| {
        let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with(['T', 'Z']))
    })
}
