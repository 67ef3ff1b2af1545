//! The database of the demonstration, and what the servers do with it.

use std::any::Any;
use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use examples::Fallible;
use ha_backends::migrate::script::{LoadOptions, Phase, Scripts};
use ha_backends::migrate::{Connect, Dialect, Limits, Migrator, Run, Session, SessionRole, connect_url};
use ha_lab::fake_carbon::{Answered, Asked};
use ha_lab::{DatabaseSpec, Lab};
use tokio::sync::Mutex;

use crate::window;

/// The release at the beginning, which reads and writes `amount`.
pub(crate) const OLD: &str = "4.2.0";
/// The release afterwards, which reads and writes `total`.
pub(crate) const NEW: &str = "5.0.0";
/// So many rows are there at first.
pub(crate) const ROWS: i64 = 20_000;

/// Which database.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    Sqlite,
    Postgres,
    MariaDb,
}

/// The server of the database, while the demonstration lasts.
pub(crate) struct Database {
    pub(crate) kind: Kind,
    pub(crate) url: String,
    /// An empty one, for a clone.
    pub(crate) clone_url: String,
    /// Ends it when it is dropped.
    _server: Option<Box<dyn Any>>,
}

impl Database {
    /// Starts it, empty.
    pub(crate) fn start(lab: &Lab, kind: Kind) -> Fallible<Self> {
        let spec = DatabaseSpec::default();
        let (url, clone_url, server): (String, String, Option<Box<dyn Any>>) = match kind {
            Kind::Sqlite => {
                // An empty file is an empty database; one that is not there would be taken for a mistake in the path.
                std::fs::File::create(lab.path().join("orders.db"))?;
                let file = |name: &str| format!("jdbc:sqlite:{}", lab.path().join(name).display());
                (file("orders.db"), file("clone.db"), None)
            }
            Kind::Postgres => {
                let server = lab.postgres("db", &spec)?;
                let url = |database| format!("jdbc:postgresql://127.0.0.1:{}/{database}?user=postgres", server.port());
                (url(server.database()?), url(server.database()?), Some(Box::new(server)))
            }
            Kind::MariaDb => {
                let server = lab.mariadb("db", &spec)?;
                let url = |database| format!("jdbc:mariadb://127.0.0.1:{}/{database}?user=root", server.port());
                (url(server.database()?), url(server.database()?), Some(Box::new(server)))
            }
        };
        Ok(Self { kind, url, clone_url, _server: server })
    }

    /// Opens a session.
    pub(crate) async fn session(&self, role: SessionRole) -> Fallible<Box<dyn Session>> {
        Ok(connect_url(&self.url, patient())?.open(role).await?)
    }

    /// Brings the database to the schema of the old release.
    pub(crate) async fn migrate_base(&self, scripts: &Path) -> Fallible<()> {
        let scripts = Scripts::from_dir(scripts, &LoadOptions::new())?;
        let migrator = Migrator::builder(connect_url(&self.url, patient())?, scripts).build()?;
        migrator.run(&Run::to(Phase::Expand)).await?;
        Ok(())
    }

    /// Fills the table of the old release.
    pub(crate) async fn fill(&self) -> Fallible<()> {
        let mut session = self.session(SessionRole::Migrator).await?;
        if self.kind == Kind::Sqlite {
            // Readers and the writer do not wait for each other; a commit does not wait for the disk.
            session.query("PRAGMA journal_mode = WAL").await?;
        }
        for from in (1..=ROWS).step_by(1_000) {
            let rows: Vec<String> = (from..from + 1_000).map(|id| format!("({id}, {})", amount(id))).collect();
            session.execute(&format!("INSERT INTO orders (id, amount) VALUES {}", rows.join(", "))).await?;
        }
        Ok(())
    }

    /// Lists the numbers of all orders, of the database or its clone.
    pub(crate) async fn orders(&self, of_clone: bool) -> Fallible<BTreeSet<i64>> {
        let rows = self.reader(of_clone).await?.query("SELECT id FROM orders").await?;
        let id = |row: &Vec<Option<String>>| row.first().and_then(|id| id.as_ref()?.parse().ok());
        Ok(rows.iter().filter_map(id).collect())
    }

    async fn reader(&self, of_clone: bool) -> Fallible<Box<dyn Session>> {
        let url = if of_clone { &self.clone_url } else { &self.url };
        Ok(connect_url(url, patient())?.open(SessionRole::Reader).await?)
    }

    /// Counts the rows, and those whose total is wrong, of the database or its clone.
    pub(crate) async fn count(&self, column: &str, of_clone: bool) -> Fallible<(u64, u64)> {
        let mut session = self.reader(of_clone).await?;
        let sql =
            format!("SELECT count(*), coalesce(sum(CASE WHEN {column} = id % 1000 THEN 0 ELSE 1 END), 0) FROM orders");
        let rows = session.query(&sql).await?;
        let number = |at: usize| rows.first().and_then(|row| row.get(at)?.as_ref()?.parse().ok()).unwrap_or(u64::MAX);
        Ok((number(0), number(1)))
    }
}

/// What an order of this number costs: either release knows what it should read.
fn amount(id: i64) -> i64 {
    id % 1_000
}

/// A server waits for the locks of others, as long as its clients wait for it.
fn patient() -> Limits {
    Limits::default().with_lock(Duration::from_secs(5)).with_row_lock(Duration::from_secs(5))
}

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
pub(crate) struct Orders {
    connections: Vec<Mutex<Option<Box<dyn Session>>>>,
    connect: Arc<dyn Connect>,
    next: AtomicI64,
}

impl Orders {
    /// Uses the database whose URL is in the file `database` of a home.
    pub(crate) fn of(home: &Path) -> Fallible<Self> {
        let url = std::fs::read_to_string(home.join("database"))?;
        let connections = (0..4).map(|_| Mutex::new(None)).collect();
        // Each start of a server numbers its orders from another place on.
        let start = (i64::from(std::process::id()) << 32) + ROWS + 1;
        Ok(Self { connections, connect: connect_url(url.trim(), patient())?, next: AtomicI64::new(start) })
    }

    /// Writes an order and reads it back, and an old one, as a release does.
    pub(crate) async fn answer(&self, asked: &Asked) -> Answered {
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
pub(crate) async fn serve(orders: &'static Mutex<Option<Arc<Orders>>>, asked: Asked) -> Option<Answered> {
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
