use std::path::PathBuf;
use std::time::Duration;

use ha_core::topology::{Component, Setting};

/// Where HAProxy's admin socket is, and how long it may take.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct HaProxyConfig {
    /// The path of the admin socket (`stats socket PATH level admin`).
    pub socket: PathBuf,
    /// How long one command may take from connecting to the end of its answer. Default 2 s.
    pub deadline: Duration,
    /// Longer answers are refused. Default 16 MiB.
    pub max_reply: u64,
}

/// Refuses the settings of a component.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("setting {key}: {what}")]
pub struct ConfigError {
    key: String,
    what: String,
}

impl HaProxyConfig {
    /// Describes the socket at `path`, with default limits.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { socket: path.into(), deadline: Duration::from_secs(2), max_reply: 16 * 1024 * 1024 }
    }

    /// Reads the settings `socket` (an absolute path) and `deadline_ms` (at least 1).
    ///
    /// # Errors
    /// [`ConfigError`] with the key.
    pub fn from_component(component: &Component) -> Result<Self, ConfigError> {
        let error = |key: &str, what: &str| ConfigError { key: key.into(), what: what.into() };
        let mut config = match component.settings.get("socket") {
            Some(Setting::Text(path)) if path.starts_with('/') => Self::new(path),
            Some(_) => return Err(error("socket", "give the absolute path of the admin socket")),
            None => return Err(error("socket", "is missing: give the absolute path of the admin socket")),
        };
        match component.settings.get("deadline_ms") {
            None => {}
            Some(Setting::Integer(ms)) if *ms > 0 => config.deadline = Duration::from_millis(ms.unsigned_abs()),
            Some(_) => return Err(error("deadline_ms", "give a number of milliseconds, at least 1")),
        }
        match component.settings.keys().find(|key| !["socket", "deadline_ms"].contains(&key.as_str())) {
            Some(key) => Err(error(key, "is unknown; known here: socket, deadline_ms")),
            None => Ok(config),
        }
    }
}
