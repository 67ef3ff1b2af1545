use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use super::Breach;
use super::balancer::Trouble;

/// One end of a [`Wire`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum WireEnd {
    /// A unix socket.
    Unix(PathBuf),
    /// A TCP socket.
    Tcp(SocketAddr),
}

/// A way to an admin socket that fails as it is told to: the balancer value under test connects to the wire, and the wire
/// to the balancer. For protocols of one line a connection, whose answer ends with the connection. Dropping it ends it.
///
/// # Examples
///
/// ```
/// use std::path::Path;
/// use ha_testkit::conformance::balancer::Trouble;
/// use ha_testkit::conformance::{Breach, Wire, WireEnd};
///
/// /// Between the value under test, which connects to `wire.sock`, and the balancer's own socket.
/// async fn spoiled(dir: &Path) -> Result<Wire, Breach> {
///     let end = |name| WireEnd::Unix(dir.join(name));
///     let wire = Wire::start(end("wire.sock"), end("admin.sock"), |line| line.starts_with("set server")).await?;
///     wire.set(Some(Trouble::HungAfterWrite)).await?;
///     Ok(wire)
/// }
/// ```
#[derive(Debug)]
pub struct Wire {
    ends: Arc<Ends>,
    trouble: watch::Sender<Option<Trouble>>,
    listening: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Ends {
    here: WireEnd,
    there: WireEnd,
    /// A socket of the same balancer that refuses writes.
    denying: Option<WireEnd>,
    /// Tells whether a line changes something.
    writes: fn(&str) -> bool,
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

impl Wire {
    /// Listens at `here` and passes all on to `there`; `writes` tells the lines that change something from those that read.
    ///
    /// # Errors
    /// When `here` is taken.
    pub async fn start(here: WireEnd, there: WireEnd, writes: fn(&str) -> bool) -> Result<Self, Breach> {
        Self::with_denying(here, there, None, writes).await
    }

    /// As [`start`](Self::start), with a socket that refuses writes for [`Trouble::Denied`].
    ///
    /// # Errors
    /// When `here` is taken.
    pub async fn with_denying(
        here: WireEnd,
        there: WireEnd,
        denying: Option<WireEnd>,
        writes: fn(&str) -> bool,
    ) -> Result<Self, Breach> {
        let ends = Arc::new(Ends { here, there, denying, writes });
        let wire = Self { ends, trouble: watch::Sender::new(None), listening: Mutex::default() };
        wire.listen().await?;
        Ok(wire)
    }

    /// Fails in this way from now on, or heals.
    ///
    /// # Errors
    /// When it cannot listen again.
    pub async fn set(&self, trouble: Option<Trouble>) -> Result<(), Breach> {
        self.trouble.send_replace(trouble);
        if trouble != Some(Trouble::Unreachable) {
            return Ok(self.listen().await?);
        }
        let listening = self.listening.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = listening {
            task.abort();
            let _ = task.await;
        }
        if let WireEnd::Unix(path) = &self.ends.here {
            std::fs::remove_file(path)?;
        }
        Ok(())
    }

    async fn listen(&self) -> io::Result<()> {
        if self.listening.lock().unwrap_or_else(PoisonError::into_inner).is_some() {
            return Ok(());
        }
        let (ends, trouble) = (self.ends.clone(), self.trouble.subscribe());
        let listener = match &self.ends.here {
            WireEnd::Unix(path) => Listener::Unix(UnixListener::bind(path)?),
            WireEnd::Tcp(address) => Listener::Tcp(TcpListener::bind(address).await?),
        };
        let task = tokio::spawn(accept(listener, ends, trouble));
        *self.listening.lock().unwrap_or_else(PoisonError::into_inner) = Some(task);
        Ok(())
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        if let Some(task) = self.listening.lock().unwrap_or_else(PoisonError::into_inner).take() {
            task.abort();
        }
    }
}

enum Listener {
    Unix(UnixListener),
    Tcp(TcpListener),
}

async fn accept(listener: Listener, ends: Arc<Ends>, trouble: watch::Receiver<Option<Trouble>>) {
    let mut connections = JoinSet::new();
    loop {
        let accepted: io::Result<Box<dyn Stream>> = match &listener {
            Listener::Unix(listener) => listener.accept().await.map(|(stream, _)| Box::new(stream) as _),
            Listener::Tcp(listener) => listener.accept().await.map(|(stream, _)| Box::new(stream) as _),
        };
        let Ok(stream) = accepted else { continue };
        let (ends, trouble) = (ends.clone(), trouble.clone());
        connections.spawn(async move {
            // Whoever called sees what became of it.
            let _ = carry(stream, &ends, trouble).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

/// Carries one call, or loses it.
async fn carry(
    mut near: Box<dyn Stream>,
    ends: &Ends,
    mut trouble: watch::Receiver<Option<Trouble>>,
) -> io::Result<()> {
    let mut line = Vec::new();
    let mut byte = [0_u8; 1];
    while !line.ends_with(b"\n") && near.read(&mut byte).await? == 1 {
        line.push(byte[0]);
    }
    let now = *trouble.borrow_and_update();
    let writes = (ends.writes)(&String::from_utf8_lossy(&line));
    match now {
        Some(Trouble::Unreachable) => return Ok(()),
        Some(Trouble::Hung) => {
            over(&mut trouble, Trouble::Hung).await;
            return Ok(());
        }
        Some(Trouble::LateWrite) if writes => over(&mut trouble, Trouble::LateWrite).await,
        Some(Trouble::IgnoredWrite) if writes => return ignore(near, line, ends).await,
        Some(unanswered @ (Trouble::HungAfterWrite | Trouble::BrokenAfterWrite)) if writes => {
            let mut far = connect(&ends.there).await?;
            far.write_all(&line).await?;
            far.read_to_end(&mut Vec::new()).await?;
            if unanswered == Trouble::HungAfterWrite {
                over(&mut trouble, unanswered).await;
            }
            return Ok(());
        }
        None | Some(_) => {}
    }
    let denied = ends.denying.as_ref().filter(|_| now == Some(Trouble::Denied));
    let mut far = connect(denied.unwrap_or(&ends.there)).await?;
    far.write_all(&line).await?;
    copy_bidirectional(&mut near, &mut far).await?;
    Ok(())
}

/// Answers what changes something with an empty line, as if it had been done, and carries the rest of the line.
async fn ignore(mut near: Box<dyn Stream>, line: Vec<u8>, ends: &Ends) -> io::Result<()> {
    let line = String::from_utf8_lossy(&line).into_owned();
    let (written, read): (Vec<&str>, Vec<&str>) =
        line.trim_end().split(';').partition(|command| (ends.writes)(command));
    near.write_all("\n".repeat(written.len()).as_bytes()).await?;
    if read.is_empty() {
        return near.shutdown().await;
    }
    let mut far = connect(&ends.there).await?;
    far.write_all(format!("{}\n", read.join(";")).as_bytes()).await?;
    copy_bidirectional(&mut near, &mut far).await?;
    Ok(())
}

async fn over(trouble: &mut watch::Receiver<Option<Trouble>>, this: Trouble) {
    let _ = trouble.wait_for(|now| *now != Some(this)).await;
}

async fn connect(end: &WireEnd) -> io::Result<Box<dyn Stream>> {
    Ok(match end {
        WireEnd::Unix(path) => Box::new(UnixStream::connect(path).await?),
        WireEnd::Tcp(address) => Box::new(TcpStream::connect(address).await?),
    })
}
