use std::path::PathBuf;
use std::time::Duration;

use ha_core::topology::{Component, Setting};

/// Refuses the settings of a component.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("setting {key}: {what}")]
pub struct ConfigError {
    key: String,
    what: String,
}

impl ConfigError {
    pub(crate) fn new(key: &str, what: impl Into<String>) -> Self {
        Self { key: key.into(), what: what.into() }
    }
}

/// Reads settings by key, and refuses what nobody asked for.
pub(crate) struct Settings<'a> {
    component: &'a Component,
    known: Vec<&'static str>,
}

impl<'a> Settings<'a> {
    pub(crate) fn of(component: &'a Component) -> Self {
        Self { component, known: Vec::new() }
    }

    fn get(&mut self, key: &'static str) -> Option<&'a Setting> {
        self.known.push(key);
        self.component.settings.get(key)
    }

    pub(crate) fn text(&mut self, key: &'static str) -> Result<Option<String>, ConfigError> {
        match self.get(key) {
            None => Ok(None),
            Some(Setting::Text(text)) if !text.is_empty() => Ok(Some(text.clone())),
            Some(_) => Err(ConfigError::new(key, "give a text that is not empty")),
        }
    }

    pub(crate) fn required_text(&mut self, key: &'static str) -> Result<String, ConfigError> {
        self.text(key)?.ok_or_else(|| ConfigError::new(key, "is missing"))
    }

    pub(crate) fn absolute_path(&mut self, key: &'static str) -> Result<PathBuf, ConfigError> {
        let path = PathBuf::from(self.required_text(key)?);
        if path.is_absolute() { Ok(path) } else { Err(ConfigError::new(key, "give an absolute path")) }
    }

    pub(crate) fn optional_argv(&mut self, key: &'static str) -> Result<Vec<String>, ConfigError> {
        if self.component.settings.contains_key(key) {
            self.argv(key)
        } else {
            {
                self.known.push(key);
                Ok(Vec::new())
            }
        }
    }

    pub(crate) fn argv(&mut self, key: &'static str) -> Result<Vec<String>, ConfigError> {
        match self.get(key) {
            Some(Setting::List(argv)) if argv.first().is_some_and(|program| !program.is_empty()) => Ok(argv.clone()),
            Some(_) => Err(ConfigError::new(key, "give a list of strings: the program and its arguments")),
            None => Err(ConfigError::new(key, "is missing")),
        }
    }

    pub(crate) fn millis(&mut self, key: &'static str, default: Duration) -> Result<Duration, ConfigError> {
        match self.get(key) {
            None => Ok(default),
            Some(Setting::Integer(ms)) if *ms > 0 => Ok(Duration::from_millis(ms.unsigned_abs())),
            Some(_) => Err(ConfigError::new(key, "give a number of milliseconds, at least 1")),
        }
    }

    pub(crate) fn finish(self) -> Result<(), ConfigError> {
        match self.component.settings.keys().find(|key| !self.known.contains(&key.as_str())) {
            Some(key) => Err(ConfigError::new(key, format!("is unknown; known here: {}", self.known.join(", ")))),
            None => Ok(()),
        }
    }
}
