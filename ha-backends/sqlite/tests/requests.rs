//! What people ask of runs, in a SQLite file.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use ha_core::journal::{Journal, JournalError, ObserveLease, Requests};
use ha_core::record::{Ask, Operator, Request};
use ha_sqlite::SqliteStore;
use ha_testkit::conformance::Breach;
use ha_testkit::conformance::requests::{RequestsFixture, RequestsSubject};

struct Files;

struct File {
    path: PathBuf,
    _dir: tempfile::TempDir,
}

#[async_trait]
impl RequestsFixture for Files {
    fn name(&self) -> String {
        "SqliteStore".into()
    }

    async fn fresh(&self) -> Result<Box<dyn RequestsSubject>, Breach> {
        let dir = tempfile::tempdir()?;
        Ok(Box::new(File { path: dir.path().join("journal.db"), _dir: dir }))
    }
}

impl RequestsSubject for File {
    fn open(&self) -> Result<Arc<dyn Journal>, Breach> {
        let store = SqliteStore::open(&self.path).map_err(|error| Breach::new(error.to_string()))?;
        Ok(Arc::new(store))
    }
}

ha_testkit::conformance!(requests, Files);

fn request() -> Request {
    Request::new(Operator::new("anna", "ticket 4711"), Ask::RollBack, 0)
}

#[tokio::test]
async fn a_damaged_request_is_refused_with_its_place_and_one_of_a_later_format_as_such() {
    let damages = [
        ("UPDATE requests SET request = replace(request, 'anna', 'ben') WHERE number = 2", "request 2: its checksum"),
        ("DELETE FROM requests WHERE number = 2", "request 2 is missing"),
        ("UPDATE requests SET number = 9 WHERE number = 2", "request 2 is missing"),
    ];
    for (damage, expected) in damages {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.db");
        let store = SqliteStore::open(&path).unwrap();
        for _ in 0..3 {
            store.put(&"r1".into(), request()).await.unwrap();
        }
        rusqlite::Connection::open(&path).unwrap().execute_batch(damage).unwrap();
        let error = store.requests(&"r1".into(), 0).await.unwrap_err();
        assert!(matches!(error, JournalError::Corrupt { .. }) && error.to_string().contains(expected), "{error}");
    }
}

#[tokio::test]
async fn a_file_of_a_library_that_knew_no_requests_gets_their_table() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal.db");
    drop(SqliteStore::open(&path).unwrap());
    rusqlite::Connection::open(&path).unwrap().execute_batch("DROP TABLE requests; DROP TABLE lease_holders").unwrap();
    // Who only reads it finds none, and loses none.
    let reader = SqliteStore::open_to_read(&path).unwrap();
    assert_eq!(reader.requests(&"r1".into(), 0).await.unwrap(), []);
    let put = reader.put(&"r1".into(), request()).await;
    assert!(matches!(put, Err(JournalError::Broken { .. })), "{put:?}");
    assert_eq!(reader.holder("orders").await.unwrap(), None);
    let store = SqliteStore::open(&path).unwrap();
    assert_eq!(store.put(&"r1".into(), request()).await.unwrap(), 1);
    let reader = SqliteStore::open_to_read(&path).unwrap();
    let put = reader.put(&"r1".into(), request()).await;
    assert!(matches!(put, Err(JournalError::Broken { .. })), "{put:?}");
}
