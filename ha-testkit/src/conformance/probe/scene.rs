use std::sync::Arc;
use std::time::Duration;

use ha_core::backend::{Effect, ErrorKind, Probe, Ready, StepError};
use tokio::time::{Instant, timeout};

use super::{Ability, ProbeFixture, ProbeSubject, Stance};
use crate::conformance::verdict::{Done, Stop, breach, ensure, needs, same};

/// A server and its probe, in the middle of a case.
pub(super) struct Scene {
    pub(super) probe: Arc<dyn Probe>,
    pub(super) subject: Box<dyn ProbeSubject>,
}

/// The release that a fresh server runs.
pub(super) const FIRST: &str = "1.0";

impl Scene {
    /// Begins with a server that serves.
    pub(super) async fn fresh(fixture: &dyn ProbeFixture) -> Result<Self, Stop> {
        Self::named(fixture, FIRST).await
    }

    pub(super) async fn named(fixture: &dyn ProbeFixture, release: &str) -> Result<Self, Stop> {
        let subject = fixture.fresh(release).await?;
        Ok(Self { probe: subject.probe(), subject })
    }

    /// Begins with a server that was seen to serve, and is then put into this state.
    pub(super) async fn with_stance(fixture: &dyn ProbeFixture, stance: Stance) -> Result<Self, Stop> {
        let ability = Ability::Stance(stance);
        needs(fixture.can(ability), ability.name())?;
        let scene = Self::fresh(fixture).await?;
        // What a probe learns while all is well must not hide what comes.
        scene.is_ready(FIRST).await?;
        scene.set_stance(stance).await?;
        Ok(scene)
    }

    pub(super) async fn set_stance(&self, stance: Stance) -> Done {
        Ok(self.subject.set_stance(stance, FIRST).await?)
    }

    pub(super) async fn serve(&self, release: &str) -> Done {
        Ok(self.subject.set_stance(Stance::Serving, release).await?)
    }

    pub(super) async fn is_ready(&self, release: &str) -> Done {
        let ready = self.ready().await?;
        same("what a serving server is", ready?, Ready::Yes { release: release.into() })
    }

    /// Asks, inside the deadline.
    pub(super) async fn ready(&self) -> Result<Result<Ready, StepError>, Stop> {
        self.in_time("ready", self.probe.ready()).await
    }

    /// Tests, inside the deadline.
    pub(super) async fn test(&self) -> Result<Result<Box<str>, StepError>, Stop> {
        self.in_time("test", self.probe.test()).await
    }

    /// Breaches when a call takes much longer than its deadline: twice and a second, for machines under load.
    pub(super) async fn in_time<T>(&self, what: &str, call: impl Future<Output = T>) -> Result<T, Stop> {
        let limit = self.subject.deadline() * 2 + Duration::from_secs(1);
        let began = Instant::now();
        let late = || breach(format!("{what} took more than {limit:?}: {:?}", began.elapsed()));
        timeout(limit, call).await.map_err(|_| late())
    }
}

/// Returns the error, which must be without effect: probes only read.
pub(super) fn harmless<T: std::fmt::Debug>(what: &str, answer: Result<T, StepError>) -> Result<StepError, Stop> {
    match answer {
        Ok(answer) => Err(breach(format!("{what} answered {answer:?}, and had to fail"))),
        Err(error) => {
            same(format!("the effect of {what}: {error}"), error.effect(), Effect::None)?;
            Ok(error)
        }
    }
}

/// Breaches unless it failed with this kind and without effect.
pub(super) fn fails<T: std::fmt::Debug>(what: &str, answer: Result<T, StepError>, kind: ErrorKind) -> Done {
    let error = harmless(what, answer)?;
    same(format!("{what}: {error}"), error.kind(), kind)
}

/// Breaches unless it failed as a test fails, and says this.
pub(super) fn fails_saying(what: &str, answer: Result<Box<str>, StepError>, message: &str) -> Done {
    let error = harmless(what, answer)?;
    same(format!("{what}: {error}"), error.kind(), ErrorKind::Conflict)?;
    ensure(error.to_string().contains(message), || format!("{what}: {error}: it does not say {message:?}"))
}
