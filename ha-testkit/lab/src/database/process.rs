use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::folder::DataFolder;
use crate::fake_carbon::Relaunch;
use crate::{Paused, Warded};

/// A database server's processes. Dropping it ends them and removes their data.
#[derive(Debug)]
pub(super) struct ServerProcess {
    // Before the folder: fields are dropped in order.
    running: Mutex<Option<Warded>>,
    folder: DataFolder,
    relaunch: Relaunch,
    argv: Vec<String>,
    log: PathBuf,
    answers: fn(&Path) -> bool,
    socket: PathBuf,
}

/// How long a server may take to answer: after a kill it replays its log.
const READY: Duration = Duration::from_secs(20);

impl ServerProcess {
    pub(super) fn start(
        relaunch: Relaunch,
        argv: Vec<String>,
        log: PathBuf,
        folder: DataFolder,
        socket: PathBuf,
        answers: fn(&Path) -> bool,
    ) -> io::Result<Self> {
        let process = Self { running: Mutex::default(), folder, relaunch, argv, log, answers, socket };
        process.launch()?;
        Ok(process)
    }

    fn launch(&self) -> io::Result<()> {
        let mut started = Warded::start(&self.relaunch, &self.argv, &self.log)?;
        let until = Instant::now() + READY;
        let printed = || std::fs::read_to_string(&self.log).unwrap_or_default();
        while !(self.answers)(&self.socket) {
            if started.has_ended()? {
                return Err(io::Error::other(format!("the database server ended at once: {}", printed())));
            }
            if Instant::now() >= until {
                let words = format!("the database server did not answer in {READY:?}: {}", printed());
                return Err(io::Error::new(io::ErrorKind::TimedOut, words));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = Some(started);
        Ok(())
    }

    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(super) fn log(&self) -> &Path {
        &self.log
    }

    pub(super) fn kill(&self) {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    pub(super) fn restart(&self) -> io::Result<()> {
        self.kill();
        self.launch()
    }

    pub(super) fn pid(&self) -> io::Result<u32> {
        let killed = || io::Error::new(io::ErrorKind::NotFound, "this database server was killed");
        self.running.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(Warded::pid).ok_or_else(killed)
    }

    pub(super) fn pause(&self) -> io::Result<PausedServer> {
        let main = self.pid()?;
        // The main process first: then no other one is born.
        let mut stopped = vec![Paused::stop(main)?];
        for pid in children_of(main)? {
            match Paused::stop(pid) {
                Ok(paused) => stopped.push(paused),
                // It ended meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(PausedServer { stopped })
    }
}

/// A stopped database server (SIGSTOP of all its processes). It goes on when this is dropped, and when the test is killed.
#[derive(Debug)]
#[must_use = "the server goes on as soon as this is dropped"]
pub struct PausedServer {
    stopped: Vec<Paused>,
}

impl PausedServer {
    /// Lets the server go on.
    pub fn resume(self) {}

    /// Counts the processes that are stopped.
    pub fn processes(&self) -> usize {
        self.stopped.len()
    }
}

fn children_of(parent: u32) -> io::Result<Vec<u32>> {
    let parent = parent.to_string();
    let is_child = |pid: &u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.split(' ').nth(1) == Some(parent.as_str()))
    };
    let names = std::fs::read_dir("/proc")?.flatten().filter_map(|dir| dir.file_name().to_str()?.parse().ok());
    Ok(names.filter(is_child).collect())
}
