//! From a JDBC URL to a connection.

use std::sync::Arc;

use async_trait::async_trait;

#[cfg(any(feature = "mysql", feature = "postgres", feature = "sqlite"))]
use crate::jdbc::Driver;
use crate::jdbc::{JdbcError, JdbcUrl, Refusal};
use crate::{Connect, DbError, DbErrorKind, Dialect, Limits, Secret, SecretRef, Session, SessionRole};

/// A URL through which no session is opened.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum UrlError {
    /// It is no JDBC URL.
    #[error(transparent)]
    Jdbc(#[from] JdbcError),
    /// It can be read, and no migration is run through it.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Refused(Vec<Refusal>),
    /// A part is missing, or asks for what this build cannot do.
    #[error("{0}")]
    Incomplete(String),
}

/// Sessions of the database that a JDBC URL names. The password is read anew for each: one that is changed needs no restart.
#[derive(Clone, Debug)]
#[cfg_attr(
    not(all(feature = "sqlite", any(feature = "mysql", feature = "postgres"))),
    allow(dead_code, reason = "each driver reads what it needs")
)]
pub struct UrlConnect {
    url: JdbcUrl,
    dialect: Dialect,
    user: Option<String>,
    password: Option<SecretRef>,
    limits: Limits,
}

/// Connects to the database of a JDBC URL, with the user and password that are in it. Nothing is opened yet. A SQLite file that is
/// not there is not made: with a mistake in its path, all scripts would run on an empty database, and the servers' would have none.
///
/// # Errors
/// [`UrlError`].
///
/// # Examples
///
/// ```
/// use ha_migrate::{Dialect, Limits, connect_url};
///
/// let refused = connect_url("jdbc:oracle:thin:@db1:1521/orders", Limits::default()).unwrap_err();
/// assert!(refused.to_string().starts_with("no driver for Oracle is built in"));
/// # #[cfg(feature = "postgres")]
/// assert_eq!(connect_url("jdbc:postgresql://db1/orders?user=app", Limits::default())?.dialect(), Dialect::Postgres);
/// # Ok::<(), ha_migrate::UrlError>(())
/// ```
pub fn connect_url(url: &str, limits: Limits) -> Result<Arc<dyn Connect>, UrlError> {
    Ok(Arc::new(UrlConnect::new(url, limits)?))
}

impl UrlConnect {
    /// Names the database by its URL.
    ///
    /// # Errors
    /// [`UrlError`].
    pub fn new(url: &str, limits: Limits) -> Result<Self, UrlError> {
        let url = JdbcUrl::parse(url)?;
        let refusals = url.refusals();
        if !refusals.is_empty() {
            return Err(UrlError::Refused(refusals));
        }
        let dialect = url.dialect().ok_or_else(|| UrlError::Incomplete("the URL's driver has no SQL here".into()))?;
        if dialect != Dialect::Sqlite && url.database().is_none() {
            return Err(UrlError::Incomplete("the URL names no database: add /name".into()));
        }
        Ok(Self { url, dialect, user: None, password: None, limits })
    }

    /// Connects as another user than the URL's.
    #[must_use]
    pub fn with_user(mut self, user: Option<String>) -> Self {
        self.user = user;
        self
    }

    /// Reads the password elsewhere than in the URL.
    #[must_use]
    pub fn with_password(mut self, password: Option<SecretRef>) -> Self {
        self.password = password;
        self
    }

    /// Returns the file, where the database is one.
    pub(crate) fn file(&self) -> Option<&str> {
        (self.dialect == Dialect::Sqlite).then(|| self.url.database()).flatten()
    }

    /// Tells whether the database is a file that is not there, or an empty one.
    pub(crate) fn is_no_file(&self) -> bool {
        self.file().is_some_and(|path| std::fs::metadata(path).map_or(true, |file| file.len() == 0))
    }

    /// Returns what the URL asks of TLS.
    pub(crate) fn tls_asked(&self) -> crate::jdbc::Tls {
        self.url.tls()
    }

    /// Says how a program of the product reaches the database.
    pub(crate) async fn reach(&self) -> Result<Reach, DbError> {
        let host = self.url.writer().or(self.url.hosts().first());
        let port = if self.dialect == Dialect::Postgres { 5432 } else { 3306 };
        let authority = if self.dialect == Dialect::Postgres { "sslrootcert" } else { "serverSslCert" };
        let user = self.user.as_deref().or(self.url.user());
        Ok(Reach {
            host: host.map_or_else(|| "localhost".into(), |host| host.name.to_string()),
            port: host.map_or(port, |host| host.port),
            user: user.unwrap_or_default().into(),
            database: self.url.database().unwrap_or_default().into(),
            password: self.secret().await?,
            socket: self.url.parameter("localSocket").map(Into::into),
            tls: self.url.tls(),
            authority: self.url.parameter(authority).map(Into::into),
        })
    }

    async fn secret(&self) -> Result<Option<Secret>, DbError> {
        match &self.password {
            None => Ok(self.url.password().cloned()),
            Some(password) => match password.read().await {
                Ok(secret) => Ok(Some(secret)),
                Err(error) => Err(DbError::new(DbErrorKind::Denied, error.to_string())),
            },
        }
    }

    /// Makes the driver's own connection.
    fn driver(&self, secret: Option<Secret>) -> Result<Box<dyn Connect>, DbError> {
        #[cfg(not(any(feature = "mysql", feature = "postgres")))]
        let _ = secret;
        match self.url.driver() {
            #[cfg(feature = "postgres")]
            Driver::Postgres => self.postgres(secret),
            #[cfg(feature = "mysql")]
            Driver::MariaDb | Driver::MySql => self.mysql(secret),
            #[cfg(feature = "sqlite")]
            Driver::Sqlite => Ok(Box::new(self.sqlite())),
            // Refused when the URL was read.
            other => Err(DbError::new(DbErrorKind::Refused, format!("no driver for {other} is built in"))),
        }
    }

    #[cfg(feature = "sqlite")]
    fn sqlite(&self) -> crate::Sqlite {
        let on =
            |name: &str| self.url.parameter(name).is_some_and(|value| matches!(value, "true" | "on" | "1" | "yes"));
        let path = self.url.database().unwrap_or(":memory:");
        crate::Sqlite::new(path).with_create(false).with_foreign_keys(on("foreign_keys")).with_limits(self.limits)
    }

    #[cfg(feature = "postgres")]
    fn postgres(&self, secret: Option<Secret>) -> Result<Box<dyn Connect>, DbError> {
        let (database, user) = (self.url.database().unwrap_or_default(), self.user()?);
        let mut hosts = self.url.hosts().iter();
        let first = hosts.next().map_or(("localhost", 5432), |host| (host.name.as_str(), host.port));
        let mut postgres = crate::Postgres::new(first.0, first.1, database, user).with_limits(self.limits);
        for host in hosts {
            postgres = postgres.with_other(&host.name, host.port);
        }
        if let Some(schemas) = self.url.parameter("currentSchema") {
            postgres = postgres.with_search_path(schemas);
        }
        if let Some(secret) = secret {
            postgres = postgres.with_password(secret);
        }
        Ok(Box::new(postgres.with_tls(self.tls("sslrootcert")?)))
    }

    #[cfg(feature = "mysql")]
    fn mysql(&self, secret: Option<Secret>) -> Result<Box<dyn Connect>, DbError> {
        let (database, user) = (self.url.database().unwrap_or_default(), self.user()?);
        let host = self.url.writer().map_or(("localhost", 3306), |host| (host.name.as_str(), host.port));
        let mut mysql = match self.url.parameter("localSocket") {
            Some(path) => crate::MySql::on_socket(path, database, user),
            None => crate::MySql::new(host.0, host.1, database, user),
        };
        if self.dialect == Dialect::MariaDb {
            mysql = mysql.as_mariadb();
        }
        if let Some(secret) = secret {
            mysql = mysql.with_password(secret);
        }
        Ok(Box::new(mysql.with_limits(self.limits).with_tls(self.tls("serverSslCert")?)))
    }

    #[cfg(any(feature = "mysql", feature = "postgres"))]
    fn user(&self) -> Result<&str, DbError> {
        let user = self.user.as_deref().or(self.url.user());
        user.ok_or_else(|| DbError::new(DbErrorKind::Denied, "no user is named: give user, or add it to the URL"))
    }

    /// What the URL asks of TLS. One that would take it where the server offers it is connected in clear text: what is asked for
    /// is `require`, or more.
    #[cfg(any(feature = "mysql", feature = "postgres"))]
    fn tls(&self, authority: &str) -> Result<crate::Tls, DbError> {
        use crate::jdbc::Tls;
        let file = || match self.url.parameter(authority) {
            Some(path) => Ok(path.into()),
            None => {
                let what = format!("the URL asks for a verified certificate: name the CA's PEM file as {authority}");
                Err(DbError::new(DbErrorKind::Refused, what))
            }
        };
        Ok(match self.url.tls() {
            Tls::Disable | Tls::Prefer => crate::Tls::Off,
            Tls::Require => crate::Tls::Encrypt,
            Tls::VerifyCa => crate::Tls::VerifyCa(file()?),
            Tls::VerifyFull => crate::Tls::VerifyFull(file()?),
        })
    }
}

/// How a program of the product reaches a database.
pub(crate) struct Reach {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) user: String,
    pub(crate) database: String,
    pub(crate) password: Option<Secret>,
    /// The server's Unix socket, where the URL names it.
    pub(crate) socket: Option<String>,
    pub(crate) tls: crate::jdbc::Tls,
    /// The certificate of the authority.
    pub(crate) authority: Option<std::path::PathBuf>,
}

#[async_trait]
impl Connect for UrlConnect {
    fn dialect(&self) -> Dialect {
        self.dialect
    }

    fn target(&self) -> &str {
        self.url.target()
    }

    async fn open(&self, role: SessionRole) -> Result<Box<dyn Session>, DbError> {
        self.driver(self.secret().await?)?.open(role).await
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
mod tests {
    use super::*;

    #[test]
    fn a_url_that_no_session_is_opened_through_says_what_to_do() {
        for (url, says) in [
            ("jdbc:h2:./repository/database/WSO2CARBON_DB", "stop the node for its migration"),
            ("jdbc:oracle:thin:@db1:1521/orders", "no driver for Oracle is built in"),
            ("postgresql://db1/orders", "jdbc:"),
            ("jdbc:mysql:loadbalance://db1,db2/orders", "name that host alone"),
        ] {
            let refused = UrlConnect::new(url, Limits::default()).unwrap_err().to_string();
            assert!(refused.contains(says), "{url}: {refused}");
        }
    }

    #[cfg(feature = "sqlite")]
    #[tokio::test]
    async fn a_sqlite_file_that_is_not_there_is_not_made() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("orders.db");
        let connect = connect_url(&format!("jdbc:sqlite:{}", file.display()), Limits::default()).unwrap();
        let refused = connect.open(SessionRole::Migrator).await.unwrap_err();
        assert!(!file.exists() && refused.kind == DbErrorKind::Unreachable, "{refused:?}");
        std::fs::write(&file, "").unwrap();
        connect.open(SessionRole::Migrator).await.unwrap();
    }

    #[cfg(feature = "postgres")]
    #[tokio::test]
    async fn a_password_that_cannot_be_read_is_told_by_its_place_and_nothing_is_opened() {
        let connect = UrlConnect::new("jdbc:postgresql://127.0.0.1:1/orders?user=app", Limits::default()).unwrap();
        let connect = connect.with_password(Some(SecretRef::File("/nowhere/password".into())));
        let refused = connect.open(SessionRole::Migrator).await.unwrap_err();
        assert!(refused.kind == DbErrorKind::Denied && refused.message.contains("/nowhere/password"), "{refused:?}");
    }

    #[cfg(feature = "postgres")]
    #[tokio::test]
    async fn a_verified_certificate_needs_its_authority() {
        let url = "jdbc:postgresql://127.0.0.1:1/orders?user=app&sslmode=verify-full";
        let refused = connect_url(url, Limits::default()).unwrap().open(SessionRole::Reader).await.unwrap_err();
        assert!(refused.message.contains("sslrootcert"), "{refused:?}");
    }
}
