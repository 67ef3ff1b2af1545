//! JDBC URLs.
//!
//! The scheme alone decides which driver a URL is for, and so the dialect: a host called `h2-prod` or `oracle-gw` changes nothing.
//! A URL is printed without its user and secrets; [`JdbcUrl::printed_with_secrets`] prints it as it was read.

mod driver;
mod files;
mod host;
mod mysql;
mod oracle;
mod parameters;
mod postgres;
mod refusal;
mod servers;
mod tls;

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

pub use driver::Driver;
pub use host::Host;
pub use parameters::Parameter;
pub use refusal::Refusal;
pub use tls::Tls;

use crate::{Dialect, Secret};

/// A JDBC URL, read as its driver reads it.
///
/// # Examples
/// ```
/// use ha_migrate::Dialect;
/// use ha_migrate::jdbc::JdbcUrl;
///
/// let url: JdbcUrl = "jdbc:mysql://app:s3cret@db1/orders?useSSL=false&password=s3cret".parse()?;
/// assert_eq!(url.dialect(), Some(Dialect::MySql));
/// assert_eq!(url.hosts()[0].to_string(), "db1:3306");
/// assert_eq!(url.database(), Some("orders"));
/// assert_eq!(url.target(), "jdbc:mysql://db1/orders");
/// assert_eq!(url.to_string(), "jdbc:mysql://***@db1/orders?useSSL=false&password=***");
/// # Ok::<(), ha_migrate::jdbc::JdbcError>(())
/// ```
#[derive(Clone, Eq, PartialEq)]
pub struct JdbcUrl {
    text: String,
    redacted: String,
    target: String,
    driver: Driver,
    mode: Mode,
    hosts: Vec<Host>,
    database: Option<String>,
    parameters: Vec<Parameter>,
    user: Option<String>,
    password: Option<Secret>,
    tls: Tls,
}

/// A text that is no JDBC URL. Nothing of the text is in it but names.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not a JDBC URL that can be used: {what}")]
pub struct JdbcError {
    /// What is wrong, and the fix.
    pub what: String,
}

/// How several hosts are used, or what kind of database it is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Mode {
    #[default]
    Plain,
    /// The writer may be any of the hosts.
    LoadBalance,
    /// The hosts are found by DNS.
    Discovered,
    /// A file that one process opens (H2).
    Embedded,
}

/// What is read of a URL.
struct Draft<'a> {
    text: &'a str,
    mode: Mode,
    hosts: Vec<Host>,
    database: Option<String>,
    parameters: Vec<Parameter>,
    user: Option<String>,
    password: Option<String>,
    /// What is not printed.
    secrets: Vec<Range<usize>>,
    /// Where the parameters begin, with their sign.
    parameters_at: usize,
}

type Result<T> = std::result::Result<T, JdbcError>;

fn refuse<T>(what: impl Into<String>) -> Result<T> {
    Err(JdbcError { what: what.into() })
}

impl<'a> Draft<'a> {
    /// Hides a part of the URL, which must be a slice of it.
    fn hide(&mut self, part: &str) {
        let start = (part.as_ptr() as usize).saturating_sub(self.text.as_ptr() as usize);
        if !part.is_empty() {
            self.secrets.push(start..start + part.len());
        }
    }

    /// Takes `user:password@`, without the `@`.
    fn credentials(&mut self, part: &'a str, between: char, decode: fn(&str) -> String) {
        self.hide(part);
        let (user, password) = part.split_once(between).map_or((part, None), |(user, password)| (user, Some(password)));
        if self.user.is_none() {
            self.user = Some(decode(user)).filter(|user| !user.is_empty());
            self.password = password.map(decode);
        }
    }

    /// Notes where the parameters begin.
    fn parameters_from(&mut self, rest: &str) {
        self.parameters_at = self.text.len().saturating_sub(rest.len());
    }

    /// Returns the URL with `***` for what is hidden.
    fn redacted(&mut self) -> String {
        self.secrets.sort_by_key(|secret| secret.start);
        let (mut out, mut at) = (String::new(), 0);
        for secret in &self.secrets {
            if secret.start >= at {
                out.push_str(self.text.get(at..secret.start).unwrap_or_default());
                out.push_str("***");
            }
            at = at.max(secret.end);
        }
        out.push_str(self.text.get(at..).unwrap_or_default());
        out
    }

    /// Returns a parameter, whatever the case of its name.
    fn parameter(&self, name: &str) -> Option<&str> {
        parameters::find(&self.parameters, name)
    }
}

impl JdbcUrl {
    /// Reads a URL.
    ///
    /// # Errors
    /// [`JdbcError`]: another scheme, or a text that its driver would not understand. Use [`JdbcUrl::refusals`] for URLs that can be
    /// read and not used.
    pub fn parse(text: &str) -> Result<Self> {
        if text.trim() != text {
            return refuse("blanks around it: take them out");
        }
        if text.contains(char::is_control) {
            return refuse("a line end or another control character in it: take it out");
        }
        let Some(rest) = text.strip_prefix("jdbc:") else { return refuse("it does not begin with jdbc:") };
        let (driver, rest) = Driver::of(rest)?;
        let mut draft = Draft {
            text,
            mode: Mode::Plain,
            hosts: Vec::new(),
            database: None,
            parameters: Vec::new(),
            user: None,
            password: None,
            secrets: Vec::new(),
            parameters_at: text.len(),
        };
        let target = match driver {
            Driver::Postgres => postgres::read(&mut draft, rest),
            Driver::MySql | Driver::MariaDb => mysql::read(&mut draft, driver, rest),
            Driver::Sqlite => files::sqlite(&mut draft, rest),
            Driver::H2 => files::h2(&mut draft, rest),
            Driver::Derby => files::derby(&mut draft, rest),
            Driver::Oracle => oracle::read(&mut draft, rest),
            Driver::SqlServer | Driver::Jtds => servers::sqlserver(&mut draft, driver, rest),
            Driver::Db2 | Driver::Informix => servers::db2(&mut draft, driver, rest),
        }?;
        let tls = Tls::of(driver, &draft)?;
        let parameter = |names: [&str; 3]| names.iter().find_map(|name| draft.parameter(name)).map(String::from);
        let user = draft.user.clone().or_else(|| parameter(["user", "userName", "uid"]));
        let password = draft.password.clone().or_else(|| parameter(["password", "passwd", "pwd"]));
        let redacted = draft.redacted();
        let Draft { mode, hosts, database, parameters, .. } = draft;
        let (text, password) = (text.into(), password.map(Secret::new));
        Ok(Self { text, redacted, target, driver, mode, hosts, database, parameters, user, password, tls })
    }

    /// Returns the driver that its scheme names.
    pub fn driver(&self) -> Driver {
        self.driver
    }

    /// Returns the SQL that the database speaks; `None` for the ones that are only recognised (Informix, Derby).
    pub fn dialect(&self) -> Option<Dialect> {
        self.driver.dialect()
    }

    /// Returns the hosts in their order, with their ports; none for a file.
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// Returns the host that takes writes, as far as the URL says: the first one, but for replicas.
    pub fn writer(&self) -> Option<&Host> {
        self.hosts.iter().find(|host| !host.is_replica)
    }

    /// Returns the database, service, SID or file.
    pub fn database(&self) -> Option<&str> {
        self.database.as_deref()
    }

    /// Returns the parameters in their order, secrets among them.
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// Returns the first parameter of a name, whatever its case.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        parameters::find(&self.parameters, name)
    }

    /// Returns the user, from before the `@` or from the parameters.
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// Returns the password, from before the `@` or from the parameters.
    pub fn password(&self) -> Option<&Secret> {
        self.password.as_ref()
    }

    /// Returns what it asks of TLS, with the driver's default.
    pub fn tls(&self) -> Tls {
        self.tls
    }

    /// Returns the URL without user, password and parameters: what two URLs of one database have in common.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// Returns the URL as it was read, with its secrets: for its driver alone, never for a log.
    pub fn printed_with_secrets(&self) -> &str {
        &self.text
    }

    /// Lists why no migration is run through this URL, with the fixes; empty where one can be.
    pub fn refusals(&self) -> Vec<Refusal> {
        refusal::of(self)
    }
}

impl FromStr for JdbcUrl {
    type Err = JdbcError;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

impl fmt::Display for JdbcUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.redacted)
    }
}

impl fmt::Debug for JdbcUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("JdbcUrl").field(&self.redacted).finish()
    }
}
