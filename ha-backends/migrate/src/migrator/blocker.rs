use std::fmt;
use std::time::Duration;

use crate::SessionId;

/// A session of somebody else: one that holds what is waited for, or one of an old release.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Blocker {
    /// Which session.
    pub session: SessionId,
    /// Its user.
    pub user: String,
    /// What its program calls itself; empty where the server does not tell.
    pub application: String,
    /// Where it comes from; empty for a local one.
    pub address: String,
    /// How long its transaction or statement has run.
    pub age: Duration,
}

#[cfg(test)]
impl Blocker {
    pub(crate) fn of(session: SessionId, user: &str) -> Self {
        let (application, address) = (String::new(), String::new());
        Self { session, user: user.into(), application, address, age: Duration::ZERO }
    }
}

impl fmt::Display for Blocker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "session {} of {}", self.session.number, self.user)?;
        if !self.application.is_empty() {
            write!(f, " ({})", self.application)?;
        }
        if !self.address.is_empty() {
            write!(f, " from {}", self.address)?;
        }
        write!(f, ", busy for {}.{} s", self.age.as_secs(), self.age.subsec_millis() / 100)
    }
}

/// How the sessions of a release's servers are told at the database. Every part that is given has to fit.
///
/// # Examples
///
/// ```
/// use ha_migrate::OldRelease;
///
/// let old = OldRelease::new("4.2.0").with_user("wso2_42").with_application("esb-4.2.0");
/// assert_eq!(old.release(), "4.2.0");
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OldRelease {
    pub(crate) release: String,
    pub(crate) user: Option<String>,
    pub(crate) application: Option<String>,
    pub(crate) database: Option<String>,
}

impl OldRelease {
    /// Names a release; at least one `with_` says how its sessions are told.
    pub fn new(release: impl Into<String>) -> Self {
        Self { release: release.into(), user: None, application: None, database: None }
    }

    /// Its sessions log in as this user.
    #[must_use]
    pub fn with_user(mut self, user: impl Into<String>) -> Self {
        self.user = Some(user.into());
        self
    }

    /// Its sessions call themselves so: `application_name` (PostgreSQL), `program_name` of the connection attributes (MariaDB,
    /// MySQL, with performance_schema).
    #[must_use]
    pub fn with_application(mut self, application: impl Into<String>) -> Self {
        self.application = Some(application.into());
        self
    }

    /// Its sessions use this database.
    #[must_use]
    pub fn with_database(mut self, database: impl Into<String>) -> Self {
        self.database = Some(database.into());
        self
    }

    /// Returns the release.
    pub fn release(&self) -> &str {
        &self.release
    }
}
