use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tracing::Instrument;

use super::build::Shared;
use crate::record::{Request, RunId};

/// How often the store is asked for what people have asked.
const INTERVAL: Duration = Duration::from_millis(250);

/// Reads what people ask of one run, in a task of its own: a store that is slow holds nothing up.
#[derive(Debug)]
pub(super) struct Mailbox {
    requests: mpsc::Receiver<(u64, Request)>,
    task: JoinHandle<()>,
}

impl Mailbox {
    /// Begins behind a number; `wake` asks at once.
    pub(super) fn open(shared: Arc<Shared>, run: RunId, mut after: u64, wake: Arc<Notify>) -> Self {
        let (sender, requests) = mpsc::channel(16);
        let read = async move {
            loop {
                match shared.journal.requests(&run, after).await {
                    Ok(found) => {
                        for (number, request) in found {
                            after = number;
                            if sender.send((number, request)).await.is_err() {
                                return;
                            }
                        }
                    }
                    Err(error) => {
                        tracing::warn!(%error, "what people ask of the run cannot be read, it is tried again")
                    }
                }
                tokio::select! {
                    () = wake.notified() => {}
                    () = sleep(INTERVAL) => {}
                }
            }
        };
        Self { requests, task: tokio::spawn(read.in_current_span()) }
    }

    /// Waits for the next request.
    pub(super) async fn next(&mut self) -> Option<(u64, Request)> {
        self.requests.recv().await
    }
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        self.task.abort();
    }
}
