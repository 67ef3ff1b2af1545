//! Datasources of WSO2 servers: `master-datasources.xml`, `deployment.toml`, `registry.xml`.
//!
//! All of them become [`Datasource`]s with their file and line. Passwords are never printed: neither those of their own field, nor
//! those in a URL.
//!
//! ```
//! use ha_migrate::datasource::deployment_toml;
//!
//! let text = r#"
//! [database.shared_db]
//! type = "postgre"
//! hostname = "db"
//! port = 5432
//! name = "shared"
//! username = "wso2"
//! password = "$env{SHARED_DB_PASSWORD}"
//! "#;
//! let parsed = deployment_toml("deployment.toml", text, &|_| None).unwrap();
//! assert_eq!(parsed.datasources[0].url, "jdbc:postgresql://db:5432/shared");
//! ```

mod deployment;
mod error;
mod infer;
mod master;
mod nodes;
mod pool;
mod registry;
mod toml_value;
mod xml;

use std::fmt;

pub use deployment::deployment_toml;
pub use error::DatasourceError;
pub use master::master_datasources;
pub use nodes::{NodeConfig, lint_nodes};
pub use pool::Pool;
pub use registry::{DbConfig, Mount, Registry, RemoteInstance, registry};

use crate::secret::redact;
use crate::{Secret, SecretError, SecretRef};

/// Where something is written.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub struct Location {
    /// The file, as it was named by the caller.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// A password as it is configured.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Password {
    /// None is given.
    None,
    /// It is written in the file.
    Inline(Secret),
    /// It is somewhere else.
    Ref(SecretRef),
}

impl Password {
    /// Reads the password; `None` where none is given.
    ///
    /// # Errors
    /// Of [`SecretRef::read`].
    /// # Cancel safety
    /// Cancel safe.
    pub async fn read(&self) -> Result<Option<Secret>, SecretError> {
        match self {
            Self::None => Ok(None),
            Self::Inline(secret) => Ok(Some(secret.clone())),
            Self::Ref(reference) => reference.read().await.map(Some),
        }
    }

    /// A text of a configuration: `$secret{alias}` and `$env{NAME}` are references.
    pub(crate) fn of(text: &str) -> Self {
        let inside = |open: &str| text.trim().strip_prefix(open)?.strip_suffix('}').map(str::trim);
        if let Some(alias) = inside("$secret{") {
            Self::Ref(SecretRef::Alias(alias.to_owned()))
        } else if let Some(name) = inside("$env{") {
            Self::Ref(SecretRef::Env(name.to_owned()))
        } else if text.is_empty() {
            Self::None
        } else {
            Self::Inline(Secret::new(text))
        }
    }
}

/// One datasource of a server. Its `Debug` prints no password, of the URL neither.
#[derive(Clone, Eq, PartialEq)]
#[non_exhaustive]
pub struct Datasource {
    /// Its name, such as `WSO2_SHARED_DB`.
    pub name: String,
    /// Its JNDI name, such as `jdbc/SHARED_DB`, where it is known.
    pub jndi: Option<String>,
    /// The JDBC URL, as the driver gets it.
    pub url: String,
    /// The user.
    pub user: Option<String>,
    /// The password.
    pub password: Password,
    /// The class of the JDBC driver.
    pub driver: Option<String>,
    /// The pool's settings.
    pub pool: Pool,
    /// What the pool asks to see whether a connection lives.
    pub validation_query: Option<String>,
    /// Where it is written.
    pub at: Location,
}

impl Datasource {
    /// Takes the password from elsewhere, where the file's is one that only the server reads.
    #[must_use]
    pub fn with_password(mut self, reference: SecretRef) -> Self {
        self.password = Password::Ref(reference);
        self
    }

    /// The URL without user and password, for messages.
    pub fn shown_url(&self) -> String {
        redact(&self.url)
    }
}

impl fmt::Debug for Datasource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, jndi, url, user, password, driver, pool, validation_query, at } = self;
        f.debug_struct("Datasource")
            .field("name", name)
            .field("jndi", jndi)
            .field("url", &redact(url))
            .field("user", user)
            .field("password", password)
            .field("driver", driver)
            .field("pool", pool)
            .field("validation_query", validation_query)
            .field("at", at)
            .finish()
    }
}

/// Something that a reader does not know, or that the server will not do as it is written.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Note {
    /// Where it is written.
    pub at: Location,
    /// What it is, and what to do.
    pub what: String,
}

/// What a file holds.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Datasources {
    /// In the order of the file.
    pub datasources: Vec<Datasource>,
    /// In the order of the file.
    pub notes: Vec<Note>,
}

impl Datasources {
    /// Finds a datasource by its name or JNDI name.
    pub fn find(&self, name: &str) -> Option<&Datasource> {
        self.datasources.iter().find(|one| one.name == name || one.jndi.as_deref() == Some(name))
    }
}
