use std::io;
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::sync::atomic::{AtomicU32, Ordering};

/// A port of 127.0.0.1 that nobody listens on, kept from every other lab and test until it is dropped: to listen on, again
/// and again, or to stay closed.
///
/// A port that was only looked for can be taken before its server listens: by another lab, or by a client for its side of
/// a connection. So it lies below those that Linux gives to clients (`ip_local_port_range`, from 32768 on), and an abstract
/// socket of its name, which is gone with the process at the latest, keeps others who ask here away.
///
/// # Examples
///
/// ```
/// use ha_lab::ReservedPort;
///
/// let (one, other) = (ReservedPort::any()?, ReservedPort::any()?);
/// assert_ne!(one.number(), other.number());
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct ReservedPort {
    number: u16,
    _claim: UnixListener,
}

const FIRST: u32 = 12_000;
const COUNT: u32 = 20_000;

impl ReservedPort {
    /// Finds one. Processes begin at different places, so that a port is not used again soon.
    ///
    /// # Errors
    /// When none of the 20,000 from 12000 on is free.
    pub fn any() -> io::Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let here = (std::process::id() % COUNT) * 37;
        for _ in 0..COUNT {
            let next = here.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT;
            let number = u16::try_from(FIRST + next).map_err(io::Error::other)?;
            if let Some(port) = Self::claim(number)? {
                return Ok(port);
            }
        }
        Err(io::Error::new(io::ErrorKind::AddrInUse, "no loopback port is free"))
    }

    fn claim(number: u16) -> io::Result<Option<Self>> {
        let name = SocketAddr::from_abstract_name(format!("ha-lab-port-{number}"))?;
        let taken = |error: io::Error| match error.kind() {
            io::ErrorKind::AddrInUse => Ok(None),
            _ => Err(error),
        };
        let claim = match UnixListener::bind_addr(&name) {
            Ok(claim) => claim,
            Err(error) => return taken(error),
        };
        match TcpListener::bind(("127.0.0.1", number)) {
            Ok(_) => Ok(Some(Self { number, _claim: claim })),
            Err(error) => taken(error),
        }
    }

    /// Returns its number.
    pub fn number(&self) -> u16 {
        self.number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_given_to_nobody_else_until_it_is_given_back() {
        let port = ReservedPort::any().unwrap();
        let number = port.number();
        assert!(ReservedPort::claim(number).unwrap().is_none());
        drop(port);
        let port = ReservedPort::claim(number).unwrap().unwrap();
        let _server = TcpListener::bind(("127.0.0.1", number)).unwrap();
        drop(port);
        assert!(ReservedPort::claim(number).unwrap().is_none(), "a server listens there");
    }
}
