//! Hosts with one defect each, as a layer over a whole one.

mod parts;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use ha_core::backend::{
    Applied, DetachedWork, Effect, Ended, ErrorKind, Host, HostCapabilities, HostFiles, HostIdentity, Incarnation,
    Installed, ObserveHost, Ran, RunCommand, ServerProcess, StepError, WorkId,
};
use ha_core::state::{LeaseEpoch, ServerDomain};
use tokio::time::sleep;

macro_rules! defects {
    ($($name:ident)*) => {
        /// What is broken.
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        pub(crate) enum Defect { $($name),* }

        /// All defects.
        pub(crate) const DEFECTS: &[Defect] = &[$(Defect::$name),*];
    };
}

defects! {
    AlwaysRunning AlwaysStopped IncarnationOfEveryLook IncarnationForEver AnotherMachineEachTime
    StartTwiceSaysApplied StartDoesNothing StopSaysApplied StopDoesNothing StopWhatStands
    KillsAnyLife KillDoesNothing
    NoFenceForStart NoFenceForStop NoFenceForKill NoFenceForRun NoFenceForFiles NoFenceForWork
    FencedIsConflict FencedWithUnknownEffect
    ReleaseOfTheDay AbsentIsRelease BrokenVersionIsAbsent
    ExitCodesAreZeroOrOne SignalsAreExitCodes OutputsMixed OutputWithoutLimit OutputBegins
    ArgumentsTrimmed ArgumentsSplit VariablesLost VariablesTrimmed MissingProgramIs127 MissesNothing MissesAll AskWithoutDeadline AskAlwaysWell
    DaemonsAwaited DeadlineIgnored TimeoutWithoutEffect TimeoutIsSignal CommandRunsTwice NamedCommandRunsAgain
    CutIsExit255 UnreachableIsStopped HungReadHasEffect
    ClaimsNoWork HidesFiles
    LaunchesAgain LostIsExited LostRunsAgain CancelDoesNothing AbsentIsLost OverdueIsSignaled TailIsWhole
    PutIgnoresExpect PutAlwaysApplied PutIgnoresMode PutInHalves RemoveAlwaysApplied RemoveIgnoresExpect SwitchReplacesFiles
    SwitchIsNoSwitch TreeIsConstant ReadIsCut StatHasNoLength
}

/// A host with a defect.
#[derive(Debug)]
pub(crate) struct Broken {
    defect: Defect,
    inner: Arc<dyn Host>,
    looks: AtomicU64,
}

impl Broken {
    /// Breaks a host.
    pub(crate) fn new(defect: Defect, inner: Arc<dyn Host>) -> Self {
        Self { defect, inner, looks: AtomicU64::new(0) }
    }

    fn is(&self, defect: Defect) -> bool {
        self.defect == defect
    }

    /// The epoch that a host without a fence believes in.
    fn epoch(&self, epoch: LeaseEpoch, verb: Defect) -> LeaseEpoch {
        if self.is(verb) { LeaseEpoch::new(epoch.number().max(5)) } else { epoch }
    }

    fn spoil<T>(&self, answer: Result<T, StepError>) -> Result<T, StepError> {
        let error = match answer {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        let again = |kind| StepError::new(kind, error.operation(), error.target());
        Err(match self.defect {
            Defect::FencedIsConflict if error.kind() == ErrorKind::Fenced => {
                again(ErrorKind::Conflict).without_effect()
            }
            Defect::FencedWithUnknownEffect if error.kind() == ErrorKind::Fenced => again(ErrorKind::Fenced),
            Defect::HungReadHasEffect if error.kind() == ErrorKind::Timeout => again(ErrorKind::Timeout),
            _ => error,
        })
    }

    fn number(&self) -> u64 {
        self.looks.fetch_add(1, Ordering::SeqCst)
    }
}

#[async_trait]
impl ObserveHost for Broken {
    fn capabilities(&self) -> HostCapabilities {
        let claimed = self.inner.capabilities();
        HostCapabilities::new(claimed.fencing, claimed.survives_connection && !self.is(Defect::ClaimsNoWork))
    }

    async fn identify(&self) -> Result<HostIdentity, StepError> {
        let found = self.spoil(self.inner.identify().await)?;
        Ok(match self.defect {
            Defect::AnotherMachineEachTime => {
                HostIdentity::new(format!("{:p}", Arc::as_ptr(&self.inner)), self.number().to_string())
            }
            _ => found,
        })
    }

    async fn process(&self) -> Result<ServerProcess, StepError> {
        let found = self.spoil(self.inner.process().await);
        match (self.defect, found) {
            (Defect::UnreachableIsStopped, Err(_)) | (Defect::AlwaysStopped, Ok(_)) => Ok(ServerProcess::Stopped),
            (Defect::AlwaysRunning, Ok(ServerProcess::Stopped)) => Ok(ServerProcess::Running(Incarnation::new("0"))),
            (Defect::IncarnationOfEveryLook, Ok(ServerProcess::Running(life))) => {
                Ok(ServerProcess::Running(Incarnation::new(format!("{life} {}", self.number()))))
            }
            (Defect::IncarnationForEver, Ok(ServerProcess::Running(_))) => {
                Ok(ServerProcess::Running(Incarnation::new("the server")))
            }
            (_, found) => found,
        }
    }

    async fn installed(&self) -> Result<Installed, StepError> {
        match (self.defect, self.spoil(self.inner.installed().await)) {
            (Defect::ReleaseOfTheDay, Ok(Installed::Release(_))) => Ok(Installed::Release("2.0".into())),
            (Defect::AbsentIsRelease, Ok(Installed::Absent)) => Ok(Installed::Release("".into())),
            (Defect::BrokenVersionIsAbsent, Err(error)) if error.kind() == ErrorKind::Protocol => Ok(Installed::Absent),
            (_, found) => found,
        }
    }

    async fn stop_budget(&self) -> Result<Option<Duration>, StepError> {
        self.spoil(self.inner.stop_budget().await)
    }

    async fn missing(&self, programs: &[String]) -> Result<Vec<String>, StepError> {
        let found = self.spoil(self.inner.missing(programs).await)?;
        Ok(match self.defect {
            Defect::MissesNothing => Vec::new(),
            Defect::MissesAll => programs.to_vec(),
            _ => found,
        })
    }

    async fn ask(&self, mut command: RunCommand) -> Result<Ran, StepError> {
        if self.is(Defect::AskWithoutDeadline) {
            command.deadline = Duration::MAX / 4;
        }
        let asked = self.spoil(self.inner.ask(command).await)?;
        Ok(if self.is(Defect::AskAlwaysWell) { Ran::new(Ended::Exited(0), asked.stdout, asked.stderr) } else { asked })
    }
}

#[async_trait]
impl Host for Broken {
    fn files(&self) -> Option<&dyn HostFiles> {
        (self.inner.files().is_some() && !self.is(Defect::HidesFiles)).then_some(self)
    }

    fn work(&self) -> Option<&dyn DetachedWork> {
        self.inner.work().is_some().then_some(self)
    }

    async fn start(&self, epoch: LeaseEpoch, domain: ServerDomain) -> Result<Applied, StepError> {
        if self.is(Defect::StartDoesNothing) {
            return Ok(Applied::Applied);
        }
        let answer = self.spoil(self.inner.start(self.epoch(epoch, Defect::NoFenceForStart), domain).await)?;
        Ok(if self.is(Defect::StartTwiceSaysApplied) { Applied::Applied } else { answer })
    }

    async fn stop(&self, epoch: LeaseEpoch) -> Result<Applied, StepError> {
        match self.defect {
            Defect::StopDoesNothing => return Ok(Applied::Applied),
            Defect::StopWhatStands => return Ok(Applied::AlreadySo),
            _ => {}
        }
        let answer = self.spoil(self.inner.stop(self.epoch(epoch, Defect::NoFenceForStop)).await)?;
        Ok(if self.is(Defect::StopSaysApplied) { Applied::Applied } else { answer })
    }

    async fn kill(&self, epoch: LeaseEpoch, life: Incarnation) -> Result<Applied, StepError> {
        let life = match (self.defect, self.inner.process().await) {
            (Defect::KillDoesNothing, _) => return Ok(Applied::Applied),
            (Defect::KillsAnyLife, Ok(ServerProcess::Running(found))) => found,
            _ => life,
        };
        self.spoil(self.inner.kill(self.epoch(epoch, Defect::NoFenceForKill), life).await)
    }

    async fn run(&self, epoch: LeaseEpoch, mut command: RunCommand) -> Result<Ran, StepError> {
        match self.defect {
            Defect::OutputWithoutLimit | Defect::OutputBegins => command.output_limit = usize::MAX,
            Defect::ArgumentsTrimmed => command.argv = command.argv.iter().map(|text| text.trim().into()).collect(),
            Defect::ArgumentsSplit => {
                let words = |text: &String| text.split('\n').next().unwrap_or_default().to_string();
                command.argv = command.argv.iter().map(words).collect();
            }
            Defect::VariablesLost => command.env.clear(),
            Defect::VariablesTrimmed => command.env.iter_mut().for_each(|(_, value)| *value = value.trim().into()),
            Defect::DeadlineIgnored => command.deadline *= 100,
            Defect::NamedCommandRunsAgain | Defect::LostRunsAgain => command.id = None,
            _ => {}
        }
        let epoch = self.epoch(epoch, Defect::NoFenceForRun);
        let (limit, code) = (7, |code| Ok(Ran::new(Ended::Exited(code), "", "")));
        if self.is(Defect::CommandRunsTwice) {
            let _ = self.inner.run(epoch, command.clone()).await;
            command.id = None;
        }
        let mut ran = match (self.defect, self.spoil(self.inner.run(epoch, command).await)) {
            (_, Ok(ran)) => ran,
            (Defect::MissingProgramIs127, Err(error)) if error.kind() == ErrorKind::NotFound => return code(127),
            (Defect::CutIsExit255, Err(error)) if error.effect() == Effect::Unknown => return code(255),
            (Defect::TimeoutIsSignal, Err(error)) if error.kind() == ErrorKind::Timeout => {
                return Ok(Ran::new(Ended::Signaled(9), "", ""));
            }
            (Defect::TimeoutWithoutEffect, Err(error)) => return Err(error.without_effect()),
            (_, Err(error)) => return Err(error),
        };
        match (self.defect, ran.ended) {
            (Defect::DaemonsAwaited, _) => sleep(DAEMON).await,
            (Defect::ExitCodesAreZeroOrOne, Ended::Exited(code)) => ran.ended = Ended::Exited(code.min(1)),
            (Defect::SignalsAreExitCodes, Ended::Signaled(signal)) => ran.ended = Ended::Exited(128 + signal),
            (Defect::OutputsMixed, _) => ran.stdout.push_str(&std::mem::take(&mut ran.stderr)),
            (Defect::OutputBegins, _) => ran.stdout.truncate(limit),
            _ => {}
        }
        Ok(ran)
    }
}

/// How long what a command leaves behind keeps its output open.
const DAEMON: Duration = Duration::from_secs(10);
/// How long something else comes in between.
const BETWEEN: Duration = Duration::from_millis(5);

fn other(id: &WorkId) -> WorkId {
    WorkId::new(&format!("{id}.again")).unwrap()
}
