use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::FailureKind;

type Connection = SendRequest<Empty<Bytes>>;

/// The kept-alive connections of the simulated clients.
#[derive(Debug)]
pub(super) struct Pool {
    address: SocketAddr,
    idle: Mutex<Vec<Connection>>,
}

/// One request to send.
#[derive(Clone, Debug)]
pub(super) struct Shot {
    pub(super) path: String,
    pub(super) id: String,
    pub(super) timeout: Duration,
    pub(super) expect: String,
}

impl Pool {
    pub(super) fn new(address: SocketAddr) -> Self {
        Self { address, idle: Mutex::new(Vec::new()) }
    }

    /// Sends one request and reads its whole answer; returns the second word of the body.
    pub(super) async fn fire(&self, shot: &Shot) -> Result<String, FailureKind> {
        match timeout(shot.timeout, self.exchange(shot)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(FailureKind::Timeout),
        }
    }

    async fn exchange(&self, shot: &Shot) -> Result<String, FailureKind> {
        let mut connection = match self.take() {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        let request = Request::get(shot.path.as_str())
            .header("host", "localhost")
            .header("x-request-id", shot.id.as_str())
            .body(Empty::new())
            .map_err(|_| FailureKind::Other)?;
        let response = connection.send_request(request).await.map_err(|error| kind_of(&error, false))?;
        let status = response.status();
        let body = response.into_body().collect().await.map_err(|error| kind_of(&error, true))?.to_bytes();
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        match status {
            StatusCode::OK => {}
            status if status.is_server_error() => return Err(FailureKind::Status5xx),
            _ => return Err(FailureKind::OtherStatus),
        }
        let text = String::from_utf8_lossy(&body);
        if !text.starts_with(&shot.expect) {
            return Err(FailureKind::WrongBody);
        }
        text.split_whitespace().nth(1).map(str::to_string).ok_or(FailureKind::WrongBody)
    }

    /// Takes a connection that the server has not closed while it was idle, as good clients do.
    fn take(&self) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|connection| !connection.is_closed());
        let place = idle.iter().rposition(SendRequest::is_ready)?;
        Some(idle.swap_remove(place))
    }

    async fn connect(&self) -> Result<Connection, FailureKind> {
        let stream = TcpStream::connect(self.address).await.map_err(|error| kind_of(&error, false))?;
        let _ = stream.set_nodelay(true);
        let (sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| kind_of(&error, false))?;
        tokio::spawn(async move {
            let _ = connection.await;
        });
        Ok(sender)
    }
}

/// Tells how a request failed from the error and its causes.
fn kind_of(error: &(dyn Error + 'static), answer_begun: bool) -> FailureKind {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            match error.kind() {
                io::ErrorKind::ConnectionRefused => return FailureKind::Refused,
                io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => return FailureKind::Reset,
                io::ErrorKind::UnexpectedEof if answer_begun => return FailureKind::Truncated,
                _ => {}
            }
        }
        if let Some(error) = error.downcast_ref::<hyper::Error>()
            && error.is_incomplete_message()
        {
            return if answer_begun { FailureKind::Truncated } else { FailureKind::EofBeforeAnswer };
        }
        cause = error.source();
    }
    if answer_begun { FailureKind::Truncated } else { FailureKind::Other }
}
