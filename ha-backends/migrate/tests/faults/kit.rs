//! Scripts, migrators, and migrators in a process of their own that can be killed.

use std::io::Read;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ha_migrate::script::{LoadOptions, Phase, Scripts};
use ha_migrate::{Event, Migrator, Observer, Policy, Run};

use crate::engine::Target;

/// Scripts by file name and text.
pub(crate) fn scripts(files: &[(&str, &str)]) -> Scripts {
    Scripts::from_memory(files.iter().copied(), &LoadOptions::new()).unwrap()
}

pub(crate) fn migrator(target: &Target, files: &[(&str, &str)]) -> Migrator {
    Migrator::builder(target.connect(), scripts(files)).with_policy(policy()).build().unwrap()
}

pub(crate) fn policy() -> Policy {
    Policy::default().with_deadline(Duration::from_secs(60)).with_lock_deadline(Duration::from_secs(30))
}

/// Keeps what it is told.
#[derive(Debug, Default)]
pub(crate) struct Kept(pub(crate) Mutex<Vec<Event>>);

impl Observer for Kept {
    fn on(&self, event: &Event) {
        self.0.lock().unwrap().push(event.clone());
    }
}

pub(crate) fn count(name: &str, default: u32) -> u32 {
    std::env::var(name).ok().and_then(|count| count.parse().ok()).unwrap_or(default)
}

/// Numbers that differ from run to run, and are printed.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new() -> Self {
        let seed = std::env::var("HA_DB_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = seed.unwrap_or_else(|| u64::from(std::process::id()) * 2_654_435_761 + 1);
        println!("HA_DB_SEED={seed}");
        Self(seed | 1)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit.max(1)
    }
}

/// A migrator in a process of its own.
pub(crate) struct Process(pub(crate) Child);

impl Process {
    /// Runs the scripts of a set, to the end.
    pub(crate) fn start(target: &Target, set: &str) -> Self {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["kit::migrator_process", "--exact", "--nocapture", "--test-threads=1"])
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
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let report = runtime.block_on(migrator.run(&Run::to(Phase::Backfill))).unwrap_or_else(|error| panic!("{error}"));
    println!("{report:?}");
}

pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(future)
}

pub(crate) fn observed(target: &Target, files: &[(&str, &str)], policy: Policy) -> (Migrator, Arc<Kept>) {
    let kept = Arc::new(Kept::default());
    let builder = Migrator::builder(target.connect(), scripts(files)).with_policy(policy).with_observer(kept.clone());
    (builder.build().unwrap(), kept)
}
