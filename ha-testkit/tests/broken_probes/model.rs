//! A whole probe in memory, on virtual time, with a server that can be in every state.

use std::future::pending;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use ha_core::backend::{ErrorKind, Probe, Ready, StepError};
use ha_testkit::conformance::Breach;
use ha_testkit::conformance::probe::{FAILED, ProbeSubject, STARTING, Stance};
use tokio::time::{sleep, timeout};

pub(crate) const DEADLINE: Duration = Duration::from_secs(2);

/// The server.
#[derive(Debug)]
pub(crate) struct Server {
    stance: Mutex<(Stance, String)>,
    pub(crate) open: AtomicUsize,
}

impl Server {
    pub(crate) fn stance(&self) -> (Stance, String) {
        self.stance.lock().unwrap().clone()
    }
}

/// The whole probe.
#[derive(Debug)]
pub(crate) struct Model(pub(crate) Arc<Server>);

/// A question that the server works on.
pub(crate) struct Open(Arc<Server>);

impl Open {
    pub(crate) fn begin(server: &Arc<Server>) -> Self {
        server.open.fetch_add(1, Ordering::SeqCst);
        Self(server.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Model {
    async fn question(&self, operation: &'static str) -> Result<Ready, StepError> {
        let failed = |kind| Err(StepError::new(kind, operation, "the model").without_effect());
        let answer = async {
            let _open = Open::begin(&self.0);
            sleep(Duration::from_millis(1)).await;
            let (stance, release) = self.0.stance();
            match stance {
                Stance::Serving => Ok(Ready::Yes { release: release.into() }),
                Stance::HungTest if operation == "test" => pending().await,
                Stance::FailingTest if operation == "test" => {
                    failed(ErrorKind::Conflict).map_err(|error: StepError| error.with_context(FAILED))
                }
                Stance::FailingTest | Stance::HungTest => Ok(Ready::Yes { release: release.into() }),
                Stance::NotReady => Ok(Ready::NotYet(STARTING.into())),
                Stance::Closed => Ok(Ready::Closed),
                Stance::Unreachable => failed(ErrorKind::Unreachable),
                Stance::Garbage | Stance::Broken | Stance::Nameless => failed(ErrorKind::Protocol),
                _ => pending().await,
            }
        };
        timeout(DEADLINE, answer).await.unwrap_or_else(|_| failed(ErrorKind::Timeout))
    }
}

#[async_trait]
impl Probe for Model {
    async fn ready(&self) -> Result<Ready, StepError> {
        self.question("ready").await
    }

    async fn test(&self) -> Result<Box<str>, StepError> {
        let failed =
            |message| StepError::new(ErrorKind::Conflict, "test", "the model").without_effect().with_context(message);
        match self.question("test").await? {
            Ready::Yes { release } => Ok(release),
            Ready::NotYet(message) => Err(failed(message)),
            _ => Err(failed("closed".to_string())),
        }
    }

    async fn missing(&self) -> Result<Vec<String>, StepError> {
        Ok(Vec::new())
    }
}

/// A server with a probe, whole or broken.
pub(crate) struct ModelSubject {
    server: Arc<Server>,
    probe: Arc<dyn Probe>,
}

impl ModelSubject {
    pub(crate) fn new(release: &str, probe: impl FnOnce(Arc<Server>) -> Arc<dyn Probe>) -> Self {
        let stance = Mutex::new((Stance::Serving, release.to_string()));
        let server = Arc::new(Server { stance, open: AtomicUsize::new(0) });
        Self { probe: probe(server.clone()), server }
    }
}

#[async_trait]
impl ProbeSubject for ModelSubject {
    fn probe(&self) -> Arc<dyn Probe> {
        self.probe.clone()
    }

    fn deadline(&self) -> Duration {
        DEADLINE
    }

    async fn set_stance(&self, stance: Stance, release: &str) -> Result<(), Breach> {
        *self.server.stance.lock().unwrap() = (stance, release.to_string());
        Ok(())
    }

    async fn open(&self) -> Result<usize, Breach> {
        Ok(self.server.open.load(Ordering::SeqCst))
    }
}
