//! The suite for requests is proven itself: it runs on journals with one defect each, and fails if one survives.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[macro_use]
mod proof;

use std::sync::Arc;

use async_trait::async_trait;
use ha_core::journal::{Journal, JournalError, MemoryStore, Requests};
use ha_core::record::{Ask, Entry, Request, RunId};
use ha_testkit::conformance::Breach;
use ha_testkit::conformance::requests::{CASES, RequestsFixture, RequestsSubject};
use proof::every_defect_is_caught;

defects! {
    CountsFrom0 CountsOverAllRuns ListsAll ListsFromThatNumberOn ListsOneTooFew NewestFirst OnlyTheLast
    ForgetsTheReason ForgetsWhatIsAskedOfARunThatHasNotBegun TakesTheSameForOne KeepsItToItself LosesWhatComesAtOnce
    BeginsTheRun WritesIntoTheRecords
}

#[derive(Debug)]
struct Broken {
    store: Arc<MemoryStore>,
    own: MemoryStore,
    defect: Option<Defect>,
}

#[async_trait]
impl Requests for Broken {
    async fn put(&self, run: &RunId, mut request: Request) -> Result<u64, JournalError> {
        let known = self.store.requests(run, 0).await?;
        match self.defect {
            Some(Defect::CountsFrom0) => return Ok(self.store.put(run, request).await? - 1),
            Some(Defect::CountsOverAllRuns) => {
                self.store.put(run, request).await?;
                return self.store.put(&"all".into(), known_request()).await;
            }
            Some(Defect::ForgetsTheReason) => request.by.reason.clear(),
            Some(Defect::ForgetsWhatIsAskedOfARunThatHasNotBegun) if self.store.read(run).await?.is_empty() => {
                return Ok(known.len() as u64 + 1);
            }
            Some(Defect::TakesTheSameForOne) => {
                if let Some((number, _)) = known.iter().find(|(_, known)| *known == request) {
                    return Ok(*number);
                }
            }
            Some(Defect::KeepsItToItself) => return self.own.put(run, request).await,
            Some(Defect::LosesWhatComesAtOnce) => {
                tokio::task::yield_now().await;
                if self.store.requests(run, 0).await?.len() != known.len() {
                    return Ok(known.len() as u64 + 1);
                }
            }
            Some(Defect::BeginsTheRun) => {
                let next = self.store.read(run).await?.len() as u64;
                if next == 0 {
                    self.store.append(run, vec![entry(0)]).await?;
                }
            }
            Some(Defect::WritesIntoTheRecords) => {
                let next = self.store.read(run).await?.len() as u64;
                self.store.append(run, vec![entry(next)]).await?;
            }
            Some(_) | None => {}
        }
        self.store.put(run, request).await
    }

    async fn requests(&self, run: &RunId, after: u64) -> Result<Vec<(u64, Request)>, JournalError> {
        let mut found = match self.defect {
            Some(Defect::KeepsItToItself) => self.own.requests(run, after).await?,
            Some(Defect::ListsAll) => self.store.requests(run, 0).await?,
            Some(Defect::ListsFromThatNumberOn) => self.store.requests(run, after.saturating_sub(1)).await?,
            Some(Defect::ListsOneTooFew) => self.store.requests(run, after.saturating_add(1)).await?,
            Some(_) | None => self.store.requests(run, after).await?,
        };
        match self.defect {
            Some(Defect::NewestFirst) => found.reverse(),
            Some(Defect::OnlyTheLast) => drop(found.drain(..found.len().saturating_sub(1))),
            Some(_) | None => {}
        }
        Ok(found)
    }
}

fn known_request() -> Request {
    Request::new(ha_core::record::Operator::new("all", ""), Ask::Continue, 0)
}

fn entry(sequence: u64) -> Entry {
    let record = ha_core::record::Record::Turned { to: ha_core::record::Cursor::START, message: "a request".into() };
    Entry::new(sequence, ha_core::state::LeaseEpoch::new(1), 0, record)
}

#[async_trait]
impl Journal for Broken {
    async fn append(&self, run: &RunId, entries: Vec<Entry>) -> Result<(), JournalError> {
        self.store.append(run, entries).await
    }

    async fn read(&self, run: &RunId) -> Result<Vec<Entry>, JournalError> {
        self.store.read(run).await
    }

    async fn runs(&self) -> Result<Vec<RunId>, JournalError> {
        self.store.runs().await
    }

    async fn open_runs(&self, cluster: &str) -> Result<Vec<RunId>, JournalError> {
        self.store.open_runs(cluster).await
    }
}

struct Fixture(Option<Defect>);

struct Subject(Option<Defect>, Arc<MemoryStore>);

#[async_trait]
impl RequestsFixture for Fixture {
    fn name(&self) -> String {
        format!("{:?}", self.0)
    }

    async fn fresh(&self) -> Result<Box<dyn RequestsSubject>, Breach> {
        Ok(Box::new(Subject(self.0, Arc::new(MemoryStore::new()))))
    }
}

impl RequestsSubject for Subject {
    fn open(&self) -> Result<Arc<dyn Journal>, Breach> {
        Ok(Arc::new(Broken { store: self.1.clone(), own: MemoryStore::new(), defect: self.0 }))
    }
}

#[tokio::test(start_paused = true)]
async fn every_defect_of_a_mailbox_is_caught() {
    let broken = |defect| Box::new(Fixture(Some(defect))) as Box<dyn RequestsFixture>;
    let whole: Box<dyn RequestsFixture> = Box::new(Fixture(None));
    every_defect_is_caught("mailboxes", CASES, &*whole, DEFECTS, broken).await;
}
