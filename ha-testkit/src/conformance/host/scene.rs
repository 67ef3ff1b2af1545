//! What the cases do over and over.

use std::sync::Arc;
use std::time::Duration;

use ha_core::backend::{
    Applied, DetachedWork, Fencing, Host, HostFiles, Incarnation, Ran, ServerProcess, StepError, WorkId, WorkState,
};
use ha_core::state::{LeaseEpoch, ServerDomain};
use tokio::time::sleep;

use super::{Ability, Act, Fixture, Found, Subject};
use crate::conformance::patience::eventually;
use crate::conformance::verdict::{Done, Stop, breach, needs, same};

/// The epoch that most calls are made in.
pub(super) const EPOCH: LeaseEpoch = LeaseEpoch::new(5);
/// One that is over.
pub(super) const OLD: LeaseEpoch = LeaseEpoch::new(4);
/// One that comes later.
pub(super) const NEW: LeaseEpoch = LeaseEpoch::new(6);
/// The deadline of a command that ends long before.
pub(super) const LONG: Duration = Duration::from_secs(30);

pub(super) struct Scene {
    pub(super) subject: Box<dyn Subject>,
    pub(super) host: Arc<dyn Host>,
    fences: bool,
}

impl Scene {
    /// Opens a fresh host.
    pub(super) async fn open(fixture: &dyn Fixture) -> Result<Self, Stop> {
        let subject = fixture.fresh().await?;
        let host = subject.host();
        let fences = fixture.can(Ability::Fences);
        Ok(Self { subject, host, fences })
    }

    /// Opens a fresh host of a fixture that can do all this.
    pub(super) async fn with(fixture: &dyn Fixture, abilities: &[Ability]) -> Result<Self, Stop> {
        for ability in abilities {
            needs(fixture.can(*ability), ability.name())?;
        }
        Self::open(fixture).await
    }

    /// Opens a fresh host that refuses lower epochs.
    pub(super) async fn fenced(fixture: &dyn Fixture, abilities: &[Ability]) -> Result<Self, Stop> {
        let scene = Self::with(fixture, abilities).await?;
        needs(scene.fences || scene.host.capabilities().fencing == Fencing::Guarded, "capability: guarded")?;
        Ok(scene)
    }

    pub(super) fn files(&self) -> Result<&dyn HostFiles, Stop> {
        self.host.files().ok_or(Stop::Skipped("capability: files"))
    }

    pub(super) fn work(&self) -> Result<&dyn DetachedWork, Stop> {
        self.host.work().ok_or(Stop::Skipped("capability: work"))
    }

    pub(super) fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.subject.home())
    }

    /// Reads the one life that there is by another route.
    pub(super) async fn life(&self) -> Result<Option<String>, Stop> {
        let mut lives = self.subject.lives().await?;
        if lives.len() > 1 {
            return Err(breach(format!("the server runs more than once: {lives:?}")));
        }
        Ok(lives.pop())
    }

    pub(super) async fn running(&self) -> Result<Incarnation, Stop> {
        match self.host.process().await? {
            ServerProcess::Running(life) => Ok(life),
            ServerProcess::Stopped => Err(breach("a server that runs is read as stopped")),
        }
    }

    pub(super) async fn start(&self) -> Result<Applied, StepError> {
        self.host.start(EPOCH, ServerDomain::Production).await
    }

    /// Waits until the truth is that the server runs, or that it does not.
    pub(super) async fn until(&self, runs: bool) -> Done {
        let what = if runs { "the server runs" } else { "the server has stopped" };
        eventually(what, || async { Ok(self.life().await?.is_some() == runs) }).await
    }

    /// Starts the server, and waits until it runs.
    pub(super) async fn started(&self) -> Result<Incarnation, Stop> {
        same("a start", self.start().await?, Applied::Applied)?;
        self.until(true).await?;
        // A process that is just becoming another program has no arguments for a moment.
        eventually("the server is read as running", || async {
            Ok(self.host.process().await? != ServerProcess::Stopped)
        })
        .await?;
        self.running().await
    }

    /// Stops the server, and waits until it is gone.
    pub(super) async fn stopped(&self) -> Done {
        self.stopped_by(&self.host, EPOCH).await
    }

    /// As `stopped`, by this controller. A server that has only just begun may not be named in its pid file yet, and then the
    /// scripts of real ones do nothing and say well: a stop is a request, and is made again.
    pub(super) async fn stopped_by(&self, host: &Arc<dyn Host>, epoch: LeaseEpoch) -> Done {
        same("a stop", host.stop(epoch).await?, Applied::Applied)?;
        for _ in 0..10 {
            for _ in 0..100 {
                if self.life().await?.is_none() {
                    return same("what is read after it", self.host.process().await?, ServerProcess::Stopped);
                }
                sleep(Duration::from_millis(10)).await;
            }
            host.stop(epoch).await?;
        }
        Err(breach("ten stops in ten seconds have stopped nothing"))
    }

    pub(super) async fn run(&self, act: &Act) -> Result<Ran, StepError> {
        self.host.run(EPOCH, act.command(LONG)).await
    }

    /// Counts the lines of a file of the home, by another route.
    pub(super) async fn marks(&self, name: &str) -> Result<usize, Stop> {
        match self.subject.look(&self.path(name)).await? {
            Some(Found::File(bytes, _)) => Ok(bytes.iter().filter(|byte| **byte == b'\n').count()),
            Some(Found::Link(_) | Found::Directory) | None => Ok(0),
        }
    }

    /// Breaches unless nothing adds lines to a file any more.
    pub(super) async fn beats_no_more(&self, name: &str) -> Done {
        sleep(Duration::from_millis(200)).await;
        let before = self.marks(name).await?;
        sleep(Duration::from_millis(400)).await;
        same("the beats of a process that had to be ended", self.marks(name).await?, before)
    }

    /// Waits until work has ended.
    pub(super) async fn ended(&self, id: &WorkId) -> Result<WorkState, Stop> {
        let work = self.work()?;
        eventually("the work ends", || async { Ok(work.state(id).await?.is_final()) }).await?;
        Ok(work.state(id).await?)
    }
}

pub(super) fn id(text: &str) -> Result<WorkId, Stop> {
    WorkId::new(text).map_err(|error| breach(error.to_string()))
}

pub(super) fn mark(name: &str) -> Act {
    Act::Mark(name.into(), 0)
}
