//! Sessions of PostgreSQL: the simple query protocol over one connection.

mod codes;
mod error;
mod settings;
#[cfg(feature = "tls")]
mod tls;
mod wire;

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::SinkExt;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinHandle;
use tokio_postgres::config::SslMode;
use tokio_postgres::{CancelToken, Client, Config, Connection, NoTls, SimpleQueryMessage};

use super::{
    Address, Cancel, Connect, DbError, DbErrorKind, Done, Limits, Rows, Session, SessionId, SessionRole, Tls, address,
};
use crate::{Dialect, Secret};
use wire::Wire;

/// The `application_name` of every session.
const APPLICATION: &str = "ha-migrate";

/// A database of a PostgreSQL server, or of the primary among several.
///
/// # Examples
///
/// ```no_run
/// use ha_migrate::{Connect, Postgres, Secret, SessionRole, Tls};
///
/// # async fn example() -> Result<(), ha_migrate::DbError> {
/// let database = Postgres::new("db1.example.org", 5432, "shared_db", "wso2carbon")
///     .with_password(Secret::new("carbon"))
///     .with_tls(Tls::VerifyFull("/etc/ssl/certs/db-ca.pem".into()));
/// let mut session = database.open(SessionRole::Migrator).await?;
/// session.execute("ALTER TABLE idn_client ADD COLUMN label text").await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Postgres {
    addresses: Vec<Address>,
    database: String,
    user: String,
    password: Option<Secret>,
    search_path: Option<String>,
    tls: Tls,
    limits: Limits,
    target: String,
}

impl Postgres {
    /// Names a database of a server on TCP.
    pub fn new(host: impl Into<String>, port: u16, database: impl Into<String>, user: impl Into<String>) -> Self {
        Self::at(Address::Tcp(host.into(), port), database.into(), user.into())
    }

    /// Names a database of a server by the folder of its Unix socket; the port is a part of the socket's name.
    pub fn on_socket(
        folder: impl AsRef<Path>,
        port: u16,
        database: impl Into<String>,
        user: impl Into<String>,
    ) -> Self {
        let path = folder.as_ref().join(format!(".s.PGSQL.{port}"));
        Self::at(Address::Unix(path), database.into(), user.into())
    }

    fn at(address: Address, database: String, user: String) -> Self {
        let (password, search_path, tls, limits) = (None, None, Tls::Off, Limits::default());
        let addresses = vec![address];
        let mut named = Self { addresses, database, user, password, search_path, tls, limits, target: String::new() };
        named.name();
        named
    }

    fn name(&mut self) {
        self.target = format!("postgresql://{}/{}", address::list(&self.addresses), self.database);
    }

    /// Adds another server of the same cluster. They are tried in order, and the first that is no standby is taken.
    #[must_use]
    pub fn with_other(mut self, host: impl Into<String>, port: u16) -> Self {
        self.addresses.push(Address::Tcp(host.into(), port));
        self.name();
        self
    }

    /// Sets the password. Default: none, as with `trust` and `peer`.
    #[must_use]
    pub fn with_password(mut self, password: Secret) -> Self {
        self.password = Some(password);
        self
    }

    /// Sets `search_path`, as `currentSchema` of a JDBC URL does: names and commas. Default: as the server has it.
    #[must_use]
    pub fn with_search_path(mut self, schemas: impl Into<String>) -> Self {
        self.search_path = Some(schemas.into());
        self
    }

    /// Sets how connections are protected. Default: clear text.
    #[must_use]
    pub fn with_tls(mut self, tls: Tls) -> Self {
        self.tls = tls;
        self
    }

    /// Sets the limits of its sessions.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    async fn open_at(&self, address: &Address, role: SessionRole) -> Result<(PostgresSession, bool), DbError> {
        let unreachable =
            |error: &dyn fmt::Display| DbError::new(DbErrorKind::Unreachable, format!("{address}: {error}"));
        let protection = self.protection(address)?;
        let (wire, arrived) = Wire::connect(address, &self.limits).await.map_err(|error| unreachable(&error))?;
        let written = wire.written();
        let mut config = Config::new();
        config.user(&self.user).dbname(&self.database).application_name(APPLICATION);
        if let Some(password) = &self.password {
            config.password(password.expose());
        }
        let (client, version, connection) = protection.start(wire, &mut config).await.map_err(error::opening)?;
        let cancel = PostgresCancel { token: client.cancel_token(), address: arrived, limits: self.limits, protection };
        let id = SessionId { number: 0, began: String::new() };
        let mut session = PostgresSession { id, client, connection, written, cancel, ends: false };
        let settings = settings::of(role, &self.limits, version, self.search_path.as_deref());
        let row = session.settle(&settings).await.map_err(error::before_use)?;
        let [Some(number), Some(began), Some(standby)] = row.as_slice() else {
            return Err(unreachable(&"the server does not tell its session"));
        };
        session.id = SessionId { number: number.parse().map_err(|error| unreachable(&error))?, began: began.clone() };
        Ok((session, standby == "t"))
    }

    fn protection(&self, address: &Address) -> Result<Protection, DbError> {
        self.tls.check(matches!(address, Address::Unix(_)))?;
        #[cfg(feature = "tls")]
        if let Address::Tcp(host, _) = address {
            let refused = |error| DbError::new(DbErrorKind::Refused, format!("TLS cannot be prepared: {error}"));
            return Ok(Protection(tls::Encrypt::prepare(&self.tls, host).map_err(refused)?));
        }
        Ok(Protection::default())
    }
}

#[async_trait]
impl Connect for Postgres {
    fn dialect(&self) -> Dialect {
        Dialect::Postgres
    }

    fn target(&self) -> &str {
        &self.target
    }

    async fn open(&self, role: SessionRole) -> Result<Box<dyn Session>, DbError> {
        let mut failed = DbError::new(DbErrorKind::Unreachable, "no address");
        for address in &self.addresses {
            failed = match tokio::time::timeout(self.limits.connect, self.open_at(address, role)).await {
                // Of one address, identification tells about the standby.
                Ok(Ok((_, true))) if self.addresses.len() > 1 => {
                    DbError::new(DbErrorKind::ReadOnly, format!("{address} is a standby"))
                }
                Ok(Ok((session, _))) => return Ok(Box::new(session)),
                Ok(Err(error)) if error.kind == DbErrorKind::Unreachable => error,
                Ok(Err(error)) => return Err(error),
                Err(_) => {
                    let said = format!("{address}: no session within {:?}", self.limits.connect);
                    DbError::new(DbErrorKind::Unreachable, said)
                }
            };
        }
        Err(failed)
    }
}

/// How a connection is started: in clear text, or encrypted.
#[derive(Clone, Default)]
struct Protection(#[cfg(feature = "tls")] Option<tls::Encrypt>);

/// Ends with what ended the connection.
type Task = JoinHandle<Option<tokio_postgres::Error>>;

impl Protection {
    async fn start(&self, wire: Wire, config: &mut Config) -> Result<(Client, u32, Task), tokio_postgres::Error> {
        #[cfg(feature = "tls")]
        if let Some(encrypt) = &self.0 {
            config.ssl_mode(SslMode::Require);
            return Ok(run(config.connect_raw(wire, encrypt.clone()).await?));
        }
        config.ssl_mode(SslMode::Disable);
        Ok(run(config.connect_raw(wire, NoTls).await?))
    }

    async fn cancel(&self, token: &CancelToken, wire: Wire) -> Result<(), tokio_postgres::Error> {
        #[cfg(feature = "tls")]
        if let Some(encrypt) = &self.0 {
            return token.cancel_query_raw(wire, encrypt.clone()).await;
        }
        token.cancel_query_raw(wire, NoTls).await
    }
}

fn run<T>((client, connection): (Client, Connection<Wire, T>)) -> (Client, u32, Task)
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let major = |version: &str| version.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok();
    let version = connection.parameter("server_version").and_then(major).unwrap_or(0);
    (client, version, tokio::spawn(async move { connection.await.err() }))
}

struct PostgresSession {
    id: SessionId,
    client: Client,
    connection: Task,
    written: Arc<AtomicU64>,
    cancel: PostgresCancel,
    /// Set during a call: one that is dropped in the middle leaves it so.
    ends: bool,
}

impl fmt::Debug for PostgresSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresSession").field("id", &self.id).field("ends", &self.ends).finish_non_exhaustive()
    }
}

impl PostgresSession {
    /// Sends one message and takes its answer.
    async fn call(&mut self, sql: &str) -> Result<Vec<SimpleQueryMessage>, DbError> {
        if self.ends {
            return Err(DbError::abandoned());
        }
        self.ends = true;
        // A message is its type, its length, the text and a zero; the server runs none that it does not have whole.
        let whole = self.written.load(Ordering::SeqCst) + u64::try_from(sql.len()).unwrap_or(u64::MAX / 2) + 6;
        let failed = match self.client.simple_query(sql).await {
            Ok(messages) => {
                self.ends = false;
                return Ok(messages);
            }
            Err(failed) => failed,
        };
        Err(self.failed(&failed, whole).await)
    }

    /// Sends a COPY and its rows in pieces.
    async fn copy(&mut self, sql: &str, rows: &str) -> Result<u64, DbError> {
        if self.ends {
            return Err(DbError::abandoned());
        }
        self.ends = true;
        let copying = async {
            let mut sink = std::pin::pin!(self.client.copy_in::<_, Bytes>(sql).await?);
            for piece in rows.as_bytes().chunks(PIECE) {
                // Where the server has refused a row, the end tells.
                if sink.send(Bytes::copy_from_slice(piece)).await.is_err() {
                    break;
                }
            }
            sink.finish().await
        };
        match copying.await {
            Ok(rows) => {
                self.ends = false;
                Ok(rows)
            }
            Err(failed) => Err(self.failed(&failed, 0).await),
        }
    }

    /// Maps a failed call; of less than `whole` bytes written in all the server runs nothing.
    async fn failed(&mut self, failed: &tokio_postgres::Error, whole: u64) -> DbError {
        let mut told = error::told(failed);
        if told.kind == DbErrorKind::ConnectionLost && failed.as_db_error().is_none() {
            // The connection's end may tell more than "closed", such as an administrator's command.
            if failed.is_closed()
                && let Ok(Some(cause)) = (&mut self.connection).await
            {
                told = error::told(&cause);
                told.kind = DbErrorKind::ConnectionLost;
            }
            if self.written.load(Ordering::SeqCst) < whole {
                told.kind = DbErrorKind::Unreachable;
            }
        }
        self.ends = told.ends_session();
        told
    }

    /// Applies the settings and returns the row that tells the session.
    async fn settle(&mut self, settings: &settings::Settings) -> Result<Vec<Option<String>>, DbError> {
        let answer = match self.call(&settings.all).await {
            // Not every system can look whether a client is there; all else is to hold.
            Err(error) if error.kind == DbErrorKind::Refused => self.call(&settings.required).await?,
            answer => answer?,
        };
        Ok(rows(&answer)?.pop().unwrap_or_default())
    }
}

impl Drop for PostgresSession {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

#[async_trait]
impl Session for PostgresSession {
    fn id(&self) -> &SessionId {
        &self.id
    }

    fn canceller(&self) -> Box<dyn Cancel> {
        Box::new(self.cancel.clone())
    }

    async fn execute(&mut self, sql: &str) -> Result<Done, DbError> {
        let mut done = Done::default();
        for message in self.call(sql).await? {
            if let SimpleQueryMessage::CommandComplete(rows) = message {
                done.rows = rows;
            }
        }
        Ok(done)
    }

    async fn query(&mut self, sql: &str) -> Result<Rows, DbError> {
        rows(&self.call(sql).await?)
    }

    async fn copy_in(&mut self, sql: &str, rows: &str) -> Result<Done, DbError> {
        Ok(Done { rows: self.copy(sql, rows).await? })
    }
}

fn rows(messages: &[SimpleQueryMessage]) -> Result<Rows, DbError> {
    let mut rows = Rows::new();
    for message in messages {
        if let SimpleQueryMessage::Row(row) = message {
            let value = |column| row.try_get(column).map(|text| text.map(String::from)).map_err(|_| super::not_utf8());
            rows.push((0..row.len()).map(value).collect::<Result<_, _>>()?);
        }
    }
    Ok(rows)
}

#[derive(Clone)]
struct PostgresCancel {
    token: CancelToken,
    /// Where the session arrived: a host name may lead elsewhere now.
    address: Address,
    limits: Limits,
    protection: Protection,
}

impl fmt::Debug for PostgresCancel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresCancel").field("address", &self.address).finish_non_exhaustive()
    }
}

#[async_trait]
impl Cancel for PostgresCancel {
    async fn cancel(&self) -> Result<(), DbError> {
        let lost = |error: &dyn fmt::Display| {
            DbError::new(DbErrorKind::Unreachable, format!("the statement is not cancelled: {}: {error}", self.address))
        };
        let cancelling = async {
            let (wire, _) = Wire::connect(&self.address, &self.limits).await.map_err(|error| lost(&error))?;
            self.protection.cancel(&self.token, wire.until_end()).await.map_err(|error| lost(&error::chain(&error)))
        };
        let late = |_: tokio::time::error::Elapsed| lost(&format!("no answer within {:?}", self.limits.connect));
        tokio::time::timeout(self.limits.connect, cancelling).await.map_err(late)?
    }
}

/// How many bytes of a COPY are sent at once.
const PIECE: usize = 64 << 10;

/// A limit in milliseconds as PostgreSQL takes it; zero is none.
fn millis(limit: Duration) -> i32 {
    let rounded = limit.as_nanos().div_ceil(1_000_000);
    i32::try_from(rounded).unwrap_or(i32::MAX)
}
