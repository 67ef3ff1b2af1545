use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use examples::Fallible;
use examples::cluster::get;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

/// What the consumers of a new service got.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Answers {
    pub(crate) asked: u64,
    pub(crate) answered: u64,
    /// Answers to requests that were sent before every member had passed its test with the service.
    pub(crate) early: u64,
    /// Requests without an answer after one had come.
    pub(crate) missed: u64,
}

/// Asks for a service every 10 ms, from before it is there.
pub(crate) struct Consumer {
    stop: watch::Sender<bool>,
    task: JoinHandle<Answers>,
}

impl Consumer {
    /// Starts it; `members` are the request logs of those who must pass their test of `set` first.
    pub(crate) fn start(address: SocketAddr, service: &str, set: String, members: Vec<PathBuf>) -> Self {
        let (stop, stopped) = watch::channel(false);
        let (path, expected) = (format!("/services/{service}"), format!("{service} {set}"));
        let task = tokio::spawn(async move {
            let (mut answers, mut all_tested) = (Answers::default(), false);
            let mut turn = interval(Duration::from_millis(10));
            turn.set_missed_tick_behavior(MissedTickBehavior::Delay);
            while !*stopped.borrow() {
                turn.tick().await;
                // Looked at before the request is sent: what is tested by then may answer it.
                all_tested = all_tested || members.iter().all(|log| has_passed(log, &set));
                let answer = get(address, &path).await;
                answers.asked += 1;
                if answer.is_some_and(|answer| answer.contains(&expected)) {
                    answers.answered += 1;
                    answers.early += u64::from(!all_tested);
                } else {
                    answers.missed += u64::from(answers.answered > 0);
                }
            }
            answers
        });
        Self { stop, task }
    }

    pub(crate) async fn stop(self) -> Fallible<Answers> {
        let _ = self.stop.send(true);
        Ok(self.task.await?)
    }
}

/// Tells whether a server has passed its test with a set.
fn has_passed(log: &PathBuf, set: &str) -> bool {
    let passed = format!("T {set}");
    std::fs::read_to_string(log).is_ok_and(|text| text.lines().any(|line| line == passed))
}
