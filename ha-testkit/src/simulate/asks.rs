//! What people ask of a simulated run, each from a process of his own.

use std::time::Duration;

use ha_core::engine::{Engine, RunError};
use ha_core::machine::FoldError;
use ha_core::record::{Ask, End, Operator, RunId, Why};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::run::{Ended, ended, take_over};
use super::{Asks, FaultAt};
use crate::world::World;

/// Everybody who asks something of one run; they go when it is over.
pub(super) struct Operators {
    tasks: Vec<JoinHandle<()>>,
    retries: bool,
}

impl Operators {
    pub(super) fn follow(world: &World, faults: &[FaultAt]) -> Self {
        let asked = faults
            .iter()
            .filter_map(|fault| if let FaultAt::Asked { after, what } = fault { Some((*after, *what)) } else { None });
        let asked: Vec<(Duration, Asks)> = asked.collect();
        let retries = asked.iter().any(|(_, what)| *what == Asks::AbortAndRetry);
        let task = |(after, what): (Duration, Asks)| {
            let engine = world.engine();
            tokio::spawn(async move {
                sleep(after).await;
                act(&engine, &RunId::new("run"), what).await;
            })
        };
        Self { tasks: asked.into_iter().map(task).collect(), retries }
    }

    /// Has a run that somebody stopped gone on with.
    pub(super) async fn go_on(self, world: &World, end: Result<Ended, RunError>) -> Result<Ended, RunError> {
        let stopped = matches!(&end, Ok((End::NeedsOperator(Why::Stopped), _)));
        if !stopped || !self.retries {
            return end;
        }
        match world.engine().retry("run".into(), anna()).await {
            Ok(run) => ended(run).await,
            Err(RunError::Refused { .. } | RunError::Unread { .. }) => take_over(&world.engine(), "run").await,
            Err(error) => Err(error),
        }
    }
}

impl Drop for Operators {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

fn anna() -> Operator {
    Operator::new("anna", "simulated")
}

/// Does it; what the run refuses, or comes too late, is its own to say.
async fn act(engine: &Engine, run: &RunId, what: Asks) {
    match what {
        Asks::RollBack => ask(engine, run, Ask::RollBack).await,
        Asks::AbortAndRetry => ask(engine, run, Ask::Abort).await,
        Asks::Pause { lasts } => {
            // It is over by itself only where the one who asked has gone.
            let until_unix_ms = engine.in_unix_ms(lasts * 2 + Duration::from_secs(60));
            ask(engine, run, Ask::Pause { until_unix_ms }).await;
            sleep(lasts).await;
            ask(engine, run, Ask::Continue).await;
        }
        Asks::Approve { within } => loop {
            let waits = engine.status(run).await.ok().and_then(|status| status.approval);
            if waits.is_some() {
                sleep(within).await;
                let _ = engine.approve(run, anna(), Duration::from_secs(3_600)).await;
            }
            sleep(Duration::from_secs(1)).await;
        },
    }
}

async fn ask(engine: &Engine, run: &RunId, what: Ask) {
    for _ in 0..100 {
        match engine.ask(run, anna(), what.clone()).await {
            Err(RunError::Fold { source: FoldError::NoSuchRun, .. }) => sleep(Duration::from_millis(10)).await,
            Ok(_) | Err(_) => return,
        }
    }
}
