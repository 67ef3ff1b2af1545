use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// How the faulty server treats one request.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum Misbehaviour {
    /// Answers well.
    None,
    /// Resets the connection instead of answering.
    Reset,
    /// Closes the connection instead of answering.
    Eof,
    /// Ends the answer in its middle.
    Truncate,
    /// Answers 503.
    Status503,
    /// Answers 404.
    Status404,
    /// Never answers.
    NoReply,
    /// Answers well with a wrong body.
    WrongBody,
}

/// A server that fails a known number of requests in each kind: what measures a load generator.
///
/// # Examples
///
/// ```
/// use ha_lab::load::{Class, FailureKind, FaultyServer, Load, Misbehaviour};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// // Each second request is answered with 503: the load must count just that.
/// let server = FaultyServer::start(vec![Misbehaviour::None, Misbehaviour::Status503]).await?;
/// let load = Load::new(server.address(), 500).with_class(Class::new("/", "orders ", 1)).with_limit(20);
/// let report = load.start()?.finish().await;
/// assert_eq!(report.counts.failed.get(&FailureKind::Status5xx), Some(&10));
/// # Ok::<(), std::io::Error>(())
/// # }).unwrap();
/// ```
#[derive(Debug)]
pub struct FaultyServer {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl FaultyServer {
    /// Starts it on a free loopback port; the n-th request of all gets the n-th treatment, in turn.
    ///
    /// # Errors
    /// When no port is free.
    pub async fn start(treatments: Vec<Misbehaviour>) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let (treatments, next) = (Arc::new(treatments), Arc::new(AtomicUsize::new(0)));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (treatments, next) = (treatments.clone(), next.clone());
                tokio::spawn(async move {
                    let _ = serve(stream, &treatments, &next).await;
                });
            }
        });
        Ok(Self { address, task })
    }

    /// Returns its address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for FaultyServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut stream: TcpStream, treatments: &[Misbehaviour], next: &AtomicUsize) -> io::Result<()> {
    let mut head = Vec::new();
    loop {
        while !head.windows(4).any(|end| end == b"\r\n\r\n") {
            let mut chunk = [0_u8; 1024];
            let read = stream.read(&mut chunk).await?;
            if read == 0 {
                return Ok(());
            }
            head.extend_from_slice(&chunk[..read]);
        }
        head.clear();
        let turn = next.fetch_add(1, Ordering::SeqCst) % treatments.len().max(1);
        let answer: &[u8] = match treatments.get(turn).copied().unwrap_or(Misbehaviour::None) {
            Misbehaviour::None => b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\norders 1",
            Misbehaviour::Reset => return stream.set_zero_linger(),
            Misbehaviour::Eof => return Ok(()),
            Misbehaviour::Truncate => {
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 800\r\n\r\norders").await?;
                return Ok(());
            }
            Misbehaviour::Status503 => b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n",
            Misbehaviour::Status404 => b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n",
            Misbehaviour::NoReply => std::future::pending().await,
            Misbehaviour::WrongBody => b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nsorry 1!",
        };
        stream.write_all(answer).await?;
    }
}
