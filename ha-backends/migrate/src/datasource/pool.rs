//! The settings of a connection pool.

use std::collections::BTreeMap;
use std::fmt;

use crate::secret::redact;

/// The settings of a connection pool (tomcat jdbc-pool). `None` is the pool's default.
#[derive(Clone, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Pool {
    /// How many connections there are at most.
    pub max_active: Option<i64>,
    /// How many idle ones are kept at most.
    pub max_idle: Option<i64>,
    /// How many idle ones are kept at least.
    pub min_idle: Option<i64>,
    /// How many are opened at the start.
    pub initial_size: Option<i64>,
    /// How long a borrower waits, in milliseconds.
    pub max_wait: Option<i64>,
    /// How old a connection becomes, in milliseconds: 0 is without end. After a change of a result type, old ones must go.
    pub max_age: Option<i64>,
    /// How often a connection is looked at, in milliseconds.
    pub validation_interval: Option<i64>,
    /// Whether a connection is looked at before it is lent.
    pub test_on_borrow: Option<bool>,
    /// Whether a connection commits each statement.
    pub default_auto_commit: Option<bool>,
    /// Whether a connection only reads.
    pub default_read_only: Option<bool>,
    /// Whether what is open is committed when a connection is given back.
    pub commit_on_return: Option<bool>,
    /// Whether what is open is rolled back when a connection is given back.
    pub rollback_on_return: Option<bool>,
    /// All others, as written.
    pub other: BTreeMap<String, String>,
}

/// Fields of the reader that are no settings of their own here.
pub(super) const OTHER: [&str; 27] = [
    "testOnReturn",
    "testWhileIdle",
    "validationQueryTimeout",
    "validatorClassName",
    "timeBetweenEvictionRunsMillis",
    "numTestsPerEvictionRun",
    "minEvictableIdleTimeMillis",
    "removeAbandoned",
    "removeAbandonedTimeout",
    "logAbandoned",
    "abandonWhenPercentageFull",
    "suspectTimeout",
    "defaultTransactionIsolation",
    "defaultCatalog",
    "connectionProperties",
    "initSQL",
    "jdbcInterceptors",
    "jmxEnabled",
    "fairQueue",
    "useEquals",
    "alternateUsernameAllowed",
    "accessToUnderlyingConnectionAllowed",
    "dataSourceClassName",
    "dataSourceProps",
    "databaseProps",
    "useLock",
    "propagateInterruptState",
];

impl Pool {
    /// Sets one field by its name in camel case.
    ///
    /// Answers whether the field is known; `Err` says what its value must be.
    pub(super) fn set(&mut self, key: &str, value: &str) -> Result<bool, &'static str> {
        let value = value.trim();
        let number = || value.parse::<i64>().map(Some).map_err(|_| "is no whole number");
        let flag = || match value.to_ascii_lowercase().as_str() {
            "true" => Ok(Some(true)),
            "false" => Ok(Some(false)),
            _ => Err("is neither true nor false"),
        };
        match key {
            "maxActive" => self.max_active = number()?,
            "maxIdle" => self.max_idle = number()?,
            "minIdle" => self.min_idle = number()?,
            "initialSize" => self.initial_size = number()?,
            "maxWait" => self.max_wait = number()?,
            "maxAge" => self.max_age = number()?,
            "validationInterval" => self.validation_interval = number()?,
            "testOnBorrow" => self.test_on_borrow = flag()?,
            "defaultAutoCommit" => self.default_auto_commit = flag()?,
            "defaultReadOnly" => self.default_read_only = flag()?,
            "commitOnReturn" => self.commit_on_return = flag()?,
            "rollbackOnReturn" => self.rollback_on_return = flag()?,
            _ => {
                self.other.insert(key.to_owned(), value.to_owned());
                return Ok(OTHER.contains(&key));
            }
        }
        Ok(true)
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut map = f.debug_map();
        let numbers = [
            ("maxActive", self.max_active),
            ("maxIdle", self.max_idle),
            ("minIdle", self.min_idle),
            ("initialSize", self.initial_size),
            ("maxWait", self.max_wait),
            ("maxAge", self.max_age),
            ("validationInterval", self.validation_interval),
        ];
        let flags = [
            ("testOnBorrow", self.test_on_borrow),
            ("defaultAutoCommit", self.default_auto_commit),
            ("defaultReadOnly", self.default_read_only),
            ("commitOnReturn", self.commit_on_return),
            ("rollbackOnReturn", self.rollback_on_return),
        ];
        map.entries(numbers.iter().filter_map(|(key, value)| Some((key, (*value)?))));
        map.entries(flags.iter().filter_map(|(key, value)| Some((key, (*value)?))));
        // a property may be a password
        map.entries(self.other.iter().map(|(key, value)| {
            let shown = redact(&format!("{key}={value}"));
            (key, shown.split_once('=').map(|(_, value)| value.to_owned()).unwrap_or_default())
        }));
        map.finish()
    }
}
