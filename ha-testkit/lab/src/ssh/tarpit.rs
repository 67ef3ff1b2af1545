use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How a tarpit treats those who connect.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum TarpitKind {
    /// Accepts and never says a word.
    NoBanner,
    /// Greets as an sshd and says nothing more. `ConnectTimeout` of ssh does not help, `ServerAliveInterval` does.
    BannerThenSilence,
    /// Sends a banner that never ends, a byte every 200 ms. ssh 9.2 forgets its `ConnectTimeout` when a byte arrives just as
    /// it ends, and stays for a quarter of an hour.
    Drip,
    /// Nobody listens: the connection is refused.
    Refused,
}

/// A port on loopback that does not behave as an sshd should. Dropping it closes the port and its connections.
#[derive(Debug)]
pub struct Tarpit {
    address: SocketAddrV4,
    held: Arc<Mutex<Vec<TcpStream>>>,
    closed: Arc<AtomicBool>,
}

/// The time between two bytes of a banner that never ends.
const DRIP: Duration = Duration::from_millis(200);

impl Tarpit {
    /// Opens a tarpit at a free port. It needs neither root nor a lab.
    ///
    /// # Errors
    /// When no port is free.
    pub fn open(kind: TarpitKind) -> io::Result<Self> {
        // An address that hardly anybody else uses: a refusing port stays free although it is not held.
        let [_, _, high, low] = std::process::id().to_be_bytes();
        let ip = Ipv4Addr::new(127, 214, high, low.clamp(1, 254));
        let listener = TcpListener::bind((ip, 0))?;
        let address = SocketAddrV4::new(ip, listener.local_addr()?.port());
        let tarpit = Self { address, held: Arc::default(), closed: Arc::default() };
        if kind != TarpitKind::Refused {
            let (held, closed) = (tarpit.held.clone(), tarpit.closed.clone());
            std::thread::spawn(move || serve(kind, &listener, &held, &closed));
        }
        Ok(tarpit)
    }

    /// Returns the address to connect to.
    pub fn address(&self) -> SocketAddrV4 {
        self.address
    }

    /// Returns how many connections it holds or has held.
    pub fn connections(&self) -> usize {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

impl Drop for Tarpit {
    fn drop(&mut self) {
        self.closed.store(true, Ordering::SeqCst);
        for stream in self.held.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
        // Wakes the thread that accepts, so that it ends.
        let _ = TcpStream::connect(self.address);
    }
}

fn serve(kind: TarpitKind, listener: &TcpListener, held: &Mutex<Vec<TcpStream>>, closed: &AtomicBool) {
    for stream in listener.incoming().flatten() {
        if closed.load(Ordering::SeqCst) {
            return;
        }
        let Ok(mut writer) = stream.try_clone() else { continue };
        held.lock().unwrap_or_else(PoisonError::into_inner).push(stream);
        match kind {
            TarpitKind::BannerThenSilence => drop(writer.write_all(b"SSH-2.0-OpenSSH_9.2p1\r\n")),
            TarpitKind::Drip => drop(std::thread::spawn(move || drip(writer))),
            TarpitKind::NoBanner | TarpitKind::Refused => {}
        }
    }
}

fn drip(mut stream: TcpStream) {
    for byte in b"SSH-2.0-".iter().chain(std::iter::repeat(&b'x')) {
        if stream.write_all(&[*byte]).is_err() {
            return;
        }
        std::thread::sleep(DRIP);
    }
}
