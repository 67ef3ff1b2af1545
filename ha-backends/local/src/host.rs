use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use ha_core::backend::linux::{
    NeededProgram, Scripts, Supervisor, home_is_missing, parse_pid_file, pid_file_is_missing,
};
use ha_core::backend::{
    Applied, DetachedWork, ErrorKind, Fencing, Host, HostCapabilities, HostFiles, HostIdentity, Incarnation, Installed,
    ObserveHost, Ran, RunCommand, ServerProcess, StepError,
};
use ha_core::state::{LeaseEpoch, ServerDomain};
use ha_core::telemetry::call_span;
use ha_core::topology::{Component, SettingErrors as ConfigError, Settings};

use crate::fence::Fence;
use crate::identity::{self, Life};
use crate::{launch, runner};
use tokio::time::{Instant, sleep};
use tracing::{Instrument, Span};

/// How a server of this machine is driven.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LocalHostConfig {
    /// Its home directory; commands run there, and a program with a slash in its name is looked up there.
    pub home: PathBuf,
    /// What starts and stops it.
    pub supervisor: Supervisor,
    /// Starts it in its test domain; empty where it has none. With a unit: starts that unit there.
    pub start_test: Vec<String>,
    /// Prints the installed release in its first line.
    pub version: Vec<String>,
    /// How long each of the commands above may take. Default 15 s.
    pub command_deadline: Duration,
}

impl LocalHostConfig {
    /// Reads the settings `home`, `version`, those of its [`Supervisor`], and optionally `start_test` and
    /// `command_deadline`.
    ///
    /// # Errors
    /// [`ConfigError`] with every key that is wrong.
    pub fn from_component(component: &Component) -> Result<Self, ConfigError> {
        let mut settings = Settings::of(component);
        let (home, supervisor) = (settings.absolute_path("home"), Supervisor::read(&mut settings));
        let (start_test, version) = (settings.optional_argv("start_test"), settings.argv("version"));
        let deadline = settings.duration("command_deadline", Duration::from_secs(15));
        let read = (|| {
            Ok(Self {
                home: home?,
                supervisor: supervisor?,
                start_test: start_test?,
                version: version?,
                command_deadline: deadline?,
            })
        })();
        settings.finish(read)
    }
}

/// A server of this machine, driven by its own scripts or by systemd.
#[derive(Clone, Debug)]
pub struct LocalHost {
    pub(crate) config: LocalHostConfig,
}

impl LocalHost {
    /// Drives the server of `config`. Nothing is touched yet.
    pub fn new(config: LocalHostConfig) -> Self {
        Self { config }
    }

    fn call(&self, op: &'static str) -> Span {
        call_span(crate::NAME, op, self.config.home.display())
    }

    fn find(&self, scripts: &Scripts) -> Option<Life> {
        identity::find(&self.pid_file(scripts), &scripts.identity)
    }

    fn pid_file(&self, scripts: &Scripts) -> PathBuf {
        self.config.home.join(&scripts.pid_file)
    }

    fn find_missing(&self, programs: &[String]) -> Vec<String> {
        let (config, home) = (&self.config, self.target());
        if !config.home.is_dir() {
            return vec![home_is_missing(&home)];
        }
        let needed = NeededProgram::of(&config.supervisor, &config.start_test, &config.version, programs);
        let is_missing = |needed: &NeededProgram<'_>| {
            let relative = needed.program.contains('/').then(|| config.home.join(needed.program));
            launch::found(relative.as_deref().unwrap_or(Path::new(needed.program))).is_err()
        };
        let mut missing: Vec<String> =
            needed.iter().filter(|needed| is_missing(needed)).map(|needed| needed.is_missing(&home)).collect();
        if let Supervisor::Scripts(scripts) = &config.supervisor {
            let (pid_file, runs) = (self.pid_file(scripts), self.find(scripts).is_some());
            let has_folder = pid_file.parent().is_none_or(Path::is_dir);
            if !has_folder || (runs && !pid_file.exists()) {
                missing.push(pid_file_is_missing(&scripts.pid_file, &home, has_folder));
            }
        }
        missing
    }

    /// Looks whether the server runs.
    async fn look(&self, operation: &'static str) -> Result<ServerProcess, StepError> {
        let scripts = match &self.config.supervisor {
            Supervisor::Scripts(scripts) => scripts.clone(),
            Supervisor::Systemd(unit) => return self.unit_process(operation, unit).await,
        };
        let host = self.clone();
        match tokio::task::spawn_blocking(move || host.find(&scripts)).await {
            Ok(Some(life)) => Ok(ServerProcess::Running(life.incarnation)),
            Ok(None) => Ok(ServerProcess::Stopped),
            Err(error) => Err(self.error(ErrorKind::Protocol, operation).caused_by(error).without_effect()),
        }
    }

    pub(crate) fn error(&self, kind: ErrorKind, operation: &'static str) -> StepError {
        StepError::new(kind, operation, self.target())
    }

    fn target(&self) -> String {
        self.config.home.display().to_string()
    }

    /// Runs a command behind the fence, in a task of its own: a dropped future does not cut it.
    async fn fenced(&self, epoch: LeaseEpoch, operation: &'static str, command: RunCommand) -> Result<Ran, StepError> {
        let (home, wait) = (self.config.home.clone(), self.config.command_deadline);
        let act = async move {
            let fence = pass(&home, epoch, operation, wait).await?;
            let ran = runner::run(&home, operation, command).await;
            drop(fence);
            ran
        };
        let task = tokio::spawn(act.in_current_span());
        task.await
            .unwrap_or_else(|error| Err(StepError::new(ErrorKind::Protocol, operation, self.target()).caused_by(error)))
    }

    async fn script(&self, epoch: LeaseEpoch, operation: &'static str, argv: &[String]) -> Result<Applied, StepError> {
        let ran = self.fenced(epoch, operation, RunCommand::new(argv.to_vec(), self.config.command_deadline)).await?;
        if ran.is_success() {
            return Ok(Applied::Applied);
        }
        Err(self.failed(operation, &argv.join(" "), &ran))
    }

    pub(crate) fn failed(&self, operation: &'static str, script: &str, ran: &Ran) -> StepError {
        let message = format!("{script} ended with {}: {}{}", ran.ended, ran.stderr.trim(), ran.stdout.trim());
        StepError::new(ErrorKind::Conflict, operation, self.target()).with_context(message)
    }

    /// Starts the server unless it is there. The fence is held until the server is seen, so that of several starts at once
    /// one runs the script and the next one finds the server: scripts return before it is there.
    async fn start_behind_fence(&self, epoch: LeaseEpoch, argv: Vec<String>) -> Result<Applied, StepError> {
        let _fence = pass(&self.config.home, epoch, "start", self.config.command_deadline).await?;
        if self.look("start").await? != ServerProcess::Stopped {
            return Ok(Applied::AlreadySo);
        }
        let scripts = match &self.config.supervisor {
            Supervisor::Scripts(scripts) => scripts,
            Supervisor::Systemd(unit) => return self.start_unit(unit, argv).await,
        };
        let command = RunCommand::new(argv, self.config.command_deadline);
        // A pid file without its server makes the scripts believe in a stranger: it is moved aside, not deleted.
        let pid_file = self.pid_file(scripts);
        if pid_file.exists() {
            let aside = pid_file.with_extension("stale");
            if let Err(error) = std::fs::rename(&pid_file, aside) {
                let stale = StepError::new(ErrorKind::Denied, "start", self.target()).caused_by(error);
                return Err(stale.with_context("its stale pid file cannot be moved aside").without_effect());
            }
        }
        let script = command.argv.join(" ");
        let ran = runner::run(&self.config.home, "start", command).await?;
        if !ran.is_success() {
            return Err(self.failed("start", &script, &ran));
        }
        let until = Instant::now() + SEEN;
        while self.find(scripts).is_none() && Instant::now() < until {
            sleep(LOOK).await;
        }
        Ok(Applied::Applied)
    }
}

/// How long a start that went well may take to show a process; what comes to nothing is the next start's to find.
pub(crate) const SEEN: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(10);

/// Passes the fence of a folder.
pub(crate) async fn pass(
    home: &Path,
    epoch: LeaseEpoch,
    operation: &'static str,
    wait: Duration,
) -> Result<Fence, StepError> {
    let owned = home.to_path_buf();
    let passed = tokio::task::spawn_blocking(move || Fence::pass(&owned, epoch, operation, wait)).await;
    passed.unwrap_or_else(|error| {
        let target = home.display().to_string();
        Err(StepError::new(ErrorKind::Protocol, operation, target).caused_by(error).without_effect())
    })
}

#[async_trait]
impl ObserveHost for LocalHost {
    fn capabilities(&self) -> HostCapabilities {
        // Lower epochs are refused; but a command goes on without its lock when its controller is killed.
        HostCapabilities::new(Fencing::TimeBounded, false)
    }

    async fn identify(&self) -> Result<HostIdentity, StepError> {
        async {
            let failed = |error| StepError::new(ErrorKind::Protocol, "identify", self.target()).caused_by(error);
            identity::machine().map_err(|error| failed(error).without_effect())
        }
        .instrument(self.call("identify"))
        .await
    }

    async fn process(&self) -> Result<ServerProcess, StepError> {
        async { self.look("process").await }.instrument(self.call("process")).await
    }

    async fn installed(&self) -> Result<Installed, StepError> {
        async {
            if !self.config.home.is_dir() {
                return Ok(Installed::Absent);
            }
            let command = RunCommand::new(self.config.version.clone(), self.config.command_deadline);
            let ran = runner::read(&self.config.home, "installed", command).await.map_err(StepError::without_effect)?;
            let release = ran.stdout.lines().next().map(str::trim).filter(|line| !line.is_empty());
            match release {
                Some(release) if ran.is_success() => Ok(Installed::Release(release.into())),
                Some(_) | None => {
                    let message =
                        format!("its version command ended with {} and no release: {}", ran.ended, ran.stderr.trim());
                    let error = StepError::new(ErrorKind::Protocol, "installed", self.target());
                    Err(error.with_context(message).without_effect())
                }
            }
        }
        .instrument(self.call("installed"))
        .await
    }

    async fn stop_budget(&self) -> Result<Option<Duration>, StepError> {
        async {
            match &self.config.supervisor {
                Supervisor::Scripts(_) => Ok(None),
                Supervisor::Systemd(unit) => Ok(self.unit_status("stop budget", unit).await?.stop_budget),
            }
        }
        .instrument(self.call("stop_budget"))
        .await
    }

    async fn missing(&self, programs: &[String]) -> Result<Vec<String>, StepError> {
        async {
            let (host, programs) = (self.clone(), programs.to_vec());
            let looked = tokio::task::spawn_blocking(move || host.find_missing(&programs)).await;
            looked.map_err(|error| self.error(ErrorKind::Protocol, "missing").caused_by(error).without_effect())
        }
        .instrument(self.call("missing"))
        .await
    }

    async fn ask(&self, command: RunCommand) -> Result<Ran, StepError> {
        let asked = runner::read(&self.config.home, "ask", command).instrument(self.call("ask"));
        asked.await.map_err(StepError::without_effect)
    }
}

#[async_trait]
impl Host for LocalHost {
    fn files(&self) -> Option<&dyn HostFiles> {
        None
    }

    fn work(&self) -> Option<&dyn DetachedWork> {
        None
    }

    async fn start(&self, epoch: LeaseEpoch, domain: ServerDomain) -> Result<Applied, StepError> {
        async {
            let argv = match (domain, &self.config.supervisor) {
                (ServerDomain::Test, _) if self.config.start_test.is_empty() => {
                    let missing = self.error(ErrorKind::Unsupported, "start").without_effect();
                    return Err(
                        missing.with_context("no start_test is set for it: it cannot be started in a test domain")
                    );
                }
                (ServerDomain::Test, _) => self.config.start_test.clone(),
                (ServerDomain::Production, Supervisor::Scripts(scripts)) => scripts.start.clone(),
                (ServerDomain::Production, Supervisor::Systemd(unit)) => unit.request(&["start", "--no-block"]),
            };
            let host = self.clone();
            let task = tokio::spawn(async move { host.start_behind_fence(epoch, argv).await }.in_current_span());
            task.await.unwrap_or_else(|error| {
                Err(StepError::new(ErrorKind::Protocol, "start", self.target()).caused_by(error))
            })
        }
        .instrument(self.call("start"))
        .await
    }

    async fn stop(&self, epoch: LeaseEpoch) -> Result<Applied, StepError> {
        async {
            let scripts = match &self.config.supervisor {
                Supervisor::Scripts(scripts) => scripts,
                Supervisor::Systemd(unit) if self.unit_process("stop", unit).await? == ServerProcess::Stopped => {
                    return Ok(Applied::AlreadySo);
                }
                Supervisor::Systemd(unit) => {
                    return self.script(epoch, "stop", &unit.request(&["stop", "--no-block"])).await;
                }
            };
            let Some(Life { pid, .. }) = self.find(scripts) else { return Ok(Applied::AlreadySo) };
            // The script signals whoever the pid file names: it must name this server.
            // What is no number of a process is worse than a wrong one: -1 is everybody.
            let bytes = std::fs::read(self.pid_file(scripts)).unwrap_or_default();
            let is_blank = bytes.iter().all(|byte| *byte == 0 || byte.is_ascii_whitespace());
            if !is_blank && parse_pid_file(&bytes) != Some(pid) {
                let named = String::from_utf8_lossy(&bytes).chars().take(40).collect::<String>();
                let message =
                    format!("its pid file says {named:?}, the server is {pid}: correct the file, then resume");
                let mismatch = StepError::new(ErrorKind::Conflict, "stop", self.target());
                return Err(mismatch.with_context(message).without_effect());
            }
            self.script(epoch, "stop", &scripts.stop).await
        }
        .instrument(self.call("stop"))
        .await
    }

    async fn kill(&self, epoch: LeaseEpoch, life: Incarnation) -> Result<Applied, StepError> {
        async {
            let host = self.clone();
            let act = async move {
                let _fence = pass(&host.config.home, epoch, "kill", host.config.command_deadline).await?;
                let scripts = match &host.config.supervisor {
                    Supervisor::Scripts(scripts) => scripts,
                    Supervisor::Systemd(unit) => return host.kill_unit(unit, &life).await,
                };
                let lives = || host.find(scripts).filter(|found| found.incarnation == life);
                let Some(found) = lives() else { return Ok(Applied::AlreadySo) };
                let denied = |error| StepError::new(ErrorKind::Denied, "kill", host.target()).caused_by(error);
                runner::ask_for_dump(found.pid).await.map_err(|error| denied(error).without_effect())?;
                // It may have ended meanwhile, and its number be another's.
                match lives() {
                    Some(found) => runner::kill(found.pid, found.group).map_err(denied),
                    None => Ok(Applied::Applied),
                }
            };
            let task = tokio::spawn(act.in_current_span());
            task.await.unwrap_or_else(|error| {
                Err(StepError::new(ErrorKind::Protocol, "kill", self.target()).caused_by(error))
            })
        }
        .instrument(self.call("kill"))
        .await
    }

    async fn run(&self, epoch: LeaseEpoch, command: RunCommand) -> Result<Ran, StepError> {
        async { self.fenced(epoch, "run", command).await }.instrument(self.call("run")).await
    }
}
