use std::error::Error;
use std::io;
use std::pin::pin;

use bytes::Bytes;
use ha_core::backend::{ErrorKind, StepError};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, HOST, HeaderMap, HeaderValue};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::HttpProbeConfig;
use super::url::Url;
use crate::answer::OpContext;
use crate::tls::{Stream, Trust};

/// An answer whose body has come to its end.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
}

/// Longer heads and bodies are refused.
const LIMIT: usize = 64 * 1024;

/// Asks once, on a connection of its own that ends with the answer, or when the future is dropped. `None` when nothing
/// listens there.
pub(super) async fn exchange(
    asked: OpContext<'_>,
    config: &HttpProbeConfig,
    url: &Url,
) -> Result<Option<Answer>, StepError> {
    let stream = match TcpStream::connect((url.host.as_str(), url.port)).await {
        Ok(stream) => stream,
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => return Ok(None),
        Err(error) => return Err(asked.failed(ErrorKind::Unreachable, error.to_string())),
    };
    let broken = |message: String| asked.failed(ErrorKind::Protocol, message);
    let host = config.host.clone().map_or_else(|| HeaderValue::from_str(&url.authority), Ok);
    let host = host.map_err(|error| broken(error.to_string()))?;
    let stream = match &config.trust {
        Some(trust) if url.secure => {
            let name = config.host.as_ref().and_then(|host| host.to_str().ok()).map_or(url.host.as_str(), without_port);
            trust.connect(name, stream).await.map_err(broken)?
        }
        None if url.secure => return Err(broken(Trust::MISSING.into())),
        Some(_) | None => Stream::from(stream),
    };
    let mut builder = http1::Builder::new();
    builder.max_buf_size(LIMIT);
    let started = builder.handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = started.map_err(|error| broken(chain(&error)))?;
    let mut request = Request::get(url.path.as_str()).header(HOST, host).header(CONNECTION, "close");
    for (name, value) in &config.headers {
        request = request.header(name, value);
    }
    let request = request.body(Empty::<Bytes>::new()).map_err(|error| broken(error.to_string()))?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(|error| broken(chain(&error)))?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, LIMIT).collect().await.map_err(|error| broken(chain(&*error)))?;
        let body = String::from_utf8_lossy(&body.to_bytes()).into_owned();
        Ok(Some(Answer { status: head.status, headers: head.headers, body }))
    };
    // A plain connection is closed when it is dropped; TLS says that it ends.
    let connection =
        async { if url.secure { connection.await } else { connection.without_shutdown().await.map(drop) } };
    // The connection is driven here and not in a task: it ends with whoever waits for it.
    let (mut answer, connection) = (pin!(answer), pin!(connection));
    tokio::select! {
        biased;
        answer = &mut answer => answer,
        _ = connection => answer.await,
    }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.parse::<u16>().is_ok() && (!name.contains(':') || name.ends_with(']')) => name,
        Some(_) | None => host,
    }
    .trim_matches(['[', ']'])
}

/// Says an error with its causes.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut message = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        message = format!("{message}: {inner}");
        cause = inner.source();
    }
    message
}
