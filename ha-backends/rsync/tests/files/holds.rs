//! A hold holds: against transfers under way, the death of the controller, and other owners.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ha_core::backend::{Applied, Effect, ErrorKind, FileSync, HoldFiles, ObserveFileSync, ReleaseFiles};
use ha_core::state::{LeaseEpoch, Sync};
use ha_rsync::Publish;
use tokio::time::sleep;

use crate::nodes::{EPOCH, Nodes, hold, names, release};

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

/// Edits files of the first node until told to end; returns how many.
fn edits(nodes: &Nodes, ends: Arc<AtomicBool>) -> std::thread::JoinHandle<u64> {
    let services = nodes.tree(&nodes.config.nodes[0].name).join("services");
    std::thread::spawn(move || {
        let mut number = 0;
        while !ends.load(Ordering::Relaxed) {
            fs::write(services.join(format!("{}.xml", number % 40)), "y".repeat(40_000 + number % 977)).unwrap();
            number += 1;
            std::thread::sleep(Duration::from_millis(2));
        }
        number as u64
    })
}

/// 40 holds at any moment, a transfer under way included, against two continuous syncs; the control comments the cron line out:
/// no more transfers are started, and nobody waits for those that are.
#[tokio::test(flavor = "multi_thread")]
async fn a_hold_proves_that_nothing_is_copied_any_more_and_a_cron_line_that_is_commented_out_does_not() {
    let names = names(&["esb1", "esb2"]);
    let nodes = Nodes::new(&names, Publish::InPlace).await;
    let reader = &names[1];
    let timers = [nodes.timer(Duration::ZERO), nodes.timer(Duration::ZERO)];
    let ends = Arc::new(AtomicBool::new(false));
    let writes = edits(&nodes, ends.clone());
    let tree = nodes.tree(reader);
    let (mut violations, mut copied, mut last) = (0, 0, Vec::new());
    for turn in 0..40_u64 {
        sleep(Duration::from_millis(turn * 7 % 83)).await;
        nodes.files.hold(EPOCH, hold(reader)).await.unwrap();
        let before = stamps(&tree);
        sleep(Duration::from_millis(120)).await;
        violations += u32::from(stamps(&tree) != before);
        copied += u32::from(before != last);
        last = before;
        assert_eq!(nodes.files.shared(reader).await.unwrap().sync, Sync::Held);
        // The writer never rests: what is opened is the gate, as its owner opens it.
        fs::remove_file(nodes.home(reader).join(".ha-files/held/ha")).unwrap();
        sleep(Duration::from_millis(100)).await;
    }
    drop(timers);
    // The control: a transfer of its own a turn, and the timer switched off while it runs.
    let mut broken = 0;
    for turn in 0..40_u64 {
        let tool = nodes.home(&names[0]).join(".ha-files/ha-files");
        let mut run = Command::new(tool).arg("sync").stderr(Stdio::null()).spawn().unwrap();
        sleep(Duration::from_millis(20 + turn * 7 % 83)).await;
        let before = stamps(&tree);
        sleep(Duration::from_millis(120)).await;
        broken += u32::from(stamps(&tree) != before);
        run.wait().unwrap();
    }
    ends.store(true, Ordering::Relaxed);
    let written = writes.join().unwrap();
    ha_testkit::figures!(
        "rsync: 40 holds against two continuous syncs of {written} edits, {violations} violations (something was copied \
         before {copied}); a cron line commented out, {broken} of 40"
    );
    assert_eq!(violations, 0);
    assert!(copied > 10, "something was copied before {copied} of 40 holds: the others prove nothing");
    assert!(broken > 0, "the control sees nothing: the test could not fail");
}

/// A transfer whose sender is gone goes on: it counts until it ends.
#[tokio::test(flavor = "multi_thread")]
async fn a_hold_waits_for_an_orphaned_transfer_and_names_it() {
    let names = names(&["esb1", "esb2"]);
    let nodes = Nodes::new(&names, Publish::InPlace).await;
    let reader = &names[1];
    let tree = nodes.tree(reader);
    // As a sender leaves it whose link is cut: the server side waits for more.
    let mut orphan = Command::new(nodes.home(reader).join(".ha-files/ha-files"))
        .args(["gate", "--server", "-logDtpre.iLsfxCIvu", "--timeout=30", "."])
        .arg(&tree)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    while nodes.files.shared(reader).await.unwrap().sync != Sync::Running {
        sleep(Duration::from_millis(20)).await;
    }
    let short = HoldFiles::new(reader.clone()).with_deadline(Duration::from_secs(1));
    let late = nodes.files.hold(EPOCH, short).await.unwrap_err();
    assert_eq!((late.kind(), late.effect()), (ErrorKind::Timeout, Effect::Unknown), "{late}");
    assert!(late.to_string().contains("processes"), "{late}");
    assert_eq!(nodes.files.shared(reader).await.unwrap().generation, None, "what is half copied is no set");
    let (waiting, long) = (nodes.files.clone(), hold(reader));
    let waiting = tokio::spawn(async move { waiting.hold(EPOCH, long).await });
    sleep(Duration::from_millis(100)).await;
    let short = ReleaseFiles::new(reader.clone()).with_deadline(Duration::from_millis(200));
    let late = nodes.files.release(EPOCH, short).await.unwrap_err();
    assert_eq!((late.kind(), late.effect()), (ErrorKind::Timeout, Effect::None), "{late}");
    assert!(!waiting.is_finished() && late.to_string().contains("another hold"), "{late}");
    orphan.kill().unwrap();
    orphan.wait().unwrap();
    // What the gate had started ends with its input.
    let held = waiting.await.unwrap().unwrap();
    assert_eq!(held, Applied::AlreadySo, "the gate was shut from the first hold on");
    nodes.settle().unwrap();
    nodes.files.release(EPOCH, release(reader)).await.unwrap();
    assert_eq!(nodes.truth(reader), Some(1));
}

fn is_canary(entry: &fs::DirEntry) -> bool {
    entry.file_name().to_string_lossy().contains("canary")
}

/// What copies past the gate, as a crontab's line that is left from before, is found by a canary, and by nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn a_canary_finds_what_copies_past_the_gate_and_the_hold_is_none_until_nothing_does() {
    let names = names(&["esb1", "esb2", "esb3"]);
    let nodes = Nodes::with(&names, |config| config.canary = Duration::from_secs(2)).await;
    let (writer, reader) = (&names[0], &names[1]);
    nodes.settle().unwrap();
    let (from, to) = (format!("{}/", nodes.tree(writer).display()), format!("{}/", nodes.tree(reader).display()));
    let ends = Arc::new(AtomicBool::new(false));
    let ended = ends.clone();
    let old = std::thread::spawn(move || {
        while !ended.load(Ordering::Relaxed) {
            let copied = Command::new("rsync").args(["-a", "--delete", &from, &to]).status().unwrap();
            assert!(copied.success(), "{copied}");
            std::thread::sleep(Duration::from_millis(300));
        }
    });
    let past = nodes.files.hold(EPOCH, hold(reader)).await.unwrap_err();
    assert_eq!(past.kind(), ErrorKind::Conflict, "{past}");
    assert!(past.to_string().contains("past the gate"), "{past}");
    assert_eq!(nodes.files.shared(reader).await.unwrap().sync, Sync::Running, "nothing takes it for held");
    ends.store(true, Ordering::Relaxed);
    old.join().unwrap();

    // What comes through the gate of another reader meanwhile brings none.
    let (timer, open) = (nodes.timer(Duration::from_millis(50)), nodes.tree(&names[2]));
    let (mut looks, mut came) = (0, 0);
    let applied = tokio::select! {
        applied = nodes.files.hold(EPOCH, hold(reader)) => applied.unwrap(),
        () = async {
            loop {
                looks += 1;
                came += fs::read_dir(&open).unwrap().flatten().filter(is_canary).count();
                sleep(Duration::from_millis(5)).await;
            }
        } => unreachable!(),
    };
    drop(timer);
    assert_eq!((came, looks > 100), (0, true), "{looks} looks");
    assert_eq!(applied, Applied::AlreadySo, "the gate was shut by the first one");
    assert_eq!(nodes.files.shared(reader).await.unwrap().sync, Sync::Held);
    // A controller that dies while it waits leaves a hold that is not proven; the next one proves it.
    fs::write(nodes.home(reader).join(".ha-files/unproven"), "no canary was waited for yet").unwrap();
    let another = nodes.another();
    assert_eq!(another.shared(reader).await.unwrap().sync, Sync::Running);
    another.hold(EPOCH, hold(reader)).await.unwrap();
    assert_eq!(another.shared(reader).await.unwrap().sync, Sync::Held);
    another.release(EPOCH, release(reader)).await.unwrap();
    let left = fs::read_dir(nodes.tree(writer)).unwrap().flatten().filter(is_canary).count();
    assert_eq!((left, nodes.truth(reader)), (0, Some(1)));
    let short = HoldFiles::new(reader.clone()).with_deadline(Duration::from_secs(1));
    let refused = nodes.files.hold(EPOCH, short).await.unwrap_err();
    assert_eq!((refused.kind(), refused.effect()), (ErrorKind::Unsupported, Effect::None), "{refused}");
}

#[tokio::test]
async fn a_hold_of_another_owner_is_listed_and_no_release_takes_it_away() {
    let names = names(&["esb1", "esb2"]);
    let nodes = Nodes::new(&names, Publish::InPlace).await;
    let reader = &names[1];
    let tool = nodes.home(reader).join(".ha-files/ha-files");
    assert!(Command::new(&tool).args(["hold", "alice", "5", "tests the new build"]).status().unwrap().success());
    nodes.put(&names[0], 2);
    nodes.settle().unwrap();
    assert_eq!(nodes.truth(reader), Some(1));
    let holds = nodes.files.holds(reader).await.unwrap();
    assert_eq!((holds[0].owner.as_str(), holds[0].reason.as_str()), ("alice", "tests the new build"));
    nodes.files.hold(EPOCH, hold(reader)).await.unwrap();
    let refused = nodes.files.release(EPOCH, release(reader)).await.unwrap_err();
    assert_eq!((refused.kind(), refused.effect()), (ErrorKind::Conflict, Effect::None), "{refused}");
    assert!(refused.to_string().contains("alice"), "{refused}");
    assert_eq!(nodes.truth(reader), Some(1));
    fs::remove_file(nodes.home(reader).join(".ha-files/held/alice")).unwrap();
    nodes.files.release(EPOCH, release(reader)).await.unwrap();
    assert_eq!(nodes.truth(reader), Some(2));
}

/// The hold of a controller that is gone is there for the next one, listed with its owner and reason, and released by it.
#[tokio::test]
async fn a_hold_left_by_a_dead_controller_is_found_and_released_by_the_next_one() {
    let names = names(&["esb1", "esb2"]);
    let nodes = Nodes::new(&names, Publish::InPlace).await;
    nodes.files.hold(EPOCH, hold(&names[1])).await.unwrap();
    let next = nodes.another();
    let holds = next.holds(&names[1]).await.unwrap();
    assert_eq!((holds.len(), holds[0].owner.as_str(), holds[0].reason.as_str()), (1, "ha", "lease epoch 1"));
    assert!(holds[0].since.elapsed().unwrap() < Duration::from_secs(60));
    next.release(LeaseEpoch::new(2), release(&names[1])).await.unwrap();
    assert_eq!(next.shared(&names[1]).await.unwrap().sync, Sync::Active);
    let late = nodes.files.hold(EPOCH, hold(&names[1])).await.unwrap_err();
    assert_eq!((late.kind(), late.effect()), (ErrorKind::Fenced, Effect::None));
}

#[tokio::test]
async fn an_old_writer_that_wakes_is_refused_at_every_gate() {
    let names = names(&["esb1", "esb2", "esb3"]);
    let nodes = Nodes::new(&names, Publish::InPlace).await;
    for reader in &names[1..] {
        nodes.files.hold(EPOCH, hold(reader)).await.unwrap();
    }
    let writer = nodes.home(&names[0]).join(".ha-files/writer");
    nodes
        .files
        .hand_writer(EPOCH, ha_core::backend::HandWriter::new(names[1].clone(), ha_core::state::WriterEpoch::new(2)))
        .await
        .unwrap();
    nodes.files.release(EPOCH, release(&names[2])).await.unwrap();
    // A backup brings its state back.
    fs::write(writer, "1\n").unwrap();
    nodes.put(&names[0], 9);
    let (code, said) = crate::nodes::sync(&nodes.home(&names[0]));
    assert_eq!(code, Some(70), "{said}");
    assert!(said.contains("writer epoch 2 was seen") && said.contains("writes the shared files"), "{said}");
    assert_eq!((nodes.truth(&names[1]), nodes.truth(&names[2])), (Some(1), Some(1)));
}
