//! The socket under a session: made with the limits of TCP, and it counts what was written.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustix::net::sockopt;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use super::super::{Address, Limits};

/// A connected socket of either kind.
trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}

impl Socket for TcpStream {}
impl Socket for UnixStream {}

/// A socket that counts the bytes written to it, so that "was the statement sent?" has an answer.
pub(super) struct Wire {
    socket: Box<dyn Socket>,
    written: Arc<AtomicU64>,
    /// It is shut down when the other end has closed it as well.
    until_end: bool,
    shut: bool,
}

impl Wire {
    /// Connects to an address; of a TCP one it also returns where it arrived.
    pub(super) async fn connect(address: &Address, limits: &Limits) -> io::Result<(Self, Address)> {
        let (socket, arrived): (Box<dyn Socket>, _) = match address {
            Address::Tcp(host, port) => {
                let stream = TcpStream::connect((host.as_str(), *port)).await?;
                stream.set_nodelay(true)?;
                watch(&stream, limits)?;
                let arrived: SocketAddr = stream.peer_addr()?;
                (Box::new(stream), Address::Tcp(arrived.ip().to_string(), arrived.port()))
            }
            Address::Unix(path) => (Box::new(UnixStream::connect(path).await?), address.clone()),
        };
        Ok((Self { socket, written: Arc::default(), until_end: false, shut: false }, arrived))
    }

    /// Waits at its end for the other side to close: a server does so when it has passed a cancel on, which therefore does not
    /// hit the next statement.
    pub(super) fn until_end(mut self) -> Self {
        self.until_end = true;
        self
    }

    /// Returns the count of written bytes, which goes on.
    pub(super) fn written(&self) -> Arc<AtomicU64> {
        self.written.clone()
    }
}

/// Lets the kernel find out that the other end is gone.
fn watch(stream: &TcpStream, limits: &Limits) -> io::Result<()> {
    const PROBES: u32 = 3;
    if !limits.keepalive.is_zero() {
        // In whole seconds: less than one is one.
        let time = limits.keepalive.max(Duration::from_secs(1));
        sockopt::set_socket_keepalive(stream, true)?;
        sockopt::set_tcp_keepidle(stream, time)?;
        sockopt::set_tcp_keepintvl(stream, time)?;
        sockopt::set_tcp_keepcnt(stream, PROBES)?;
    }
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if !limits.unacknowledged.is_zero() {
        let time = u32::try_from(limits.unacknowledged.as_millis()).unwrap_or(u32::MAX);
        sockopt::set_tcp_user_timeout(stream, time)?;
    }
    Ok(())
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(cx, buf)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let count = ready!(Pin::new(&mut self.socket).poll_write(cx, buf))?;
        self.written.fetch_add(u64::try_from(count).unwrap_or(u64::MAX), Ordering::SeqCst);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.shut {
            ready!(Pin::new(&mut self.socket).poll_shutdown(cx))?;
            self.shut = true;
        }
        while self.until_end {
            let mut bytes = [0; 64];
            let mut rest = ReadBuf::new(&mut bytes);
            let read = ready!(Pin::new(&mut self.socket).poll_read(cx, &mut rest));
            self.until_end = read.is_ok() && !rest.filled().is_empty();
        }
        Poll::Ready(Ok(()))
    }
}
