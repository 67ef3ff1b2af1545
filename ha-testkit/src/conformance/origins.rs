use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use ha_core::topology::Name;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::Breach;
use super::balancer::{HeldRequest, WaitingRequest};

/// Small HTTP servers on loopback, one for each member, for balancers that carry real requests. Each answers with its
/// member's name; a request can be held in flight. Dropping the value ends them.
///
/// # Examples
///
/// ```
/// use std::net::SocketAddr;
/// use ha_core::topology::Name;
/// use ha_testkit::conformance::{Breach, Origins};
///
/// /// Tells whether a balancer, started with `origins.address(member)` as its server, lets a request end.
/// async fn ends(origins: &Origins, balancer: SocketAddr, member: &Name) -> Result<bool, Breach> {
///     let held = origins.hold(balancer, member).await?; // in flight there from now on
///     held.release().await
/// }
/// ```
#[derive(Debug)]
pub struct Origins {
    addresses: BTreeMap<Name, SocketAddr>,
    tickets: Tickets,
    _tasks: JoinSet<()>,
}

type Tickets = Arc<Mutex<Waiting>>;

#[derive(Debug, Default)]
struct Waiting {
    last: u64,
    tickets: BTreeMap<u64, Ticket>,
}

/// Tells that a request has arrived, and when it may end.
#[derive(Debug)]
struct Ticket {
    arrived: oneshot::Sender<()>,
    release: oneshot::Receiver<()>,
}

/// How long an answer may take that nobody holds back.
const PATIENCE: Duration = Duration::from_secs(10);
/// How many requests are sent before a member is believed to get none.
const TRIES: usize = 300;

impl Origins {
    /// Starts a server for each member in the current tokio runtime.
    ///
    /// # Errors
    /// When no port is free.
    pub async fn start(members: &[Name]) -> Result<Self, Breach> {
        let (mut addresses, mut tasks, tickets) = (BTreeMap::new(), JoinSet::new(), Tickets::default());
        for member in members {
            let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
            addresses.insert(member.clone(), listener.local_addr()?);
            tasks.spawn(serve(listener, member.clone(), tickets.clone()));
        }
        Ok(Self { addresses, tickets, _tasks: tasks })
    }

    /// Returns where a member's server is.
    ///
    /// # Errors
    /// When it has none.
    pub fn address(&self, member: &Name) -> Result<SocketAddr, Breach> {
        self.addresses.get(member).copied().ok_or_else(|| Breach::new(format!("{member} has no server")))
    }

    /// Sends a short request through the balancer at `address`: the member that answered it, or `None`.
    ///
    /// # Errors
    /// When the balancer cannot be connected to, or does not answer in 10 s.
    pub async fn request(&self, address: SocketAddr) -> Result<Option<Name>, Breach> {
        let mut client = send(address, "/").await?;
        answer(&mut client).await
    }

    /// Sends a short request through a balancer that has no room for it: the caller knows by another route that it waits.
    ///
    /// # Errors
    /// When the balancer cannot be connected to.
    pub async fn wait(&self, address: SocketAddr) -> Result<Box<dyn WaitingRequest>, Breach> {
        Ok(Box::new(Waits { client: send(address, "/").await? }))
    }

    /// Sends requests through the balancer until one is in flight on `member`, and holds it there.
    ///
    /// # Errors
    /// When none of 300 requests gets there.
    pub async fn hold(&self, address: SocketAddr, member: &Name) -> Result<Box<dyn HeldRequest>, Breach> {
        for _ in 0..TRIES {
            let (arrived, mut arrival) = oneshot::channel();
            let (release, released) = oneshot::channel();
            let number = {
                let mut waiting = self.tickets.lock().unwrap_or_else(PoisonError::into_inner);
                waiting.last += 1;
                let number = waiting.last;
                waiting.tickets.insert(number, Ticket { arrived, release: released });
                number
            };
            let mut client = send(address, &format!("/hold/{member}/{number}")).await?;
            tokio::select! {
                Ok(()) = &mut arrival => return Ok(Box::new(Held { client, release })),
                _ = answer(&mut client) => {}
            }
        }
        Err(Breach::new(format!("none of {TRIES} requests reached {member}")))
    }
}

struct Waits {
    client: TcpStream,
}

#[async_trait]
impl WaitingRequest for Waits {
    async fn answer(self: Box<Self>) -> Result<Option<Name>, Breach> {
        let mut client = self.client;
        answer(&mut client).await
    }
}

struct Held {
    client: TcpStream,
    release: oneshot::Sender<()>,
}

#[async_trait]
impl HeldRequest for Held {
    async fn release(self: Box<Self>) -> Result<bool, Breach> {
        let Self { mut client, release } = *self;
        let _ = release.send(());
        Ok(answer(&mut client).await?.is_some())
    }
}

async fn send(address: SocketAddr, path: &str) -> Result<TcpStream, Breach> {
    let mut client = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    client.write_all(request.as_bytes()).await?;
    Ok(client)
}

/// Reads a whole answer; only one of a member counts.
async fn answer(client: &mut TcpStream) -> Result<Option<Name>, Breach> {
    let mut text = Vec::new();
    let read = timeout(PATIENCE, client.read_to_end(&mut text)).await;
    let read = read.map_err(|_| Breach::new(format!("no answer in {PATIENCE:?}")))?;
    let text = String::from_utf8_lossy(&text);
    let body = text.split_once("\r\n\r\n").map(|(_, body)| body.trim());
    let whole = read.is_ok() && text.starts_with("HTTP/1.1 200 ");
    Ok(body.filter(|_| whole).and_then(|body| Name::new(body).ok()))
}

async fn serve(listener: TcpListener, member: Name, tickets: Tickets) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        connections.spawn(connection(stream, member.clone(), tickets.clone()));
        while connections.try_join_next().is_some() {}
    }
}

/// Serves one connection, which stays open between its requests.
async fn connection(mut stream: TcpStream, member: Name, tickets: Tickets) {
    let _ = stream.set_nodelay(true);
    let (mut bytes, mut chunk) = (Vec::new(), [0_u8; 4096]);
    loop {
        let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
            match stream.read(&mut chunk).await {
                Ok(read) if read > 0 => bytes.extend_from_slice(&chunk[..read]),
                Ok(_) | Err(_) => return,
            }
            continue;
        };
        let head: Vec<u8> = bytes.drain(..end + 4).collect();
        let path = String::from_utf8_lossy(&head).split(' ').nth(1).unwrap_or("/").to_string();
        if let Some(ticket) = ticket(&path, &member, &tickets) {
            let _ = ticket.arrived.send(());
            let _ = ticket.release.await;
        }
        let (body, length) = (member.as_str(), member.as_str().len());
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}");
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// Takes the ticket of a request that is to be held here.
fn ticket(path: &str, member: &Name, tickets: &Tickets) -> Option<Ticket> {
    let (wanted, number) = path.strip_prefix("/hold/")?.split_once('/')?;
    let number = number.parse().ok().filter(|_: &u64| wanted == member.as_str())?;
    tickets.lock().unwrap_or_else(PoisonError::into_inner).tickets.remove(&number)
}
