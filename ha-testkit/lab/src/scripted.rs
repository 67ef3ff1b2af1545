use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::endpoint::{Doorway, Endpoint, Stream};

/// How a scripted socket answers one command.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ScriptedAnswer {
    /// The text, then the end of the stream, as HAProxy does.
    Text(String),
    /// The text, and the connection stays open until the client closes it. With an empty text: it hangs.
    Open(String),
    /// The text byte by byte, then the end of the stream.
    Dribble(String),
    /// The text again and again, until the client closes the connection.
    Endless(String),
    /// So many bytes of the text, then the end of the stream.
    Cut(String, usize),
    /// A reset instead of an answer over TCP, the end of the stream over a Unix socket.
    Reset,
    /// The end of the stream instead of an answer.
    Close,
}

impl ScriptedAnswer {
    /// Answers `text`, then ends the stream.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// Never answers.
    pub fn hang() -> Self {
        Self::Open(String::new())
    }
}

/// A fake of HAProxy's admin socket: one command a connection, answered by a script. It needs no runtime.
#[derive(Debug)]
pub struct ScriptedSocket {
    inner: Arc<Inner>,
}

type Script = Box<dyn Fn(&str) -> ScriptedAnswer + Send + Sync>;

struct Inner {
    doorway: Doorway,
    script: Script,
    desk: Mutex<Desk>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Desk {
    /// All that came, a connection each, in the order in which they were accepted.
    received: BTreeMap<u64, Vec<u8>>,
    open: BTreeMap<u64, Stream>,
    places: Option<usize>,
    ended: bool,
}

impl ScriptedSocket {
    /// Listens on the Unix socket `path`, which must not exist. The script gets each command without its line end.
    ///
    /// # Errors
    /// What the file system says.
    pub fn on_unix(
        path: impl Into<PathBuf>,
        script: impl Fn(&str) -> ScriptedAnswer + Send + Sync + 'static,
    ) -> io::Result<Self> {
        Self::start(Endpoint::Unix(path.into()), Box::new(script))
    }

    /// Listens on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// When no port is free.
    pub fn on_tcp(script: impl Fn(&str) -> ScriptedAnswer + Send + Sync + 'static) -> io::Result<Self> {
        Self::start(Endpoint::Tcp(SocketAddr::from(([127, 0, 0, 1], 0))), Box::new(script))
    }

    fn start(at: Endpoint, script: Script) -> io::Result<Self> {
        let (desk, changed) = (Mutex::default(), Condvar::new());
        let inner = Arc::new(Inner { doorway: Doorway::open(at)?, script, desk, changed });
        let accepting = inner.clone();
        std::thread::spawn(move || {
            for number in 0.. {
                let Some(stream) = accepting.doorway.accept() else { return };
                if !accepting.until_a_place_is_free() {
                    return;
                }
                let serving = accepting.clone();
                let Ok(handle) = stream.try_clone() else { continue };
                accepting.lock().open.insert(number, handle);
                std::thread::spawn(move || {
                    let _ = serving.serve(number, &stream);
                    stream.shutdown(Shutdown::Both);
                    serving.lock().open.remove(&number);
                    serving.changed.notify_all();
                });
            }
        });
        Ok(Self { inner })
    }

    /// Returns where it listens.
    pub fn endpoint(&self) -> &Endpoint {
        self.inner.doorway.endpoint()
    }

    /// Serves only so many connections at a time; the next ones connect and hang until a place is free. At 0 all hang.
    pub fn serve_at_once(&self, connections: usize) {
        self.inner.lock().places = Some(connections);
        self.inner.changed.notify_all();
    }

    /// Sets how many connections may wait to be accepted; connecting to a Unix socket beyond that gives `EAGAIN`.
    ///
    /// # Errors
    /// What the system says.
    pub fn set_backlog(&self, connections: u16) -> io::Result<()> {
        self.inner.doorway.set_backlog(connections)
    }

    /// Refuses connections from now on.
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

    /// Returns exactly what each connection sent until its first line ended, and what came with it.
    pub fn received(&self) -> Vec<Vec<u8>> {
        self.inner.lock().received.values().cloned().collect()
    }

    /// Returns every line that came, without its line end; more than one line a connection is more than one command.
    pub fn lines(&self) -> Vec<String> {
        let texts = self.received().into_iter().map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        texts.flat_map(|text| text.lines().map(str::to_string).collect::<Vec<_>>()).collect()
    }
}

impl Drop for ScriptedSocket {
    fn drop(&mut self) {
        self.inner.doorway.end();
        let mut desk = self.inner.lock();
        desk.ended = true;
        for stream in desk.open.values() {
            stream.shutdown(Shutdown::Both);
        }
        drop(desk);
        self.inner.changed.notify_all();
    }
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner").field("doorway", &self.doorway).field("desk", &self.desk).finish_non_exhaustive()
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether the socket still is there then.
    fn until_a_place_is_free(&self) -> bool {
        let mut desk = self.lock();
        while !desk.ended && desk.places.is_some_and(|places| desk.open.len() >= places) {
            desk = self.changed.wait(desk).unwrap_or_else(PoisonError::into_inner);
        }
        !desk.ended
    }

    fn serve(&self, number: u64, mut stream: &Stream) -> io::Result<()> {
        let (mut received, mut bytes) = (Vec::new(), [0_u8; 4096]);
        while !received.contains(&b'\n') {
            let read = stream.read(&mut bytes)?;
            if read == 0 {
                break;
            }
            received.extend_from_slice(&bytes[..read]);
            self.lock().received.insert(number, received.clone());
        }
        let text = String::from_utf8_lossy(&received).into_owned();
        let Some(command) = text.lines().next() else { return Ok(()) };
        match (self.script)(command) {
            ScriptedAnswer::Text(text) => stream.write_all(text.as_bytes()),
            ScriptedAnswer::Open(text) => {
                stream.write_all(text.as_bytes())?;
                while stream.read(&mut bytes)? > 0 {}
                Ok(())
            }
            ScriptedAnswer::Dribble(text) => text.bytes().try_for_each(|byte| {
                std::thread::yield_now();
                stream.write_all(&[byte])
            }),
            ScriptedAnswer::Endless(text) => loop {
                stream.write_all(text.as_bytes())?;
            },
            ScriptedAnswer::Cut(text, length) => {
                let text = text.as_bytes();
                stream.write_all(text.get(..length).unwrap_or(text))
            }
            ScriptedAnswer::Reset => {
                stream.reset();
                Ok(())
            }
            ScriptedAnswer::Close => Ok(()),
        }
    }
}
