//! A set takes the place of the one before whole or not at all.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ha_core::backend::{Effect, ErrorKind, FileSync, ObserveFileSync};
use ha_core::state::Generation;
use ha_rsync::Publish;
use tokio::time::sleep;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use crate::nodes::{EPOCH, FILES, Nodes, hold, names, release, sync};

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_of_a_switched_tree_never_sees_a_mixed_set() {
    let names = names(&["esb1", "esb2"]);
    let nodes = Nodes::new(&names, Publish::Switch).await;
    let (tree, ends) = (nodes.tree(&names[1]), Arc::new(AtomicBool::new(false)));
    sync(&nodes.home(&names[0]));
    let ended = ends.clone();
    let reads = std::thread::spawn(move || {
        let (mut reads, mut mixed) = (0_u32, 0_u32);
        while !ended.load(Ordering::Relaxed) {
            // As a server that resolves its folder once.
            let Ok(folder) = fs::canonicalize(&tree) else { continue };
            let read = |file: usize| fs::read_to_string(folder.join(format!("services/{file}.xml"))).ok();
            let texts: BTreeSet<Option<String>> = (0..FILES).map(read).collect();
            reads += 1;
            mixed += u32::from(texts.len() > 1);
        }
        (reads, mixed)
    });
    for number in 2..22 {
        nodes.put(&names[0], number);
        let (code, said) = sync(&nodes.home(&names[0]));
        assert_eq!(code, Some(0), "{said}");
        assert_eq!(nodes.truth(&names[1]), Some(number));
    }
    ends.store(true, Ordering::Relaxed);
    let (reads, mixed) = reads.join().unwrap();
    ha_testkit::figures!("rsync: 20 releases published under a reader, {mixed} of {reads} reads mixed");
    assert_eq!(mixed, 0);
    assert_eq!(nodes.files.releases(&names[1]).await.unwrap().len(), 4, "the current one and three more are kept");
}

/// A deployment that writes the same set again changes times alone: what is brought then is the release that serves.
#[tokio::test(flavor = "multi_thread")]
async fn a_release_that_is_brought_again_is_never_away() {
    let names = names(&["esb1", "esb2"]);
    let nodes = Nodes::new(&names, Publish::Switch).await;
    let (tree, ends) = (nodes.tree(&names[1]), Arc::new(AtomicBool::new(false)));
    sync(&nodes.home(&names[0]));
    let (ended, file) = (ends.clone(), tree.join("services/0.xml"));
    let reads = std::thread::spawn(move || {
        let (mut reads, mut away) = (0_u32, 0_u32);
        while !ended.load(Ordering::Relaxed) {
            reads += 1;
            away += u32::from(fs::read(&file).is_err());
        }
        (reads, away)
    });
    for turn in 0..10_u64 {
        for file in 0..FILES {
            let file = fs::File::open(nodes.tree(&names[0]).join(format!("services/{file}.xml"))).unwrap();
            file.set_modified(std::time::UNIX_EPOCH + Duration::from_secs(1_000_000 + turn)).unwrap();
        }
        let (code, said) = sync(&nodes.home(&names[0]));
        assert_eq!((code, nodes.truth(&names[1])), (Some(0), Some(1)), "{said}");
    }
    ends.store(true, Ordering::Relaxed);
    let (reads, away) = reads.join().unwrap();
    assert_eq!(away, 0, "of {reads} reads");
    let modified = fs::metadata(tree.join("services/0.xml")).unwrap().modified().unwrap();
    assert_eq!(
        modified,
        std::time::UNIX_EPOCH + Duration::from_secs(1_000_009),
        "or it would be brought again and again"
    );
}

/// The syncs are killed with all their processes at any moment: the tree is a whole set at any time, and the next sync mends the rest.
#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_killed_the_tree_is_a_whole_verified_release() {
    let names = names(&["esb1", "esb2"]);
    let nodes = Nodes::new(&names, Publish::Switch).await;
    let (writer, reader) = (nodes.home(&names[0]), &names[1]);
    sync(&writer);
    let (mut published, mut seen) = (0, BTreeSet::new());
    for turn in 0..50_u64 {
        nodes.put(&names[0], turn + 2);
        let mut run = Command::new(writer.join(".ha-files/ha-files"));
        let mut run = run.arg("sync").stderr(Stdio::null()).process_group(0).spawn().unwrap();
        sleep(Duration::from_millis(turn * 173 % 1_000)).await;
        let group = format!("-{}", run.id());
        let _ = Command::new("kill").args(["-9", "--", &group]).stderr(Stdio::null()).status();
        run.wait().unwrap();
        let truth = nodes.truth(reader);
        assert!(truth.is_some_and(|number| number <= turn + 2), "turn {turn}: {truth:?}");
        published += u32::from(truth == Some(turn + 2));
        seen.insert(truth);
    }
    nodes.settle().unwrap();
    assert_eq!(nodes.truth(reader), Some(51));
    let shared = nodes.files.shared(reader).await.unwrap();
    assert_eq!(shared.generation, nodes.files.shared(&names[0]).await.unwrap().generation);
    let releases = format!("{}.releases", nodes.tree(reader).display());
    let left = fs::read_dir(&releases)
        .unwrap()
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(".new"));
    ha_testkit::figures!(
        "rsync: 50 publishes killed at any moment, {published} had published, {} sets seen, each whole; {} staged folders left \
         for the sweep",
        seen.len(),
        left.count()
    );
    assert!(published > 0 && published < 50, "{published} of 50 had published: the moments tell nothing");
}

/// The same where a server watches the tree: a cut leaves what is no set, and is told as such, until the next sync.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_cut_leaves_in_place_counts_as_no_set_until_it_is_mended() {
    let names = names(&["esb1", "esb2"]);
    let nodes = Nodes::new(&names, Publish::InPlace).await;
    let (writer, reader) = (nodes.home(&names[0]), &names[1]);
    let mut mixed = 0;
    for turn in 0..30_u64 {
        nodes.put(&names[0], turn + 2);
        let mut run = Command::new(writer.join(".ha-files/ha-files"));
        let mut run = run.arg("sync").stderr(Stdio::null()).process_group(0).spawn().unwrap();
        sleep(Duration::from_millis(turn * 37 % 120)).await;
        let group = format!("-{}", run.id());
        let _ = Command::new("kill").args(["-9", "--", &group]).stderr(Stdio::null()).status();
        run.wait().unwrap();
        let shared = nodes.files.shared(reader).await.unwrap();
        let truth = nodes.truth(reader);
        match shared.generation {
            Some(generation) => assert_eq!(truth, Some(generation.sequence), "turn {turn}"),
            None => mixed += 1,
        }
    }
    nodes.settle().unwrap();
    assert_eq!(nodes.truth(reader), Some(31));
    assert_eq!(nodes.files.shared(reader).await.unwrap().generation.unwrap().sequence, 31);
    ha_testkit::figures!(
        "rsync: 30 syncs in place killed at any moment, {mixed} told as no set, all mended by the next"
    );
}

#[tokio::test]
async fn a_node_is_switched_back_to_a_release_that_it_keeps_and_to_no_other() {
    let names = names(&["esb1", "esb2"]);
    let nodes = Nodes::new(&names, Publish::Switch).await;
    let reader = &names[1];
    for number in 2..4 {
        nodes.put(&names[0], number);
        assert_eq!(sync(&nodes.home(&names[0])).0, Some(0));
    }
    nodes.files.hold(EPOCH, hold(reader)).await.unwrap();
    let releases = nodes.files.releases(reader).await.unwrap();
    let numbers: Vec<u64> = releases.iter().map(|release| release.sequence).collect();
    assert_eq!(numbers[..2], [3, 2], "{releases:?}");
    nodes.files.switch_back(EPOCH, reader, &releases[1]).await.unwrap();
    assert_eq!(nodes.truth(reader), Some(2));
    assert_eq!(nodes.files.shared(reader).await.unwrap().generation, Some(releases[1].clone()));
    let gone = nodes.files.switch_back(EPOCH, reader, &Generation::new(7, "ab".repeat(32))).await.unwrap_err();
    assert_eq!((gone.kind(), gone.effect()), (ErrorKind::NotFound, Effect::None), "{gone}");
    let out = nodes.files.switch_back(EPOCH, reader, &Generation::new(7, "../..")).await.unwrap_err();
    assert_eq!((out.kind(), out.effect()), (ErrorKind::NotFound, Effect::None), "{out}");
    let spoilt =
        PathBuf::from(format!("{}.releases/{}/services/3.xml", nodes.tree(reader).display(), releases[0].digest));
    fs::write(spoilt, "spoilt").unwrap();
    let changed = nodes.files.switch_back(EPOCH, reader, &releases[0]).await.unwrap_err();
    assert_eq!((changed.kind(), changed.effect()), (ErrorKind::Conflict, Effect::None), "{changed}");
    assert_eq!(nodes.truth(reader), Some(2));
}

/// A byte that changes under a kept time and length is found by the digest, and mended by a release.
#[tokio::test]
async fn a_changed_byte_is_found_though_time_and_length_are_kept() {
    let names = names(&["esb1", "esb2"]);
    let nodes = Nodes::new(&names, Publish::InPlace).await;
    let reader = &names[1];
    sync(&nodes.home(&names[0]));
    let file = nodes.tree(reader).join("services/5.xml");
    let time = fs::metadata(&file).unwrap().modified().unwrap();
    let text = fs::read_to_string(&file).unwrap().replace("<service", "<servicf");
    fs::write(&file, text).unwrap();
    fs::File::options().write(true).open(&file).unwrap().set_modified(time).unwrap();
    let there = nodes.files.shared(&names[0]).await.unwrap().generation.unwrap();
    let here = nodes.files.shared(reader).await.unwrap().generation.unwrap();
    assert_eq!((here.sequence, here.digest == there.digest), (there.sequence, false));
    let difference = nodes.files.difference(reader).await.unwrap();
    assert_eq!(difference.changes.len(), 1, "{difference:?}");
    nodes.files.release(EPOCH, release(reader)).await.unwrap();
    assert_eq!(nodes.files.shared(reader).await.unwrap().generation, Some(there));
    assert!(nodes.files.difference(reader).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_that_is_to_be_deployed_is_named_as_the_tree_that_holds_it_will_be() {
    let names = names(&["esb1", "esb2"]);
    let nodes = Nodes::new(&names, Publish::InPlace).await;
    let deployed = nodes.files.shared(&names[0]).await.unwrap().generation;
    let elsewhere = nodes.dir.path().join("it is 'new'");
    fs::rename(nodes.tree(&names[0]), &elsewhere).unwrap();
    let folder = elsewhere.to_str().unwrap();
    assert_eq!(Some(nodes.files.generation_in(&names[0], folder).await.unwrap()), deployed);

    fs::remove_file(elsewhere.join(".ha-generation")).unwrap();
    let numberless = nodes.files.generation_in(&names[0], folder).await.unwrap_err();
    let absent = nodes.files.generation_in(&names[0], "/nonexistent").await.unwrap_err();
    assert_eq!(
        (numberless.kind(), absent.kind()),
        (ErrorKind::Conflict, ErrorKind::NotFound),
        "{numberless}; {absent}"
    );
    assert!(numberless.to_string().contains(".ha-generation"), "{numberless}");
}

/// Remembers the figures of each event that tells how far a copy is.
#[derive(Clone, Default)]
struct OnTheirWay(Arc<Mutex<Vec<BTreeMap<&'static str, u64>>>>);

struct Figures(BTreeMap<&'static str, u64>);

impl Visit for Figures {
    fn record_debug(&mut self, _: &Field, _: &dyn Debug) {}

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.insert(field.name(), value);
    }
}

impl Subscriber for OnTheirWay {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event()
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut figures = Figures(BTreeMap::new());
        event.record(&mut figures);
        if figures.0.contains_key("of") {
            self.0.lock().unwrap().push(figures.0);
        }
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[tokio::test]
async fn a_copy_that_takes_long_tells_every_second_how_far_it_is() {
    let names = names(&["esb1", "esb2"]);
    let nodes = Nodes::with(&names, |config| config.bwlimit = 2_000).await;
    nodes.settle().unwrap();
    nodes.files.hold(EPOCH, hold(&names[1])).await.unwrap();
    for file in 0..8 {
        fs::write(nodes.tree(&names[0]).join(format!("services/large-{file}.car")), vec![b'x'; 1_000_000]).unwrap();
    }
    let told = OnTheirWay::default();
    let subscribed = tracing::subscriber::set_default(told.clone());
    nodes.files.release(EPOCH, release(&names[1])).await.unwrap();
    drop(subscribed);
    let told = told.0.lock().unwrap();
    assert!(!told.is_empty(), "8 MB at 2 MB a second");
    assert!(told.iter().all(|told| told["of"] == 8 && told["files"] <= 8 && told["bytes"] <= 8_000_000), "{told:?}");
    assert!(told.is_sorted_by_key(|told| told["bytes"]), "{told:?}");
    assert!(told.iter().any(|told| told["bytes"] > 0 && told["bytes"] < 8_000_000), "{told:?}");
    let progress = nodes.home(&names[0]).join(".ha-files/progress.esb2");
    assert!(!progress.exists(), "nothing is left of it");
}
