//! Scripts and migrators.

use std::sync::{Arc, Mutex};
use std::time::Duration;

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

/// Runs what is pending of the first phase.
pub(crate) fn expand() -> Run {
    Run::to(Phase::Expand)
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

pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(future)
}

pub(crate) fn observed(target: &Target, files: &[(&str, &str)], policy: Policy) -> (Migrator, Arc<Kept>) {
    let kept = Arc::new(Kept::default());
    let builder = Migrator::builder(target.connect(), scripts(files)).with_policy(policy).with_observer(kept.clone());
    (builder.build().unwrap(), kept)
}
