mod config;
mod tail;

use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use ha_core::backend::{ErrorKind, Probe, Ready, StepError};
use ha_core::telemetry::call_span;
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;
use tracing::Instrument;

use crate::answer::{OpContext, brief, release};
use crate::command::{said, tested};
use crate::ports::PortState;
use crate::run::missing;

use config::Identity;
pub use config::LogProbeConfig;
use tail::{Seen, Tail};

/// Looks for a line in a log, written since the server was last seen closed, while its ports are open. Clones share what
/// they have seen.
///
/// # Examples
///
/// ```
/// use ha_core::topology::{Component, Name, Setting};
/// use ha_probe::{LogProbe, LogProbeConfig};
///
/// let mut component = Component::new(Name::new("log")?);
/// let text = |text: &str| Setting::Text(text.into());
/// component.settings.extend([
///     ("log".into(), text("/srv/esb1/logs/carbon.log")),
///     ("line".into(), text("WSO2 Carbon started")),
///     ("release_prefix".into(), text("version ")),
///     ("ports".into(), text("10.0.0.1:8280")),
/// ]);
/// let probe = LogProbe::new(LogProbeConfig::from_component(&component)?);
/// # drop(probe);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct LogProbe {
    config: LogProbeConfig,
    target: String,
    watch: Arc<Mutex<Watch>>,
}

#[derive(Debug)]
struct Watch {
    tail: Tail,
    /// The ports were open at the last look.
    open: bool,
}

impl LogProbe {
    /// Asks as `config` says.
    pub fn new(config: LogProbeConfig) -> Self {
        let target = config.log.display().to_string();
        let tail = Tail::new(config.log.clone(), config.line.clone(), config.start_line.clone());
        Self { config, target, watch: Arc::new(Mutex::new(Watch { tail, open: true })) }
    }

    /// Forgets what was seen: only lines that are written from now on count. For callers that start the server
    /// themselves, right before they do.
    ///
    /// # Errors
    /// `Denied` when the log cannot be read, `Timeout`; both without effect.
    /// # Cancel safety
    /// Cancel safe: it is done, or not.
    pub async fn mark(&self) -> Result<(), StepError> {
        let asked = OpContext { operation: "mark", target: &self.target };
        asked.within(self.config.limits.ready, self.with_tail(asked, |watch| watch.tail.mark())).await
    }

    async fn look(&self, operation: &'static str) -> Result<Ready, StepError> {
        let asked = OpContext { operation, target: &self.target };
        asked.within(self.config.limits.ready, self.question(asked)).await
    }

    async fn question(&self, asked: OpContext<'_>) -> Result<Ready, StepError> {
        // One at a time: a port that was seen closed must not forget what was seen after it had opened.
        let mut watch = self.watch.clone().lock_owned().await;
        let doors = self.config.ports.look(asked).await?;
        let open = doors == PortState::Open;
        let looked = spawn_blocking(move || {
            if !open && (watch.open || watch.tail.is_new()) {
                watch.tail.mark()?;
            }
            watch.open = open;
            if open { watch.tail.look() } else { Ok(Seen::Nothing) }
        });
        let seen = looked.await.map_err(io::Error::other).flatten().map_err(|error| refused(asked, &error))?;
        match (doors, seen) {
            (PortState::Closed, _) => Ok(Ready::Closed),
            (PortState::Partly(message), _) => Ok(Ready::NotYet(message)),
            (PortState::Open, Seen::Absent) => Ok(Ready::NotYet("the log is not there yet".into())),
            (PortState::Open, Seen::Behind(bytes)) => {
                Ok(Ready::NotYet(format!("{bytes} bytes of the log are still to be read")))
            }
            (PortState::Open, Seen::Nothing) => {
                Ok(Ready::NotYet(format!("no line with {:?} was seen since its start", self.config.line)))
            }
            (PortState::Open, Seen::Line(line)) => self.identify(asked, &line).await,
        }
    }

    async fn identify(&self, asked: OpContext<'_>, line: &str) -> Result<Ready, StepError> {
        let prefix = match &self.config.identity {
            Identity::Command(argv) => return said(asked, argv).await,
            Identity::Prefix(prefix) => prefix,
        };
        let ends = |c: char| c.is_whitespace() || ",;\"')]}".contains(c);
        let named = line.split_once(prefix.as_str()).and_then(|(_, rest)| rest.split(ends).next());
        match release(named.unwrap_or_default()) {
            Ok(release) => Ok(Ready::Yes { release }),
            Err(message) => Err(asked.failed(ErrorKind::Protocol, format!("{message}, in {:?}", brief(line)))),
        }
    }

    async fn with_tail<T: Send + 'static>(
        &self,
        asked: OpContext<'_>,
        act: impl FnOnce(&mut Watch) -> io::Result<T> + Send + 'static,
    ) -> Result<T, StepError> {
        let mut watch = self.watch.clone().lock_owned().await;
        let acted = spawn_blocking(move || act(&mut watch)).await;
        acted.map_err(io::Error::other).flatten().map_err(|error| refused(asked, &error))
    }
}

fn refused(asked: OpContext<'_>, error: &io::Error) -> StepError {
    let kind = match error.kind() {
        io::ErrorKind::PermissionDenied => ErrorKind::Denied,
        _ => ErrorKind::Protocol,
    };
    asked.failed(kind, format!("the log cannot be read: {error}"))
}

#[async_trait]
impl Probe for LogProbe {
    async fn ready(&self) -> Result<Ready, StepError> {
        async { self.look("ready").await }.instrument(call_span("log", "ready", &self.target)).await
    }

    async fn test(&self) -> Result<Box<str>, StepError> {
        async {
            let asked = OpContext { operation: "test", target: &self.target };
            tested(asked, &self.config.test, self.config.limits.test, || self.look("test")).await
        }
        .instrument(call_span("log", "test", &self.target))
        .await
    }

    async fn missing(&self) -> Result<Vec<String>, StepError> {
        async {
            let folder = self.config.log.parent().filter(|folder| !folder.is_dir());
            let folder =
                folder.map(|folder| format!("setting log: there is no folder {}: correct it", folder.display()));
            let identity = match &self.config.identity {
                Identity::Command(argv) => missing("release_command", argv),
                Identity::Prefix(_) => None,
            };
            Ok([folder, identity, missing("test", &self.config.test)].into_iter().flatten().collect())
        }
        .instrument(call_span("log", "missing", &self.target))
        .await
    }
}
