//! The files of the services of the real sites: the first machine of north writes them, rsync brings them to its other machine and to
//! those of south.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use examples::Fallible;
use ha_backends::connect;
use ha_backends::local::generation_of;
use ha_backends::rsync::{Rsync, RsyncConfig};
use ha_core::state::{Generation, LeaseEpoch};
use ha_core::topology::Topology;
use ha_lab::fake_carbon::{CarbonHome, quoted};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

use crate::sites::SERVERS;

/// The folder that is shared, below each home.
const TREE: &str = "repository/shared";
/// How long a set may take to all servers: a copy that a cut link has left is given up by rsync after its own timeout.
const SPREAD: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(50);

/// What copies: a timer on each machine. Each dies with its machine.
pub(crate) struct Files {
    config: PathBuf,
    timers: Vec<Child>,
}

impl Files {
    /// Puts a first set on every server, and starts the timers.
    pub(crate) async fn start(config: &Path, homes: &[CarbonHome], topology: &Topology) -> Fallible<Self> {
        homes.iter().try_for_each(|home| put(home, 1))?;
        let settings = RsyncConfig::from_component(topology.files().ok_or("no files are shared")?, topology)?;
        Rsync::new(&settings, &connect(topology)?.hosts)?.install(LeaseEpoch::new(1)).await?;
        let mut files = Self { config: config.into(), timers: Vec::new() };
        (0..homes.len()).try_for_each(|place| files.start_timer(place, homes))?;
        Ok(files)
    }

    /// Starts the timer of one machine, as its boot does.
    pub(crate) fn start_timer(&mut self, place: usize, homes: &[CarbonHome]) -> Fallible<()> {
        let sync = quoted(&homes[place].path().join(".ha-files/ha-files").to_string_lossy());
        let mut command = Command::new("ssh");
        command.arg("-F").arg(&self.config).args([SERVERS[place], &format!("while sleep 1; do {sync} sync; done")]);
        let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        self.timers.push(command.spawn()?);
        Ok(())
    }
}

/// The table of the cluster's file.
pub(crate) fn toml(config: &Path) -> String {
    let rsh = format!("[\"ssh\", \"-F\", \"{}\", \"-o\", \"ConnectTimeout=2\"]", config.display());
    format!(
        "[files]\nbackend = \"rsync\"\ntree = \"{TREE}\"\nwriter = \"{}\"\nrsh = {rsh}\ntimeout = \"5s\"\n",
        SERVERS[0]
    )
}

/// Changes the files on the server that writes them, and waits until all have them whole: returns how long that took.
pub(crate) async fn share(homes: &[CarbonHome], set: u64) -> Fallible<Duration> {
    put(&homes[0], set)?;
    let (began, wanted) = (Instant::now(), whole(&homes[0]));
    while !homes.iter().all(|home| whole(home) == wanted) {
        if began.elapsed() >= SPREAD {
            return Err(format!("after {SPREAD:?} the servers have the sets {:?}, not all {set}", sets(homes)).into());
        }
        sleep(LOOK).await;
    }
    Ok(began.elapsed())
}

/// Returns the number of the set that each server has whole.
pub(crate) fn sets(homes: &[CarbonHome]) -> Vec<Option<u64>> {
    homes.iter().map(|home| whole(home).map(|set| set.sequence)).collect()
}

/// Reads the set that a server has: its number, and the digest of all that is in it.
fn whole(home: &CarbonHome) -> Option<Generation> {
    generation_of(&home.path().join(TREE)).ok().flatten()
}

/// Makes a set beside the one that a server has, and puts it in its place.
fn put(home: &CarbonHome, set: u64) -> Fallible<()> {
    let [tree, staged, old] = [TREE, "staged", "old"].map(|folder| home.path().join(folder));
    fs::create_dir_all(staged.join("services"))?;
    for service in ["orders", "billing", "stock"] {
        fs::write(staged.join(format!("services/{service}.xml")), format!("g{set}\n"))?;
    }
    fs::write(staged.join(".ha-generation"), set.to_string())?;
    if tree.exists() {
        fs::rename(&tree, &old)?;
    }
    if let Some(parent) = tree.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::rename(&staged, &tree)?;
    if old.exists() {
        fs::remove_dir_all(old)?;
    }
    Ok(())
}
