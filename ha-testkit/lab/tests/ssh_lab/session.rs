//! A connection that stays open.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use ha_lab::SshAccess;

use super::wait_for;

/// An ssh that runs a line there; it ends with the test.
pub(crate) struct Session {
    process: Child,
    lines: Receiver<String>,
}

impl Session {
    /// Opens one that waits for ever.
    pub(crate) fn open(access: &SshAccess, line: &str) -> Self {
        Self::start(access, line, "0")
    }

    /// Opens one that gives up when the host is silent for about two seconds.
    pub(crate) fn watchful(access: &SshAccess, line: &str) -> Self {
        Self::start(access, line, "1")
    }

    fn start(access: &SshAccess, line: &str, interval: &str) -> Self {
        let mut process = Command::new("ssh")
            .arg("-F")
            .arg(access.ssh_config())
            .args(["-o", &format!("ServerAliveInterval={interval}"), "-o", "ServerAliveCountMax=2", access.name()])
            .arg(format!("echo started; {line}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(process.stdout.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let session = Self { process, lines };
        session.expect("started");
        session
    }

    /// Sends a line.
    pub(crate) fn say(&mut self, line: &str) {
        writeln!(self.process.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    /// Waits for a line, which must be this one.
    pub(crate) fn expect(&self, line: &str) {
        let heard = self.lines.recv_timeout(Duration::from_secs(30));
        assert_eq!(heard.as_deref(), Ok(line));
    }

    /// Whether nothing has come up to now.
    pub(crate) fn is_silent(&self) -> bool {
        self.lines.try_recv().is_err()
    }

    /// Waits until ssh gives up and returns what it complains of.
    pub(crate) fn lost(&mut self) -> String {
        wait_for("ssh to give up", || self.process.try_wait().unwrap().is_some());
        assert_eq!(self.process.wait().unwrap().code(), Some(255));
        let mut text = String::new();
        self.process.stderr.take().unwrap().read_to_string(&mut text).unwrap();
        text
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
