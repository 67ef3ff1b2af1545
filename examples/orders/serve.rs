//! What the servers of the lab do with the database.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use ha_backends::migrate::{Connect, Dialect, Session, SessionRole, connect_url};
use ha_lab::fake_carbon::{Answered, Asked};
use tokio::sync::Mutex;

use super::database::{OLD, ROWS, amount, patient};
use super::window;
use crate::Fallible;

/// What a request does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Request {
    /// Writes an order and reads it back, and an old one.
    Order,
    /// Reads an old one.
    Read,
}

/// What became of it.
enum Order {
    Written,
    /// The database refuses writes.
    Refused,
    Read,
}

/// Adds a line to a file of a server.
fn note(home: &Path, file: &str, line: &str) -> Fallible<()> {
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(home.join(file))?;
    Ok(file.write_all(format!("{line}\n").as_bytes())?)
}

/// A server's connections to the database.
pub struct Orders {
    connections: Vec<Mutex<Option<Box<dyn Session>>>>,
    connect: Arc<dyn Connect>,
    next: AtomicI64,
}

impl Orders {
    /// Uses the database whose URL is in the file `database` of a home.
    ///
    /// # Errors
    /// When there is none.
    pub fn of(home: &Path) -> Fallible<Self> {
        let url = std::fs::read_to_string(home.join("database"))?;
        let connections = (0..4).map(|_| Mutex::new(None)).collect();
        // Each start of a server numbers its orders from another place on; two hosts may have the same process ids.
        let start = (i64::from(fastrand::u32(1..1 << 30)) << 32) + ROWS + 1;
        Ok(Self { connections, connect: connect_url(url.trim(), patient())?, next: AtomicI64::new(start) })
    }

    /// Writes an order and reads it back, and an old one, as a release does.
    pub async fn answer(&self, asked: &Asked) -> Answered {
        let column = if asked.release == OLD { "amount" } else { "total" };
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let kind = if asked.path == "/read" { Request::Read } else { Request::Order };
        let mut answered = self.order(id, column, &asked.release, kind).await;
        if matches!(answered, Ok(Order::Refused)) {
            if asked.path == "/selftest" {
                // A server passes its test while the database refuses writes.
                answered = self.order(id, column, &asked.release, Request::Read).await;
            } else if let Err(error) = note(&asked.home, window::REFUSED, &window::now_ms().to_string()) {
                return (500, format!("orders {} failed: {error}", asked.release));
            }
        }
        let answered = match answered {
            Ok(Order::Written) => note(&asked.home, window::WRITTEN, &id.to_string()).map(|()| id.to_string()),
            Ok(Order::Refused) => Ok("refused".into()),
            Ok(Order::Read) => Ok("read".into()),
            Err(error) => Err(error),
        };
        match answered {
            Ok(what) => (200, format!("orders {} {what}", asked.release)),
            Err(error) => (500, format!("orders {} failed: {error}", asked.release)),
        }
    }

    async fn order(&self, id: i64, column: &str, release: &str, kind: Request) -> Fallible<Order> {
        let place = usize::try_from(id)? % self.connections.len();
        let mut slot = self.connections[place].lock().await;
        let mut session = match slot.take() {
            Some(session) => session,
            None => self.open(release).await?,
        };
        let old = id % ROWS + 1;
        let insert = format!("INSERT INTO orders (id, {column}) VALUES ({id}, {})", amount(id));
        if kind == Request::Order
            && let Err(error) = session.execute(&insert).await
        {
            if !error.message.contains("refuses writes") {
                return Err(error.into());
            }
            *slot = Some(session);
            return Ok(Order::Refused);
        }
        let read = format!("SELECT id, {column} FROM orders WHERE id IN ({id}, {old}) ORDER BY id");
        for row in session.query(&read).await? {
            let [Some(id), Some(cost)] = &row[..] else { return Err(format!("{row:?} has no {column}").into()) };
            if cost.parse::<i64>()? != amount(id.parse()?) {
                return Err(format!("{column} of {id} is {cost}").into());
            }
        }
        *slot = Some(session);
        Ok(if kind == Request::Order { Order::Written } else { Order::Read })
    }

    async fn open(&self, release: &str) -> Fallible<Box<dyn Session>> {
        let mut session = self.connect.open(SessionRole::Migrator).await?;
        if self.connect.dialect() == Dialect::Postgres {
            session.execute(&format!("SET application_name = 'esb-{release}'")).await?;
        }
        Ok(session)
    }
}

/// Keeps the connections of the one server that this process is.
pub async fn serve(orders: &'static Mutex<Option<Arc<Orders>>>, asked: Asked) -> Option<Answered> {
    if !["/orders", "/read", "/selftest"].contains(&asked.path.as_str()) {
        return None;
    }
    let home: PathBuf = asked.home.clone();
    let known = {
        let mut known = orders.lock().await;
        match &*known {
            Some(orders) => orders.clone(),
            None => match Orders::of(&home) {
                Ok(orders) => known.insert(Arc::new(orders)).clone(),
                Err(error) => return Some((500, format!("no database: {error}"))),
            },
        }
    };
    Some(known.answer(&asked).await)
}
