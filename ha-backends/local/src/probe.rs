use std::io;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use ha_core::backend::{ErrorKind, Probe, Ready, StepError};
use ha_core::topology::{Component, SettingError as ConfigError, Settings};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// What an HTTP probe asks a node directly.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HttpProbeConfig {
    /// Answers 200 when the server is ready, on its traffic port; the first line of the body is the release.
    pub url: Uri,
    /// The business test: 200 when it passes. Default: none beyond readiness.
    pub test_url: Option<Uri>,
    /// What the answer of the business test begins with. Default: anything.
    pub test_expect: String,
    /// How long one question may take. Default 2 s.
    pub timeout: Duration,
}

impl HttpProbeConfig {
    /// Reads the settings `url`, `test_url`, `test_expect` and `timeout_ms`.
    ///
    /// # Errors
    /// [`ConfigError`] with the key.
    pub fn from_component(component: &Component) -> Result<Self, ConfigError> {
        let mut settings = Settings::of(component);
        let config = Self {
            url: parse_url("url", &settings.required_text("url")?)?,
            test_url: settings.text("test_url")?.map(|url| parse_url("test_url", &url)).transpose()?,
            test_expect: settings.text("test_expect")?.unwrap_or_default(),
            timeout: settings.millis("timeout_ms", Duration::from_secs(2))?,
        };
        settings.finish()?;
        Ok(config)
    }
}

fn parse_url(key: &str, text: &str) -> Result<Uri, ConfigError> {
    let wrong = || ConfigError::new(key, format!("{text:?} is no URL: give http://host:port/path"));
    let url: Uri = text.parse().map_err(|_| wrong())?;
    if url.scheme_str() != Some("http") || url.host().is_none() {
        return Err(wrong());
    }
    Ok(url)
}

/// Asks a node over plain HTTP, each time on a new connection: an old process cannot answer for a new one.
#[derive(Clone, Debug)]
pub struct HttpProbe {
    config: HttpProbeConfig,
}

/// What is kept of an answer.
const BODY_LIMIT: usize = 64 * 1024;

enum Answer {
    Closed,
    Status(StatusCode, String),
}

impl HttpProbe {
    /// Asks as `config` says.
    pub fn new(config: HttpProbeConfig) -> Self {
        Self { config }
    }

    async fn ask(&self, url: &Uri, operation: &'static str) -> Result<Answer, StepError> {
        let failed = |kind: ErrorKind| StepError::new(kind, operation, url.to_string()).without_effect();
        match timeout(self.config.timeout, exchange(url)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(failed(ErrorKind::Protocol).with_context(error)),
            Err(_) => Err(failed(ErrorKind::Timeout).with_context(format!("no answer in {:?}", self.config.timeout))),
        }
    }
}

async fn exchange(url: &Uri) -> Result<Answer, String> {
    let host = url.host().unwrap_or_default().trim_matches(['[', ']']);
    let stream = match TcpStream::connect((host, url.port_u16().unwrap_or(80))).await {
        Ok(stream) => stream,
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => return Ok(Answer::Closed),
        Err(error) => return Err(error.to_string()),
    };
    let words = |error: hyper::Error| error.to_string();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(words)?;
    let driver = tokio::spawn(async move {
        let _ = connection.await;
    });
    let path = url.path_and_query().map_or("/", |path| path.as_str());
    let authority = url.authority().map_or("", |authority| authority.as_str());
    let request =
        Request::get(path).header("host", authority).header("connection", "close").body(Empty::<Bytes>::new());
    let response = sender.send_request(request.map_err(|error| error.to_string())?).await.map_err(words)?;
    let status = response.status();
    let body = Limited::new(response.into_body(), BODY_LIMIT).collect().await.map_err(|error| error.to_string())?;
    driver.abort();
    Ok(Answer::Status(status, String::from_utf8_lossy(&body.to_bytes()).into_owned()))
}

fn brief(status: StatusCode, body: &str) -> String {
    let words: String = body.trim().chars().take(200).collect();
    format!("{} {words}", status.as_u16())
}

#[async_trait]
impl Probe for HttpProbe {
    async fn ready(&self) -> Result<Ready, StepError> {
        match self.ask(&self.config.url, "ready").await? {
            Answer::Closed => Ok(Ready::Closed),
            Answer::Status(StatusCode::OK, body) => match body.lines().next().map(str::trim) {
                Some(release) if !release.is_empty() => Ok(Ready::Yes { release: release.into() }),
                Some(_) | None => {
                    let target = self.config.url.to_string();
                    let error = StepError::new(ErrorKind::Protocol, "ready", target).without_effect();
                    Err(error.with_context("the answer names no release in its first line"))
                }
            },
            Answer::Status(status, body) => Ok(Ready::NotYet(brief(status, &body))),
        }
    }

    async fn test(&self) -> Result<Box<str>, StepError> {
        let failed = |words: String| {
            let target = self.config.test_url.as_ref().unwrap_or(&self.config.url).to_string();
            Err(StepError::new(ErrorKind::Conflict, "test", target).with_context(words).without_effect())
        };
        if let Some(url) = &self.config.test_url {
            match self.ask(url, "test").await? {
                Answer::Status(StatusCode::OK, body) if body.starts_with(&self.config.test_expect) => {}
                Answer::Status(status, body) => return failed(brief(status, &body)),
                Answer::Closed => return failed("nothing listens there".into()),
            }
        }
        match self.ready().await? {
            Ready::Yes { release } => Ok(release),
            Ready::NotYet(words) => failed(words),
            _ => failed("nothing listens there".into()),
        }
    }
}
