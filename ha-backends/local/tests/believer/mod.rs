//! A host that believes its server's pid file, each in one of the ways that real scripts do.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ha_core::backend::{
    Applied, DetachedWork, Host, HostCapabilities, HostFiles, HostIdentity, Incarnation, Installed, ObserveHost, Ran,
    RunCommand, ServerProcess, StepError,
};
use ha_core::state::{LeaseEpoch, ServerDomain};

/// What is believed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Belief {
    /// Where there is a pid file, the server runs.
    FileIsLife,
    /// The process that the file names is the server.
    NamedIsServer,
    /// A file without a line feed names nobody.
    LineOrNothing,
    /// Whoever the file names may be ended.
    NamedMayEnd,
}

/// A host with such a belief.
#[derive(Debug)]
pub(crate) struct Believer {
    pub(crate) belief: Belief,
    pub(crate) pid_file: PathBuf,
    pub(crate) inner: Arc<dyn Host>,
}

impl Believer {
    /// Returns the life of the process that the file names.
    fn named(&self) -> Option<String> {
        let text = fs::read_to_string(&self.pid_file).ok()?;
        let pid: u32 = match text.split_once('\n') {
            Some((line, _)) => line.parse().ok()?,
            None if self.belief == Belief::LineOrNothing => return None,
            None => text.trim_end_matches('\0').parse().ok()?,
        };
        fs::exists(format!("/proc/{pid}")).unwrap().then(|| pid.to_string())
    }
}

#[async_trait]
impl ObserveHost for Believer {
    fn capabilities(&self) -> HostCapabilities {
        self.inner.capabilities()
    }

    async fn identify(&self) -> Result<HostIdentity, StepError> {
        self.inner.identify().await
    }

    async fn process(&self) -> Result<ServerProcess, StepError> {
        let found = self.inner.process().await?;
        let life = |pid: String| ServerProcess::Running(Incarnation::new(pid));
        Ok(match self.belief {
            Belief::FileIsLife if self.pid_file.exists() => life("the file's".into()),
            Belief::NamedIsServer => self.named().map_or(ServerProcess::Stopped, life),
            Belief::LineOrNothing if self.named().is_none() => ServerProcess::Stopped,
            _ => found,
        })
    }

    async fn installed(&self) -> Result<Installed, StepError> {
        self.inner.installed().await
    }

    async fn stop_budget(&self) -> Result<Option<Duration>, StepError> {
        self.inner.stop_budget().await
    }

    async fn missing(&self, programs: &[String]) -> Result<Vec<String>, StepError> {
        self.inner.missing(programs).await
    }

    async fn ask(&self, command: RunCommand) -> Result<Ran, StepError> {
        self.inner.ask(command).await
    }
}

#[async_trait]
impl Host for Believer {
    fn files(&self) -> Option<&dyn HostFiles> {
        self.inner.files()
    }

    fn work(&self) -> Option<&dyn DetachedWork> {
        self.inner.work()
    }

    async fn start(&self, epoch: LeaseEpoch, domain: ServerDomain) -> Result<Applied, StepError> {
        self.inner.start(epoch, domain).await
    }

    async fn stop(&self, epoch: LeaseEpoch) -> Result<Applied, StepError> {
        if let Some(pid) = self.named().filter(|_| self.belief == Belief::NamedMayEnd) {
            Command::new("kill").arg(pid).status().unwrap();
        }
        self.inner.stop(epoch).await
    }

    async fn kill(&self, epoch: LeaseEpoch, life: Incarnation) -> Result<Applied, StepError> {
        self.inner.kill(epoch, life).await
    }

    async fn run(&self, epoch: LeaseEpoch, command: RunCommand) -> Result<Ran, StepError> {
        self.inner.run(epoch, command).await
    }
}
