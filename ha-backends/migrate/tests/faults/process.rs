//! Migrators in a process of their own that can be killed.

use std::io::Read;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use ha_migrate::Run;
use ha_migrate::script::Phase;

use crate::engine::Target;
use crate::kit::{block_on, migrator};

/// A migrator in a process of its own.
pub(crate) struct Process(pub(crate) Child);

impl Process {
    /// Runs the scripts of a set, to the end.
    pub(crate) fn start(target: &Target, set: &str) -> Self {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["process::migrator_process", "--exact", "--nocapture", "--test-threads=1"])
            .env("HA_MIGRATE_TARGET", target.to_env())
            .env("HA_MIGRATE_SET", set)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self(child)
    }

    /// Kills it where it has not ended by then; `None` when it was killed.
    pub(crate) fn run_for(&mut self, time: Duration) -> Option<ExitStatus> {
        let until = Instant::now() + time;
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return Some(status);
            }
            if Instant::now() >= until {
                self.0.kill().unwrap();
                let status = self.0.wait().unwrap();
                // It may have ended by itself just before.
                return status.code().map(|_| status);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    pub(crate) fn printed(&mut self) -> String {
        let mut text = String::new();
        if let Some(out) = &mut self.0.stdout {
            let _ = out.read_to_string(&mut text);
        }
        if let Some(err) = &mut self.0.stderr {
            let _ = err.read_to_string(&mut text);
        }
        text
    }
}

/// Runs in a process of its own where the environment says so; a test of nothing otherwise.
#[test]
fn migrator_process() {
    let (Ok(target), Ok(set)) = (std::env::var("HA_MIGRATE_TARGET"), std::env::var("HA_MIGRATE_SET")) else { return };
    let target = Target::from_env(&target);
    let files = crate::chaos::set(&set, target.kind);
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let migrator = migrator(&target, &files);
    let report = block_on(migrator.run(&Run::to(Phase::Backfill))).unwrap_or_else(|error| panic!("{error}"));
    println!("{report:?}");
}
