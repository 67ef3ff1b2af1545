use std::io::{self, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::fake_carbon::{ROLE, Relaunch};

const COMMAND: &str = "HA_TESTKIT_COMMAND";

/// A foreign program that ends with its lab. Dropping it ends the program.
#[derive(Debug)]
pub struct Warded {
    warden: Child,
}

impl Warded {
    /// Starts `argv` under a warden; what it prints goes to `log`.
    ///
    /// # Errors
    /// What the system says.
    pub fn start(relaunch: &Relaunch, argv: &[String], log: &Path) -> io::Result<Self> {
        let log = std::fs::File::create(log)?;
        let warden = Command::new(&relaunch.program)
            .args(&relaunch.arguments)
            .env(ROLE, "warden")
            .env(COMMAND, serde_json::to_string(argv)?)
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        Ok(Self { warden })
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

/// Plays the warden: runs one program and ends it when standard input ends, which it does when the lab is gone.
pub(crate) fn warden() -> i32 {
    let argv: Vec<String> =
        std::env::var(COMMAND).ok().and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
    let Some((program, arguments)) = argv.split_first() else {
        eprintln!("warden: {COMMAND} names no program");
        return 2;
    };
    let spawned = Command::new(program).args(arguments).env_remove(ROLE).stdin(Stdio::null()).spawn();
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) => {
            eprintln!("warden: {program}: {error}");
            return 127;
        }
    };
    let orphaned = Arc::new(AtomicBool::new(false));
    let flag = orphaned.clone();
    std::thread::spawn(move || {
        let mut sink = Vec::new();
        let _ = io::stdin().read_to_end(&mut sink);
        flag.store(true, Ordering::SeqCst);
    });
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return status.code().unwrap_or(1),
            Ok(None) => {}
            Err(_) => return 1,
        }
        if orphaned.load(Ordering::SeqCst) {
            let _ = child.kill();
            let _ = child.wait();
            return 0;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
