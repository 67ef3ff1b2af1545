use std::io;
use std::sync::Arc;
use std::time::Duration;

use ha_core::backend::{ErrorKind, StepError};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout_at};

use crate::config::Endpoint;
use crate::error;

/// The pause before a full backlog, or a master that reloads, is tried again.
const PAUSE: Duration = Duration::from_millis(20);
/// How long a master may refuse connections while it reloads; 100 to 420 ms were measured.
const RELOADING: Duration = Duration::from_secs(1);

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// One socket of HAProxy, with its limits. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Socket {
    pub(crate) endpoint: Endpoint,
    deadline: Duration,
    max_reply: u64,
    /// HAProxy answers ten connections at once; the eleventh hangs until one closes.
    places: Arc<Semaphore>,
    /// The master's socket is told when a question has ended, since it waits for more; it refuses while it reloads.
    master: bool,
}

/// What is asked for, for an error's words.
#[derive(Clone, Copy, Debug)]
pub(crate) struct About<'a> {
    pub(crate) operation: &'static str,
    pub(crate) target: &'a str,
}

impl Socket {
    pub(crate) fn new(endpoint: Endpoint, deadline: Duration, max_reply: u64, places: usize, master: bool) -> Self {
        Self { endpoint, deadline, max_reply, places: Arc::new(Semaphore::new(places.max(1))), master }
    }

    /// Sends one line on a connection of its own and reads the whole answer.
    ///
    /// An error from before the line was written has no effect. Later errors have an unknown one, which is the caller's
    /// to lift for lines that only read: a frozen HAProxy carries a command out when it wakes.
    pub(crate) async fn ask(&self, about: About<'_>, line: &str) -> Result<String, StepError> {
        let until = Instant::now() + self.deadline;
        let failed = |kind: ErrorKind, words: String| {
            StepError::new(kind, about.operation, about.target).with_context(format!("{}: {words}", self.endpoint))
        };
        let Ok(Ok(_place)) = timeout_at(until, self.places.acquire()).await else {
            let words = "all of its connections are taken by calls that do not end: HAProxy may hang";
            return Err(failed(ErrorKind::Busy, words.into()).without_effect().retry_after(PAUSE));
        };
        let connected = self.connect(until).await;
        let mut stream = connected.map_err(|error| error::not_connected(about, &self.endpoint, error))?;
        let mut bytes = line.as_bytes().to_vec();
        bytes.push(b'\n');
        // The line ends with its last byte: as long as that is not written, HAProxy carries nothing out.
        match timeout_at(until, stream.write_all(&bytes)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                let words = format!("the connection broke before the command was sent: {error}");
                return Err(failed(ErrorKind::Unreachable, words).without_effect().caused_by(error));
            }
            Err(_) => {
                let words = format!("the command could not be sent in {:?}", self.deadline);
                return Err(failed(ErrorKind::Timeout, words).without_effect());
            }
        }
        let exchange = async {
            if self.master {
                stream.shutdown().await?;
            }
            let mut answer = Vec::new();
            (&mut stream).take(self.max_reply.saturating_add(1)).read_to_end(&mut answer).await?;
            Ok::<Vec<u8>, io::Error>(answer)
        };
        let answer = match timeout_at(until, exchange).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => {
                let words = format!("the connection broke: {error}; look at the server before anything else");
                return Err(failed(ErrorKind::Unreachable, words).caused_by(error));
            }
            Err(_) => {
                let words =
                    format!("no whole answer in {:?}: HAProxy may hang, and may still carry it out", self.deadline);
                return Err(failed(ErrorKind::Timeout, words));
            }
        };
        if u64::try_from(answer.len()).unwrap_or(u64::MAX) > self.max_reply {
            return Err(failed(ErrorKind::Protocol, format!("the answer is longer than {} bytes", self.max_reply)));
        }
        // Every command is answered with at least an empty line.
        if answer.is_empty() {
            return Err(failed(ErrorKind::Protocol, "the connection was closed without an answer".into()));
        }
        String::from_utf8(answer)
            .map_err(|error| failed(ErrorKind::Protocol, "the answer is not UTF-8".into()).caused_by(error))
    }

    async fn connect(&self, until: Instant) -> io::Result<Box<dyn Stream>> {
        let reloaded = Instant::now() + RELOADING;
        loop {
            let connected = timeout_at(until, async {
                Ok::<Box<dyn Stream>, io::Error>(match &self.endpoint {
                    Endpoint::Unix(path) => Box::new(UnixStream::connect(path).await?),
                    Endpoint::Tcp(address) => {
                        let stream = TcpStream::connect(address).await?;
                        stream.set_nodelay(true)?;
                        Box::new(stream)
                    }
                })
            });
            let error = match connected.await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => error,
                Err(_) => return Err(io::ErrorKind::TimedOut.into()),
            };
            let passes = match error.kind() {
                io::ErrorKind::WouldBlock => true,
                io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => self.master && Instant::now() < reloaded,
                _ => false,
            };
            if !passes || Instant::now() + PAUSE >= until {
                return Err(error);
            }
            sleep(PAUSE).await;
        }
    }
}
