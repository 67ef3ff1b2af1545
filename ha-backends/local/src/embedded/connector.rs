use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::Uri;
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tower_service::Service;

/// The client of one server, with the pool of its kept-alive connections.
pub(super) type MemberClient = Client<Connector, Incoming>;

/// Makes a client without retries: a request that is lost shows.
pub(super) fn client(address: SocketAddr, connections: Connections) -> MemberClient {
    Client::builder(TokioExecutor::new())
        .retry_canceled_requests(false)
        .set_host(false)
        .build(Connector { address, connections })
}

/// Counts the open connections to one server.
#[derive(Clone, Debug, Default)]
pub(super) struct Connections(Arc<AtomicU64>);

impl Connections {
    pub(super) fn open(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

/// Connects to one server, whatever the request's address says.
#[derive(Clone, Debug)]
pub(super) struct Connector {
    address: SocketAddr,
    connections: Connections,
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

impl Service<Uri> for Connector {
    type Response = TokioIo<Counted>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<TokioIo<Counted>>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let Self { address, connections } = self.clone();
        Box::pin(async move {
            let stream = timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await??;
            stream.set_nodelay(true)?;
            connections.0.fetch_add(1, Ordering::SeqCst);
            Ok(TokioIo::new(Counted { stream, connections }))
        })
    }
}

/// A connection that is counted while it is open.
#[derive(Debug)]
pub(super) struct Counted {
    stream: TcpStream,
    connections: Connections,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.connections.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Connection for Counted {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl AsyncRead for Counted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
