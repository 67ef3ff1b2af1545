use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use ha_core::backend::linux::Supervisor;
use ha_core::backend::{
    Applied, ContentDigest, DetachedWork, ErrorKind, Fencing, Host, HostCapabilities, HostFiles, HostIdentity,
    Incarnation, Installed, ObserveHost, Ran, RunCommand, ServerProcess, StepError, WorkId,
};
use ha_core::state::{LeaseEpoch, ServerDomain};
use ha_core::telemetry::call_span_on_host;
use tokio::time::Instant;
use tracing::{Instrument, Span};

use crate::config::SshHostConfig;
use crate::exec::Answer;
use crate::frame::Keep;
use crate::master::random;
use crate::quote::{HoldsNul, quote, quote_all};
use crate::script::{Head, INSTALLED, Script, refusal, seconds};
use crate::session::Session;

/// What a start prints that finds the server there.
const THERE: &str = "ha-start: the server is there";

/// A server of another machine, driven by its own scripts or by systemd over the system's ssh.
///
/// Cheap to clone; clones share one connection, which is made when it is first needed and ends with the last clone.
///
/// # Examples
///
/// ```no_run
/// use ha_core::backend::ObserveHost;
/// use ha_ssh::{SshHost, SshHostConfig};
///
/// async fn seen(config: SshHostConfig) -> Result<(), ha_core::backend::StepError> {
///     let host = SshHost::new(config); // connects with the first question
///     println!("{:?} runs {:?}", host.identify().await?.machine, host.process().await?);
///     Ok(())
/// }
/// ```
#[derive(Clone, Debug)]
pub struct SshHost {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) session: Session,
    pub(crate) config: SshHostConfig,
    target: String,
    /// The server's life when it was last seen.
    pub(crate) last_seen: Mutex<Option<Incarnation>>,
    /// When the last look at the server saw it stopped, until a start goes by it.
    seen_stopped: Mutex<Option<Instant>>,
}

/// How long a start goes by a look that saw the server stopped.
const FRESH: Duration = Duration::from_secs(1);

/// What the guard and the runner of detached work need on the machine.
const TOOLS: [&str; 8] = ["flock", "grep", "mktemp", "setsid", "sha256sum", "stat", "sync", "timeout"];
/// How much longer than a command's own deadline its end is waited for.
pub(crate) const LATE: Duration = Duration::from_millis(800);

impl SshHost {
    /// Drives the server of `config`. Nothing is touched yet.
    pub fn new(config: SshHostConfig) -> Self {
        let session = Session::new(config.ssh.clone());
        let target = format!("{}:{}", session.destination(), config.home);
        Self {
            inner: Arc::new(Inner {
                session,
                config,
                target,
                last_seen: Mutex::default(),
                seen_stopped: Mutex::default(),
            }),
        }
    }

    /// Makes the span of one call.
    pub(crate) fn call(&self, op: &'static str) -> Span {
        call_span_on_host("ssh", op, &self.inner.config.home, self.inner.session.destination())
    }

    /// Runs something that changes the host in a task of its own: a dropped future does not cut it.
    pub(crate) async fn apart<T: Send + 'static>(
        &self,
        operation: &'static str,
        act: impl Future<Output = Result<T, StepError>> + Send + 'static,
    ) -> Result<T, StepError> {
        let died = |error| self.inner.error(ErrorKind::Protocol, operation).caused_by(error);
        tokio::spawn(act.in_current_span()).await.unwrap_or_else(|error| Err(died(error)))
    }
}

impl Inner {
    pub(crate) fn error(&self, kind: ErrorKind, operation: &'static str) -> StepError {
        StepError::new(kind, operation, self.target.as_str())
    }

    pub(crate) fn target(&self) -> &str {
        &self.target
    }

    pub(crate) fn refuse(&self, kind: ErrorKind, operation: &'static str, message: impl Into<String>) -> StepError {
        self.error(kind, operation).with_context(message).without_effect()
    }

    pub(crate) fn nul(&self, operation: &'static str) -> impl Fn(HoldsNul) -> StepError + '_ {
        move |error| self.refuse(ErrorKind::Unsupported, operation, error.to_string())
    }

    /// Begins a script that uses the state directory of this server.
    pub(crate) fn head(&self) -> Result<Head, HoldsNul> {
        let key = &ContentDigest::of(self.config.home.as_bytes()).to_string()[..16];
        let dir = quote(&self.config.state_dir)?;
        let base = if self.config.state_dir.starts_with('/') { dir } else { format!("\"${{HOME:?}}\"/{dir}") };
        let made = format!(
            "G={base}/{key}\n[ -d \"$G/put\" ] || (umask 077 && mkdir -p \"$G/work\" \"$G/epochs\" \"$G/put\") \
             || exit {}\n",
            refusal::BROKEN
        );
        Head::new().raw(&made).text("home", &self.config.home)
    }

    /// Asks something that changes nothing.
    pub(crate) async fn ask(
        &self,
        operation: &'static str,
        body: &str,
        keep: Keep,
        limit: Duration,
    ) -> Result<Answer, StepError> {
        self.ask_script(operation, Script::new(body.into()).with_keep(keep), limit).await
    }

    /// Asks something that changes nothing, and whose answer is a little text.
    pub(crate) async fn ask_text(
        &self,
        operation: &'static str,
        body: String,
        limit: Duration,
    ) -> Result<Answer, StepError> {
        self.ask_script(operation, Script::new(body).at_once(), limit).await
    }

    async fn ask_script(&self, operation: &'static str, script: Script, limit: Duration) -> Result<Answer, StepError> {
        let answer = self.session.read(script, Instant::now() + limit).await;
        answer.map_err(|failure| failure.into_step(operation, &self.target).without_effect())
    }

    /// Asks something that changes nothing and may take long.
    pub(crate) async fn ask_apart(
        &self,
        operation: &'static str,
        body: &str,
        keep: Keep,
        limit: Duration,
    ) -> Result<Answer, StepError> {
        let answer = self.session.read_apart(body, keep, Instant::now() + limit).await;
        answer.map_err(|failure| failure.into_step(operation, &self.target).without_effect())
    }

    /// Runs a script that changes something, and reads its refusals.
    pub(crate) async fn change(
        &self,
        operation: &'static str,
        script: Script,
        limit: Duration,
    ) -> Result<Answer, StepError> {
        let until = Instant::now() + limit;
        self.need_tools(operation, until).await?;
        let answer = self.session.run(script, until).await;
        let answer = answer.map_err(|failure| failure.into_step(operation, &self.target))?;
        match self.refusal(operation, &answer) {
            Some(refused) => Err(refused),
            None => Ok(answer),
        }
    }

    pub(crate) async fn need_tools(&self, operation: &'static str, until: Instant) -> Result<(), StepError> {
        let missing = self.session.missing(&TOOLS, until).await;
        let missing = missing.map_err(|failure| failure.into_step(operation, &self.target).without_effect())?;
        if missing.is_empty() {
            return Ok(());
        }
        let message = format!("install on the machine: {}", missing.join(", "));
        Err(self.refuse(ErrorKind::Unsupported, operation, message))
    }

    pub(crate) fn refusal(&self, operation: &'static str, answer: &Answer) -> Option<StepError> {
        let (kind, message) = match answer.code {
            0 => return None,
            refusal::NOT_FOUND => (ErrorKind::NotFound, "no such file or directory".into()),
            refusal::CONFLICT => (ErrorKind::Conflict, "something else is at this path".into()),
            refusal::DENIED => (ErrorKind::Denied, answer.message()),
            refusal::DAMAGED => (ErrorKind::Protocol, "what arrived is not what was sent".into()),
            refusal::BUSY => (ErrorKind::Busy, "another controller's effect still runs there".into()),
            refusal::FENCED => (ErrorKind::Fenced, "a higher epoch was seen there: this controller must stop".into()),
            refusal::BROKEN => {
                let message =
                    format!("its state directory {} cannot be used: {}", self.config.state_dir, answer.message());
                (ErrorKind::Denied, message)
            }
            code => {
                let message = format!("its shell ended with {code}: {}", answer.message());
                return Some(self.error(ErrorKind::Protocol, operation).with_context(message));
            }
        };
        Some(self.refuse(kind, operation, message))
    }

    /// Asks the version command over the reading shell. What it leaves behind cannot write into later answers. `None`
    /// unless it is short, quick and good: then it is asked again over a session of its own.
    async fn installed_quickly(&self, version: &str, limit: Duration) -> Result<Option<Installed>, StepError> {
        let nul = self.nul("installed");
        let mark = random().map_err(|error| self.refuse(ErrorKind::Unsupported, "installed", error.to_string()))?;
        let head = Head::new().text("home", &self.config.home).and_then(|head| head.text("version", version));
        let head = head.and_then(|head| head.text("mark", mark.as_str())?.text("limit", &seconds(limit)));
        let body = head.map_err(&nul)?.then([INSTALLED]);
        let script = Script::new(body).with_keep(Keep::Begin(4096)).at_once();
        let answer = self.session.read_quickly(&script, Instant::now() + limit).await;
        let answer = answer.map_err(|failure| failure.into_step("installed", &self.target).without_effect())?;
        Ok(answer.as_ref().and_then(installed))
    }

    /// Looks whether the server runs.
    async fn process(&self, operation: &'static str) -> Result<ServerProcess, StepError> {
        let asked = Instant::now();
        let process = match &self.config.supervisor {
            Supervisor::Scripts(scripts) => self.processes(operation, scripts).await?.state(),
            Supervisor::Systemd(unit) => self.unit_process(operation, unit).await?,
        };
        let stopped = (process == ServerProcess::Stopped).then_some(asked);
        *self.seen_stopped.lock().unwrap_or_else(PoisonError::into_inner) = stopped;
        Ok(process)
    }

    /// Looks whether the server runs, before it is started: a server that runs is no reason to wait for the fence. What
    /// was just seen to be stopped is not looked at again where the start itself looks for all that is of the server.
    async fn is_stopped(&self) -> Result<bool, StepError> {
        let seen = self.seen_stopped.lock().unwrap_or_else(PoisonError::into_inner).take();
        let looks = matches!(self.config.supervisor, Supervisor::Scripts(_));
        if looks && seen.is_some_and(|seen| seen.elapsed() < FRESH) {
            return Ok(true);
        }
        Ok(self.process("start").await? == ServerProcess::Stopped)
    }

    /// Makes a command with the deadline of the server's own.
    pub(crate) fn command(&self, argv: Vec<String>) -> RunCommand {
        RunCommand::new(argv, self.config.command_deadline)
    }

    fn failed(&self, operation: &'static str, script: &str, ran: &Ran) -> StepError {
        let message = format!("{script} ended with {}: {}{}", ran.ended, ran.stderr.trim(), ran.stdout.trim());
        self.error(ErrorKind::Conflict, operation).with_context(message)
    }

    /// Makes a name of work that nobody has used before.
    pub(crate) fn own_id(&self, epoch: LeaseEpoch, operation: &'static str) -> Result<WorkId, StepError> {
        let broken = |message: String| self.refuse(ErrorKind::Unsupported, operation, message);
        let nonce = random().map_err(|error| broken(error.to_string()))?;
        WorkId::new(&format!("{operation}-{}-{}", epoch.number(), nonce.as_str()))
            .map_err(|error| broken(error.to_string()))
    }
}

/// Reads what the version command has said.
fn installed(answer: &Answer) -> Option<Installed> {
    let text = answer.out();
    let release = text.lines().next().map(str::trim).filter(|line| !line.is_empty());
    match (answer.code, release) {
        (refusal::NOT_FOUND, None) => Some(Installed::Absent),
        (0, Some(release)) => Some(Installed::Release(release.into())),
        _ => None,
    }
}

#[async_trait]
impl ObserveHost for SshHost {
    fn capabilities(&self) -> HostCapabilities {
        HostCapabilities::new(Fencing::Guarded, true)
    }

    async fn identify(&self) -> Result<HostIdentity, StepError> {
        async {
            let until = Instant::now() + self.inner.config.read_deadline.max(self.inner.config.ssh.connect_deadline);
            let answer = self.inner.session.identify(until).await;
            answer.map_err(|failure| failure.into_step("identify", self.inner.target()).without_effect())
        }
        .instrument(self.call("identify"))
        .await
    }

    async fn process(&self) -> Result<ServerProcess, StepError> {
        async { self.inner.process("process").await }.instrument(self.call("process")).await
    }

    async fn installed(&self) -> Result<Installed, StepError> {
        async {
            let inner = &self.inner;
            let limit = inner.config.command_deadline;
            let nul = inner.nul("installed");
            let argv = quote_all(inner.config.version.iter().map(String::as_str)).map_err(&nul)?;
            if let Some(installed) = inner.installed_quickly(&argv, limit).await? {
                return Ok(installed);
            }
            let body = Head::new().text("home", &inner.config.home).map_err(&nul)?.then([
                "[ -d \"$home\" ] || exit 64\ncd -- \"$home\" || exit 66\n",
                &format!("timeout -s KILL {} {argv} </dev/null\nexit $?\n", seconds(limit)),
            ]);
            let answer = inner.ask_apart("installed", &body, Keep::Begin(4096), limit + LATE).await?;
            installed(&answer).ok_or_else(|| {
                let (code, message) = (answer.code, answer.message());
                let message = format!("its version command ended with {code} and no release: {message}");
                inner.refuse(ErrorKind::Protocol, "installed", message)
            })
        }
        .instrument(self.call("installed"))
        .await
    }

    async fn stop_budget(&self) -> Result<Option<Duration>, StepError> {
        async {
            match &self.inner.config.supervisor {
                Supervisor::Scripts(_) => Ok(None),
                Supervisor::Systemd(unit) => Ok(self.inner.unit_status("stop budget", unit).await?.1.stop_budget),
            }
        }
        .instrument(self.call("stop_budget"))
        .await
    }

    async fn missing(&self, programs: &[String]) -> Result<Vec<String>, StepError> {
        async { self.inner.missing(programs).await }.instrument(self.call("missing")).await
    }

    async fn ask(&self, command: RunCommand) -> Result<Ran, StepError> {
        async { self.inner.read_by(command).await }.instrument(self.call("ask")).await
    }
}

#[async_trait]
impl Host for SshHost {
    fn files(&self) -> Option<&dyn HostFiles> {
        Some(self)
    }

    fn work(&self) -> Option<&dyn DetachedWork> {
        Some(self)
    }

    async fn start(&self, epoch: LeaseEpoch, domain: ServerDomain) -> Result<Applied, StepError> {
        async {
            let inner = self.inner.clone();
            if domain == ServerDomain::Test && inner.config.start_test.is_empty() {
                let message = "no start_test is set for it: it cannot be started in a test domain";
                return Err(inner.refuse(ErrorKind::Unsupported, "start", message));
            }
            if !inner.is_stopped().await? {
                return Ok(Applied::AlreadySo);
            }
            let (said, command) = match (&inner.config.supervisor, domain) {
                (Supervisor::Scripts(scripts), ServerDomain::Production) => {
                    inner.start_of_scripts(scripts, &scripts.start)
                }
                (Supervisor::Scripts(scripts), ServerDomain::Test) => {
                    inner.start_of_scripts(scripts, &inner.config.start_test)
                }
                (Supervisor::Systemd(unit), ServerDomain::Production) => inner.start_of_unit(unit),
                (Supervisor::Systemd(_), ServerDomain::Test) => {
                    (inner.config.start_test.join(" "), inner.command(inner.config.start_test.clone()))
                }
            };
            let command = command.with_env("HA_THERE", THERE);
            self.apart("start", async move {
                let ran = inner.work(epoch, "start", command).await?;
                if ran.is_success() {
                    return Ok(if ran.stdout.trim() == THERE { Applied::AlreadySo } else { Applied::Applied });
                }
                Err(inner.failed("start", &said, &ran))
            })
            .await
        }
        .instrument(self.call("start"))
        .await
    }

    async fn stop(&self, epoch: LeaseEpoch) -> Result<Applied, StepError> {
        async {
            let inner = self.inner.clone();
            let command = match &inner.config.supervisor {
                Supervisor::Scripts(scripts) => inner.stop_of_scripts(scripts).await?,
                Supervisor::Systemd(unit) => inner.stop_of_unit(unit).await?,
            };
            let Some(argv) = command else { return Ok(Applied::AlreadySo) };
            self.apart("stop", async move {
                let ran = inner.work(epoch, "stop", inner.command(argv.clone())).await?;
                if ran.is_success() { Ok(Applied::Applied) } else { Err(inner.failed("stop", &argv.join(" "), &ran)) }
            })
            .await
        }
        .instrument(self.call("stop"))
        .await
    }

    async fn kill(&self, epoch: LeaseEpoch, life: Incarnation) -> Result<Applied, StepError> {
        async {
            let inner = self.inner.clone();
            let diagnose = quote_all(inner.config.diagnose.iter().map(String::as_str)).map_err(inner.nul("kill"))?;
            let head = inner
                .head()
                .and_then(|head| head.text("diagnose", &diagnose)?.text("wait", &seconds(inner.config.lock_wait())));
            let head = head.map_err(inner.nul("kill"))?.number("epoch", epoch.number());
            let body = match &inner.config.supervisor {
                Supervisor::Scripts(_) => inner.kill_of_process(head, &life)?,
                Supervisor::Systemd(unit) => inner.kill_of_unit(head, unit, &life)?,
            };
            let limit = inner.config.lock_wait() + Duration::from_secs(11) + LATE;
            let answer =
                self.apart("kill", async move { inner.change("kill", Script::new(body), limit).await }).await?;
            Ok(if answer.out().trim() == "killed" { Applied::Applied } else { Applied::AlreadySo })
        }
        .instrument(self.call("kill"))
        .await
    }

    async fn run(&self, epoch: LeaseEpoch, command: RunCommand) -> Result<Ran, StepError> {
        async {
            let inner = self.inner.clone();
            self.apart("run", async move { inner.work(epoch, "run", command).await }).await
        }
        .instrument(self.call("run"))
        .await
    }
}
