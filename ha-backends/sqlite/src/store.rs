use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use ha_core::journal::{Journal, JournalError, Lease, LeaseError, LeaseHolder, ObserveLease, check_next, cluster_of};
use ha_core::record::{Entry, RECORD_FORMAT, Record, RunId};
use ha_core::state::LeaseEpoch;
use ha_core::telemetry::call_span;
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};
use sha2::{Digest, Sha256};
use tracing::{Instrument, Span};

use crate::holder::Holder;
use crate::schema;

/// The name of this backend in spans.
pub(crate) const NAME: &str = "sqlite";

/// Keeps journal and lease in one SQLite file.
///
/// Guarantees: an append that returned survives a power cut; after a failed write nothing more is taken until the file
/// is opened anew. Cheap to clone; clones share one connection. A lease ends with its holder: where the process that took it
/// has ended for certain, seen from the same boot, process namespace and user (or root), it is free at once.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use ha_core::journal::{Journal, Lease};
/// use ha_sqlite::SqliteStore;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// let dir = tempfile::tempdir()?;
/// let store = SqliteStore::open(dir.path().join("journal.db"))?;
/// let epoch = store.acquire("orders", "deploy-1", Duration::from_secs(30)).await?;
/// assert!(store.open_runs("orders").await?.is_empty());
/// store.release("orders", epoch).await?;
/// # Ok(())
/// # })
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct SqliteStore {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) connection: Connection,
    failed: Option<String>,
}

impl SqliteStore {
    /// Opens a file, or makes it.
    ///
    /// # Errors
    /// [`JournalError::Broken`] when the file cannot be used, would not be durable, or is of a later version.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, JournalError> {
        let connection = schema::open(path.as_ref())?;
        Ok(Self { inner: Arc::new(Mutex::new(Inner { connection, failed: None })) })
    }

    /// Opens a file that is there to read it, also while a controller writes it: every write is refused with
    /// [`JournalError::Broken`], and no file is made.
    ///
    /// # Errors
    /// [`JournalError::Broken`] when the file is not there, is no journal, or is of another version.
    pub fn open_to_read(path: impl AsRef<Path>) -> Result<Self, JournalError> {
        let connection = schema::open_to_read(path.as_ref())?;
        Ok(Self { inner: Arc::new(Mutex::new(Inner { connection, failed: None })) })
    }

    pub(crate) async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Inner) -> T + Send + 'static,
    ) -> Result<T, tokio::task::JoinError> {
        let inner = self.inner.clone();
        let span = Span::current();
        let act = move || span.in_scope(|| work(&mut inner.lock().unwrap_or_else(PoisonError::into_inner)));
        tokio::task::spawn_blocking(act).await
    }
}

#[async_trait]
impl Journal for SqliteStore {
    async fn append(&self, run: &RunId, entries: Vec<Entry>) -> Result<(), JournalError> {
        async {
            let run = run.clone();
            self.with(move |inner| {
                if let Some(what) = &inner.failed {
                    return Err(JournalError::Broken {
                        what: format!("an earlier write failed ({what}): open it anew"),
                    });
                }
                let appended = append(&mut inner.connection, &run, &entries);
                if let Err(JournalError::Broken { what }) = &appended {
                    inner.failed = Some(what.clone());
                }
                appended
            })
            .await
            .unwrap_or_else(|error| Err(broken(error)))
        }
        .instrument(call_span(NAME, "append", run))
        .await
    }

    async fn read(&self, run: &RunId) -> Result<Vec<Entry>, JournalError> {
        async {
            let run = run.clone();
            self.with(move |inner| read(&inner.connection, &run)).await.unwrap_or_else(|error| Err(broken(error)))
        }
        .instrument(call_span(NAME, "read", run))
        .await
    }

    async fn runs(&self) -> Result<Vec<RunId>, JournalError> {
        async {
            self.with(|inner| {
                let mut query = inner.connection.prepare("SELECT run FROM runs ORDER BY number").map_err(broken)?;
                let runs = query.query_map([], |row| row.get::<_, String>(0)).map_err(broken)?;
                runs.map(|run| run.map(RunId::new).map_err(broken)).collect()
            })
            .await
            .unwrap_or_else(|error| Err(broken(error)))
        }
        .instrument(call_span(NAME, "runs", "all"))
        .await
    }

    async fn open_runs(&self, cluster: &str) -> Result<Vec<RunId>, JournalError> {
        async {
            let cluster = cluster.to_string();
            self.with(move |inner| {
                let select =
                    "SELECT run FROM runs WHERE is_open = 1 AND (cluster = ?1 OR cluster IS NULL) ORDER BY number";
                let mut query = inner.connection.prepare(select).map_err(broken)?;
                let runs = query.query_map([cluster], |row| row.get::<_, String>(0)).map_err(broken)?;
                runs.map(|run| run.map(RunId::new).map_err(broken)).collect()
            })
            .await
            .unwrap_or_else(|error| Err(broken(error)))
        }
        .instrument(call_span(NAME, "open_runs", cluster))
        .await
    }
}

#[async_trait]
impl ObserveLease for SqliteStore {
    async fn holder(&self, cluster: &str) -> Result<Option<LeaseHolder>, LeaseError> {
        async {
            let cluster = cluster.to_string();
            self.with(move |inner| holder(&inner.connection, &cluster))
                .await
                .unwrap_or_else(|error| Err(lease_broken(error)))
        }
        .instrument(call_span(NAME, "holder", cluster))
        .await
    }
}

#[async_trait]
impl Lease for SqliteStore {
    async fn acquire(&self, cluster: &str, owner: &str, ttl: Duration) -> Result<LeaseEpoch, LeaseError> {
        async {
            let (cluster, owner) = (cluster.to_string(), owner.to_string());
            self.with(move |inner| acquire(&mut inner.connection, &cluster, &owner, ttl))
                .await
                .unwrap_or_else(|error| Err(lease_broken(error)))
        }
        .instrument(call_span(NAME, "acquire", cluster))
        .await
    }

    async fn renew(&self, cluster: &str, epoch: LeaseEpoch, ttl: Duration) -> Result<(), LeaseError> {
        async {
            let cluster = cluster.to_string();
            self.with(move |inner| {
                let now = unix_ms();
                let changed = inner.connection.execute(
                    "UPDATE leases SET until_ms = ?1 WHERE cluster = ?2 AND epoch = ?3 AND until_ms > ?4",
                    params![now.saturating_add(millis(ttl)), cluster, number(epoch), now],
                );
                match changed.map_err(lease_broken)? {
                    0 => Err(LeaseError::Lost { cluster, epoch }),
                    _ => Ok(()),
                }
            })
            .await
            .unwrap_or_else(|error| Err(lease_broken(error)))
        }
        .instrument(call_span(NAME, "renew", cluster))
        .await
    }

    async fn release(&self, cluster: &str, epoch: LeaseEpoch) -> Result<(), LeaseError> {
        async {
            let cluster = cluster.to_string();
            self.with(move |inner| {
                let update = "UPDATE leases SET until_ms = 0 WHERE cluster = ?1 AND epoch = ?2";
                inner.connection.execute(update, params![cluster, number(epoch)]).map(drop).map_err(lease_broken)
            })
            .await
            .unwrap_or_else(|error| Err(lease_broken(error)))
        }
        .instrument(call_span(NAME, "release", cluster))
        .await
    }
}

fn append(connection: &mut Connection, run: &RunId, entries: &[Entry]) -> Result<(), JournalError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(broken)?;
    // The plus keeps SQLite from preparing the statement anew for each value, to look for it in statistics that are not there.
    let last: Option<(i64, i64)> = transaction
        .prepare_cached("SELECT sequence, epoch FROM entries WHERE run = +?1 ORDER BY sequence DESC LIMIT 1")
        .and_then(|mut last| last.query_row([run.as_str()], |row| Ok((row.get(0)?, row.get(1)?))).optional())
        .map_err(broken)?;
    let last = last.map(|(sequence, epoch)| (unsigned(sequence), LeaseEpoch::new(unsigned(epoch))));
    check_next(run, last, entries)?;
    for entry in entries {
        insert(&transaction, run, entry)?;
    }
    if let Some(is_open) = entries.iter().rev().find_map(|entry| entry.record.leaves_open()) {
        // Most appends leave it as it is.
        let update = "UPDATE runs SET is_open = ?2 WHERE run = ?1 AND is_open <> ?2";
        transaction
            .prepare_cached(update)
            .and_then(|mut update| update.execute(params![run.as_str(), is_open]))
            .map_err(broken)?;
    }
    transaction.commit().map_err(broken)
}

fn insert(transaction: &Transaction<'_>, run: &RunId, entry: &Entry) -> Result<(), JournalError> {
    if entry.sequence == 0 {
        let begin = "INSERT INTO runs (run, cluster, is_open) VALUES (?1, ?2, 1)";
        transaction.execute(begin, params![run.as_str(), cluster_of(entry)]).map_err(broken)?;
    }
    let insert =
        "INSERT INTO entries (run, sequence, format, epoch, unix_ms, record, sha256) VALUES (?1,?2,?3,?4,?5,?6,?7)";
    let row = Row {
        sequence: signed(entry.sequence),
        format: i64::from(entry.format),
        epoch: number(entry.epoch),
        unix_ms: signed(entry.unix_ms),
        record: serde_json::to_string(&entry.record).map_err(broken)?,
    };
    let digest = row.digest(run);
    let row = params![run.as_str(), row.sequence, row.format, row.epoch, row.unix_ms, row.record, digest.as_slice()];
    transaction.prepare_cached(insert).and_then(|mut insert| insert.execute(row)).map(drop).map_err(broken)
}

struct Row {
    sequence: i64,
    format: i64,
    epoch: i64,
    unix_ms: i64,
    record: String,
}

impl Row {
    fn digest(&self, run: &RunId) -> Vec<u8> {
        let head = format!("{run}\n{}\n{}\n{}\n{}\n", self.sequence, self.format, self.epoch, self.unix_ms);
        let mut hasher = Sha256::new();
        hasher.update(head.as_bytes());
        hasher.update(self.record.as_bytes());
        hasher.finalize().to_vec()
    }
}

fn read(connection: &Connection, run: &RunId) -> Result<Vec<Entry>, JournalError> {
    let select =
        "SELECT sequence, format, epoch, unix_ms, record, sha256 FROM entries WHERE run = ?1 ORDER BY sequence";
    let mut query = connection.prepare(select).map_err(broken)?;
    let rows = query.query_map([run.as_str()], |row| {
        let (sequence, format, epoch) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let (unix_ms, record, digest) = (row.get(3)?, row.get(4)?, row.get::<_, Vec<u8>>(5)?);
        Ok((Row { sequence, format, epoch, unix_ms, record }, digest))
    });
    let mut entries: Vec<Entry> = Vec::new();
    for row in rows.map_err(broken)? {
        let (row, digest) = row.map_err(broken)?;
        let expected = entries.len();
        let corrupt = |what: String| JournalError::Corrupt { place: format!("run {run}, entry {expected}"), what };
        if usize::try_from(row.sequence) != Ok(expected) {
            return Err(corrupt(format!("the entry is missing, the next one is {}", row.sequence)));
        }
        if row.digest(run) != digest {
            return Err(corrupt("its checksum does not match".into()));
        }
        let format = u32::try_from(row.format).unwrap_or(u32::MAX);
        if format > RECORD_FORMAT {
            let sequence = unsigned(row.sequence);
            return Err(JournalError::Newer { run: run.clone(), sequence, format, known: RECORD_FORMAT });
        }
        let record: Record = serde_json::from_str(&row.record).map_err(|error| corrupt(error.to_string()))?;
        let epoch = LeaseEpoch::new(unsigned(row.epoch));
        entries.push(Entry::new(unsigned(row.sequence), epoch, unsigned(row.unix_ms), record));
    }
    Ok(entries)
}

fn acquire(connection: &mut Connection, cluster: &str, owner: &str, ttl: Duration) -> Result<LeaseEpoch, LeaseError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(lease_broken)?;
    let held = held(&transaction, cluster)?;
    let (now, this) = (unix_ms(), Holder::this());
    if let Some((epoch, owner, until)) = &held
        && *until > now
        && !has_ended(&transaction, cluster, *epoch, this.as_ref())?
    {
        return Err(LeaseError::Held {
            cluster: cluster.into(),
            owner: owner.clone(),
            epoch: LeaseEpoch::new(unsigned(*epoch)),
            left: Duration::from_millis(unsigned(until - now)),
        });
    }
    let epoch = held.map_or(0, |(epoch, ..)| epoch).saturating_add(1);
    let upsert = "INSERT INTO leases (cluster, epoch, owner, until_ms) VALUES (?1, ?2, ?3, ?4)
        ON CONFLICT (cluster) DO UPDATE SET epoch = ?2, owner = ?3, until_ms = ?4";
    transaction
        .execute(upsert, params![cluster, epoch, owner, now.saturating_add(millis(ttl))])
        .map_err(lease_broken)?;
    let holder = "INSERT INTO lease_holders (cluster, epoch, holder) VALUES (?1, ?2, ?3)
        ON CONFLICT (cluster) DO UPDATE SET epoch = ?2, holder = ?3";
    let text = this.map_or_else(String::new, |this| this.to_text());
    transaction.execute(holder, params![cluster, epoch, text]).map_err(lease_broken)?;
    transaction.commit().map_err(lease_broken)?;
    Ok(LeaseEpoch::new(unsigned(epoch)))
}

/// Reads epoch, owner and end of the last lease of a cluster.
fn held(connection: &Connection, cluster: &str) -> Result<Option<(i64, String, i64)>, LeaseError> {
    connection
        .query_row("SELECT epoch, owner, until_ms FROM leases WHERE cluster = ?1", [cluster], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })
        .optional()
        .map_err(lease_broken)
}

fn holder(connection: &Connection, cluster: &str) -> Result<Option<LeaseHolder>, LeaseError> {
    let now = unix_ms();
    let Some((epoch, owner, until)) = held(connection, cluster)?.filter(|(.., until)| *until > now) else {
        return Ok(None);
    };
    let has_ended = has_ended(connection, cluster, epoch, Holder::this().as_ref())?;
    let (epoch, left) = (LeaseEpoch::new(unsigned(epoch)), Duration::from_millis(unsigned(until - now)));
    Ok(Some(LeaseHolder::new(owner, epoch, left).with_ended(has_ended)))
}

/// Tells whether the process that took the lease at this epoch has ended for certain.
fn has_ended(
    connection: &Connection,
    cluster: &str,
    epoch: i64,
    observer: Option<&Holder>,
) -> Result<bool, LeaseError> {
    let select = "SELECT holder FROM lease_holders WHERE cluster = ?1 AND epoch = ?2";
    let text: Option<String> =
        connection.query_row(select, params![cluster, epoch], |row| row.get(0)).optional().map_err(lease_broken)?;
    let holder = text.as_deref().and_then(Holder::parse);
    Ok(holder.zip(observer).is_some_and(|(holder, observer)| holder.has_ended(observer)))
}

pub(crate) fn broken(error: impl ToString) -> JournalError {
    JournalError::Broken { what: error.to_string() }
}

fn lease_broken(error: impl ToString) -> LeaseError {
    LeaseError::Broken { what: error.to_string() }
}

fn number(epoch: LeaseEpoch) -> i64 {
    signed(epoch.number())
}

pub(crate) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(crate) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn unix_ms() -> i64 {
    millis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}
