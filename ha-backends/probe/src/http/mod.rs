mod config;
mod exchange;
mod url;

use async_trait::async_trait;
use ha_core::backend::{ErrorKind, Probe, Ready, StepError};
use ha_core::telemetry::call_span;
use hyper::StatusCode;
use serde_json::Value;
use tracing::Instrument;

use crate::answer::{OpContext, brief, release};
use crate::ports::PortState;
use crate::trial::{Tested, trial};

pub use config::HttpProbeConfig;
use config::Identity;
use exchange::{Answer, exchange};
use url::Url;

/// Asks a node over HTTP or HTTPS, each time on a new connection: an old process cannot answer for a new one.
///
/// # Examples
///
/// ```
/// use ha_core::topology::{Component, Name, Setting};
/// use ha_probe::{HttpProbe, HttpProbeConfig};
///
/// let mut component = Component::new(Name::new("http")?);
/// component.settings.extend([
///     ("url".into(), Setting::Text("http://10.0.0.1:9201/healthz".into())),
///     ("release_json".into(), Setting::Text("/version".into())),
/// ]);
/// let probe = HttpProbe::new(HttpProbeConfig::from_component(&component)?);
/// # drop(probe);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct HttpProbe {
    config: HttpProbeConfig,
}

impl HttpProbe {
    /// Asks as `config` says.
    pub fn new(config: HttpProbeConfig) -> Self {
        Self { config }
    }

    async fn look(&self, operation: &'static str) -> Result<Ready, StepError> {
        let asked = OpContext { operation, target: &self.config.url.shown };
        let question = async {
            let answer = match exchange(asked, &self.config, &self.config.url).await? {
                None => return Ok(Ready::Closed),
                Some(answer) if !self.expects(answer.status) => return Ok(Ready::NotYet(message(&answer))),
                Some(answer) => answer,
            };
            let release = self.identify(&answer).map_err(|message| asked.failed(ErrorKind::Protocol, message))?;
            Ok(match self.config.ports.look(asked).await? {
                PortState::Open => Ready::Yes { release },
                PortState::Partly(message) => Ready::NotYet(message),
                PortState::Closed => Ready::NotYet(format!("nothing listens on {}", self.config.ports.names())),
            })
        };
        asked.within(self.config.limits.ready, question).await
    }

    async fn passes(&self, url: &Url) -> Result<Tested, StepError> {
        let asked = OpContext { operation: "test", target: &url.shown };
        let answer = asked.within(self.config.limits.test, exchange(asked, &self.config, url)).await?;
        Ok(match answer {
            Some(answer) if self.expects(answer.status) && answer.body.starts_with(&self.config.test_expect) => {
                Tested::Passed
            }
            Some(answer) => Tested::Failed(message(&answer)),
            None => Tested::Failed("nothing listens there".into()),
        })
    }

    fn expects(&self, status: StatusCode) -> bool {
        self.config.expect_status.contains(&status)
    }

    fn identify(&self, answer: &Answer) -> Result<Box<str>, String> {
        match &self.config.identity {
            Identity::FirstLine => release(answer.body.lines().next().unwrap_or_default()),
            Identity::Header(name) => {
                let value = answer.headers.get(name).ok_or_else(|| format!("the answer has no header {name}"))?;
                release(&String::from_utf8_lossy(value.as_bytes()))
            }
            Identity::Json(pointer) => {
                let body: Value = serde_json::from_str(&answer.body)
                    .map_err(|error| format!("the answer is no JSON: {error}: {}", brief(&answer.body)))?;
                match body.pointer(pointer) {
                    Some(Value::String(text)) => release(text),
                    Some(Value::Number(number)) => release(&number.to_string()),
                    Some(_) | None => Err(format!("the answer has no text at {pointer}: {}", brief(&answer.body))),
                }
            }
        }
    }
}

fn message(answer: &Answer) -> String {
    format!("{} {}", answer.status.as_u16(), brief(&answer.body))
}

#[async_trait]
impl Probe for HttpProbe {
    async fn ready(&self) -> Result<Ready, StepError> {
        async { self.look("ready").await }.instrument(call_span("http", "ready", &self.config.url.shown)).await
    }

    async fn test(&self) -> Result<Box<str>, StepError> {
        async {
            let url = self.config.test_url.as_ref();
            let asked = OpContext { operation: "test", target: &url.unwrap_or(&self.config.url).shown };
            trial(asked, || self.look("test"), url.map(|url| self.passes(url))).await
        }
        .instrument(call_span("http", "test", &self.config.url.shown))
        .await
    }

    async fn missing(&self) -> Result<Vec<String>, StepError> {
        // It runs nothing, and whether the address is right tells only a server that serves.
        async { Ok(Vec::new()) }.instrument(call_span("http", "missing", &self.config.url.shown)).await
    }
}
