use std::sync::Arc;

use ha_core::journal::{Journal, JournalError};
use ha_core::plan::Digest;
use ha_core::record::{Ask, Cursor, Entry, Operator, Record, Request, RunId};
use ha_core::state::LeaseEpoch;
use tokio::task::JoinSet;

use super::{RequestsFixture, RequestsSubject};
use crate::conformance::verdict::{Done, Stop, breach, ensure, same};

fn went(error: &JournalError) -> Stop {
    breach(format!("a call failed that had to go well: {error}"))
}

async fn put(store: &Arc<dyn Journal>, run: &str, request: Request) -> Result<u64, Stop> {
    store.put(&RunId::new(run), request).await.map_err(|error| went(&error))
}

async fn listed(store: &Arc<dyn Journal>, run: &str, after: u64) -> Result<Vec<(u64, Request)>, Stop> {
    store.requests(&RunId::new(run), after).await.map_err(|error| went(&error))
}

/// One request of each kind; what people write is any text.
fn requests() -> Vec<Request> {
    let (plan, fingerprint) = (Digest::of(b"plan"), Digest::of(b"facts"));
    let asks = [
        Ask::Pause { until_unix_ms: u64::from(u32::MAX) * 1_000 },
        Ask::Continue,
        Ask::RollBack,
        Ask::Abort,
        Ask::Approve { stage: 3, step: 1, plan, fingerprint, until_unix_ms: 7 },
        Ask::Retry { stage: 0, step: 65_000 },
        Ask::Skip { stage: 9, step: 0, holds: true },
    ];
    let by = |number: usize| Operator::new(format!("anna {number}"), "'; DROP TABLE x; -- \"{}\n\\ ünïcode 节点");
    let each = asks.into_iter().enumerate();
    each.map(|(number, what)| Request::new(by(number), what, 1_700_000_000_000)).collect()
}

async fn open(fixture: &dyn RequestsFixture) -> Result<(Box<dyn RequestsSubject>, Arc<dyn Journal>), Stop> {
    let subject = fixture.fresh().await?;
    let store = subject.open()?;
    Ok((subject, store))
}

pub(super) async fn requests_are_numbered_from_1_on_in_the_order_in_which_they_were_put(
    fixture: &dyn RequestsFixture,
) -> Done {
    let (_subject, store) = open(fixture).await?;
    for (number, request) in (1..).zip(requests()) {
        same("the number of a request", put(&store, "r1", request).await?, number)?;
    }
    same("all requests", listed(&store, "r1", 0).await?, (1..).zip(requests()).collect())
}

pub(super) async fn only_what_comes_after_a_number_is_listed(fixture: &dyn RequestsFixture) -> Done {
    let (_subject, store) = open(fixture).await?;
    let all: Vec<(u64, Request)> = (1..).zip(requests()).collect();
    for (_, request) in &all {
        put(&store, "r1", request.clone()).await?;
    }
    for after in [1, 4, 6] {
        let wanted = all.iter().filter(|(number, _)| *number > after).cloned().collect();
        same(format!("requests after {after}"), listed(&store, "r1", after).await?, wanted)?;
    }
    same("requests after the last", listed(&store, "r1", 7).await?, Vec::new())?;
    same("requests after any that could be", listed(&store, "r1", u64::MAX).await?, Vec::new())
}

pub(super) async fn a_request_is_read_back_as_it_was_put_by_whoever_opens_the_journal_next(
    fixture: &dyn RequestsFixture,
) -> Done {
    let (subject, store) = open(fixture).await?;
    let other = subject.open()?;
    for request in requests() {
        put(&store, "r1", request).await?;
    }
    same("what another sees", listed(&other, "r1", 0).await?, (1..).zip(requests()).collect())?;
    drop((store, other));
    same("what the next one sees", listed(&subject.open()?, "r1", 0).await?, (1..).zip(requests()).collect())
}

pub(super) async fn each_run_has_its_own_requests(fixture: &dyn RequestsFixture) -> Done {
    let (_subject, store) = open(fixture).await?;
    let all = requests();
    same("the first of r1", put(&store, "r1", all[0].clone()).await?, 1)?;
    same("the first of r2", put(&store, "r2", all[1].clone()).await?, 1)?;
    same("the second of r1", put(&store, "r1", all[2].clone()).await?, 2)?;
    same("r1", listed(&store, "r1", 0).await?, vec![(1, all[0].clone()), (2, all[2].clone())])?;
    same("r2", listed(&store, "r2", 0).await?, vec![(1, all[1].clone())])?;
    same("a run that nobody asked", listed(&store, "r", 0).await?, Vec::new())
}

pub(super) async fn a_request_to_a_run_that_has_not_begun_waits_for_it(fixture: &dyn RequestsFixture) -> Done {
    let (subject, store) = open(fixture).await?;
    put(&store, "r1", requests()[0].clone()).await?;
    let run = RunId::new("r1");
    let begun = store.runs().await.map_err(|error| went(&error))?;
    ensure(begun.is_empty(), || format!("a request alone begins no run: {begun:?}"))?;
    store.append(&run, vec![entry(0)]).await.map_err(|error| went(&error))?;
    same("the request", listed(&subject.open()?, "r1", 0).await?.len(), 1)
}

pub(super) async fn the_same_request_put_twice_is_two(fixture: &dyn RequestsFixture) -> Done {
    let (_subject, store) = open(fixture).await?;
    let request = requests()[2].clone();
    put(&store, "r1", request.clone()).await?;
    same("the number of the second", put(&store, "r1", request.clone()).await?, 2)?;
    same("both", listed(&store, "r1", 0).await?, vec![(1, request.clone()), (2, request)])
}

pub(super) async fn what_several_put_at_once_is_all_there_once(fixture: &dyn RequestsFixture) -> Done {
    const EACH: u64 = 5;
    let (subject, store) = open(fixture).await?;
    let mut tasks = JoinSet::new();
    for _ in 0..4 {
        let store = subject.open()?;
        tasks.spawn(async move {
            for _ in 0..EACH {
                put(&store, "r1", requests()[0].clone()).await?;
            }
            Ok::<(), Stop>(())
        });
    }
    while let Some(joined) = tasks.join_next().await {
        joined.map_err(|error| breach(format!("a task died: {error}")))??;
    }
    let numbers: Vec<u64> = listed(&store, "r1", 0).await?.into_iter().map(|(number, _)| number).collect();
    same("the numbers", numbers, (1..=4 * EACH).collect())
}

pub(super) async fn a_request_leaves_the_records_of_the_run_and_their_writer_alone(
    fixture: &dyn RequestsFixture,
) -> Done {
    let (subject, store) = open(fixture).await?;
    let (run, other) = (RunId::new("r1"), subject.open()?);
    store.append(&run, vec![entry(0)]).await.map_err(|error| went(&error))?;
    put(&other, "r1", requests()[1].clone()).await?;
    store.append(&run, vec![entry(1)]).await.map_err(|error| went(&error))?;
    let entries = store.read(&run).await.map_err(|error| went(&error))?;
    same("the records", entries, vec![entry(0), entry(1)])
}

fn entry(sequence: u64) -> Entry {
    let record = Record::Turned { to: Cursor::START, message: format!("entry {sequence}") };
    Entry::new(sequence, LeaseEpoch::new(1), 0, record)
}
