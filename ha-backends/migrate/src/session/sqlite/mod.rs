//! Sessions of SQLite, on blocking threads.

mod codes;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use ha_core::backend::linux::ProcessStat;
use rusqlite::fallible_iterator::FallibleIterator;
use rusqlite::functions::FunctionFlags;
use rusqlite::types::ValueRef;
use rusqlite::{Batch, Connection, InterruptHandle, OpenFlags};
use sha2::{Digest, Sha256};

use super::{Cancel, Connect, DbError, DbErrorKind, Done, Limits, Rows, Session, SessionId, SessionRole};
use crate::Dialect;

/// A SQLite file. Sessions are connections of this process to it.
///
/// Foreign keys are not checked unless asked for, as in SQLite itself and its JDBC driver: with them on, the usual
/// rebuild of a table deletes the rows that refer to it.
///
/// # Examples
///
/// ```
/// use ha_migrate::{Connect, SessionRole, Sqlite};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// let dir = tempfile::tempdir()?;
/// let database = Sqlite::new(dir.path().join("shared.db"));
/// let mut session = database.open(SessionRole::Migrator).await?;
/// session.execute("CREATE TABLE idn_client (id INTEGER PRIMARY KEY, name TEXT)").await?;
/// assert_eq!(session.execute("INSERT INTO idn_client (name) VALUES ('a'), (NULL)").await?.rows, 2);
/// let rows = session.query("SELECT id, name FROM idn_client ORDER BY id").await?;
/// assert_eq!(rows[1], [Some("2".to_string()), None]);
/// # Ok(())
/// # })
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Sqlite {
    path: PathBuf,
    target: String,
    create: bool,
    foreign_keys: bool,
    limits: Limits,
}

impl Sqlite {
    /// Names a file; one that is not there is made when a session is opened.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let target = format!("sqlite:{}", path.display());
        Self { path, target, create: true, foreign_keys: false, limits: Limits::default() }
    }

    /// Sets whether a file that is not there is made. Default true; with false, opening it is `Unreachable`.
    #[must_use]
    pub fn with_create(mut self, create: bool) -> Self {
        self.create = create;
        self
    }

    /// Sets whether foreign keys are checked. Default false.
    #[must_use]
    pub fn with_foreign_keys(mut self, foreign_keys: bool) -> Self {
        self.foreign_keys = foreign_keys;
        self
    }

    /// Sets the limits of its sessions.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Returns the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn connect(&self, role: SessionRole) -> Result<Connection, DbError> {
        let mut flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        if self.create {
            flags |= OpenFlags::SQLITE_OPEN_CREATE;
        }
        let connection = Connection::open_with_flags(&self.path, flags).map_err(told)?;
        connection.busy_timeout(self.limits.row_lock).map_err(told)?;
        let reads_only = match role {
            SessionRole::Migrator => "OFF",
            SessionRole::Reader => "ON",
        };
        let foreign_keys = if self.foreign_keys { "ON" } else { "OFF" };
        // Reading the schema shows now, not later, that the file is no database.
        let settings = format!(
            "PRAGMA foreign_keys = {foreign_keys}; PRAGMA query_only = {reads_only}; SELECT count(*) FROM sqlite_master;"
        );
        run(&connection, &settings)?;
        add_hash(&connection)?;
        Ok(connection)
    }
}

#[async_trait]
impl Connect for Sqlite {
    fn dialect(&self) -> Dialect {
        Dialect::Sqlite
    }

    fn target(&self) -> &str {
        &self.target
    }

    async fn open(&self, role: SessionRole) -> Result<Box<dyn Session>, DbError> {
        let config = self.clone();
        let opening = tokio::task::spawn_blocking(move || config.connect(role));
        let connection = match tokio::time::timeout(self.limits.connect, opening).await {
            Ok(joined) => joined.map_err(ended)??,
            Err(_) => {
                let said = format!("{}: not open within {:?}", self.target, self.limits.connect);
                return Err(DbError::new(DbErrorKind::Unreachable, said));
            }
        };
        Ok(Box::new(SqliteSession {
            id: this_process(),
            limit: self.limits.of_statement(role),
            interrupt: Arc::new(Interrupt(connection.get_interrupt_handle())),
            connection: Some(Arc::new(Mutex::new(connection))),
            ends: false,
        }))
    }
}

#[derive(Debug)]
struct SqliteSession {
    id: SessionId,
    limit: Duration,
    interrupt: Arc<Interrupt>,
    /// `None` after a call that was abandoned: the connection is closed when that has come to its end.
    connection: Option<Arc<Mutex<Connection>>>,
    /// The last call's failure left the session without use.
    ends: bool,
}

struct Interrupt(InterruptHandle);

impl fmt::Debug for Interrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Interrupt")
    }
}

impl SqliteSession {
    async fn with<T: Send + 'static>(
        &mut self,
        sql: &str,
        work: impl FnOnce(&Connection, &str) -> Result<T, DbError> + Send + 'static,
    ) -> Result<T, DbError> {
        // Taken, so that a call that is dropped in the middle leaves none.
        let connection = self.connection.take().ok_or_else(DbError::abandoned)?;
        let (shared, sql) = (connection.clone(), sql.to_string());
        let running = Running(Some((self.interrupt.clone(), Arc::downgrade(&connection))));
        let mut task =
            tokio::task::spawn_blocking(move || work(&shared.lock().unwrap_or_else(PoisonError::into_inner), &sql));
        let joined = if self.limit.is_zero() {
            task.await
        } else {
            match tokio::time::timeout(self.limit, &mut task).await {
                Ok(joined) => joined,
                Err(_) => loop {
                    self.interrupt.0.interrupt();
                    if let Ok(joined) = tokio::time::timeout(AGAIN, &mut task).await {
                        break joined;
                    }
                },
            }
        };
        running.done();
        let answer = joined.map_err(ended)?;
        self.ends = answer.as_ref().is_err_and(DbError::ends_session);
        if !self.ends {
            self.connection = Some(connection);
        }
        answer
    }
}

/// An interrupt between two statements is lost, so it is repeated.
const AGAIN: Duration = Duration::from_millis(20);

/// Interrupts what is under way when its call is dropped, so that the file is free soon.
struct Running(Option<(Arc<Interrupt>, Weak<Mutex<Connection>>)>);

impl Running {
    fn done(mut self) {
        self.0 = None;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some((interrupt, connection)) = self.0.take() {
            std::thread::spawn(move || {
                // The last owner is the blocking thread, until it has come to its end.
                while connection.strong_count() > 0 {
                    interrupt.0.interrupt();
                    std::thread::sleep(AGAIN);
                }
            });
        }
    }
}

#[async_trait]
impl Session for SqliteSession {
    fn id(&self) -> &SessionId {
        &self.id
    }

    fn canceller(&self) -> Box<dyn Cancel> {
        Box::new(SqliteCancel(self.interrupt.clone()))
    }

    async fn execute(&mut self, sql: &str) -> Result<Done, DbError> {
        self.with(sql, run).await
    }

    async fn query(&mut self, sql: &str) -> Result<Rows, DbError> {
        self.with(sql, read).await
    }

    async fn copy_in(&mut self, _: &str, _: &str) -> Result<Done, DbError> {
        Err(super::no_copy())
    }
}

#[derive(Debug)]
struct SqliteCancel(Arc<Interrupt>);

#[async_trait]
impl Cancel for SqliteCancel {
    async fn cancel(&self) -> Result<(), DbError> {
        self.0.0.interrupt();
        Ok(())
    }
}

/// Adds `ha_hash(text, part)`: 32 bits of a SHA-256, the first or the second, whose sum over the rows of a table tells two from
/// another.
fn add_hash(connection: &Connection) -> Result<(), DbError> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
    let added = connection.create_scalar_function("ha_hash", 2, flags, |context| {
        let digest = Sha256::digest(context.get_raw(0).as_bytes().unwrap_or_default());
        let part = if context.get::<i64>(1)? == 0 { digest.first_chunk::<4>() } else { digest.last_chunk::<4>() };
        Ok(i64::from(u32::from_be_bytes(part.copied().unwrap_or_default())))
    });
    added.map_err(told)
}

/// Runs one statement after the other, up to the first that fails.
fn run(connection: &Connection, sql: &str) -> Result<Done, DbError> {
    let mut rows = 0;
    let mut statements = Batch::new(connection, sql);
    while let Some(mut statement) = statements.next().map_err(told)? {
        let before = connection.total_changes();
        let mut answer = statement.raw_query();
        while answer.next().map_err(told)?.is_some() {}
        // SQLite keeps the count of the last INSERT, UPDATE or DELETE through every other statement.
        rows = if connection.total_changes() == before { 0 } else { connection.changes() };
    }
    Ok(Done { rows })
}

fn read(connection: &Connection, sql: &str) -> Result<Rows, DbError> {
    let mut statement = connection.prepare(sql).map_err(told)?;
    let columns = statement.column_count();
    let (mut rows, mut answer) = (Vec::new(), statement.raw_query());
    while let Some(row) = answer.next().map_err(told)? {
        let value = |column| text(row.get_ref(column).map_err(told)?);
        rows.push((0..columns).map(value).collect::<Result<_, _>>()?);
    }
    Ok(rows)
}

fn text(value: ValueRef<'_>) -> Result<Option<String>, DbError> {
    Ok(Some(match value {
        ValueRef::Null => return Ok(None),
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Real(number) => format!("{number:?}"),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => super::utf8(bytes.to_vec())?,
    }))
}

/// What SQLite says, with the extended code.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "an enum of rusqlite: the others are misuse, and tell it themselves"
)]
fn told(error: rusqlite::Error) -> DbError {
    let (code, message) = match error {
        rusqlite::Error::SqliteFailure(code, message) => (code, message.unwrap_or_else(|| code.to_string())),
        rusqlite::Error::SqlInputError { error, msg, .. } => (error, msg),
        other => return DbError::new(DbErrorKind::Refused, other.to_string()),
    };
    DbError::new(codes::kind_of(code.extended_code, &message), message).with_code(code.extended_code.to_string())
}

/// The runtime ended under the blocking task, or it panicked: what it did is not known.
fn ended(error: tokio::task::JoinError) -> DbError {
    DbError::new(DbErrorKind::ConnectionLost, format!("the thread of the session ended: {error}"))
}

/// The process id, and the boot and tick of its start: process ids return.
fn this_process() -> SessionId {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok();
    let stat = std::fs::read_to_string("/proc/self/stat").ok().and_then(|line| ProcessStat::parse(&line));
    let began = boot.zip(stat).map(|(boot, stat)| format!("{} {}", boot.trim(), stat.start_time));
    SessionId { number: i64::from(std::process::id()), began: began.unwrap_or_default() }
}
