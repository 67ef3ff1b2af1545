//! Waiting, with an end, and dropping futures in the middle.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::verdict::{Done, Stop, breach};

/// How long anything may take that comes by itself.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(5);

/// Waits until this holds.
pub(crate) async fn eventually<F, A>(what: &str, mut holds: F) -> Done
where
    F: FnMut() -> A,
    A: Future<Output = Result<bool, Stop>>,
{
    let until = Instant::now() + PATIENCE;
    while !holds().await? {
        if Instant::now() >= until {
            return Err(breach(format!("waited {PATIENCE:?} in vain: {what}")));
        }
        sleep(PAUSE).await;
    }
    Ok(())
}

/// Polls a future as often as this, whenever it wakes, and then drops it. `None` when it had not ended by then.
pub(crate) async fn dropped_after<F: Future>(future: F, polls: u32) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut done = 0;
    poll_fn(|context| {
        if done == polls {
            return Poll::Ready(None);
        }
        done += 1;
        match future.as_mut().poll(context) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if done == polls => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_future_is_dropped_at_the_await_that_was_asked_for() {
        for (polls, reached) in [(0, 0), (1, 1), (2, 2), (3, 3)] {
            let mut passed = 0;
            let ended = dropped_after(
                async {
                    passed += 1;
                    tokio::task::yield_now().await;
                    passed += 1;
                    tokio::task::yield_now().await;
                    passed += 1;
                },
                polls,
            );
            assert_eq!(ended.await.is_some(), polls == 3);
            assert_eq!(passed, reached);
        }
    }
}
