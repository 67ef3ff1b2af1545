use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::endpoint::{Doorway, Endpoint, Stream};

/// What a fault proxy does to the bytes of one direction.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum LinkFault {
    /// Passes them on.
    #[default]
    None,
    /// Passes them on this much later.
    Delay(Duration),
    /// Holds them back until the fault is changed; both ends stay connected (half open).
    Hold,
    /// Passes on so many bytes of each connection, counted from its beginning, then closes both ends.
    CloseAfter(u64),
    /// The same, with a reset instead of an orderly end (over TCP; a Unix socket knows no reset).
    ResetAfter(u64),
    /// Inverts the lowest bit of every byte.
    Garble,
}

/// The way that bytes go through a fault proxy.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Leg {
    /// From the client to the target.
    ToTarget,
    /// From the target to the client.
    ToClient,
}

/// A proxy between a client and a target that spoils the connection when told, at any moment. It needs no runtime.
#[derive(Debug)]
pub struct FaultProxy {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    doorway: Doorway,
    target: Endpoint,
    links: Mutex<Links>,
    changed: Condvar,
    connections: AtomicU64,
}

#[derive(Debug, Default)]
struct Links {
    faults: [LinkFault; 2],
    /// Both ends of every connection, by its number, and how many of its directions still run.
    open: BTreeMap<u64, (Stream, Stream, u8)>,
    /// What the client of the newest connection sent.
    request: Vec<u8>,
    closed: bool,
}

impl FaultProxy {
    /// Listens on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// When no port is free.
    pub fn on_tcp(target: impl Into<Endpoint>) -> io::Result<Self> {
        Self::start(Endpoint::Tcp(SocketAddr::from(([127, 0, 0, 1], 0))), target.into())
    }

    /// Listens on the Unix socket `path`, which must not exist.
    ///
    /// # Errors
    /// What the file system says.
    pub fn on_unix(path: impl Into<PathBuf>, target: impl Into<Endpoint>) -> io::Result<Self> {
        Self::start(Endpoint::Unix(path.into()), target.into())
    }

    fn start(at: Endpoint, target: Endpoint) -> io::Result<Self> {
        let inner = Inner {
            doorway: Doorway::open(at)?,
            target,
            links: Mutex::default(),
            changed: Condvar::new(),
            connections: AtomicU64::new(0),
        };
        let inner = Arc::new(inner);
        let accepting = inner.clone();
        std::thread::spawn(move || {
            while let Some(client) = accepting.doorway.accept() {
                let number = accepting.connections.fetch_add(1, Ordering::SeqCst) + 1;
                // No target: the client sees its connection end.
                if let Ok(target) = accepting.target.connect() {
                    let _ = Inner::link(&accepting, number, client, target);
                }
            }
        });
        Ok(Self { inner })
    }

    /// Returns where it listens.
    pub fn endpoint(&self) -> &Endpoint {
        self.inner.doorway.endpoint()
    }

    /// Returns its port; 0 for a Unix socket.
    pub fn port(&self) -> u16 {
        self.endpoint().port()
    }

    /// Sets what happens to the bytes of one direction, those on their way included.
    pub fn set(&self, direction: Leg, fault: LinkFault) {
        self.inner.lock().faults[direction as usize] = fault;
        self.inner.changed.notify_all();
    }

    /// Sets the same for both directions.
    pub fn set_both(&self, fault: LinkFault) {
        self.inner.lock().faults = [fault; 2];
        self.inner.changed.notify_all();
    }

    /// Refuses new connections from now on; those that are open are not touched.
    pub fn refuse(&self) {
        self.inner.doorway.close();
    }

    /// Accepts connections again.
    ///
    /// # Errors
    /// When the port is taken meanwhile, or what the file system says.
    pub fn accept_again(&self) -> io::Result<()> {
        self.inner.doorway.reopen()
    }

    /// Closes every open connection at both ends.
    pub fn cut_all(&self) {
        for (client, target, _) in self.inner.lock().open.values() {
            client.shutdown(Shutdown::Both);
            target.shutdown(Shutdown::Both);
        }
    }

    /// Counts the connections that were accepted so far.
    pub fn connections(&self) -> u64 {
        self.inner.connections.load(Ordering::SeqCst)
    }

    /// Returns what the client of the newest connection has sent so far, before any fault.
    pub fn last_request(&self) -> Vec<u8> {
        self.inner.lock().request.clone()
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.inner.lock().closed = true;
        self.inner.changed.notify_all();
        self.inner.doorway.end();
        self.cut_all();
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, Links> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn link(this: &Arc<Self>, number: u64, client: Stream, target: Stream) -> io::Result<()> {
        let ways = [
            (Leg::ToTarget, client.try_clone()?, target.try_clone()?),
            (Leg::ToClient, target.try_clone()?, client.try_clone()?),
        ];
        let mut links = this.lock();
        if links.closed {
            return Ok(());
        }
        links.request.clear();
        links.open.insert(number, (client, target, 2));
        drop(links);
        for (direction, from, to) in ways {
            let this = this.clone();
            std::thread::spawn(move || {
                if this.pump(number, direction, &from, &to).is_none() {
                    from.shutdown(Shutdown::Both);
                    to.shutdown(Shutdown::Both);
                }
                this.ended(number);
            });
        }
        Ok(())
    }

    /// Carries the bytes of one direction; `None` when both ends are to be closed.
    fn pump(&self, number: u64, direction: Leg, mut from: &Stream, mut to: &Stream) -> Option<()> {
        let (mut bytes, mut passed) = ([0_u8; 4096], 0_u64);
        loop {
            let read = from.read(&mut bytes).ok()?;
            if direction == Leg::ToTarget && number == self.connections.load(Ordering::SeqCst) {
                self.lock().request.extend_from_slice(&bytes[..read]);
            }
            let mut part = bytes[..read].to_vec();
            let left = |limit: u64| usize::try_from(limit.saturating_sub(passed)).unwrap_or(usize::MAX);
            match self.fault_of(direction)? {
                LinkFault::None | LinkFault::Hold => {}
                LinkFault::Delay(time) => std::thread::sleep(time),
                LinkFault::Garble => part.iter_mut().for_each(|byte| *byte ^= 1),
                LinkFault::CloseAfter(limit) if part.len() >= left(limit) => {
                    let _ = to.write_all(&part[..left(limit)]);
                    return None;
                }
                LinkFault::ResetAfter(limit) if part.len() >= left(limit) => {
                    let _ = to.write_all(&part[..left(limit)]);
                    from.reset();
                    to.reset();
                    return None;
                }
                LinkFault::CloseAfter(_) | LinkFault::ResetAfter(_) => {}
            }
            if part.is_empty() {
                // One end has said all; the other one may still speak.
                to.shutdown(Shutdown::Write);
                return Some(());
            }
            to.write_all(&part).ok()?;
            passed += u64::try_from(part.len()).unwrap_or(0);
        }
    }

    fn ended(&self, number: u64) {
        if let Entry::Occupied(mut link) = self.lock().open.entry(number) {
            link.get_mut().2 -= 1;
            if link.get().2 == 0 {
                link.remove();
            }
        }
    }

    /// Waits until the direction is not held, and returns its fault; `None` when the proxy has ended.
    fn fault_of(&self, direction: Leg) -> Option<LinkFault> {
        let mut links = self.lock();
        while links.faults[direction as usize] == LinkFault::Hold && !links.closed {
            links = self.changed.wait(links).unwrap_or_else(PoisonError::into_inner);
        }
        (!links.closed).then(|| links.faults[direction as usize])
    }
}
