use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ha_core::backend::{Applied, ErrorKind, ObserveWorkload, StepError, Workload};
use ha_core::state::{LeaseEpoch, Work};
use ha_core::telemetry::call_span;
use ha_core::topology::{Component, SettingErrors, Settings};
use tokio::time::timeout;
use tracing::Instrument;

use crate::config::password;
use crate::secret::redact;
use crate::split::split;
use crate::{Connect, DbError, DbErrorKind, Dialect, Limits, SecretRef, SessionRole, UrlConnect, UrlError};

/// The query that counts the pieces of a node's work that are in progress.
#[derive(Clone, Eq, PartialEq)]
#[non_exhaustive]
pub struct LeftQueryConfig {
    /// The JDBC URL of the database that knows.
    pub url: String,
    /// The user, which needs to read only. Default the URL's.
    pub user: Option<String>,
    /// Where its password is read from. Default the URL's, or none.
    pub password: Option<SecretRef>,
    /// One SELECT that returns one row with one whole number.
    pub query: String,
    /// How long a count may take, the connection included. Default 3 s: a run waits 5 s for the status of the work and its count together.
    pub query_deadline: Duration,
}

impl fmt::Debug for LeftQueryConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The URL may hold a password.
        f.debug_struct("LeftQueryConfig")
            .field("url", &redact(&self.url))
            .field("user", &self.user)
            .field("password", &self.password)
            .field("query", &self.query)
            .field("query_deadline", &self.query_deadline)
            .finish()
    }
}

impl LeftQueryConfig {
    /// The settings that are its own, of a component that it shares with the commands of a workload.
    pub const KEYS: [&'static str; 7] =
        ["url", "user", "password_env", "password_file", "password_command", "query", "query_deadline"];

    /// Describes a query, with the default limit.
    pub fn new(url: impl Into<String>, query: impl Into<String>) -> Self {
        Self { url: url.into(), user: None, password: None, query: query.into(), query_deadline: DEADLINE }
    }

    /// Reads the settings [`KEYS`](Self::KEYS); `url` and `query` are required.
    ///
    /// # Errors
    /// [`SettingErrors`] with every key that is wrong.
    pub fn from_component(component: &Component) -> Result<Self, SettingErrors> {
        let mut settings = Settings::of(component);
        let (url, query) = (settings.required_text("url"), settings.required_text("query"));
        let (user, password) = (settings.text("user"), password(&mut settings));
        let deadline = settings.duration("query_deadline", DEADLINE);
        let read = (|| {
            let config =
                Self { user: user?, password: password?, query_deadline: deadline?, ..Self::new(url?, query?) };
            let connect = UrlConnect::new(&config.url, Limits::default());
            let dialect = connect.map_err(|error| settings.wrong("url", error.to_string()))?.dialect();
            one_select(dialect, &config.query).map_err(|what| settings.wrong("query", what))?;
            Ok(config)
        })();
        settings.finish(read)
    }
}

const DEADLINE: Duration = Duration::from_secs(3);
const BACKEND: &str = "query";

/// Work whose end a database tells: who pulls is told and changed by another workload, and what is left is counted by a query.
///
/// It is off when the other says so and the query counts 0. The query runs in a session that only reads, ends with its deadline, and
/// is never guessed: a count that cannot be read is an error. PostgreSQL, MariaDB, MySQL and SQLite, as features say.
#[derive(Clone, Debug)]
pub struct CountedWorkload {
    node: String,
    inner: Arc<dyn Workload>,
    connect: Arc<dyn Connect>,
    query: String,
    deadline: Duration,
}

impl CountedWorkload {
    /// Counts what is left of the work of `node`, which `inner` stops and resumes. Nothing is opened yet.
    ///
    /// # Errors
    /// [`UrlError`] for a URL that no session is opened through.
    pub fn new(node: impl Into<String>, inner: Arc<dyn Workload>, config: LeftQueryConfig) -> Result<Self, UrlError> {
        let limits = Limits::default().with_read(config.query_deadline).with_connect(config.query_deadline);
        let connect = UrlConnect::new(&config.url, limits)?.with_user(config.user).with_password(config.password);
        let connect: Arc<dyn Connect> = Arc::new(connect);
        Ok(Self { node: node.into(), inner, connect, query: config.query, deadline: config.query_deadline })
    }

    fn fail(&self, kind: ErrorKind, context: String) -> StepError {
        StepError::new(kind, "work", self.node.as_str()).with_context(context).without_effect()
    }

    fn failed(&self, error: DbError) -> StepError {
        let kind = match error.kind {
            DbErrorKind::Unreachable | DbErrorKind::ConnectionLost => ErrorKind::Unreachable,
            DbErrorKind::Denied => ErrorKind::Denied,
            DbErrorKind::Cancelled | DbErrorKind::LockTimeout => ErrorKind::Timeout,
            DbErrorKind::Deadlock
            | DbErrorKind::Full
            | DbErrorKind::Duplicate
            | DbErrorKind::Missing
            | DbErrorKind::OnlineRefused
            | DbErrorKind::ReadOnly
            | DbErrorKind::Refused => ErrorKind::Protocol,
        };
        self.fail(kind, format!("the query at {}: {error}", self.connect.target()))
    }

    async fn left(&self) -> Result<u64, StepError> {
        let asked = async {
            let mut session = self.connect.open(SessionRole::Reader).await?;
            session.query(&self.query).await
        };
        let rows = match timeout(self.deadline, asked).await {
            Ok(rows) => rows.map_err(|error| self.failed(error))?,
            Err(_) => {
                let what = format!("{} did not count in {:?}", self.connect.target(), self.deadline);
                return Err(self.fail(ErrorKind::Timeout, what));
            }
        };
        let one = match &rows[..] {
            [row] => match &row[..] {
                [Some(value)] => value.parse::<u64>().ok(),
                _ => None,
            },
            _ => None,
        };
        one.ok_or_else(|| {
            let what = "it must return one row with one whole number, and returned";
            self.fail(ErrorKind::Protocol, format!("the query at {}: {what} {}", self.connect.target(), shape(&rows)))
        })
    }
}

/// Says what a query returned, without its values.
fn shape(rows: &[Vec<Option<String>>]) -> String {
    format!("{} rows of {} columns", rows.len(), rows.first().map_or(0, Vec::len))
}

/// Refuses what is not one SELECT.
fn one_select(dialect: Dialect, query: &str) -> Result<(), String> {
    let statements = split(dialect, query).map_err(|error| error.to_string())?;
    let [one] = &statements[..] else {
        return Err(format!("give one SELECT, these are {} statements", statements.len()));
    };
    let first = one.text.split(|letter: char| !letter.is_ascii_alphabetic()).next().unwrap_or_default();
    if first.eq_ignore_ascii_case("select") { Ok(()) } else { Err("give one SELECT that counts".into()) }
}

#[async_trait]
impl ObserveWorkload for CountedWorkload {
    async fn work(&self) -> Result<Work, StepError> {
        let look = async {
            match self.inner.work().await? {
                Work::Off => Ok(if self.left().await? == 0 { Work::Off } else { Work::On }),
                told @ (Work::None | Work::On | Work::Unknown) => Ok(told),
            }
        };
        look.instrument(call_span(BACKEND, "work", &self.node)).await
    }
}

#[async_trait]
impl Workload for CountedWorkload {
    async fn quiesce(&self, epoch: LeaseEpoch) -> Result<Applied, StepError> {
        self.inner.quiesce(epoch).await
    }

    async fn resume(&self, epoch: LeaseEpoch) -> Result<Applied, StepError> {
        self.inner.resume(epoch).await
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_one_select_and_nothing_else_is_run() {
        for good in ["SELECT count(*) FROM t", "select 1;", "-- left\n SELECT count(*) FROM t WHERE a = ';'"] {
            one_select(Dialect::Postgres, good).unwrap();
        }
        for wrong in ["", "DELETE FROM t", "SELECT 1; DELETE FROM t", "WITH d AS (DELETE FROM t) SELECT 1", "SELECT '"]
        {
            assert!(one_select(Dialect::Postgres, wrong).is_err(), "{wrong:?}");
        }
    }
}
