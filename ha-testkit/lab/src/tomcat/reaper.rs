use std::fs;
use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::fake_carbon::{ROLE, Relaunch};

const HOME: &str = "HA_TESTKIT_HOME";
/// How long processes may take to be found and ended.
const PATIENCE: Duration = Duration::from_secs(20);

/// A small process that ends what runs in a home when its lab is gone, killed or not: a foreign server that its own scripts start
/// holds no lifeline, and is nobody's child. Dropping this does the same, and waits.
#[derive(Debug)]
pub(super) struct Reaper {
    process: Child,
}

impl Reaper {
    pub(super) fn start(relaunch: &Relaunch, home: &Path) -> io::Result<Self> {
        // Its own group: a signal of the terminal ends the test, and this then ends the server.
        let process = Command::new(&relaunch.program)
            .args(&relaunch.arguments)
            .env(ROLE, "reaper")
            .env(HOME, home)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()?;
        Ok(Self { process })
    }
}

impl Drop for Reaper {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

/// Plays the reaper: waits until standard input ends, then ends every process of the home, until none is left.
pub(crate) fn reaper() -> i32 {
    let Some(home) = std::env::var_os(HOME).and_then(|home| home.into_string().ok()) else { return 2 };
    let mut sink = Vec::new();
    let _ = io::stdin().read_to_end(&mut sink);
    let until = Instant::now() + PATIENCE;
    // Two looks in a row must find nothing: a process may have a child while the others are looked at.
    let mut nothing = 0;
    while nothing < 2 {
        if Instant::now() >= until {
            return 1;
        }
        let found = processes(&home);
        nothing = if found.is_empty() { nothing + 1 } else { 0 };
        for pid in found {
            // It may have ended by itself.
            let _ = kill_process(pid, Signal::KILL);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    0
}

/// Lists the processes that were started by a script of the home, and whatever these have started: the scripts say whose they are
/// in the environment.
fn processes(home: &str) -> Vec<Pid> {
    let (base, below) = (format!("CATALINA_BASE={home}"), format!("{home}/"));
    let is_of_home = |pid: &u32| {
        let read = |file: &str| fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
        read("environ").split(|byte| *byte == 0).any(|line| line == base.as_bytes())
            || read("cmdline").split(|byte| *byte == 0).any(|word| word.starts_with(below.as_bytes()))
    };
    let own = std::process::id();
    let dirs = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = dirs.filter_map(|dir| dir.file_name().to_str()?.parse::<u32>().ok()).filter(|pid| *pid != own);
    pids.filter(is_of_home).filter_map(|pid| Pid::from_raw(i32::try_from(pid).ok()?)).collect()
}
