use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::wire::{Answer, Wire};
use super::{Class, FailureKind};
use crate::fake_carbon::HANDSHAKE_KEY;

/// One request to send.
#[derive(Debug)]
pub(super) struct Shot<'a> {
    pub(super) address: SocketAddr,
    /// Where it goes in turn when it cannot connect there; nothing was sent then.
    pub(super) others: &'a [SocketAddr],
    pub(super) class: &'a Class,
    pub(super) id: String,
    pub(super) timeout: Duration,
    /// The client's cookies; `None` for a client without memory.
    pub(super) jar: Option<&'a Jar>,
}

/// A right answer.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Served {
    /// The second word of its body.
    pub(super) release: String,
    /// The answer replaced the cookie that the request carried by another one.
    pub(super) moved: bool,
}

/// The cookie of one client.
#[derive(Debug, Default)]
pub(super) struct Jar(Mutex<Option<String>>);

impl Jar {
    fn cookie(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn keep(&self, cookie: String) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(cookie);
    }
}

impl Shot<'_> {
    /// Sends the request and reads its whole answer, over the connection in `kept` if that still is fresh; leaves one
    /// that may be used again there.
    pub(super) async fn fire(&self, kept: &mut Option<Wire>) -> Result<Served, FailureKind> {
        let reused = if self.class.closing { None } else { kept.take().filter(Wire::is_fresh) };
        match timeout(self.timeout, self.exchange(reused)).await {
            Ok(Ok((served, wire))) => {
                *kept = wire;
                served
            }
            Ok(Err(kind)) => Err(kind),
            Err(_) => Err(FailureKind::Timeout),
        }
    }

    async fn exchange(&self, reused: Option<Wire>) -> Result<(Result<Served, FailureKind>, Option<Wire>), FailureKind> {
        let mut wire = match reused {
            Some(wire) => wire,
            None => self.connect().await?,
        };
        let carried = self.jar.and_then(Jar::cookie);
        wire.send(self.text(carried.as_deref()).as_bytes()).await?;
        let mut answer = wire.answer().await?;
        if self.class.upgrade.is_some() && answer.status == 101 {
            answer.body = self.use_upgraded(&mut wire).await?;
            return Ok((self.judge(answer, carried), None));
        }
        let keeps = answer.keeps && !self.class.closing;
        Ok((self.judge(answer, carried), keeps.then_some(wire)))
    }

    async fn connect(&self) -> Result<Wire, FailureKind> {
        let mut connected = Wire::connect(self.address).await;
        for other in self.others.iter().filter(|other| **other != self.address) {
            if connected.is_ok() {
                break;
            }
            connected = Wire::connect(*other).await;
        }
        connected
    }

    fn text(&self, cookie: Option<&str>) -> String {
        let method = if self.class.post.is_some() { "POST" } else { "GET" };
        let mut text =
            format!("{method} {} HTTP/1.1\r\nhost: localhost\r\nx-request-id: {}\r\n", self.class.path, self.id);
        if let Some(cookie) = cookie {
            text += &format!("cookie: {cookie}\r\n");
        }
        if self.class.upgrade.is_some() {
            text += "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n";
            text += &format!("sec-websocket-key: {HANDSHAKE_KEY}\r\n");
        } else if self.class.closing {
            text += "connection: close\r\n";
        }
        match &self.class.post {
            Some(body) => text + &format!("content-length: {}\r\n\r\n{body}", body.len()),
            None => text + "\r\n",
        }
    }

    /// Reads the greeting, then has every word echoed until the time is over.
    async fn use_upgraded(&self, wire: &mut Wire) -> Result<Vec<u8>, FailureKind> {
        let cut = |kind| if kind == FailureKind::Reset { FailureKind::Reset } else { FailureKind::Truncated };
        let greeting = wire.line().await.map_err(cut)?;
        let until = Instant::now() + self.class.upgrade.unwrap_or_default();
        for number in 0_u64.. {
            if Instant::now() >= until {
                break;
            }
            let word = format!("{number:08}\n");
            wire.send(word.as_bytes()).await.map_err(cut)?;
            if wire.take(word.len()).await.map_err(cut)? != word.as_bytes() {
                return Err(FailureKind::WrongBody);
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok(greeting)
    }

    fn judge(&self, answer: Answer, carried: Option<String>) -> Result<Served, FailureKind> {
        let right = if self.class.upgrade.is_some() { 101 } else { 200 };
        if answer.status >= 500 {
            return Err(FailureKind::Status5xx);
        }
        if answer.status != right {
            return Err(FailureKind::OtherStatus);
        }
        let text = String::from_utf8_lossy(&answer.body);
        if !text.starts_with(&self.class.expect) {
            return Err(FailureKind::WrongBody);
        }
        let release = text.split_whitespace().nth(1).ok_or(FailureKind::WrongBody)?.to_string();
        let moved = carried.is_some() && answer.cookie.is_some() && carried != answer.cookie;
        if let Some((jar, cookie)) = self.jar.zip(answer.cookie) {
            jar.keep(cookie);
        }
        Ok(Served { release, moved })
    }
}
