//! Sessions of MariaDB and MySQL: the text protocol over one connection.

mod codes;
mod error;
mod settings;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use async_trait::async_trait;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts, OptsBuilder, Value};
use tokio::time::Instant;

use super::{
    Address, Cancel, Connect, DbError, DbErrorKind, Done, Limits, Rows, Session, SessionId, SessionRole, Tls, address,
};
use crate::{Dialect, Secret};

/// A database of a MySQL or MariaDB server, or of the writable one among several.
///
/// A session takes one statement at a time. `execute` counts the rows that a statement found, as the other databases do,
/// and as JDBC's drivers do, not only those that it made different.
///
/// # Examples
///
/// ```no_run
/// use ha_migrate::{Connect, MySql, Secret, SessionRole};
///
/// # async fn example() -> Result<(), ha_migrate::DbError> {
/// let database =
///     MySql::new("db1.example.org", 3306, "shared_db", "wso2carbon").as_mariadb().with_password(Secret::new("carbon"));
/// let mut session = database.open(SessionRole::Migrator).await?;
/// session.execute("ALTER TABLE IDN_CLIENT ADD COLUMN LABEL VARCHAR(50), ALGORITHM=INPLACE, LOCK=NONE").await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct MySql {
    addresses: Vec<Address>,
    database: String,
    user: String,
    password: Option<Secret>,
    dialect: Dialect,
    tls: Tls,
    limits: Limits,
    target: String,
}

impl MySql {
    /// Names a database of a server on TCP.
    pub fn new(host: impl Into<String>, port: u16, database: impl Into<String>, user: impl Into<String>) -> Self {
        Self::at(Address::Tcp(host.into(), port), database.into(), user.into())
    }

    /// Names a database of a server by its Unix socket.
    pub fn on_socket(path: impl Into<PathBuf>, database: impl Into<String>, user: impl Into<String>) -> Self {
        Self::at(Address::Unix(path.into()), database.into(), user.into())
    }

    fn at(address: Address, database: String, user: String) -> Self {
        let (addresses, password, dialect) = (vec![address], None, Dialect::MySql);
        let (tls, limits, target) = (Tls::Off, Limits::default(), String::new());
        let mut named = Self { addresses, database, user, password, dialect, tls, limits, target };
        named.name();
        named
    }

    fn name(&mut self) {
        let scheme = if self.dialect == Dialect::MariaDb { "mariadb" } else { "mysql" };
        self.target = format!("{scheme}://{}/{}", address::list(&self.addresses), self.database);
    }

    /// Expects a MariaDB. Default: a MySQL; which of them it is, the server tells when it is identified.
    #[must_use]
    pub fn as_mariadb(mut self) -> Self {
        self.dialect = Dialect::MariaDb;
        self.name();
        self
    }

    /// Adds another server of the same cluster. They are tried in order, and the first that is not read-only is taken.
    #[must_use]
    pub fn with_other(mut self, host: impl Into<String>, port: u16) -> Self {
        self.addresses.push(Address::Tcp(host.into(), port));
        self.name();
        self
    }

    /// Sets the password. Default: none.
    #[must_use]
    pub fn with_password(mut self, password: Secret) -> Self {
        self.password = Some(password);
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

    /// Finds every place that an address leads to.
    async fn places(&self, address: &Address) -> Result<Vec<Place>, DbError> {
        let (host, port) = match address {
            Address::Unix(path) => return Ok(vec![Place::Socket(path.clone())]),
            Address::Tcp(host, port) => (host, *port),
        };
        let unknown = |error| DbError::new(DbErrorKind::Unreachable, format!("{address}: {error}"));
        let found = tokio::net::lookup_host((host.as_str(), port)).await.map_err(unknown)?;
        Ok(found.map(|found: SocketAddr| Place::Host(host.clone(), found.ip(), port)).collect())
    }

    fn options(&self, place: &Place) -> OptsBuilder {
        let mut options = OptsBuilder::default()
            .user(Some(&self.user))
            .pass(self.password.as_ref().map(Secret::expose))
            .db_name(Some(&self.database).filter(|name| !name.is_empty()))
            // The place that was named, not another way to it.
            .prefer_socket(false)
            .client_found_rows(true)
            .tcp_keepalive(Some(self.limits.keepalive).filter(|time| !time.is_zero()))
            .stmt_cache_size(0)
            .connect_attribute("program_name", "ha-migrate");
        options = match place {
            Place::Socket(path) => options.socket(Some(path.display().to_string())),
            Place::Host(host, ip, port) => options.ip_or_hostname(host).tcp_port(*port).resolved_ips(Some(vec![*ip])),
        };
        protect(options, &self.tls)
    }

    async fn open_at(&self, place: Place, role: SessionRole) -> Result<(MySqlSession, bool), DbError> {
        self.tls.check(matches!(place, Place::Socket(_)))?;
        let options: Opts = self.options(&place).into();
        let mut conn = connect(options.clone()).await.map_err(|error| error::opening(&error))?;
        let first = ask(&mut conn, "SELECT CONNECTION_ID(), VERSION(), @@global.read_only").await?;
        let [Some(number), Some(version), read_only] = first.as_slice() else { return Err(untold()) };
        let mariadb = version.contains("MariaDB");
        let began = began(mariadb);
        let [Some(start)] = <[_; 1]>::try_from(ask(&mut conn, began).await?).map_err(|_| untold())? else {
            return Err(untold());
        };
        for setting in settings_of(role, &self.limits, mariadb) {
            conn.get()?.query_drop(setting).await.map_err(|error| error::opening(&error))?;
        }
        let id = SessionId { number: number.parse().map_err(|_| untold())?, began: start };
        let cancel = MySqlCancel { options, id: id.clone(), began, limits: self.limits };
        let used = Instant::now();
        let read_only = matches!(read_only.as_deref(), Some("1" | "ON"));
        Ok((MySqlSession { id, conn, cancel, limits: self.limits, used, ends: false }, read_only))
    }

    async fn open_first(&self, address: &Address, role: SessionRole) -> Result<(MySqlSession, bool), DbError> {
        let mut failed = DbError::new(DbErrorKind::Unreachable, format!("{address}: no such host"));
        for place in self.places(address).await? {
            match self.open_at(place, role).await {
                Err(error) if error.kind == DbErrorKind::Unreachable => failed = error,
                answer => return answer,
            }
        }
        Err(failed)
    }
}

/// One place to connect to. A name is looked up once, so that a cancel reaches the same server.
enum Place {
    Socket(PathBuf),
    Host(String, IpAddr, u16),
}

fn settings_of(role: SessionRole, limits: &Limits, mariadb: bool) -> Vec<String> {
    let mut settings = vec![settings::of(role, limits, mariadb)];
    match role {
        SessionRole::Migrator => {}
        SessionRole::Reader => settings.push(settings::READ_ONLY.to_string()),
    }
    settings
}

/// When the server began, as a Unix time: connection numbers are given once in its life. Both terms are taken from the
/// time of the statement, so that the difference is always the same.
fn began(mariadb: bool) -> &'static str {
    if mariadb {
        "SELECT CAST(UNIX_TIMESTAMP() - VARIABLE_VALUE AS UNSIGNED) FROM information_schema.GLOBAL_STATUS \
         WHERE VARIABLE_NAME = 'UPTIME'"
    } else {
        "SELECT CAST(UNIX_TIMESTAMP() - VARIABLE_VALUE AS UNSIGNED) FROM performance_schema.global_status \
         WHERE VARIABLE_NAME = 'Uptime'"
    }
}

fn untold() -> DbError {
    DbError::new(DbErrorKind::Unreachable, "the server does not tell its session")
}

#[cfg(feature = "tls")]
fn protect(options: OptsBuilder, tls: &Tls) -> OptsBuilder {
    use mysql_async::SslOpts;
    let wish = match tls {
        Tls::Off => return options,
        Tls::Encrypt => SslOpts::default().with_danger_accept_invalid_certs(true),
        // Its switch for whatever name has no effect with today's rustls, so it is not touched.
        Tls::VerifyCa(file) | Tls::VerifyFull(file) => believe(file),
    };
    // The driver asks for the process's own provider of cryptography, and panics where it cannot choose one.
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
    return options.ssl_opts(wish);

    fn believe(file: &std::path::Path) -> SslOpts {
        SslOpts::default().with_root_certs(vec![file.to_path_buf().into()]).with_disable_built_in_roots(true)
    }
}

/// A wish for TLS was refused before.
#[cfg(not(feature = "tls"))]
fn protect(options: OptsBuilder, _: &Tls) -> OptsBuilder {
    options
}

#[async_trait]
impl Connect for MySql {
    fn dialect(&self) -> Dialect {
        self.dialect
    }

    fn target(&self) -> &str {
        &self.target
    }

    async fn open(&self, role: SessionRole) -> Result<Box<dyn Session>, DbError> {
        let mut failed = DbError::new(DbErrorKind::Unreachable, "no address");
        for address in &self.addresses {
            failed = match tokio::time::timeout(self.limits.connect, self.open_first(address, role)).await {
                // Of one address, identification tells about the replica.
                Ok(Ok((_, true))) if self.addresses.len() > 1 => {
                    DbError::new(DbErrorKind::ReadOnly, format!("{address} is read-only"))
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

/// Drops its value on a thread without a runtime. The driver's connection, dropped inside of one, would wait there for the
/// rest of its statement's answer; so it is closed at once.
struct Closed<T: Send + 'static>(Option<T>);

impl<T: Send + 'static> Drop for Closed<T> {
    fn drop(&mut self) {
        if let Some(value) = self.0.take() {
            let _ = std::thread::spawn(move || drop(value)).join();
        }
    }
}

impl<T: Send + 'static> Closed<T> {
    fn get(&mut self) -> Result<&mut T, DbError> {
        self.0.as_mut().ok_or_else(DbError::abandoned)
    }
}

async fn connect(options: Opts) -> Result<Closed<Conn>, mysql_async::Error> {
    // Given up in the middle, it is closed as well.
    let mut connecting = Closed(Some(Conn::new(options)));
    match connecting.0.as_mut() {
        Some(connecting) => Ok(Closed(Some(connecting.await?))),
        None => Err(mysql_async::DriverError::ConnectionClosed.into()),
    }
}

/// Asks for one row before the session is in use.
async fn ask(conn: &mut Closed<Conn>, sql: &str) -> Result<Vec<Option<String>>, DbError> {
    let mut rows = read(conn.get()?, sql).await.map_err(|failed| match failed {
        Failed::Call(error) => error::opening(&error),
        Failed::Value(error) => error,
    })?;
    rows.pop().ok_or_else(untold)
}

enum Failed {
    Call(mysql_async::Error),
    Value(DbError),
}

/// Reads the rows of the first answer; a procedure has more.
async fn read(conn: &mut Conn, sql: &str) -> Result<Rows, Failed> {
    let mut answer = conn.query_iter(sql).await.map_err(Failed::Call)?;
    let (mut rows, mut refused) = (Rows::new(), None);
    while let Some(row) = answer.next().await.map_err(Failed::Call)? {
        match row.unwrap_raw().into_iter().flatten().map(text).collect() {
            Ok(row) => rows.push(row),
            Err(error) => refused = Some(error),
        }
    }
    answer.drop_result().await.map_err(Failed::Call)?;
    refused.map_or(Ok(rows), |error| Err(Failed::Value(error)))
}

/// In the text protocol every value is bytes.
#[expect(clippy::wildcard_enum_match_arm, reason = "an enum of mysql_async: the others are of the binary protocol")]
fn text(value: Value) -> Result<Option<String>, DbError> {
    match value {
        Value::NULL => Ok(None),
        Value::Bytes(bytes) => super::utf8(bytes).map(Some),
        other => Ok(Some(other.as_sql(true))),
    }
}

struct MySqlSession {
    id: SessionId,
    conn: Closed<Conn>,
    cancel: MySqlCancel,
    limits: Limits,
    /// When the server was last heard.
    used: Instant,
    /// Set during a call: one that is dropped in the middle leaves it so.
    ends: bool,
}

impl fmt::Debug for MySqlSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MySqlSession").field("id", &self.id).field("ends", &self.ends).finish_non_exhaustive()
    }
}

impl MySqlSession {
    /// Begins a call. A connection that ended while nothing was under way is found out before anything is sent.
    async fn begin(&mut self) -> Result<(), DbError> {
        if self.ends {
            return Err(DbError::abandoned());
        }
        self.ends = true;
        if self.used.elapsed() >= self.limits.probe_after {
            self.conn.get()?.ping().await.map_err(|error| {
                DbError::new(DbErrorKind::Unreachable, format!("the connection ended before the statement: {error}"))
            })?;
        }
        Ok(())
    }

    fn end<T>(&mut self, answer: Result<T, Failed>) -> Result<T, DbError> {
        self.used = Instant::now();
        // After an error that is not the server's, the driver may be out of step with it.
        let (answer, in_step) = match answer {
            Ok(value) => (Ok(value), true),
            Err(Failed::Value(error)) => (Err(error), true),
            Err(Failed::Call(error)) => (Err(error::told(&error)), matches!(error, mysql_async::Error::Server(_))),
        };
        self.ends = !in_step || answer.as_ref().is_err_and(DbError::ends_session);
        answer
    }
}

#[async_trait]
impl Session for MySqlSession {
    fn id(&self) -> &SessionId {
        &self.id
    }

    fn canceller(&self) -> Box<dyn Cancel> {
        Box::new(self.cancel.clone())
    }

    async fn execute(&mut self, sql: &str) -> Result<Done, DbError> {
        self.begin().await?;
        let conn = self.conn.get()?;
        let answer = match conn.query_drop(sql).await {
            Ok(()) => Ok(Done { rows: conn.affected_rows() }),
            Err(error) => Err(Failed::Call(error)),
        };
        self.end(answer)
    }

    async fn query(&mut self, sql: &str) -> Result<Rows, DbError> {
        self.begin().await?;
        let answer = read(self.conn.get()?, sql).await;
        self.end(answer)
    }

    async fn copy_in(&mut self, _: &str, _: &str) -> Result<Done, DbError> {
        Err(super::no_copy())
    }
}

#[derive(Clone)]
struct MySqlCancel {
    options: Opts,
    id: SessionId,
    began: &'static str,
    limits: Limits,
}

impl fmt::Debug for MySqlCancel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MySqlCancel").field("id", &self.id).finish_non_exhaustive()
    }
}

#[async_trait]
impl Cancel for MySqlCancel {
    async fn cancel(&self) -> Result<(), DbError> {
        let cancelling = async {
            let mut conn = connect(self.options.clone()).await.map_err(|error| error::opening(&error))?;
            // A server that was restarted gives the same numbers to others.
            if ask(&mut conn, self.began).await? != [Some(self.id.began.clone())] {
                return Ok(());
            }
            match conn.get()?.query_drop(format!("KILL QUERY {}", self.id.number)).await {
                // No such session: it has ended.
                Err(mysql_async::Error::Server(error)) if error.code == 1094 => Ok(()),
                answer => answer.map_err(|error| error::opening(&error)),
            }
        };
        let late = |_: tokio::time::error::Elapsed| {
            let said = format!("the statement is not cancelled: no answer within {:?}", self.limits.connect);
            DbError::new(DbErrorKind::Unreachable, said)
        };
        tokio::time::timeout(self.limits.connect, cancelling).await.map_err(late)?
    }
}
