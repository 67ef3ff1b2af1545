//! The SQLite journal and lease, over real files.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::PathBuf;
use std::time::Duration;

use ha_core::journal::{Journal, JournalError, Lease, LeaseError, MemoryStore, ObserveLease};
use ha_core::plan::{Draft, Plan};
use ha_core::record::{Cursor, End, Entry, Record, RunId, Why};
use ha_core::state::LeaseEpoch;
use ha_core::topology::Name;
use ha_sqlite::SqliteStore;
use ha_testkit::world::World;

fn file() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal.db");
    (dir, path)
}

fn entry(sequence: u64, epoch: u64) -> Entry {
    let record = Record::Turned { to: Cursor::START, message: format!("entry {sequence}") };
    Entry::new(sequence, LeaseEpoch::new(epoch), 1_700_000_000_000, record)
}

#[tokio::test]
async fn what_was_appended_is_read_back_after_opening_anew() {
    let (_dir, path) = file();
    let run = RunId::new("r1");
    let store = SqliteStore::open(&path).unwrap();
    for sequence in 0..3 {
        store.append(&run, vec![entry(sequence, 1)]).await.unwrap();
    }
    drop(store);
    let store = SqliteStore::open(&path).unwrap();
    assert_eq!(store.read(&run).await.unwrap(), [entry(0, 1), entry(1, 1), entry(2, 1)]);
    assert_eq!(store.runs().await.unwrap(), [run]);
}

#[tokio::test]
async fn a_sequence_number_is_taken_once_and_a_lower_epoch_never() {
    let (_dir, path) = file();
    let (run, store) = (RunId::new("r1"), SqliteStore::open(&path).unwrap());
    store.append(&run, vec![entry(0, 2)]).await.unwrap();
    let conflict = store.append(&run, vec![entry(0, 2)]).await.unwrap_err();
    assert!(matches!(conflict, JournalError::Conflict { expected: 1, .. }), "{conflict}");
    let fenced = store.append(&run, vec![entry(1, 1)]).await.unwrap_err();
    assert!(matches!(fenced, JournalError::Fenced { .. }), "{fenced}");
    assert_eq!(store.read(&run).await.unwrap().len(), 1);
}

#[tokio::test]
async fn entries_that_are_given_together_are_written_all_or_none() {
    let (_dir, path) = file();
    let run = RunId::new("r1");
    let stores: [&dyn Journal; 2] = [&SqliteStore::open(&path).unwrap(), &MemoryStore::new()];
    for store in stores {
        store.append(&run, vec![entry(0, 1), entry(1, 2)]).await.unwrap();
        let gap = store.append(&run, vec![entry(2, 2), entry(4, 2)]).await.unwrap_err();
        assert!(matches!(gap, JournalError::Conflict { sequence: 4, expected: 3, .. }), "{gap}");
        let lower = store.append(&run, vec![entry(2, 3), entry(3, 2)]).await.unwrap_err();
        assert!(matches!(lower, JournalError::Fenced { .. }), "{lower}");
        let first = store.append(&RunId::new("r2"), vec![entry(0, 1), entry(2, 1)]).await.unwrap_err();
        assert!(matches!(first, JournalError::Conflict { expected: 1, .. }), "{first}");
        store.append(&RunId::new("r3"), vec![]).await.unwrap();
        assert_eq!(store.read(&run).await.unwrap(), [entry(0, 1), entry(1, 2)]);
        assert_eq!(store.runs().await.unwrap(), std::slice::from_ref(&run));
    }
}

/// A plan of the cluster `orders`.
async fn plan() -> Plan {
    let world = World::active_passive();
    of_cluster(world.engine().plan(&world.patch_to("2.0")).await.unwrap().plan().clone(), "orders")
}

fn of_cluster(plan: Plan, cluster: &str) -> Plan {
    let mut draft = Draft::from(plan);
    draft.cluster = Name::new(cluster).unwrap();
    draft.into()
}

async fn append(store: &dyn Journal, run: &str, records: Vec<Record>) {
    let run = RunId::new(run);
    let next = store.read(&run).await.unwrap().len() as u64;
    let entry = |(sequence, record)| Entry::new(sequence, LeaseEpoch::new(1), 1_700_000_000_000, record);
    store.append(&run, (next..).zip(records).map(entry).collect()).await.unwrap();
}

async fn open(store: &dyn Journal, cluster: &str) -> Vec<String> {
    store.open_runs(cluster).await.unwrap().iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn a_run_is_open_in_its_cluster_until_it_is_all_new_or_all_old() {
    let (_dir, path) = file();
    let stores: [&dyn Journal; 2] = [&SqliteStore::open(&path).unwrap(), &MemoryStore::new()];
    let plan = plan().await;
    let opened = |cluster: &str| Record::Opened { plan: Box::new(of_cluster(plan.clone(), cluster)) };
    let closed = |end| Record::Closed { end, open: vec![] };
    let turned = || Record::Turned { to: Cursor::START, message: String::new() };
    for store in stores {
        append(store, "b", vec![opened("orders"), turned()]).await;
        append(store, "a", vec![opened("orders")]).await;
        append(store, "c", vec![opened("crm")]).await;
        append(store, "nameless", vec![turned()]).await;
        assert_eq!(open(store, "orders").await, ["b", "a", "nameless"], "oldest first");
        assert_eq!(open(store, "crm").await, ["c", "nameless"]);
        append(store, "b", vec![closed(End::NeedsOperator(Why::Held))]).await;
        append(store, "a", vec![closed(End::AllNew)]).await;
        append(store, "c", vec![turned(), closed(End::AllOld)]).await;
        assert_eq!(
            (open(store, "orders").await, open(store, "crm").await),
            (vec!["b".into(), "nameless".into()], vec!["nameless".into()])
        );
        append(store, "a", vec![Record::TakenOver { owner: "ben".into(), at: Cursor::START }]).await;
        append(store, "b", vec![closed(End::AllOld)]).await;
        assert_eq!(open(store, "orders").await, ["a", "nameless"], "a run that was taken over is open again");
    }
}

#[tokio::test]
async fn a_file_of_version_1_is_brought_to_version_2_with_its_open_runs() {
    let (_dir, path) = file();
    let store = SqliteStore::open(&path).unwrap();
    let opened = Record::Opened { plan: Box::new(plan().await) };
    append(&store, "ended", vec![opened.clone(), Record::Closed { end: End::AllOld, open: vec![] }]).await;
    append(&store, "open", vec![opened.clone()]).await;
    append(&store, "damaged", vec![opened]).await;
    drop(store);
    let connection = rusqlite::Connection::open(&path).unwrap();
    let earlier = "DROP INDEX open_runs; ALTER TABLE runs DROP COLUMN cluster; ALTER TABLE runs DROP COLUMN is_open;
        UPDATE entries SET record = 'x' WHERE run = 'damaged'; PRAGMA user_version = 1;";
    connection.execute_batch(earlier).unwrap();
    for _ in 0..2 {
        let store = SqliteStore::open(&path).unwrap();
        assert_eq!(open(&store, "orders").await, ["open", "damaged"]);
        assert_eq!(open(&store, "crm").await, ["damaged"], "nobody knows whose it is");
        assert!(matches!(store.read(&"damaged".into()).await, Err(JournalError::Corrupt { .. })));
        assert_eq!(store.read(&"ended".into()).await.unwrap().len(), 2);
    }
}

#[tokio::test]
async fn damage_is_refused_with_its_place_and_a_later_format_as_such() {
    for (damage, expected) in [
        ("UPDATE entries SET record = replace(record, 'entry 1', 'entry X')", "run r1, entry 1: its checksum"),
        ("DELETE FROM entries WHERE sequence = 1", "run r1, entry 1: the entry is missing"),
    ] {
        let (_dir, path) = file();
        let (run, store) = (RunId::new("r1"), SqliteStore::open(&path).unwrap());
        for sequence in 0..3 {
            store.append(&run, vec![entry(sequence, 1)]).await.unwrap();
        }
        rusqlite::Connection::open(&path).unwrap().execute_batch(damage).unwrap();
        let error = store.read(&run).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let (_dir, path) = file();
    let (run, store) = (RunId::new("r1"), SqliteStore::open(&path).unwrap());
    let mut newer = entry(0, 1);
    newer.format = 99;
    store.append(&run, vec![newer]).await.unwrap();
    let error = store.read(&run).await.unwrap_err();
    assert!(matches!(error, JournalError::Newer { format: 99, .. }), "{error}");
}

#[tokio::test]
async fn a_file_of_a_later_library_is_refused() {
    let (_dir, path) = file();
    drop(SqliteStore::open(&path).unwrap());
    rusqlite::Connection::open(&path).unwrap().execute_batch("PRAGMA user_version = 7").unwrap();
    let error = SqliteStore::open(&path).unwrap_err().to_string();
    assert!(error.contains("version 7") && error.contains("use the library that wrote it"), "{error}");
}

#[tokio::test]
async fn after_a_failed_write_nothing_more_is_taken() {
    let (_dir, path) = file();
    let (run, store) = (RunId::new("r1"), SqliteStore::open(&path).unwrap());
    store.append(&run, vec![entry(0, 1)]).await.unwrap();
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("ALTER TABLE entries RENAME TO hidden").unwrap();
    assert!(matches!(store.append(&run, vec![entry(1, 1)]).await, Err(JournalError::Broken { .. })));
    other.execute_batch("ALTER TABLE hidden RENAME TO entries").unwrap();
    let refused = store.append(&run, vec![entry(1, 1)]).await.unwrap_err().to_string();
    assert!(refused.contains("open it anew"), "{refused}");
    SqliteStore::open(&path).unwrap().append(&run, vec![entry(1, 1)]).await.unwrap();
}

#[tokio::test]
async fn the_second_controller_is_told_who_holds_the_lease() {
    let (_dir, path) = file();
    let (first, second) = (SqliteStore::open(&path).unwrap(), SqliteStore::open(&path).unwrap());
    let epoch = first.acquire("orders", "anna", Duration::from_secs(60)).await.unwrap();
    let refused = second.acquire("orders", "ben", Duration::from_secs(60)).await.unwrap_err();
    assert!(matches!(&refused, LeaseError::Held { owner, .. } if owner == "anna"), "{refused}");
    first.release("orders", epoch).await.unwrap();
    let next = second.acquire("orders", "ben", Duration::from_secs(60)).await.unwrap();
    assert!(next > epoch);
    assert!(matches!(first.renew("orders", epoch, Duration::from_secs(60)).await, Err(LeaseError::Lost { .. })));
    second.renew("orders", next, Duration::from_secs(60)).await.unwrap();
}

#[tokio::test]
async fn a_lease_that_ran_out_is_taken_with_a_higher_epoch() {
    let (_dir, path) = file();
    let store = SqliteStore::open(&path).unwrap();
    let epoch = store.acquire("orders", "anna", Duration::ZERO).await.unwrap();
    assert!(store.acquire("orders", "ben", Duration::from_secs(60)).await.unwrap() > epoch);
}

/// Played by the child of the test below: takes the lease and never gives it back.
#[tokio::test]
async fn role_of_a_controller_that_holds_the_lease() {
    let Some(path) = std::env::var_os("HA_TEST_LEASE") else { return };
    SqliteStore::open(path).unwrap().acquire("orders", "anna", Duration::from_secs(3_600)).await.unwrap();
    println!("held");
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn the_lease_of_a_controller_that_was_killed_is_free_at_once() {
    use std::io::{BufRead, BufReader};
    let (_dir, path) = file();
    let mut child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "role_of_a_controller_that_holds_the_lease", "--nocapture"])
        .env("HA_TEST_LEASE", &path)
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.map_while(Result::ok).any(|line| line.contains("held")));
    let store = SqliteStore::open(&path).unwrap();
    let refused = store.acquire("orders", "ben", Duration::from_secs(60)).await.unwrap_err();
    assert!(matches!(&refused, LeaseError::Held { owner, .. } if owner == "anna"), "{refused}");
    child.kill().unwrap();
    child.wait().unwrap();
    let epoch = store.acquire("orders", "ben", Duration::from_secs(60)).await.unwrap();
    assert_eq!(epoch, LeaseEpoch::new(2));
}

#[tokio::test]
async fn a_journal_is_read_beside_its_controller_and_nothing_is_written_or_made() {
    let (dir, path) = file();
    let (run, ttl) = (RunId::new("r1"), Duration::from_secs(30));
    let missing = SqliteStore::open_to_read(&path).unwrap_err();
    assert!(missing.to_string().contains("journal.db"), "{missing}");
    assert!(!path.exists());
    let writer = SqliteStore::open(&path).unwrap();
    let epoch = writer.acquire("orders", "deploy-1", ttl).await.unwrap();
    writer.append(&run, vec![entry(0, 1)]).await.unwrap();
    let reader = SqliteStore::open_to_read(&path).unwrap();
    assert_eq!(reader.read(&run).await.unwrap(), [entry(0, 1)]);
    // What is written later is seen too.
    writer.append(&run, vec![entry(1, 1)]).await.unwrap();
    assert_eq!(reader.read(&run).await.unwrap().len(), 2);
    let holder = reader.holder("orders").await.unwrap().unwrap();
    assert_eq!((holder.owner.as_str(), holder.epoch), ("deploy-1", epoch));
    let refused = reader.append(&run, vec![entry(2, 1)]).await.unwrap_err();
    assert!(matches!(refused, JournalError::Broken { .. }), "{refused}");
    assert!(reader.acquire("others", "deploy-2", ttl).await.is_err());
    writer.release("orders", epoch).await.unwrap();
    assert_eq!(reader.holder("orders").await.unwrap(), None, "it was released");
    let text = dir.path().join("text");
    std::fs::write(&text, "no database").unwrap();
    assert!(matches!(SqliteStore::open_to_read(&text), Err(JournalError::Broken { .. })));
}
