use std::fmt::Debug;

use async_trait::async_trait;

use super::JournalError;
use crate::record::{Request, RunId};

/// Keeps what people ask of runs: the mailbox beside a run's records. Anybody puts requests in, from any process and without the
/// lease; who drives the run reads them, and writes down in the run's own records what became of each. So the records keep one
/// writer, and a request that no controller has taken yet waits for the next one.
///
/// The conformance suite of `ha-testkit` is `requests`.
///
/// # Examples
///
/// ```
/// use ha_core::journal::{JournalError, MemoryStore, Requests};
/// use ha_core::record::{Ask, Operator, Request, RunId};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let (store, run) = (MemoryStore::new(), RunId::new("patch-1"));
/// let request = Request::new(Operator::new("anna", "ticket 4711"), Ask::RollBack, 0);
/// assert_eq!(store.put(&run, request.clone()).await?, 1);
/// assert_eq!(store.requests(&run, 0).await?, [(1, request)]);
/// assert_eq!(store.requests(&run, 1).await?, []);
/// # Ok::<(), JournalError>(())
/// # }).unwrap();
/// ```
#[async_trait]
pub trait Requests: Debug + Send + Sync + 'static {
    /// Puts a request to `run` behind all before it; returns its number, from 1 on. When this returns, it survives a power cut.
    ///
    /// # Idempotency
    /// None: put twice, it is two requests. Each [`Ask`](crate::record::Ask) says what the second one does.
    /// # Errors
    /// [`JournalError::Broken`]: unknown whether it is there; read [`requests`](Self::requests) back.
    /// # Cancel safety
    /// Not cancel safe: read [`requests`](Self::requests) back.
    async fn put(&self, run: &RunId, request: Request) -> Result<u64, JournalError>;

    /// Lists the requests to `run` with a number above `after`, in order; an unknown run has none.
    ///
    /// # Errors
    /// [`JournalError::Newer`] for a request of a later format; [`JournalError::Corrupt`] with the place; [`JournalError::Broken`].
    /// # Cancel safety
    /// Cancel safe.
    async fn requests(&self, run: &RunId, after: u64) -> Result<Vec<(u64, Request)>, JournalError>;
}
