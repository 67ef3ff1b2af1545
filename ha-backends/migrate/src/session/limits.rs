use std::time::Duration;

/// The time limits of a session. A limit of zero is no limit, where not said otherwise.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use ha_migrate::Limits;
///
/// let limits = Limits::default().with_lock(Duration::from_millis(200)).with_statement(Duration::from_secs(600));
/// assert_eq!(limits.lock, Duration::from_millis(200));
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Limits {
    /// How long opening a session may take, from the name look-up to the last setting. Default 10 s; zero is no time at all.
    pub connect: Duration,
    /// How long a statement waits for a lock that other statements queue behind. Default 50 ms.
    ///
    /// PostgreSQL: `lock_timeout`, of row locks too. MariaDB and MySQL: `lock_wait_timeout`, in whole seconds rounded down:
    /// below a second MariaDB does not wait at all, MySQL waits for a second. SQLite: not used.
    pub lock: Duration,
    /// How long a statement waits where nobody queues behind it. Default 1 s.
    ///
    /// MariaDB and MySQL: `innodb_lock_wait_timeout`, in whole seconds rounded up. SQLite: `busy_timeout`; zero does not wait.
    /// PostgreSQL: not used, see [`lock`](Self::lock).
    pub row_lock: Duration,
    /// How long a statement of a [`Migrator`](crate::SessionRole::Migrator) may run. Default 1 h, as a large index needs.
    ///
    /// PostgreSQL: `statement_timeout`. MariaDB: `max_statement_time`. SQLite: it is interrupted. MySQL knows no limit but of
    /// a SELECT (`max_execution_time`).
    pub statement: Duration,
    /// The same for a [`Reader`](crate::SessionRole::Reader). Default 30 s.
    pub read: Duration,
    /// How long an open transaction may do nothing before the server ends the session. Default 1 min.
    ///
    /// PostgreSQL: `idle_in_transaction_session_timeout`. MariaDB: `idle_transaction_timeout`. MySQL, SQLite: none.
    pub idle_in_transaction: Duration,
    /// How long a session may do nothing before the server ends it, and its lock with it. Default 10 min.
    ///
    /// PostgreSQL from 14: `idle_session_timeout`. MariaDB and MySQL: `wait_timeout` (at least 1 s; zero leaves it).
    pub idle: Duration,
    /// How often a PostgreSQL from 14 looks during a statement whether its client is still there
    /// (`client_connection_check_interval`). Default 250 ms.
    pub client_check: Duration,
    /// How long sent bytes may stay unacknowledged before the connection counts as lost (TCP). Default 30 s.
    pub unacknowledged: Duration,
    /// A silent connection is probed after this time, and three times more (TCP keepalive). Default 10 s.
    pub keepalive: Duration,
    /// A session that was idle for so long is probed (a ping) before the next statement, so that a connection that ended
    /// meanwhile is told as `Unreachable`, not as `ConnectionLost`. Default 200 ms; zero probes before every statement.
    /// MariaDB and MySQL only: the other drivers see it without.
    pub probe_after: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            lock: Duration::from_millis(50),
            row_lock: Duration::from_secs(1),
            statement: Duration::from_secs(3600),
            read: Duration::from_secs(30),
            idle_in_transaction: Duration::from_secs(60),
            idle: Duration::from_secs(600),
            client_check: Duration::from_millis(250),
            unacknowledged: Duration::from_secs(30),
            keepalive: Duration::from_secs(10),
            probe_after: Duration::from_millis(200),
        }
    }
}

/// Writes one `with_` function a limit.
macro_rules! setters {
    ($($field:ident $with:ident),+ $(,)?) => {
        impl Limits {
            $(
                #[doc = concat!("Sets [`", stringify!($field), "`](Self::", stringify!($field), ").")]
                #[must_use]
                pub fn $with(mut self, limit: Duration) -> Self {
                    self.$field = limit;
                    self
                }
            )+
        }
    };
}

setters! {
    connect with_connect, lock with_lock, row_lock with_row_lock, statement with_statement, read with_read,
    idle_in_transaction with_idle_in_transaction, idle with_idle, client_check with_client_check,
    unacknowledged with_unacknowledged, keepalive with_keepalive, probe_after with_probe_after,
}

#[cfg(any(feature = "mysql", feature = "postgres", feature = "sqlite"))]
impl Limits {
    /// The limit of a statement of a role.
    pub(super) fn of_statement(&self, role: crate::SessionRole) -> Duration {
        match role {
            crate::SessionRole::Migrator => self.statement,
            crate::SessionRole::Reader => self.read,
        }
    }
}
