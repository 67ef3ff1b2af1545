//! A probe with one defect.

pub(crate) mod model;

use std::future::pending;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use ha_core::backend::{ErrorKind, Probe, Ready, StepError};
use ha_testkit::conformance::probe::Stance;
use model::{DEADLINE, Model, Open, Server};
use tokio::time::sleep;

/// Lists the defects once, so that none is left untried.
macro_rules! defects {
    ($($name:ident,)*) => {
        /// What is wrong with a probe.
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        pub(crate) enum Defect { $($name,)* }

        pub(crate) const DEFECTS: &[Defect] = &[$(Defect::$name,)*];
    };
}

defects! {
    RemembersTheFirstRelease,
    RemembersThatItWasReady,
    RemembersTheLastTest,
    ReleaseIsCutAtADash,
    ReleaseIsOfAnotherServer,
    TestedReleaseIsEmpty,
    TestedReleaseIsTheFirst,
    NotReadyIsReady,
    NotReadyIsClosed,
    NotReadyIsAnError,
    WordsAreLost,
    ClosedIsAnError,
    ClosedIsNotReady,
    ClosedIsReady,
    ClosedForGood,
    NamelessIsReady,
    NamelessIsNotReady,
    NamelessIsUnreachable,
    TestIsReadiness,
    MissesWhatIsThere,
    TestIgnoresReadiness,
    TestPassesWhenClosed,
    TestFailsForGood,
    FailedTestIsProtocol,
    FailedTestHasAnUnknownEffect,
    FailedTestIsSilent,
    FailingTestIsNotReady,
    TestAsksForReadinessOnly,
    UnreachableIsClosed,
    UnreachableIsProtocol,
    UnreachableHasAnUnknownEffect,
    HungIsNotReady,
    HungIsClosed,
    HungHangsForEver,
    HungTestHangsForEver,
    HungTestIsAFailedTest,
    HungTestPasses,
    TimeoutIsFarTooLate,
    TimeoutHasAnUnknownEffect,
    EndlessNeverEnds,
    EndlessIsReady,
    DribbledNeverEnds,
    DribbledIsReady,
    GarbageIsReady,
    GarbageIsNotReady,
    GarbageHasAnUnknownEffect,
    BrokenIsReady,
    BrokenPassesItsTest,
    ErrorsNameAnotherOperation,
    ErrorsNameNoTarget,
    ADroppedQuestionBlocksTheNext,
    ADroppedQuestionGoesOn,
    ATimedOutQuestionGoesOn,
    CallersWaitForEachOther,
    CallersHearEachOther,
    SecondCallerIsTurnedAway,
}

pub(crate) struct Broken {
    defect: Defect,
    server: Arc<Server>,
    inner: Model,
    release: Mutex<Option<Box<str>>>,
    was_closed: AtomicBool,
    has_failed: AtomicBool,
    busy: AtomicBool,
    testing: AtomicBool,
    turn: tokio::sync::Mutex<()>,
}

impl std::fmt::Debug for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Broken").field("defect", &self.defect).finish_non_exhaustive()
    }
}

fn error(kind: ErrorKind, operation: &'static str) -> StepError {
    StepError::new(kind, operation, "the model").without_effect()
}

fn yes(release: &str) -> Result<Ready, StepError> {
    Ok(Ready::Yes { release: release.into() })
}

impl Broken {
    pub(crate) fn new(defect: Defect, server: Arc<Server>) -> Self {
        let inner = Model(server.clone());
        let flag = || AtomicBool::new(false);
        let (was_closed, has_failed, busy, testing) = (flag(), flag(), flag(), flag());
        let (release, turn) = (Mutex::default(), tokio::sync::Mutex::default());
        Self { defect, server, inner, release, was_closed, has_failed, busy, testing, turn }
    }

    fn is(&self, defect: Defect) -> bool {
        self.defect == defect
    }

    fn first(&self, release: Box<str>) -> Box<str> {
        self.release.lock().unwrap().get_or_insert(release).clone()
    }

    /// What goes wrong before anybody is asked.
    async fn before(&self, operation: &'static str) -> Result<(), StepError> {
        let (stance, _) = self.server.stance();
        let for_ever = match self.defect {
            Defect::HungHangsForEver => stance == Stance::Hung,
            Defect::HungTestHangsForEver => stance == Stance::HungTest && operation == "test",
            Defect::EndlessNeverEnds => stance == Stance::Endless,
            Defect::DribbledNeverEnds => stance == Stance::Dribbled,
            _ => false,
        };
        if for_ever {
            pending::<()>().await;
        }
        if self.is(Defect::TimeoutIsFarTooLate) && stance == Stance::Hung {
            sleep(DEADLINE * 3).await;
        }
        if self.is(Defect::ADroppedQuestionGoesOn) && stance == Stance::Hung {
            let open = Open::begin(&self.server);
            tokio::spawn(async move {
                sleep(Duration::from_secs(3600)).await;
                drop(open);
            });
        }
        if self.is(Defect::SecondCallerIsTurnedAway) && self.busy.swap(true, Ordering::SeqCst) {
            return Err(error(ErrorKind::Busy, operation));
        }
        if self.is(Defect::ADroppedQuestionBlocksTheNext) && self.busy.swap(true, Ordering::SeqCst) {
            pending::<()>().await;
        }
        Ok(())
    }

    /// Spoils an error.
    fn spoil(&self, operation: &'static str, was: StepError) -> StepError {
        let (stance, kind) = (self.server.stance().0, was.kind());
        let unknown = match self.defect {
            Defect::FailedTestHasAnUnknownEffect => kind == ErrorKind::Conflict,
            Defect::UnreachableHasAnUnknownEffect => kind == ErrorKind::Unreachable,
            Defect::TimeoutHasAnUnknownEffect => kind == ErrorKind::Timeout,
            Defect::GarbageHasAnUnknownEffect => stance == Stance::Garbage,
            _ => false,
        };
        if unknown {
            return StepError::new(kind, operation, "the model");
        }
        match self.defect {
            Defect::ErrorsNameAnotherOperation => error(kind, "look"),
            Defect::ErrorsNameNoTarget => StepError::new(kind, operation, "").without_effect(),
            Defect::FailedTestIsProtocol if kind == ErrorKind::Conflict => error(ErrorKind::Protocol, operation),
            Defect::FailedTestIsSilent if kind == ErrorKind::Conflict => error(kind, operation),
            Defect::UnreachableIsProtocol if kind == ErrorKind::Unreachable => error(ErrorKind::Protocol, operation),
            Defect::NamelessIsUnreachable if stance == Stance::Nameless => error(ErrorKind::Unreachable, operation),
            Defect::HungTestIsAFailedTest if kind == ErrorKind::Timeout && operation == "test" => {
                error(ErrorKind::Conflict, operation)
            }
            Defect::ATimedOutQuestionGoesOn if kind == ErrorKind::Timeout => {
                std::mem::forget(Open::begin(&self.server));
                was
            }
            _ => was,
        }
    }

    /// Spoils an answer.
    fn answer(&self, stance: Stance, release: &str, was: Result<Ready, StepError>) -> Result<Ready, StepError> {
        match (self.defect, stance) {
            (Defect::NotReadyIsReady, Stance::NotReady)
            | (Defect::ClosedIsReady, Stance::Closed)
            | (Defect::EndlessIsReady, Stance::Endless)
            | (Defect::DribbledIsReady, Stance::Dribbled)
            | (Defect::GarbageIsReady, Stance::Garbage)
            | (Defect::BrokenIsReady, Stance::Broken) => yes(release),
            (Defect::NamelessIsReady, Stance::Nameless) => yes(""),
            (Defect::NotReadyIsClosed, Stance::NotReady) => Ok(Ready::Closed),
            (Defect::UnreachableIsClosed, Stance::Unreachable) => Ok(Ready::Closed),
            (Defect::HungIsClosed, Stance::Hung) => Ok(Ready::Closed),
            (Defect::NotReadyIsAnError, Stance::NotReady) => Err(error(ErrorKind::Protocol, "ready")),
            (Defect::ClosedIsAnError, Stance::Closed) => Err(error(ErrorKind::Unreachable, "ready")),
            (Defect::WordsAreLost, Stance::NotReady)
            | (Defect::ClosedIsNotReady, Stance::Closed)
            | (Defect::NamelessIsNotReady, Stance::Nameless)
            | (Defect::HungIsNotReady, Stance::Hung)
            | (Defect::FailingTestIsNotReady, Stance::FailingTest)
            | (Defect::GarbageIsNotReady, Stance::Garbage) => Ok(Ready::NotYet("no".into())),
            _ => was,
        }
    }
}

#[async_trait]
impl Probe for Broken {
    async fn ready(&self) -> Result<Ready, StepError> {
        self.before("ready").await?;
        let turn = if self.is(Defect::CallersWaitForEachOther) { Some(self.turn.lock().await) } else { None };
        let asked = self.inner.ready().await.map_err(|error| self.spoil("ready", error));
        drop(turn);
        self.busy.store(false, Ordering::SeqCst);
        let (stance, release) = self.server.stance();
        if self.is(Defect::CallersHearEachOther) && self.testing.load(Ordering::SeqCst) {
            return Ok(Ready::NotYet("a test runs".into()));
        }
        if self.is(Defect::ClosedForGood) && (stance == Stance::Closed || self.was_closed.load(Ordering::SeqCst)) {
            self.was_closed.store(true, Ordering::SeqCst);
            return Ok(Ready::Closed);
        }
        match self.answer(stance, &release, asked) {
            Ok(Ready::Yes { release }) => {
                let first = self.first(release.clone());
                match self.defect {
                    Defect::RemembersTheFirstRelease => yes(&first),
                    Defect::ReleaseIsCutAtADash => yes(release.split('-').next().unwrap_or_default()),
                    Defect::ReleaseIsOfAnotherServer => yes("0.9"),
                    _ => yes(&release),
                }
            }
            other if self.is(Defect::RemembersThatItWasReady) => match &*self.release.lock().unwrap() {
                Some(release) => yes(release),
                None => other,
            },
            other => other,
        }
    }

    async fn test(&self) -> Result<Box<str>, StepError> {
        self.before("test").await?;
        self.testing.store(true, Ordering::SeqCst);
        let tested = self.inner.test().await.map_err(|error| self.spoil("test", error));
        self.testing.store(false, Ordering::SeqCst);
        self.busy.store(false, Ordering::SeqCst);
        let (stance, release) = self.server.stance();
        let passes = match self.defect {
            Defect::TestIsReadiness => matches!(stance, Stance::FailingTest | Stance::HungTest),
            Defect::TestAsksForReadinessOnly => stance == Stance::FailingTest,
            Defect::TestIgnoresReadiness => stance == Stance::NotReady,
            Defect::TestPassesWhenClosed => stance == Stance::Closed,
            Defect::HungTestPasses => stance == Stance::HungTest,
            Defect::BrokenPassesItsTest => stance == Stance::Broken,
            _ => false,
        };
        if passes {
            return Ok(release.into());
        }
        let failed = self.has_failed.fetch_or(tested.is_err(), Ordering::SeqCst);
        match (self.defect, tested) {
            (Defect::TestFailsForGood, Ok(_)) if failed => Err(error(ErrorKind::Conflict, "test")),
            (Defect::TestedReleaseIsEmpty, Ok(_)) => Ok("".into()),
            (Defect::TestedReleaseIsTheFirst, Ok(release)) => Ok(self.first(release)),
            (Defect::RemembersTheLastTest, Ok(release)) => Ok(self.first(release)),
            (Defect::RemembersTheLastTest, Err(error)) => self.release.lock().unwrap().clone().ok_or(error),
            (_, tested) => tested,
        }
    }

    async fn missing(&self) -> Result<Vec<String>, StepError> {
        let missing = self.inner.missing().await?;
        Ok(if self.is(Defect::MissesWhatIsThere) { vec!["setting command: x".into()] } else { missing })
    }
}
