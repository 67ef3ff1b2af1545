//! A web server whose state is set by the test, over TCP or TLS; and a door that accepts or refuses.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ha_lab::ReservedPort;
use ha_testkit::conformance::Breach;
use ha_testkit::conformance::probe::{FAILED, STARTING, Stance};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep;

/// A port that can be closed and opened again.
pub(crate) struct Door {
    pub(crate) address: SocketAddr,
    /// While it is closed nobody else opens it.
    _port: ReservedPort,
    accepting: Mutex<Option<JoinHandle<()>>>,
    serve: Serve,
}

type Serve = Arc<dyn Fn(TcpStream) -> Serving + Send + Sync>;
type Serving = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

impl Door {
    pub(crate) async fn open(serve: Serve) -> Result<Self, Breach> {
        let port = ReservedPort::any()?;
        let listener = TcpListener::bind(("127.0.0.1", port.number())).await?;
        let door = Self { address: listener.local_addr()?, _port: port, accepting: Mutex::default(), serve };
        door.accept(listener);
        Ok(door)
    }

    /// Accepts and says nothing.
    pub(crate) async fn silent() -> Result<Self, Breach> {
        Self::open(Arc::new(|_| Box::pin(async {}))).await
    }

    fn accept(&self, listener: TcpListener) {
        let serve = self.serve.clone();
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let Ok((stream, _)) = listener.accept().await else { continue };
                connections.spawn(serve(stream));
                while connections.try_join_next().is_some() {}
            }
        });
        *self.accepting.lock().unwrap() = Some(task);
    }

    pub(crate) async fn set(&self, open: bool) -> Result<(), Breach> {
        let accepting = self.accepting.lock().unwrap().take();
        match (open, accepting) {
            (true, None) => self.accept(TcpListener::bind(self.address).await?),
            (false, Some(task)) => {
                task.abort();
                let _ = task.await;
            }
            (_, accepting) => *self.accepting.lock().unwrap() = accepting,
        }
        Ok(())
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        if let Some(task) = self.accepting.lock().unwrap().take() {
            task.abort();
        }
    }
}

/// The state of a web server, and how many connections it has.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) stance: Mutex<Option<(Stance, String)>>,
    pub(crate) open: AtomicUsize,
    /// Answers `{"status": .., "version": ..}`.
    pub(crate) json: bool,
    /// What the last request said.
    pub(crate) heard: Mutex<String>,
}

struct Open(Arc<State>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Serves one connection.
pub(crate) async fn serve(state: Arc<State>, stream: impl AsyncRead + AsyncWrite + Unpin) {
    state.open.fetch_add(1, Ordering::SeqCst);
    let _open = Open(state.clone());
    let _ = answer(&state, stream).await;
}

async fn answer(state: &State, mut stream: impl AsyncRead + AsyncWrite + Unpin) -> std::io::Result<()> {
    let (mut request, mut chunk) = (Vec::new(), [0_u8; 1024]);
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        let read = stream.read(&mut chunk).await?;
        if read == 0 {
            return Ok(());
        }
        request.extend_from_slice(&chunk[..read]);
    }
    let request = String::from_utf8_lossy(&request).into_owned();
    let test = request.starts_with("GET /test ");
    *state.heard.lock().unwrap() = request;
    let Some((stance, release)) = state.stance.lock().unwrap().clone() else { return Ok(()) };
    let body = match (state.json && !test, test) {
        (true, _) => format!("{{\"status\": \"ready\", \"version\": \"{release}\"}}"),
        (false, true) => format!("ok {release}\n"),
        (false, false) => format!("{release}\nand more\n"),
    };
    let whole = |status: &str, body: &str| {
        format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nx-release: {release}\r\n\r\n{body}", body.len())
    };
    let reply = match stance {
        Stance::FailingTest if test => whole("500 Internal Server Error", FAILED),
        Stance::NotReady => whole("503 Service Unavailable", STARTING),
        Stance::Nameless => whole("200 OK", "\n"),
        Stance::Garbage => "\u{fffd}\0garbage\r\n\r\n".into(),
        Stance::Broken => format!("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{body}"),
        Stance::Hung => return until_closed(stream).await,
        Stance::HungTest if test => return until_closed(stream).await,
        Stance::Endless => {
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
            loop {
                stream.write_all(&[b'x'; 4096]).await?;
            }
        }
        Stance::Dribbled => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nx-noise: ").await?;
            loop {
                stream.write_all(b"x").await?;
                stream.flush().await?;
                sleep(Duration::from_millis(20)).await;
            }
        }
        _ => whole("200 OK", &body),
    };
    stream.write_all(reply.as_bytes()).await?;
    stream.shutdown().await
}

async fn until_closed(mut stream: impl AsyncRead + Unpin) -> std::io::Result<()> {
    while stream.read(&mut [0_u8; 1024]).await? > 0 {}
    Ok(())
}
