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
pub(crate) const PAUSE: Duration = Duration::from_millis(20);
/// How long a master may refuse connections while it reloads; 100 to 420 ms were measured.
const RELOADING: Duration = Duration::from_secs(1);
/// HAProxy's buffer: what it sends at once.
const FIRST_READ: usize = 16 * 1024;

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
pub(crate) struct OpContext<'a> {
    pub(crate) operation: &'static str,
    pub(crate) target: &'a str,
}

/// How far a question came, which decides what its failure means.
#[derive(Clone, Copy)]
enum Stage {
    Queued,
    Connecting,
    Sending,
    Sent,
}

impl Socket {
    pub(crate) fn new(endpoint: Endpoint, deadline: Duration, max_reply: u64, places: usize, master: bool) -> Self {
        Self { endpoint, deadline, max_reply, places: Arc::new(Semaphore::new(places.max(1))), master }
    }

    /// Sends one line on a connection of its own and reads the whole answer.
    ///
    /// An error from before the line was written has no effect. Later errors have an unknown one, which is the caller's
    /// to lift for lines that only read: a frozen HAProxy carries a command out when it wakes.
    pub(crate) async fn ask(&self, about: OpContext<'_>, line: &str) -> Result<String, StepError> {
        self.ask_until(about, line, self.until()).await
    }

    /// Returns when a question that begins now has taken too long.
    pub(crate) fn until(&self) -> Instant {
        Instant::now() + self.deadline
    }

    /// Asks as [`ask`](Self::ask) does, no longer than `until`.
    pub(crate) async fn ask_until(
        &self,
        about: OpContext<'_>,
        line: &str,
        until: Instant,
    ) -> Result<String, StepError> {
        let mut stage = Stage::Queued;
        // One deadline and one timer for all of it: this is asked every few milliseconds.
        let answer = match timeout_at(until, self.exchange(line, until, &mut stage)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return Err(self.broken(about, stage, error)),
            Err(_) => return Err(self.overdue(about, stage)),
        };
        if u64::try_from(answer.len()).unwrap_or(u64::MAX) > self.max_reply {
            let words = format!("the answer is longer than {} bytes", self.max_reply);
            return Err(self.failed(about, ErrorKind::Protocol, words));
        }
        // Every command is answered with at least an empty line.
        if answer.is_empty() {
            return Err(self.failed(about, ErrorKind::Protocol, "the connection was closed without an answer".into()));
        }
        String::from_utf8(answer)
            .map_err(|error| self.failed(about, ErrorKind::Protocol, "the answer is not UTF-8".into()).caused_by(error))
    }

    async fn exchange(&self, line: &str, until: Instant, stage: &mut Stage) -> io::Result<Vec<u8>> {
        // Never closed.
        let _place = self.places.acquire().await.map_err(io::Error::other)?;
        *stage = Stage::Connecting;
        let mut stream = self.connect(until).await?;
        *stage = Stage::Sending;
        let mut bytes = line.as_bytes().to_vec();
        bytes.push(b'\n');
        // The line ends with its last byte: as long as that is not written, HAProxy carries nothing out.
        stream.write_all(&bytes).await?;
        *stage = Stage::Sent;
        if self.master {
            stream.shutdown().await?;
        }
        // Most answers are one read, HAProxy's buffer; from empty on a vector would grow in eight.
        let mut answer = Vec::with_capacity(FIRST_READ);
        stream.take(self.max_reply.saturating_add(1)).read_to_end(&mut answer).await?;
        Ok(answer)
    }

    fn failed(&self, about: OpContext<'_>, kind: ErrorKind, words: String) -> StepError {
        StepError::new(kind, about.operation, about.target).with_context(format!("{}: {words}", self.endpoint))
    }

    /// What an error of the connection means at this stage.
    fn broken(&self, about: OpContext<'_>, stage: Stage, error: io::Error) -> StepError {
        match stage {
            Stage::Queued | Stage::Connecting => error::not_connected(about, &self.endpoint, error),
            Stage::Sending => {
                let words = format!("the connection broke before the command was sent: {error}");
                self.failed(about, ErrorKind::Unreachable, words).without_effect().caused_by(error)
            }
            Stage::Sent => {
                let words = format!("the connection broke: {error}; look at the server before anything else");
                self.failed(about, ErrorKind::Unreachable, words).caused_by(error)
            }
        }
    }

    /// What it means that the deadline passed at this stage.
    fn overdue(&self, about: OpContext<'_>, stage: Stage) -> StepError {
        match stage {
            Stage::Queued => {
                let words = "all of its connections are taken by calls that do not end: HAProxy may hang";
                self.failed(about, ErrorKind::Busy, words.into()).without_effect().retry_after(PAUSE)
            }
            Stage::Connecting => error::not_connected(about, &self.endpoint, io::ErrorKind::TimedOut.into()),
            Stage::Sending => {
                let words = format!("the command could not be sent in {:?}", self.deadline);
                self.failed(about, ErrorKind::Timeout, words).without_effect()
            }
            Stage::Sent => {
                let words =
                    format!("no whole answer in {:?}: HAProxy may hang, and may still carry it out", self.deadline);
                self.failed(about, ErrorKind::Timeout, words)
            }
        }
    }

    async fn connect(&self, until: Instant) -> io::Result<Box<dyn Stream>> {
        let reloaded = Instant::now() + RELOADING;
        loop {
            let error = match self.endpoint.connect().await {
                Ok(stream) => return Ok(stream),
                Err(error) => error,
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

impl Endpoint {
    async fn connect(&self) -> io::Result<Box<dyn Stream>> {
        Ok(match self {
            Self::Unix(path) => Box::new(UnixStream::connect(path).await?),
            Self::Tcp(address) => {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                Box::new(stream)
            }
        })
    }
}
