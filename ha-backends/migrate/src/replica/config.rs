use std::fmt;
use std::time::Duration;

use ha_core::topology::{Component, Role, SettingErrors, Settings, Topology};

use crate::SecretRef;
use crate::config::password;
use crate::secret::redact;

/// Where one site's PostgreSQL is.
#[derive(Clone, Eq, PartialEq)]
#[non_exhaustive]
pub struct PostgresCopy {
    /// The site's name.
    pub site: String,
    /// The JDBC URL of the instance in this site, and of no other.
    pub url: String,
    /// Who drives it. Default the URL's. A superuser, or a member of `pg_monitor`, `pg_read_server_files`, `pg_write_server_files`
    /// and `pg_execute_server_program` that may execute `pg_promote`, `pg_reload_conf`, `pg_read_file` and `pg_stat_file`, set
    /// `primary_conninfo` by `ALTER SYSTEM` (from PostgreSQL 15 on), and create tables in the schema `public`.
    pub user: Option<String>,
    /// Where its password is read from. Default the URL's, or none.
    pub password: Option<SecretRef>,
    /// How standbys reach it: a libpq connection string without a password, which belongs into their `passfile`.
    pub conninfo: String,
}

impl fmt::Debug for PostgresCopy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // URL and connection string may hold passwords.
        f.debug_struct("PostgresCopy")
            .field("site", &self.site)
            .field("url", &redact(&self.url))
            .field("user", &self.user)
            .field("password", &self.password)
            .field("conninfo", &without_password(&self.conninfo))
            .finish()
    }
}

/// The whole string is hidden where it holds a password: libpq lets a quoted value hold every mark that could end one.
fn without_password(conninfo: &str) -> &str {
    let holds = conninfo.to_ascii_lowercase().contains("password") || redact(conninfo) != conninfo;
    if holds { "***" } else { conninfo }
}

impl PostgresCopy {
    /// Names an instance and how standbys reach it.
    pub fn new(site: impl Into<String>, url: impl Into<String>, conninfo: impl Into<String>) -> Self {
        Self { site: site.into(), url: url.into(), user: None, password: None, conninfo: conninfo.into() }
    }

    fn read(settings: &mut Settings<'_>, site: &str) -> Result<Self, ha_core::topology::Reported> {
        let (url, conninfo) = (settings.required_text("url"), settings.required_text("conninfo"));
        let (user, password) = (settings.text("user"), password(settings));
        let (url, conninfo) = (url?, conninfo?);
        if !url.starts_with("jdbc:postgresql:") {
            return Err(settings.wrong("url", "give a JDBC URL of PostgreSQL"));
        }
        if conninfo.contains("password") || conninfo.contains(['\'', '\\']) {
            let what = "give it without a password, quotes and backslashes: passwords belong into a passfile";
            return Err(settings.wrong("conninfo", what));
        }
        Ok(Self { user: user?, password: password?, ..Self::new(site, url, conninfo) })
    }
}

/// A site's PostgreSQL, those of the other sites, and the commands that restart and rebuild it.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct PostgresReplicaConfig {
    /// The instance that is driven.
    pub own: PostgresCopy,
    /// Those of the other sites.
    pub others: Vec<PostgresCopy>,
    /// Restarts the instance with a fast shutdown, which sends all that it has to its standbys, and ends when it answers again.
    pub restart: Vec<String>,
    /// Makes the instance a standby of the one that `HA_CONNINFO` reaches, by `pg_rewind` or a base backup, and ends when it answers
    /// again. Empty: what has writes of its own cannot follow.
    pub rebuild: Vec<String>,
    /// How long each of the commands may take. Default 10 min.
    pub command_deadline: Duration,
}

const DEADLINE: Duration = Duration::from_secs(600);

impl PostgresReplicaConfig {
    /// Describes an instance without a way to rebuild it, with default limits.
    pub fn new(own: PostgresCopy, others: Vec<PostgresCopy>, restart: Vec<String>) -> Self {
        Self { own, others, restart, rebuild: Vec::new(), command_deadline: DEADLINE }
    }

    /// Names the command that makes it a standby anew.
    #[must_use]
    pub fn with_rebuild(mut self, argv: Vec<String>) -> Self {
        self.rebuild = argv;
        self
    }

    /// Reads the settings `url`, `conninfo`, `restart`, and optionally `user`, one of `password_env`, `password_file` and
    /// `password_command`, `rebuild` and `command_deadline`; of the other sites with this backend, where their instances are.
    ///
    /// # Errors
    /// [`SettingErrors`] with every key that is wrong.
    pub fn from_component(component: &Component, topology: &Topology, site: &str) -> Result<Self, SettingErrors> {
        let mut settings = Settings::of(component);
        let (own, restart) = (PostgresCopy::read(&mut settings, site), settings.argv("restart"));
        let rebuild = settings.optional_argv("rebuild");
        let deadline = settings.duration("command_deadline", DEADLINE);
        let declared = topology.components(Role::Replica).into_iter();
        let others = declared.filter(|other| other.name.as_str() != site);
        // What is wrong with another site's settings is reported as its own.
        let read_other = |other: ha_core::topology::Declared<'_>| {
            PostgresCopy::read(&mut Settings::of(other.component), other.name.as_str()).ok()
        };
        let others = others.filter(|other| other.component.backend == component.backend).filter_map(read_other);
        let read = (|| {
            let config = Self::new(own?, others.collect(), restart?).with_rebuild(rebuild?);
            Ok(Self { command_deadline: deadline?, ..config })
        })();
        settings.finish(read)
    }
}
