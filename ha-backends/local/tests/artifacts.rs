//! The artifact store in a folder of this machine: the conformance suite, and what its settings and its folder may be.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::ffi::OsStr;
use std::fs::{self, File, FileTimes};
use std::io::{BufRead, BufReader};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use ha_core::backend::{ArtifactStore, Effect, ErrorKind, ObserveArtifactStore, PruneArtifacts, PutArtifact};
use ha_core::state::{Generation, LeaseEpoch};
use ha_core::topology::Name;
use ha_local::{LocalArtifacts, LocalArtifactsConfig};
use ha_testkit::conformance::Breach;
use ha_testkit::conformance::artifacts::{ArtifactsAbility, ArtifactsFixture, ArtifactsSubject, Built};
use tempfile::TempDir;

const EPOCH: LeaseEpoch = LeaseEpoch::new(1);

/// The digest of a tree, found by coreutils.
const DIGEST: &str = "cd \"$1\" && { find . -type f -printf '%m %p\\0' | sort -z; find . -type f -print0 | sort -z | \
                      xargs -0r sha256sum -z --; find . -type l -printf '%p -> %l\\0' | sort -z; } | sha256sum";

fn digest(folder: &Path) -> String {
    let sum = Command::new("sh").env("LC_ALL", "C").args(["-c", DIGEST, "digest"]).arg(folder).output().unwrap();
    String::from_utf8(sum.stdout).unwrap().split(' ').next().unwrap().into()
}

fn build(folder: &Path, what: Built, number: u64) {
    let services = folder.join("services");
    fs::create_dir_all(&services).unwrap();
    for file in 0..12 {
        fs::write(services.join(format!("{file}.xml")), format!("<service set=\"{number}\"/>").repeat(4_000)).unwrap();
    }
    std::os::unix::fs::symlink("../services/0.xml", services.join("link.xml")).unwrap();
    let more = if what == Built::Large { 600 } else { 0 };
    for file in 0..more {
        fs::write(services.join(format!("more-{file}.xml")), format!("{number} {file}").repeat(200)).unwrap();
    }
    if what == Built::OddNames {
        for name in [&b"line\nend"[..], b"it's \"so\"", b"-rf", b"caf\xe9", b" blank "] {
            fs::write(services.join(OsStr::from_bytes(name)), name).unwrap();
        }
    }
    if what != Built::Numberless {
        fs::write(folder.join(".ha-generation"), format!("{number}\n")).unwrap();
    }
}

struct Fixture;

struct Subject {
    dir: TempDir,
    config: LocalArtifactsConfig,
    store: LocalArtifacts,
    changes: AtomicU64,
}

impl Subject {
    fn new(readers: Vec<Name>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("store")).unwrap();
        let mut config = LocalArtifactsConfig::new(dir.path().join("store"), readers);
        config.keep = 0;
        Self { store: LocalArtifacts::new(config.clone()), dir, config, changes: AtomicU64::new(0) }
    }

    fn built(&self, what: Built, number: u64) -> (String, Generation) {
        let folder = self.dir.path().join(format!("built-{number}"));
        build(&folder, what, number);
        (folder.display().to_string(), Generation::new(number, digest(&folder)))
    }

    fn kept(&self, set: &Generation) -> PathBuf {
        self.config.folder.join(&*set.digest)
    }
}

#[async_trait]
impl ArtifactsFixture for Fixture {
    fn name(&self) -> String {
        "a folder of this machine".into()
    }

    fn can(&self, ability: ArtifactsAbility) -> bool {
        ability != ArtifactsAbility::Fills
    }

    async fn fresh(&self, nodes: &[Name]) -> Result<Box<dyn ArtifactsSubject>, Breach> {
        Ok(Box::new(Subject::new(nodes.to_vec())))
    }
}

#[async_trait]
impl ArtifactsSubject for Subject {
    fn store(&self) -> Arc<dyn ArtifactStore> {
        Arc::new(self.store.clone())
    }

    fn another(&self) -> Arc<dyn ArtifactStore> {
        Arc::new(LocalArtifacts::new(self.config.clone()))
    }

    async fn build(&self, what: Built, number: u64) -> Result<(String, Generation), Breach> {
        Ok(self.built(what, number))
    }

    async fn change(&self, source: &str) -> Result<(), Breach> {
        let change = self.changes.fetch_add(1, Ordering::Relaxed);
        Ok(fs::write(Path::new(source).join("services/7.xml"), format!("change {change}"))?)
    }

    async fn truth(&self, _node: &Name, place: &str, set: &Generation) -> Result<Option<bool>, Breach> {
        let place = Path::new(place);
        if !place.exists() {
            return Ok(None);
        }
        let number = fs::read_to_string(place.join(".ha-generation"))?;
        Ok(Some(number.trim() == set.sequence.to_string() && digest(place) == *set.digest))
    }

    async fn flip(&self, set: &Generation) -> Result<(), Breach> {
        let file = self.kept(set).join("services/5.xml");
        let (mut content, time) = (fs::read(&file)?, fs::metadata(&file)?.modified()?);
        content[17] ^= 1;
        fs::write(&file, content)?;
        Ok(File::options().write(true).open(&file)?.set_times(FileTimes::new().set_modified(time))?)
    }

    async fn fill(&self, _full: bool) -> Result<(), Breach> {
        Err(Breach::new("it cannot"))
    }

    async fn put_killed(&self, epoch: LeaseEpoch, request: PutArtifact, after: Duration) -> Result<(), Breach> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["--exact", CHILD, "--nocapture"])
            .env("HA_TEST_STORE", &self.config.folder)
            .env("HA_TEST_SET", format!("{} {} {epoch}", request.generation.sequence, request.generation.digest))
            .env("HA_TEST_SOURCE", &request.source)
            .stdout(Stdio::piped())
            .spawn()?;
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let begun = lines.map_while(Result::ok).any(|line| line.contains("begins to put"));
        tokio::time::sleep(after).await;
        child.kill()?;
        child.wait()?;
        if begun { Ok(()) } else { Err(Breach::new("the process that is killed did not begin")) }
    }
}

const CHILD: &str = "what_another_process_does_that_is_killed";

/// Does nothing, but for the test that starts it as a process of its own.
#[tokio::test]
async fn what_another_process_does_that_is_killed() {
    let Some(folder) = std::env::var_os("HA_TEST_STORE") else { return };
    let (set, source) = (std::env::var("HA_TEST_SET").unwrap(), std::env::var("HA_TEST_SOURCE").unwrap());
    let words: Vec<&str> = set.split(' ').collect();
    let set = Generation::new(words[0].parse().unwrap(), words[1]);
    let store = LocalArtifacts::new(LocalArtifactsConfig::new(folder, Vec::new()));
    println!("begins to put");
    let put = store.put(LeaseEpoch::new(words[2].parse().unwrap()), PutArtifact::new(set.clone(), source)).await;
    if std::env::var_os("HA_TEST_ENDS").is_some() {
        let put = put.map_err(|error| (error.kind(), error.effect()));
        let left = fs::read_dir(std::env::var_os("HA_TEST_STORE").unwrap()).unwrap();
        let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
        let is_left = left.iter().any(|name| *name != *".ha-epoch" && *name != *".ha-epoch.lock");
        println!("ended with {put:?}, {:?}, left something: {is_left}", store.keeps(&set).await.unwrap());
        return;
    }
    std::thread::sleep(Duration::from_secs(60));
}

mod a_folder {
    ha_testkit::conformance!(artifacts, super::Fixture, skips = ["fixture: full disk"]);
}

#[tokio::test]
async fn a_folder_that_is_not_there_is_missing_and_never_made() {
    let node = Name::new("esb1").unwrap();
    let subject = Subject::new(vec![node.clone()]);
    let (source, set) = subject.built(Built::Set, 10);
    // An unmounted file system.
    fs::remove_dir(&subject.config.folder).unwrap();
    let missing = subject.store.missing(&node).await.unwrap();
    assert!(missing.len() == 1 && missing[0].contains("setting folder"), "{missing:?}");
    let refused = subject.store.put(EPOCH, PutArtifact::new(set.clone(), source)).await.unwrap_err();
    assert_eq!((refused.kind(), refused.effect()), (ErrorKind::NotFound, Effect::None), "{refused}");
    let refused = subject.store.keeps(&set).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::NotFound, "absent is what could be put: {refused}");
    assert!(!subject.config.folder.exists());
}

#[tokio::test]
async fn a_full_disk_is_refused_without_effect_and_leaves_nothing() {
    let subject = Subject::new(Vec::new());
    let (source, set) = subject.built(Built::Set, 10);
    // Another process sees a small file system where the store is.
    let script = "mount -t tmpfs -o size=400k none \"$HA_TEST_STORE\" && exec \"$0\" \"$@\"";
    let ran = Command::new("unshare")
        .args(["-m", "sh", "-c", script])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", CHILD, "--nocapture"])
        .env("HA_TEST_STORE", &subject.config.folder)
        .env("HA_TEST_SET", format!("{} {} {EPOCH}", set.sequence, set.digest))
        .env("HA_TEST_SOURCE", &source)
        .env("HA_TEST_ENDS", "1")
        .output()
        .unwrap();
    let printed = format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(printed.contains("ended with Err((Denied, None)), Absent, left something: false"), "{printed}");
}

#[tokio::test]
async fn the_newest_sets_of_the_settings_stay_whatever_a_prune_asks_for() {
    let mut subject = Subject::new(Vec::new());
    for number in 10..14 {
        let (source, set) = subject.built(Built::Set, number);
        subject.store.put(EPOCH, PutArtifact::new(set, source)).await.unwrap();
    }
    subject.config.keep = 3;
    let store = LocalArtifacts::new(subject.config.clone());
    store.prune(EPOCH, PruneArtifacts::new(0)).await.unwrap();
    let left: Vec<u64> = store.generations().await.unwrap().iter().map(|set| set.sequence).collect();
    assert_eq!(left, [13, 12, 11]);
}

#[tokio::test]
async fn a_source_with_a_link_that_leads_out_is_refused() {
    let subject = Subject::new(Vec::new());
    let (source, set) = subject.built(Built::Set, 10);
    std::os::unix::fs::symlink("/etc/hostname", Path::new(&source).join("out")).unwrap();
    let refused = subject.store.put(EPOCH, PutArtifact::new(set, source)).await.unwrap_err();
    assert_eq!((refused.kind(), refused.effect()), (ErrorKind::Conflict, Effect::None), "{refused}");
}
