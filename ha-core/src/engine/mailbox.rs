use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tracing::Instrument;

use super::build::Shared;
use super::on::READ_LIMIT;
use crate::journal::JournalError;
use crate::record::{Request, RunId};

/// How often the store is asked for what people have asked.
const INTERVAL: Duration = Duration::from_millis(250);

/// What was asked: its number, and why it is refused, where it came for a situation that is over.
pub(super) type Asked = (u64, Request, Option<&'static str>);

/// Reads what was asked of a run after a request, once.
pub(super) async fn asked(shared: &Shared, run: &RunId, after: u64) -> Result<Vec<(u64, Request)>, JournalError> {
    let silent = |_| Err(JournalError::Broken { what: format!("no answer in {READ_LIMIT:?}") });
    timeout(READ_LIMIT, shared.journal.requests(run, after)).await.unwrap_or_else(silent)
}

/// Reads what people ask of one run, in a task of its own: a store that is slow holds nothing up.
#[derive(Debug)]
pub(super) struct Mailbox {
    requests: mpsc::Receiver<Result<Asked, JournalError>>,
    task: JoinHandle<()>,
}

impl Mailbox {
    /// Begins behind a number; `wake` asks at once. What is found first is `late`, if that is given: it may have been asked before
    /// the run was gone on with, when nothing could be read.
    pub(super) fn open(
        shared: Arc<Shared>,
        run: RunId,
        mut after: u64,
        mut late: Option<&'static str>,
        wake: Arc<Notify>,
    ) -> Self {
        let (sender, requests) = mpsc::channel(16);
        let read = async move {
            let mut is_told = false;
            loop {
                match asked(&shared, &run, after).await {
                    Ok(found) => {
                        for (number, request) in found {
                            after = number;
                            if sender.send(Ok((number, request, late))).await.is_err() {
                                return;
                            }
                        }
                        (is_told, late) = (false, None);
                    }
                    // It is told once, and tried again.
                    Err(error) if !std::mem::replace(&mut is_told, true) => {
                        tracing::warn!(%error, "what people ask of the run cannot be read, it is tried again");
                        if sender.send(Err(error)).await.is_err() {
                            return;
                        }
                    }
                    Err(_) => {}
                }
                tokio::select! {
                    () = wake.notified() => {}
                    () = sleep(INTERVAL) => {}
                }
            }
        };
        Self { requests, task: tokio::spawn(read.in_current_span()) }
    }

    /// Waits for the next request, or for why they cannot be read.
    pub(super) async fn next(&mut self) -> Option<Result<Asked, JournalError>> {
        self.requests.recv().await
    }
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        self.task.abort();
    }
}
