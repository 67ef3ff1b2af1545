//! File sharing between folders of this machine: the conformance suite, holds under continuous syncs, and whole sets only.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeSet;
use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use ha_core::backend::{Effect, ErrorKind, FileSync, HoldFiles, ObserveFileSync, ReleaseFiles};
use ha_core::state::{LeaseEpoch, Sync};
use ha_core::topology::Name;
use ha_local::{LocalFiles, LocalFilesConfig};
use ha_testkit::conformance::Breach;
use ha_testkit::conformance::files::{FilesAbility, FilesFixture, FilesSubject};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio::time::sleep;

const EPOCH: LeaseEpoch = LeaseEpoch::new(1);
const TREE: &str = "repository/deployment";
const FILES: usize = 12;

/// Puts a whole set where a server finds it, in one step.
fn put(home: &Path, number: u64) {
    let (live, new, old) = (home.join(TREE), home.join("new"), home.join("old"));
    fs::create_dir_all(new.join("services/below")).unwrap();
    for file in 0..FILES {
        fs::write(new.join(format!("services/{file}.xml")), format!("<service set=\"{number}\"/>")).unwrap();
    }
    std::os::unix::fs::symlink("../services/0.xml", new.join("services/below/link.xml").with_file_name("link.xml"))
        .unwrap();
    fs::write(new.join(".ha-generation"), number.to_string()).unwrap();
    fs::create_dir_all(live.parent().unwrap()).unwrap();
    if live.exists() {
        fs::rename(&live, &old).unwrap();
    }
    fs::rename(&new, &live).unwrap();
    if old.exists() {
        fs::remove_dir_all(&old).unwrap();
    }
}

struct Folders {
    dir: TempDir,
    config: LocalFilesConfig,
    files: LocalFiles,
    _running: Option<Running>,
}

struct Running(JoinHandle<()>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn names(names: &[&str]) -> Vec<Name> {
    names.iter().map(|name| Name::new(name).unwrap()).collect()
}

impl Folders {
    fn new(nodes: &[Name]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let homes: Vec<(Name, PathBuf)> =
            nodes.iter().map(|name| (name.clone(), dir.path().join(name.as_str()))).collect();
        homes.iter().for_each(|(_, home)| put(home, 1));
        let config = LocalFilesConfig::new(TREE, homes);
        Self { dir, files: LocalFiles::new(config.clone()), config, _running: None }
    }

    fn running(mut self) -> Self {
        let files = LocalFiles::new(self.config.clone());
        let running = tokio::spawn(async move { files.keep_in_step(Duration::from_millis(3)).await });
        self._running = Some(Running(running));
        self
    }

    fn home(&self, node: &Name) -> PathBuf {
        self.dir.path().join(node.as_str())
    }
}

struct LocalFixture;

#[async_trait]
impl FilesFixture for LocalFixture {
    fn name(&self) -> String {
        "folders of this machine".into()
    }

    fn can(&self, _ability: FilesAbility) -> bool {
        true
    }

    async fn fresh(&self, nodes: &[Name]) -> Result<Box<dyn FilesSubject>, Breach> {
        Ok(Box::new(Folders::new(nodes).running()))
    }
}

#[async_trait]
impl FilesSubject for Folders {
    fn files(&self) -> Arc<dyn FileSync> {
        Arc::new(self.files.clone())
    }

    fn another(&self) -> Arc<dyn FileSync> {
        Arc::new(LocalFiles::new(self.config.clone()))
    }

    async fn truth(&self, node: &Name) -> Result<Option<u64>, Breach> {
        let tree = self.home(node).join(TREE);
        let read = |file: usize| fs::read_to_string(tree.join(format!("services/{file}.xml"))).ok();
        let texts: Option<BTreeSet<String>> = (0..FILES).map(read).collect();
        let number = fs::read_to_string(tree.join(".ha-generation")).ok().and_then(|text| text.parse().ok());
        let whole = number.map(|number: u64| BTreeSet::from([format!("<service set=\"{number}\"/>")]));
        Ok(number.filter(|_| texts.is_some() && texts == whole))
    }

    async fn put(&self, node: &Name, number: u64) -> Result<(), Breach> {
        put(&self.home(node), number);
        Ok(())
    }

    async fn settle(&self) -> Result<(), Breach> {
        // The running sync may be in the middle of a turn: what it has begun is over when the second one is.
        for _ in 0..2 {
            if let Some((node, error)) = self.files.bring_all().await.into_iter().next() {
                return Err(Breach::new(format!("{node}: {error}")));
            }
        }
        Ok(())
    }
}

ha_testkit::conformance!(files, LocalFixture);

/// What no transfer may change: each file with its inode and its time.
fn stamps(tree: &Path) -> Vec<(PathBuf, u64, i64, i64)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(tree.join("services")).unwrap().flatten() {
        let metadata = entry.metadata().unwrap();
        found.push((entry.path(), metadata.ino(), metadata.ctime(), metadata.ctime_nsec()));
    }
    found.sort();
    found
}

/// 40 holds at any moment against two syncs that never pause: after a hold nothing is copied. The control holds by the gate alone,
/// as commenting a cron line out does, and fails.
#[tokio::test(flavor = "multi_thread")]
async fn a_hold_proves_that_nothing_is_copied_any_more() {
    let nodes = names(&["esb1", "esb2"]);
    let folders = Folders::new(&nodes).running();
    let again = LocalFiles::new(folders.config.clone());
    let second = Running(tokio::spawn(async move { again.keep_in_step(Duration::ZERO).await }));
    let (home, ends) = (folders.home(&nodes[0]), Arc::new(AtomicBool::new(false)));
    let ended = ends.clone();
    let writes = std::thread::spawn(move || {
        for number in 2.. {
            if ended.load(Ordering::Relaxed) {
                return number;
            }
            put(&home, number);
        }
        0
    });
    let tree = folders.home(&nodes[1]).join(TREE);
    let mut violations = 0;
    for turn in 0..40_u64 {
        sleep(Duration::from_millis(turn * 7 % 23)).await;
        let hold = HoldFiles::new(nodes[1].clone()).with_deadline(Duration::from_secs(20));
        folders.files.hold(EPOCH, hold).await.unwrap();
        let before = stamps(&tree);
        sleep(Duration::from_millis(60)).await;
        violations += u32::from(stamps(&tree) != before);
        // Who finds the gate closed has taken the lock for that, and is seen as running for a moment.
        let mut seen = folders.files.shared(&nodes[1]).await.unwrap().sync;
        for _ in 0..100 {
            if seen == Sync::Held {
                break;
            }
            sleep(Duration::from_millis(5)).await;
            seen = folders.files.shared(&nodes[1]).await.unwrap().sync;
        }
        assert_eq!(seen, Sync::Held);
        // The writer never pauses: a release may have to be asked again.
        let release = ReleaseFiles::new(nodes[1].clone()).with_deadline(Duration::from_secs(20));
        for _ in 0..200 {
            if folders.files.release(EPOCH, release.clone()).await.is_ok() {
                break;
            }
        }
    }
    ends.store(true, Ordering::Relaxed);
    let written = writes.join().unwrap();
    drop(second);
    ha_testkit::figures!(
        "local file sync: 40 holds against two continuous syncs of {written} sets, {violations} violations"
    );
    assert_eq!(violations, 0);
}

/// A reader that opens the folder once sees the old set or the new one.
#[tokio::test(flavor = "multi_thread")]
async fn no_reader_sees_a_mixed_set() {
    let nodes = names(&["esb1", "esb2"]);
    let folders = Folders::new(&nodes);
    let (tree, ends) = (folders.home(&nodes[1]).join(TREE), Arc::new(AtomicBool::new(false)));
    let ended = ends.clone();
    let reads = std::thread::spawn(move || {
        let (mut reads, mut mixed) = (0_u32, 0_u32);
        while !ended.load(Ordering::Relaxed) {
            // As a server that resolves its folder once.
            let Ok(opened) = fs::File::open(&tree) else { continue };
            // Whatever takes its place meanwhile.
            let folder = PathBuf::from(format!("/proc/self/fd/{}", opened.as_raw_fd()));
            let texts: BTreeSet<String> = (0..FILES)
                .filter_map(|file| fs::read_to_string(folder.join(format!("services/{file}.xml"))).ok())
                .collect();
            reads += 1;
            mixed += u32::from(texts.len() > 1);
        }
        (reads, mixed)
    });
    for number in 2..42 {
        put(&folders.home(&nodes[0]), number);
        assert!(folders.files.bring_all().await.is_empty());
        assert_eq!(folders.truth(&nodes[1]).await.unwrap(), Some(number));
    }
    ends.store(true, Ordering::Relaxed);
    let (reads, mixed) = reads.join().unwrap();
    ha_testkit::figures!("local file sync: 40 sets published under a reader, {mixed} of {reads} reads mixed");
    assert_eq!(mixed, 0);
}

#[tokio::test]
async fn what_is_no_set_is_copied_nowhere() {
    let nodes = names(&["esb1", "esb2"]);
    for (what, spoil) in [
        (
            "an empty folder",
            (|tree| fs::remove_dir_all(tree).and_then(|()| fs::create_dir(tree)).unwrap()) as fn(&Path),
        ),
        ("no folder", |tree| fs::remove_dir_all(tree).unwrap()),
        ("no number", |tree| fs::remove_file(tree.join(".ha-generation")).unwrap()),
        ("a link that leads out", |tree| std::os::unix::fs::symlink("/etc/passwd", tree.join("passwd")).unwrap()),
        ("a link up and out", |tree| std::os::unix::fs::symlink("../../../x", tree.join("x")).unwrap()),
    ] {
        let folders = Folders::new(&nodes);
        put(&folders.home(&nodes[0]), 2);
        spoil(&folders.home(&nodes[0]).join(TREE));
        let wrong = folders.files.bring_all().await;
        assert_eq!(wrong.len(), 1, "{what}: {wrong:?}");
        assert_eq!(wrong[0].1.effect(), Effect::None, "{what}: {}", wrong[0].1);
        assert_eq!(folders.truth(&nodes[1]).await.unwrap(), Some(1), "{what}");
        let hold = HoldFiles::new(nodes[1].clone());
        folders.files.hold(EPOCH, hold).await.unwrap();
        let refused = folders.files.release(EPOCH, ReleaseFiles::new(nodes[1].clone())).await.unwrap_err();
        assert!(matches!(refused.kind(), ErrorKind::Conflict | ErrorKind::NotFound), "{what}: {refused}");
        assert_eq!(folders.files.shared(&nodes[1]).await.unwrap().sync, Sync::Held, "{what}: it stays held");
    }
}
