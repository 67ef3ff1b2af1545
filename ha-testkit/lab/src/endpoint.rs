use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Where something listens.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Endpoint {
    /// A TCP address.
    Tcp(SocketAddr),
    /// The path of a Unix socket.
    Unix(PathBuf),
}

impl Endpoint {
    /// Returns the TCP port; 0 for a Unix socket.
    pub fn port(&self) -> u16 {
        match self {
            Self::Tcp(address) => address.port(),
            Self::Unix(_) => 0,
        }
    }

    /// Returns the path of the Unix socket.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Tcp(_) => None,
            Self::Unix(path) => Some(path),
        }
    }

    pub(super) fn connect(&self) -> io::Result<Stream> {
        match self {
            Self::Tcp(address) => TcpStream::connect(address).and_then(Stream::tcp),
            Self::Unix(path) => UnixStream::connect(path).map(Stream::Unix),
        }
    }
}

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address)
    }
}

impl From<PathBuf> for Endpoint {
    fn from(path: PathBuf) -> Self {
        Self::Unix(path)
    }
}

impl From<&Path> for Endpoint {
    fn from(path: &Path) -> Self {
        Self::Unix(path.into())
    }
}

/// A connection of either kind.
#[derive(Debug)]
pub(super) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    fn tcp(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self::Tcp(stream))
    }

    pub(super) fn try_clone(&self) -> io::Result<Self> {
        match self {
            Self::Tcp(stream) => stream.try_clone().map(Self::Tcp),
            Self::Unix(stream) => stream.try_clone().map(Self::Unix),
        }
    }

    pub(super) fn shutdown(&self, how: Shutdown) {
        let _ = match self {
            Self::Tcp(stream) => stream.shutdown(how),
            Self::Unix(stream) => stream.shutdown(how),
        };
    }

    /// Resets a TCP connection at once, whoever else holds a handle of it.
    pub(super) fn reset(&self) {
        if let Self::Tcp(stream) = self {
            let _ = rustix::net::sockopt::set_socket_linger(stream, Some(Duration::ZERO));
            let _ = rustix::net::connect_unspec(stream);
        }
    }
}

impl Read for &Stream {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => (&*stream).read(bytes),
            Stream::Unix(stream) => (&*stream).read(bytes),
        }
    }
}

impl Write for &Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => (&*stream).write(bytes),
            Stream::Unix(stream) => (&*stream).write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A listener that can be closed and opened again at the same place while a thread accepts from it.
#[derive(Debug)]
pub(super) struct Doorway {
    endpoint: Endpoint,
    door: Mutex<Door>,
    changed: Condvar,
}

#[derive(Debug)]
struct Door {
    listener: Option<Arc<Listener>>,
    ended: bool,
}

#[derive(Debug)]
enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Doorway {
    /// Opens it at `at`; a port of 0 becomes a free one.
    pub(super) fn open(at: Endpoint) -> io::Result<Self> {
        let listener = Listener::bind(&at)?;
        let endpoint = match &listener {
            Listener::Tcp(tcp) => Endpoint::Tcp(tcp.local_addr()?),
            Listener::Unix(_) => at,
        };
        let door = Mutex::new(Door { listener: Some(Arc::new(listener)), ended: false });
        Ok(Self { endpoint, door, changed: Condvar::new() })
    }

    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Waits for a connection; `None` when the doorway has ended.
    pub(super) fn accept(&self) -> Option<Stream> {
        loop {
            let mut door = self.lock();
            let listener = loop {
                if door.ended {
                    return None;
                }
                match &door.listener {
                    Some(listener) => break listener.clone(),
                    None => door = self.changed.wait(door).unwrap_or_else(PoisonError::into_inner),
                }
            };
            drop(door);
            if let Ok(stream) = listener.accept() {
                return Some(stream);
            }
        }
    }

    /// Refuses connections. Those that wait to be accepted are lost.
    pub(super) fn close(&self) {
        if let Some(listener) = self.lock().listener.take() {
            // Ends a running accept and refuses connections at once, before the last handle is closed.
            let _ = rustix::net::shutdown(listener.as_ref(), rustix::net::Shutdown::Both);
        }
    }

    /// Accepts connections again.
    pub(super) fn reopen(&self) -> io::Result<()> {
        let mut door = self.lock();
        if door.listener.is_none() {
            self.remove_file();
            door.listener = Some(Arc::new(Listener::bind(&self.endpoint)?));
            self.changed.notify_all();
        }
        Ok(())
    }

    /// Sets how many connections wait to be accepted before more are turned away.
    pub(super) fn set_backlog(&self, connections: u16) -> io::Result<()> {
        match &self.lock().listener {
            Some(listener) => Ok(rustix::net::listen(listener.as_ref(), i32::from(connections))?),
            None => Ok(()),
        }
    }

    /// Closes it for good.
    pub(super) fn end(&self) {
        self.close();
        self.lock().ended = true;
        self.changed.notify_all();
        self.remove_file();
    }

    fn remove_file(&self) {
        if let Some(path) = self.endpoint.path() {
            let _ = std::fs::remove_file(path);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Door> {
        self.door.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listener {
    fn bind(at: &Endpoint) -> io::Result<Self> {
        match at {
            Endpoint::Tcp(address) => TcpListener::bind(address).map(Self::Tcp),
            Endpoint::Unix(path) => UnixListener::bind(path).map(Self::Unix),
        }
    }

    fn accept(&self) -> io::Result<Stream> {
        match self {
            Self::Tcp(listener) => listener.accept().and_then(|(stream, _)| Stream::tcp(stream)),
            Self::Unix(listener) => listener.accept().map(|(stream, _)| Stream::Unix(stream)),
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(listener) => listener.as_fd(),
            Self::Unix(listener) => listener.as_fd(),
        }
    }
}
