use std::io;
use std::net::SocketAddr;

use rustix::net::RecvFlags;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::FailureKind;

/// One client connection, HTTP/1.1 by hand: whether it may be used again, and how it failed, is seen exactly.
#[derive(Debug)]
pub(super) struct Wire {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// A whole answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
    /// The cookie that the answer sets, as `name=value`.
    pub(super) cookie: Option<String>,
    /// Another request may follow on the connection.
    pub(super) keeps: bool,
}

impl Wire {
    pub(super) async fn connect(address: SocketAddr) -> Result<Self, FailureKind> {
        let stream = TcpStream::connect(address).await.map_err(|error| kind_of(&error))?;
        let _ = stream.set_nodelay(true);
        Ok(Self { stream, buffer: Vec::with_capacity(1024) })
    }

    /// Asks the kernel, past all readiness caches, whether the other end has closed the idle connection or spoken.
    pub(super) fn is_fresh(&self) -> bool {
        let peeked = rustix::net::recv(&self.stream, &mut [0_u8; 1][..], RecvFlags::PEEK | RecvFlags::DONTWAIT);
        self.buffer.is_empty() && matches!(peeked, Err(rustix::io::Errno::AGAIN))
    }

    pub(super) async fn send(&mut self, bytes: &[u8]) -> Result<(), FailureKind> {
        self.stream.write_all(bytes).await.map_err(|error| kind_of(&error))
    }

    /// Reads one answer to its end; that of an upgrade ends with its head.
    pub(super) async fn answer(&mut self) -> Result<Answer, FailureKind> {
        loop {
            let head = Head::parse(&self.head().await?).ok_or(FailureKind::Other)?;
            if (100..200).contains(&head.status) && head.status != 101 {
                continue;
            }
            let body = match head.length {
                Length::Exactly(length) => self.take(length).await?,
                Length::Chunked => self.chunks().await?,
                Length::UntilEnd => self.rest().await?,
            };
            let keeps = head.keeps && !matches!(head.length, Length::UntilEnd);
            return Ok(Answer { status: head.status, body, cookie: head.cookie, keeps });
        }
    }

    /// Reads a line, its end included.
    pub(super) async fn line(&mut self) -> Result<Vec<u8>, FailureKind> {
        self.until(b"\n").await
    }

    /// Reads exactly so many bytes.
    pub(super) async fn take(&mut self, length: usize) -> Result<Vec<u8>, FailureKind> {
        while self.buffer.len() < length {
            if self.fill().await? == 0 {
                return Err(FailureKind::Truncated);
            }
        }
        Ok(self.buffer.drain(..length).collect())
    }

    async fn head(&mut self) -> Result<String, FailureKind> {
        if self.buffer.is_empty() && self.fill().await? == 0 {
            return Err(FailureKind::EofBeforeAnswer);
        }
        Ok(String::from_utf8_lossy(&self.until(b"\r\n\r\n").await?).into_owned())
    }

    async fn until(&mut self, end: &[u8]) -> Result<Vec<u8>, FailureKind> {
        loop {
            if let Some(place) = self.buffer.windows(end.len()).position(|window| window == end) {
                return Ok(self.buffer.drain(..place + end.len()).collect());
            }
            if self.fill().await? == 0 {
                return Err(FailureKind::Truncated);
            }
        }
    }

    async fn chunks(&mut self) -> Result<Vec<u8>, FailureKind> {
        let mut body = Vec::new();
        loop {
            let line = String::from_utf8_lossy(&self.line().await?).into_owned();
            let size = line.split(';').next().and_then(|size| usize::from_str_radix(size.trim(), 16).ok());
            match size.ok_or(FailureKind::Other)? {
                0 => break,
                size => body.extend(self.take(size).await?),
            }
            self.take(2).await?;
        }
        // Trailers, up to the empty line.
        while self.line().await?.len() > 2 {}
        Ok(body)
    }

    async fn rest(&mut self) -> Result<Vec<u8>, FailureKind> {
        while self.fill().await? > 0 {}
        Ok(std::mem::take(&mut self.buffer))
    }

    async fn fill(&mut self) -> Result<usize, FailureKind> {
        self.stream.read_buf(&mut self.buffer).await.map_err(|error| kind_of(&error))
    }
}

#[derive(Clone, Copy, Debug)]
enum Length {
    Exactly(usize),
    Chunked,
    UntilEnd,
}

struct Head {
    status: u16,
    length: Length,
    keeps: bool,
    cookie: Option<String>,
}

impl Head {
    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.split("\r\n");
        let status = lines.next()?.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
        let mut head = Self { status, length: Length::UntilEnd, keeps: true, cookie: None };
        if status < 200 || status == 204 || status == 304 {
            head.length = Length::Exactly(0);
        }
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            let value = value.trim();
            match name.to_ascii_lowercase().as_str() {
                "content-length" => head.length = Length::Exactly(value.parse().ok()?),
                "transfer-encoding" if value.eq_ignore_ascii_case("chunked") => head.length = Length::Chunked,
                "connection" if value.eq_ignore_ascii_case("close") => head.keeps = false,
                "set-cookie" => head.cookie = value.split(';').next().map(str::to_string),
                _ => {}
            }
        }
        Some(head)
    }
}

fn kind_of(error: &io::Error) -> FailureKind {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => FailureKind::Refused,
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => FailureKind::Reset,
        _ => FailureKind::Other,
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    async fn read(sent: &'static [u8]) -> Result<Answer, FailureKind> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut wire = Wire::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut server, _) = listener.accept().await.unwrap();
        server.write_all(sent).await.unwrap();
        drop(server);
        wire.answer().await
    }

    #[tokio::test]
    async fn answers_of_every_length_are_read_to_their_end() {
        let fixed =
            read(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nset-cookie: SRV=a; path=/\r\n\r\nabc").await.unwrap();
        assert_eq!((fixed.body, fixed.cookie, fixed.keeps), (b"abc".to_vec(), Some("SRV=a".into()), true));
        let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nconnection: close\r\n\r\n\
                        2\r\nab\r\nA;x=1\r\n0123456789\r\n0\r\nx: y\r\n\r\n";
        let chunked = read(chunked).await.unwrap();
        assert_eq!((chunked.body, chunked.keeps), (b"ab0123456789".to_vec(), false));
        let until_end = read(b"HTTP/1.1 200 OK\r\n\r\nabc").await.unwrap();
        assert_eq!((until_end.body, until_end.keeps), (b"abc".to_vec(), false));
        let early = read(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
        assert_eq!(early.status, 204);
    }

    #[tokio::test]
    async fn an_answer_that_ends_anywhere_before_its_end_is_no_answer() {
        let whole: &'static [u8] = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
        assert_eq!(read(whole).await.unwrap().body, b"abc");
        assert_eq!(read(b"").await.unwrap_err(), FailureKind::EofBeforeAnswer);
        for end in 1..whole.len() {
            assert_eq!(read(&whole[..end]).await.unwrap_err(), FailureKind::Truncated, "{end}");
        }
    }

    #[tokio::test]
    async fn a_connection_that_was_closed_while_idle_is_not_fresh() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let wire = Wire::connect(listener.local_addr().unwrap()).await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        assert!(wire.is_fresh());
        drop(server);
        assert!(!wire.is_fresh());
    }
}
