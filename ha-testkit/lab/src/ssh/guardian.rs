use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::tools;
use crate::fake_carbon::{ROLE, Relaunch};

/// The environment variable with the lab's folder.
pub(super) const LAB: &str = "HA_TESTKIT_LAB";
/// What every line of the guardian begins with; a test harness prints lines of its own.
pub(super) const MARK: &str = "ha-guardian ";

/// What the lab asks of its guardian, a line of JSON each.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Request {
    /// Start a program that is to end with the lab.
    Start { key: String, argv: Vec<String>, log: PathBuf },
    /// End it and all that is in the process namespace it has made.
    Stop { key: String },
    /// Say whether it runs.
    Runs { key: String },
    /// Run a program to its end.
    Run { argv: Vec<String>, input: String },
}

/// What the guardian answers, a line of JSON each.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Reply {
    Ready { slot: u8 },
    Started { pid: i32 },
    Runs(bool),
    Done(String),
    Failed(String),
}

/// The lab's end of its guardian.
///
/// The guardian starts and runs all that must not outlive the lab, so that it knows of everything at any time, and clears
/// it away when the lab's pipe to it breaks. Each lab has a slot, which gives it names and addresses of its own.
#[derive(Debug)]
pub(crate) struct Guardian {
    slot: u8,
    hosts: AtomicU8,
    line: Mutex<Option<Line>>,
    /// Whether the lab's bridge is there.
    pub(super) bridged: Mutex<bool>,
}

#[derive(Debug)]
struct Line {
    process: Child,
    answers: BufReader<ChildStdout>,
}

impl Guardian {
    /// Starts the guardian of the lab in `dir`, which first clears away what dead labs have left.
    pub(crate) fn start(relaunch: &Relaunch, dir: &Path) -> io::Result<Self> {
        tools::check()?;
        let log = std::fs::File::create(dir.join("guardian.log"))?;
        let mut process = Command::new(&relaunch.program)
            .args(&relaunch.arguments)
            .env(ROLE, "guardian")
            .env(LAB, dir)
            .current_dir("/")
            // An interrupt from the terminal is for the tests; the guardian has to clear away after them.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()?;
        let stdout = process.stdout.take().ok_or_else(|| io::Error::other("the guardian has no output"))?;
        let mut line = Line { process, answers: BufReader::new(stdout) };
        let slot = match line.answer()? {
            Reply::Ready { slot } => slot,
            other => return Err(io::Error::other(format!("the guardian did not start: {other:?}"))),
        };
        Ok(Self { slot, hosts: AtomicU8::new(0), line: Mutex::new(Some(line)), bridged: Mutex::new(false) })
    }

    /// Returns the number that no other lab of this system has at the same time.
    pub(crate) fn slot(&self) -> u8 {
        self.slot
    }

    /// Gives out the number of the next host, from 1.
    pub(crate) fn next_host(&self) -> io::Result<u8> {
        let next = self.hosts.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| (n < 250).then_some(n + 1));
        next.map(|before| before + 1).map_err(|_| io::Error::other("a lab has at most 250 hosts"))
    }

    /// Starts a program that ends with the lab and returns its pid.
    pub(crate) fn spawn(&self, key: &str, argv: Vec<String>, log: PathBuf) -> io::Result<i32> {
        match self.ask(&Request::Start { key: key.into(), argv, log })? {
            Reply::Started { pid } => Ok(pid),
            other => Err(refused("start", &other)),
        }
    }

    /// Ends a program and all that it has started.
    pub(crate) fn stop(&self, key: &str) -> io::Result<()> {
        match self.ask(&Request::Stop { key: key.into() })? {
            Reply::Done(_) => Ok(()),
            other => Err(refused("stop", &other)),
        }
    }

    /// Says whether a program runs.
    pub(crate) fn runs(&self, key: &str) -> io::Result<bool> {
        match self.ask(&Request::Runs { key: key.into() })? {
            Reply::Runs(runs) => Ok(runs),
            other => Err(refused("look", &other)),
        }
    }

    /// Runs a program to its end.
    pub(crate) fn run(&self, argv: &[&str], input: String) -> io::Result<String> {
        let argv = argv.iter().map(ToString::to_string).collect();
        match self.ask(&Request::Run { argv, input })? {
            Reply::Done(printed) => Ok(printed),
            other => Err(refused("run", &other)),
        }
    }

    /// Ends everything and waits until it is cleared away.
    pub(crate) fn close(&self) {
        if let Some(mut line) = self.line.lock().unwrap_or_else(PoisonError::into_inner).take() {
            drop(line.process.stdin.take());
            let _ = line.process.wait();
        }
    }

    fn ask(&self, request: &Request) -> io::Result<Reply> {
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        let line = line.as_mut().ok_or_else(|| io::Error::other("the lab is closed"))?;
        let stdin = line.process.stdin.as_mut().ok_or_else(|| io::Error::other("the lab is closed"))?;
        writeln!(stdin, "{}", serde_json::to_string(request)?)?;
        line.answer()
    }
}

impl Drop for Guardian {
    fn drop(&mut self) {
        self.close();
    }
}

impl Line {
    fn answer(&mut self) -> io::Result<Reply> {
        loop {
            let mut text = String::new();
            if self.answers.read_line(&mut text)? == 0 {
                return Err(io::Error::other("the guardian has ended; is ha_lab::roles!() at the root of the test?"));
            }
            if let Some(at) = text.find(MARK) {
                return Ok(serde_json::from_str(&text[at + MARK.len()..])?);
            }
        }
    }
}

fn refused(verb: &str, reply: &Reply) -> io::Error {
    match reply {
        Reply::Failed(why) => io::Error::other(why.clone()),
        other => io::Error::other(format!("the guardian answered {other:?} to {verb}")),
    }
}
