use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, WaitOptions, kill_process_group, set_child_subreaper};

use crate::fake_carbon::{ROLE, Relaunch};

const COMMAND: &str = "HA_TESTKIT_COMMAND";
const ANNOUNCED: &str = "warden started ";

/// A foreign program that ends with its lab, and every process that it starts. Dropping it ends them all.
#[derive(Debug)]
pub struct Warded {
    warden: Child,
    pid: u32,
}

impl Warded {
    /// Starts `argv` under a warden, in a process group of its own; what it prints is added to `log`.
    ///
    /// # Errors
    /// What the system says, and what the program printed when it could not be started.
    pub fn start(relaunch: &Relaunch, argv: &[String], log: &Path) -> io::Result<Self> {
        let printed = std::fs::OpenOptions::new().create(true).append(true).open(log)?;
        // Its own group: a signal of the terminal ends the test, and the warden then ends the program.
        let mut warden = Command::new(&relaunch.program)
            .args(&relaunch.arguments)
            .env(ROLE, "warden")
            .env(COMMAND, serde_json::to_string(argv)?)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(printed)
            .process_group(0)
            .spawn()?;
        let pid = warden.stdout.take().and_then(|out| announced(BufReader::new(out)));
        match pid {
            Some(pid) => Ok(Self { warden, pid }),
            None => {
                let _ = warden.wait();
                Err(io::Error::other(std::fs::read_to_string(log).unwrap_or_default()))
            }
        }
    }

    /// Returns the process id of the program.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Returns whether the program has ended.
    ///
    /// # Errors
    /// What the system says.
    pub fn has_ended(&mut self) -> io::Result<bool> {
        Ok(self.warden.try_wait()?.is_some())
    }
}

impl Drop for Warded {
    fn drop(&mut self) {
        drop(self.warden.stdin.take());
        let _ = self.warden.wait();
    }
}

fn announced(out: impl BufRead) -> Option<u32> {
    let mut lines = out.lines().map_while(Result::ok);
    lines.find_map(|line| line.split_once(ANNOUNCED)?.1.parse().ok())
}

/// Plays the warden: runs one program and ends it, with all that it started, when standard input ends, which it does
/// when the lab is gone.
pub(crate) fn warden() -> i32 {
    let argv: Vec<String> =
        std::env::var(COMMAND).ok().and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
    let Some((program, arguments)) = argv.split_first() else {
        eprintln!("warden: {COMMAND} names no program");
        return 2;
    };
    // Whatever loses its parent below here becomes a child of the warden, and so is found and ended.
    let _ = set_child_subreaper(Pid::from_raw(1));
    let spawned = Command::new(program)
        .args(arguments)
        .env_remove(ROLE)
        .env_remove(COMMAND)
        .stdin(Stdio::null())
        .stdout(io::stderr())
        .stderr(io::stderr())
        .process_group(0)
        .spawn();
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) => {
            eprintln!("warden: {program}: {error}");
            return 127;
        }
    };
    println!("{ANNOUNCED}{}", child.id());
    let _ = io::stdout().flush();
    // Nobody reads on. Were this still the pipe, a test harness that reports a slow test (after 60 s) would die of it,
    // and leave the program without a warden.
    let _ = rustix::stdio::dup2_stdout(rustix::stdio::stderr());
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    // The group's number stays taken until its leader is reaped; nobody signals it after that.
    let reaped = Arc::new(Mutex::new(false));
    let (gone, leader) = (reaped.clone(), group);
    std::thread::spawn(move || {
        let mut sink = Vec::new();
        let _ = io::stdin().read_to_end(&mut sink);
        let gone = gone.lock().unwrap_or_else(PoisonError::into_inner);
        if let (Some(group), false) = (leader, *gone) {
            let _ = kill_process_group(group, Signal::KILL);
        }
    });
    if let Some(leader) = group {
        let _ = rustix::process::waitid(WaitId::Pid(leader), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT);
        let mut reaped = reaped.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = kill_process_group(leader, Signal::KILL);
        *reaped = true;
    }
    let code = child.wait().ok().and_then(|status| status.code()).unwrap_or(1);
    end_the_adopted();
    code
}

/// Ends and reaps the children that are left: processes that had moved to another group before they lost their parent.
fn end_the_adopted() {
    loop {
        for pid in children() {
            let _ = rustix::process::kill_process(pid, Signal::KILL);
        }
        match rustix::process::wait(WaitOptions::empty()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(_) => return,
        }
    }
}

fn children() -> Vec<Pid> {
    let own = std::process::id().to_string();
    let Ok(dirs) = std::fs::read_dir("/proc") else { return Vec::new() };
    let pids = dirs.flatten().filter_map(|dir| dir.file_name().to_str()?.parse::<i32>().ok());
    let parent = |pid: &i32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1).map(str::to_string))
    };
    pids.filter(|pid| parent(pid).as_deref() == Some(own.as_str())).filter_map(Pid::from_raw).collect()
}
