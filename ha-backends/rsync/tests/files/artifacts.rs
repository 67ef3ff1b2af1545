//! The releases of the nodes as an artifact store.

use std::ffi::OsStr;
use std::fs::{self, File, FileTimes};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use ha_core::backend::{ArtifactStore, ErrorKind, Kept, ObserveArtifactStore, PruneArtifacts, PutArtifact};
use ha_core::state::{Generation, LeaseEpoch};
use ha_core::topology::Name;
use ha_local::generation_of;
use ha_rsync::{Publish, RsyncArtifacts};
use ha_testkit::conformance::Breach;
use ha_testkit::conformance::artifacts::{ArtifactsAbility, ArtifactsFixture, ArtifactsSubject, Built};

use crate::nodes::{EPOCH, Nodes, TREE, names};

/// Nodes of this machine, or hosts of their own over ssh.
struct Fixture {
    over_ssh: bool,
}

struct Subject {
    nodes: Nodes,
    store: RsyncArtifacts,
    changes: AtomicU64,
}

impl Subject {
    async fn new(nodes: &[Name]) -> Self {
        Self::on(Nodes::new(nodes, Publish::Switch).await)
    }

    fn on(nodes: Nodes) -> Self {
        Self { store: RsyncArtifacts::new(nodes.files.clone()).unwrap(), nodes, changes: AtomicU64::new(0) }
    }

    /// Where the writer keeps a set that was put.
    fn kept(&self, set: &Generation) -> PathBuf {
        let releases = format!("{TREE}.releases");
        self.nodes.config.nodes[0].home.join(releases).join(&*set.digest)
    }

    fn built(&self, what: Built, number: u64) -> (String, Generation) {
        let folder = self.nodes.dir.path().join(format!("built-{number}"));
        fs::create_dir_all(folder.join("services")).unwrap();
        for file in 0..12 {
            let content = format!("<service set=\"{number}\"/>").repeat(4_000);
            fs::write(folder.join(format!("services/{file}.xml")), content).unwrap();
        }
        let more = if what == Built::Large { 600 } else { 0 };
        for file in 0..more {
            let content = format!("{number} {file}").repeat(200);
            fs::write(folder.join(format!("services/more-{file}.xml")), content).unwrap();
        }
        if what == Built::OddNames {
            for name in [&b"line\nend"[..], b"it's \"so\"", b"-rf", b"caf\xe9", b" blank "] {
                fs::write(folder.join("services").join(OsStr::from_bytes(name)), name).unwrap();
            }
        }
        fs::write(folder.join(".ha-generation"), format!("{number}\n")).unwrap();
        let set = generation_of(&folder).unwrap().unwrap();
        if what == Built::Numberless {
            fs::remove_file(folder.join(".ha-generation")).unwrap();
        }
        (folder.display().to_string(), set)
    }
}

#[async_trait]
impl ArtifactsFixture for Fixture {
    fn name(&self) -> String {
        if self.over_ssh { "the releases of rsync, over ssh".into() } else { "the releases of rsync".into() }
    }

    fn can(&self, ability: ArtifactsAbility) -> bool {
        ability != ArtifactsAbility::Fills
    }

    async fn fresh(&self, nodes: &[Name]) -> Result<Box<dyn ArtifactsSubject>, Breach> {
        let subject = match self.over_ssh {
            true => Subject::on(Nodes::over_ssh(nodes, Publish::Switch).await),
            false => Subject::new(nodes).await,
        };
        Ok(Box::new(subject))
    }
}

#[async_trait]
impl ArtifactsSubject for Subject {
    fn store(&self) -> Arc<dyn ArtifactStore> {
        Arc::new(self.store.clone())
    }

    fn another(&self) -> Arc<dyn ArtifactStore> {
        Arc::new(RsyncArtifacts::new(self.nodes.another()).unwrap())
    }

    async fn build(&self, what: Built, number: u64) -> Result<(String, Generation), Breach> {
        Ok(self.built(what, number))
    }

    async fn change(&self, source: &str) -> Result<(), Breach> {
        let change = self.changes.fetch_add(1, Ordering::Relaxed);
        Ok(fs::write(Path::new(source).join("services/7.xml"), format!("change {change}"))?)
    }

    async fn truth(&self, node: &Name, place: &str, set: &Generation) -> Result<Option<bool>, Breach> {
        let (place, home) = (Path::new(place), self.nodes.home(node));
        let is_source = !place.starts_with(&home) && place.starts_with(self.nodes.dir.path());
        if !place.starts_with(&home) && !is_source {
            return Err(Breach::new(format!("{} is not on {node}", place.display())));
        }
        if !place.exists() {
            return Ok(None);
        }
        Ok(Some(generation_of(place)?.as_ref() == Some(set)))
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
        let store = self.store.clone();
        let put = tokio::spawn(async move { store.put(epoch, request).await });
        let dir = self.nodes.dir.path().to_path_buf();
        tokio::time::sleep(Duration::from_millis(10) + after).await;
        while !put.is_finished() {
            kill_all_of(&dir);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }
}

/// Kills the programs that were started for the nodes below a folder of this test.
fn kill_all_of(dir: &Path) {
    let state = format!("HA_STATE={}", dir.display());
    for process in fs::read_dir("/proc").unwrap().filter_map(Result::ok) {
        let environment = fs::read(process.path().join("environ")).unwrap_or_default();
        if environment.split(|byte| *byte == 0).any(|entry| entry.starts_with(state.as_bytes())) {
            let _ = Command::new("kill").args([OsStr::new("-9"), &process.file_name()]).output();
        }
    }
}

mod releases {
    ha_testkit::conformance!(artifacts, super::Fixture { over_ssh: false }, skips = ["fixture: full disk"]);
}

mod releases_over_ssh {
    ha_testkit::conformance!(artifacts, super::Fixture { over_ssh: true }, skips = ["fixture: full disk"]);
}

#[tokio::test]
async fn the_set_that_serves_is_kept_under_whatever_name() {
    let nodes = names(&["esb1", "esb2"]);
    let subject = Subject::new(&nodes).await;
    let serving = generation_of(&subject.nodes.tree(&nodes[0]).canonicalize().unwrap()).unwrap().unwrap();
    assert_eq!(subject.store.keeps(&serving).await.unwrap(), Kept::Whole);
    let place = subject.store.place(&nodes[1], &serving).await.unwrap().unwrap();
    assert!(Path::new(&place).starts_with(subject.nodes.home(&nodes[1])), "{place}");
    subject.store.prune(EPOCH, PruneArtifacts::new(0)).await.unwrap();
    assert_eq!(subject.store.keeps(&serving).await.unwrap(), Kept::Whole, "what serves is never pruned");
}

#[tokio::test]
async fn a_store_of_sets_that_change_in_place_is_refused() {
    let nodes = Nodes::new(&names(&["esb1", "esb2"]), Publish::InPlace).await;
    let refused = RsyncArtifacts::new(nodes.files.clone()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unsupported);
    assert!(refused.to_string().contains("publish = \"switch\""), "{refused}");
}

/// The suite's changes come at moments of their own; this one comes as soon as the copy has begun.
#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_changes_while_it_is_copied_is_refused() {
    let subject = Subject::new(&names(&["esb1", "esb2"])).await;
    let staged = subject.nodes.config.nodes[0].home.join(format!("{TREE}.releases/.new-kept"));
    for number in 10..30 {
        let (source, set) = subject.built(Built::Large, number);
        let (last, seen) = (Path::new(&source).join("services/more-99.xml"), staged.clone());
        let store = subject.store.clone();
        let put = PutArtifact::new(set.clone(), source);
        let task = tokio::spawn(async move { store.put(EPOCH, put).await });
        let until = std::time::Instant::now() + Duration::from_secs(20);
        while !seen.exists() && !task.is_finished() && std::time::Instant::now() < until {
            std::thread::sleep(Duration::from_micros(200));
        }
        fs::write(&last, "another").unwrap();
        match task.await.unwrap() {
            Ok(_) => assert_eq!(subject.store.keeps(&set).await.unwrap(), Kept::Whole, "it came after the copy"),
            Err(refused) => {
                assert_eq!(refused.kind(), ErrorKind::Conflict, "{refused}");
                assert_eq!(subject.store.keeps(&set).await.unwrap(), Kept::Absent);
                return;
            }
        }
    }
    panic!("no change came in the middle of a copy");
}
