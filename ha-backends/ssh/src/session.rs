use std::sync::Arc;

use ha_core::backend::HostIdentity;
use tokio::sync::{Mutex, Semaphore};
use tokio::time::{Duration, Instant, sleep, timeout, timeout_at};

use crate::config::SshConfig;
use crate::exec::{Answer, execute};
use crate::failure::{RECONNECT, SshFailure};
use crate::frame::Keep;
use crate::master::{Master, random};
use crate::probe;
use crate::script::{PROBE, Script};
use crate::shell::{NoAnswer, Slot};

/// The way to one machine: a connection that is made when it is needed, and made again when it was lost.
#[derive(Debug)]
pub(crate) struct Session {
    config: SshConfig,
    permits: Arc<Semaphore>,
    link: Mutex<Link>,
    /// The shell that answers reads; none where the host allows one session only.
    reader: Option<Mutex<Slot>>,
    /// The shell that starts work; none where the host allows two sessions only.
    starter: Option<Arc<Mutex<Slot>>>,
}

#[derive(Debug, Default)]
struct Link {
    master: Option<Arc<Master>>,
    refused: Option<(Instant, SshFailure)>,
    machine: Option<Box<str>>,
    tools: Vec<Box<str>>,
}

/// How long a refused login is not tried again: trying on may lock the account.
const REFUSED: Duration = Duration::from_secs(30);
/// The first and the last pause after a refused session, each twice the one before, 310 ms in all: a session that has ended
/// counts on the host for a moment longer.
const REFUSED_FOR: [Duration; 2] = [Duration::from_millis(10), Duration::from_millis(160)];
/// How long after its first channel the second one of a connection is opened: later than sshd's greeting.
const AFTER_GREETING: Duration = Duration::from_millis(8);
/// How long a read waits for the one before it. Then it goes over a session of its own.
const QUEUE: Duration = Duration::from_millis(25);

impl Session {
    pub(crate) fn new(config: SshConfig) -> Self {
        // The shells that are kept are two of the sessions.
        let (reader, starter) = ((config.sessions > 1).then(Mutex::default), (config.sessions > 2).then(Arc::default));
        let permits = Arc::new(Semaphore::new(config.sessions.saturating_sub(2).max(1)));
        Self { config, permits, link: Mutex::default(), reader, starter }
    }

    pub(crate) fn destination(&self) -> &str {
        &self.config.destination
    }

    /// Runs a script that changes something, once.
    pub(crate) async fn run(&self, script: Script, until: Instant) -> Result<Answer, SshFailure> {
        let permit = timeout_at(until, self.permits.clone().acquire_owned()).await;
        let permit = permit
            .map_err(|_| late("every session of the host was in use"))?
            .map_err(|_| late("the sessions are closed"))?;
        let master = self.master_until(until).await?;
        self.over(&master, script, until, permit).await
    }

    /// Runs a script that may be run again: over the shell that starts work, and over a session of its own if that is busy
    /// or does not answer.
    pub(crate) async fn run_again(&self, script: Script, until: Instant) -> Result<Answer, SshFailure> {
        if let Some(mut slot) = self.starter.as_ref().and_then(|starter| starter.try_lock().ok()) {
            let master = self.master_until(until).await?;
            let nonce = random().map_err(no_nonce)?;
            let begun_by = slot.patience(&master, until);
            match slot.ask(&master, &script, &nonce, begun_by, until).await {
                Ok(answer) => return Ok(answer),
                Err(NoAnswer::Unsent) => {}
                Err(NoAnswer::Sent) => {
                    drop(slot);
                    // Whatever becomes of the second one, the first one may have run.
                    let lost = |failure: SshFailure| match failure.may_have_run() {
                        true => failure,
                        false => SshFailure::LinkLost(failure.to_string()),
                    };
                    return self.run(script, until).await.map_err(lost);
                }
            }
        }
        self.run(script, until).await
    }

    /// Runs a script that only reads and takes little time.
    pub(crate) async fn read(&self, script: Script, until: Instant) -> Result<Answer, SshFailure> {
        match self.read_quickly(&script, until).await? {
            Some(answer) => Ok(answer),
            None => self.read_apart(&script.body, script.keep, until).await,
        }
    }

    /// Runs a script that only reads over the reading shell; `None` if that is busy or does not answer soon.
    pub(crate) async fn read_quickly(&self, script: &Script, until: Instant) -> Result<Option<Answer>, SshFailure> {
        let Some(reader) = &self.reader else { return Ok(None) };
        let master = self.master_until(until).await?;
        let Ok(mut slot) = timeout(QUEUE, reader.lock()).await else { return Ok(None) };
        let nonce = random().map_err(no_nonce)?;
        let soon = slot.patience(&master, until);
        Ok(slot.ask(&master, script, &nonce, soon, soon).await.ok())
    }

    /// Runs a script that only reads over a session of its own; a connection lost meanwhile is made again, once.
    pub(crate) async fn read_apart(&self, body: &str, keep: Keep, until: Instant) -> Result<Answer, SshFailure> {
        let script = || Script::new(body.into()).with_keep(keep);
        match self.run(script(), until).await {
            Err(SshFailure::LinkLost(_) | SshFailure::SessionRefused(_)) if Instant::now() < until => {
                self.run(script(), until).await
            }
            ended => ended,
        }
    }

    /// Returns which of `tools` the machine does not have.
    pub(crate) async fn missing(&self, tools: &[&str], until: Instant) -> Result<Vec<String>, SshFailure> {
        self.master_until(until).await?;
        let link = self.link.lock().await;
        let missing = tools.iter().filter(|tool| !link.tools.iter().any(|found| **found == ***tool));
        Ok(missing.map(|tool| (*tool).to_string()).collect())
    }

    /// Asks the machine which one it is.
    pub(crate) async fn identify(&self, until: Instant) -> Result<HostIdentity, SshFailure> {
        let asked = std::time::SystemTime::now();
        let answer = self.read(Script::new(PROBE.into()).with_keep(Keep::Begin(4096)), until).await?;
        probe::identity(&answer.out(), asked, std::time::SystemTime::now())
    }

    async fn over(
        &self,
        master: &Master,
        script: Script,
        until: Instant,
        permit: tokio::sync::OwnedSemaphorePermit,
    ) -> Result<Answer, SshFailure> {
        let nonce = random().map_err(no_nonce)?;
        let mut pause = REFUSED_FOR[0];
        let channel = loop {
            match timeout_at(until, master.open_session()).await.map_err(|_| late("no session was opened"))? {
                Err(SshFailure::SessionRefused(_))
                    if pause <= REFUSED_FOR[1] && !master.is_dead() && Instant::now() + pause < until =>
                {
                    sleep(pause).await;
                    pause *= 2;
                }
                opened => break opened?,
            }
        };
        execute(channel, script, &nonce, until, permit).await
    }

    async fn master_until(&self, until: Instant) -> Result<Arc<Master>, SshFailure> {
        timeout_at(until, self.master()).await.map_err(|_| late("no connection yet"))?
    }

    async fn master(&self) -> Result<Arc<Master>, SshFailure> {
        let mut link = self.link.lock().await;
        if let Some(master) = link.master.as_ref().filter(|master| !master.is_dead()) {
            return Ok(master.clone());
        }
        link.master = None;
        if let Some((when, failure)) = &link.refused {
            let pause = if failure.is_permanent() { REFUSED } else { RECONNECT / 4 };
            if when.elapsed() < pause {
                return Err(failure.clone());
            }
        }
        match self.connect(&link).await {
            Ok((master, identity)) => {
                tracing::debug!(host = self.config.destination, machine = %identity.machine, "connected");
                let machine = link.machine.take().unwrap_or(identity.machine);
                *link =
                    Link { master: Some(master.clone()), refused: None, machine: Some(machine), tools: identity.tools };
                Ok(master)
            }
            Err(failure) => {
                link.refused = Some((Instant::now(), failure.clone()));
                Err(failure)
            }
        }
    }

    /// Connects, and makes sure that the machine is the one that answered before.
    async fn connect(&self, link: &Link) -> Result<(Arc<Master>, HostIdentity), SshFailure> {
        let until = Instant::now() + self.config.connect_deadline;
        let master = Arc::new(Master::open(&self.config).await?);
        let asked = std::time::SystemTime::now();
        self.begin_starter(&master, until);
        // Nothing was asked of the host yet: whatever fails here has no effect.
        let answer = self.first(&master, until).await.map_err(|failure| match failure {
            SshFailure::Unanswered(_) => SshFailure::ConnectTimedOut("its shell did not answer".into()),
            SshFailure::LinkLost(message) => SshFailure::Unreachable(message),
            other => other,
        })?;
        let identity = probe::identity(&answer.out(), asked, std::time::SystemTime::now())
            .map_err(|failure| SshFailure::Unreachable(failure.to_string()))?;
        match &link.machine {
            Some(was) if *was != identity.machine => {
                Err(SshFailure::OtherMachine { was: was.to_string(), is: identity.machine.to_string() })
            }
            Some(_) | None => Ok((master, identity)),
        }
    }

    /// Begins the shell that starts work beside the first question, which gains time for both: sshd answers the first channel
    /// of a connection as soon as another packet comes, or when Linux acknowledges its greeting, 40 ms late (Nagle's
    /// algorithm). Whether it has begun is seen when work is started.
    fn begin_starter(&self, master: &Arc<Master>, until: Instant) {
        let Some(starter) = self.starter.clone() else { return };
        let master = Arc::downgrade(master);
        tokio::spawn(async move {
            sleep(AFTER_GREETING).await;
            let (Some(master), Ok(mut slot)) = (master.upgrade(), starter.try_lock()) else { return };
            // A shell that is not there by then is begun by whoever needs it.
            let _ = timeout_at(until, slot.begin(&master)).await;
        });
    }

    /// Asks a machine which one it is, over a connection that nobody else has yet.
    async fn first(&self, master: &Arc<Master>, until: Instant) -> Result<Answer, SshFailure> {
        let nonce = random().map_err(no_nonce)?;
        // Whoever holds the shell of the connection before still waits for its answer.
        if let Some(mut slot) = self.reader.as_ref().and_then(|reader| reader.try_lock().ok()) {
            let soon = slot.patience(master, until);
            if let Ok(answer) = slot.ask(master, &Script::new(PROBE.into()), &nonce, soon, soon).await {
                return Ok(answer);
            }
        }
        let alone = Arc::new(Semaphore::new(1));
        let permit = alone.acquire_owned().await.map_err(|_| late("the sessions are closed"))?;
        self.over(master, Script::new(PROBE.into()), until, permit).await
    }
}

fn no_nonce(error: std::io::Error) -> SshFailure {
    SshFailure::Settings(format!("no random bytes: {error}"))
}

fn late(what: &str) -> SshFailure {
    SshFailure::ConnectTimedOut(what.into())
}
