use std::io;
use std::time::Duration;

use ha_core::backend::{ErrorKind, StepError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep, timeout_at};

use crate::config::HaProxyConfig;
use crate::error;

/// The pause before a full backlog is tried again.
const BACKLOG_PAUSE: Duration = Duration::from_millis(20);

/// Sends one command on a connection of its own and reads the whole answer.
///
/// An error from before the command was on its way has no effect. Later errors have an unknown one, which is the caller's
/// to lift for commands that only read: a frozen HAProxy carries a command out when it wakes.
pub(crate) async fn ask(
    config: &HaProxyConfig,
    operation: &'static str,
    target: &str,
    command: &str,
) -> Result<String, StepError> {
    let until = Instant::now() + config.deadline;
    let mut stream = connect(config, until).await.map_err(|error| error::not_connected(operation, target, error))?;
    let unknown = |kind: ErrorKind, words: String| StepError::new(kind, operation, target).with_context(words);
    let exchange = async {
        stream.write_all(format!("set severity-output number;{command}\n").as_bytes()).await?;
        let mut answer = Vec::new();
        let limit = config.max_reply.saturating_add(1);
        (&mut stream).take(limit).read_to_end(&mut answer).await?;
        Ok::<Vec<u8>, io::Error>(answer)
    };
    let answer = match timeout_at(until, exchange).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => {
            let words = format!("the connection broke: {error}; look at the server before anything else");
            return Err(unknown(ErrorKind::Unreachable, words).caused_by(error));
        }
        Err(_) => {
            let words =
                format!("no whole answer in {:?}: HAProxy may hang, and may still carry it out", config.deadline);
            return Err(unknown(ErrorKind::Timeout, words));
        }
    };
    if u64::try_from(answer.len()).unwrap_or(u64::MAX) > config.max_reply {
        return Err(unknown(ErrorKind::Protocol, format!("the answer is longer than {} bytes", config.max_reply)));
    }
    // Every command is answered with at least an empty line, the one in front of it too.
    if answer.is_empty() {
        return Err(unknown(ErrorKind::Protocol, "the connection was closed without an answer".into()));
    }
    String::from_utf8(answer)
        .map_err(|error| unknown(ErrorKind::Protocol, "the answer is not UTF-8".into()).caused_by(error))
}

async fn connect(config: &HaProxyConfig, until: Instant) -> io::Result<UnixStream> {
    loop {
        match timeout_at(until, UnixStream::connect(&config.socket)).await {
            Ok(Err(error)) if error.kind() == io::ErrorKind::WouldBlock && Instant::now() + BACKLOG_PAUSE < until => {
                sleep(BACKLOG_PAUSE).await;
            }
            Ok(connected) => return connected,
            Err(_) => return Err(io::ErrorKind::TimedOut.into()),
        }
    }
}
