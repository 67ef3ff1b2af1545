use std::path::PathBuf;
use std::time::Duration;

use super::{Component, Setting};

/// Refuses the settings of a component.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("setting {key}: {what}")]
pub struct SettingError {
    key: String,
    what: String,
}

impl SettingError {
    /// Says what is wrong with the setting `key`.
    pub fn new(key: &str, what: impl Into<String>) -> Self {
        Self { key: key.into(), what: what.into() }
    }
}

/// Reads settings by key, and refuses what nobody asked for.
#[derive(Debug)]
pub struct Settings<'a> {
    component: &'a Component,
    known: Vec<&'static str>,
}

impl<'a> Settings<'a> {
    /// Begins to read.
    pub fn of(component: &'a Component) -> Self {
        Self { component, known: Vec::new() }
    }

    fn get(&mut self, key: &'static str) -> Option<&'a Setting> {
        self.known.push(key);
        self.component.settings.get(key)
    }

    /// Reads a text that may be missing.
    ///
    /// # Errors
    /// [`SettingError`] when it is no text, or an empty one.
    pub fn text(&mut self, key: &'static str) -> Result<Option<String>, SettingError> {
        match self.get(key) {
            None => Ok(None),
            Some(Setting::Text(text)) if !text.is_empty() => Ok(Some(text.clone())),
            Some(_) => Err(SettingError::new(key, "give a text that is not empty")),
        }
    }

    /// Reads a text.
    ///
    /// # Errors
    /// [`SettingError`] when it is missing, no text, or an empty one.
    pub fn required_text(&mut self, key: &'static str) -> Result<String, SettingError> {
        self.text(key)?.ok_or_else(|| SettingError::new(key, "is missing"))
    }

    /// Reads an absolute path.
    ///
    /// # Errors
    /// [`SettingError`] when it is missing or not absolute.
    pub fn absolute_path(&mut self, key: &'static str) -> Result<PathBuf, SettingError> {
        let path = PathBuf::from(self.required_text(key)?);
        if path.is_absolute() { Ok(path) } else { Err(SettingError::new(key, "give an absolute path")) }
    }

    /// Reads an argument vector; empty where it is missing.
    ///
    /// # Errors
    /// [`SettingError`] when it is no list of strings with a program first.
    pub fn optional_argv(&mut self, key: &'static str) -> Result<Vec<String>, SettingError> {
        if self.component.settings.contains_key(key) {
            return self.argv(key);
        }
        self.known.push(key);
        Ok(Vec::new())
    }

    /// Reads an argument vector.
    ///
    /// # Errors
    /// [`SettingError`] when it is missing, or no list of strings with a program first.
    pub fn argv(&mut self, key: &'static str) -> Result<Vec<String>, SettingError> {
        match self.get(key) {
            Some(Setting::List(argv)) if argv.first().is_some_and(|program| !program.is_empty()) => Ok(argv.clone()),
            Some(_) => Err(SettingError::new(key, "give a list of strings: the program and its arguments")),
            None => Err(SettingError::new(key, "is missing")),
        }
    }

    /// Reads a list of texts; a text alone is a list of one, and a missing list is empty.
    ///
    /// # Errors
    /// [`SettingError`] when it is something else, or empty, or a text in it is.
    pub fn texts(&mut self, key: &'static str) -> Result<Vec<String>, SettingError> {
        match self.get(key) {
            None => Ok(Vec::new()),
            Some(Setting::Text(text)) if !text.is_empty() => Ok(vec![text.clone()]),
            Some(Setting::List(list)) if !list.is_empty() && list.iter().all(|text| !text.is_empty()) => {
                Ok(list.clone())
            }
            Some(_) => Err(SettingError::new(key, "give a list of texts, none of them empty")),
        }
    }

    /// Reads a time in milliseconds, at least 1.
    ///
    /// # Errors
    /// [`SettingError`] when it is something else.
    pub fn millis(&mut self, key: &'static str, default: Duration) -> Result<Duration, SettingError> {
        match self.get(key) {
            None => Ok(default),
            Some(Setting::Integer(ms)) if *ms > 0 => Ok(Duration::from_millis(ms.unsigned_abs())),
            Some(_) => Err(SettingError::new(key, "give a number of milliseconds, at least 1")),
        }
    }

    /// Reads an integer from `least` to `most`, both included, that may be missing.
    ///
    /// # Errors
    /// [`SettingError`] when it is something else.
    pub fn integer(&mut self, key: &'static str, least: i64, most: i64) -> Result<Option<i64>, SettingError> {
        match self.get(key) {
            None => Ok(None),
            Some(Setting::Integer(value)) if (least..=most).contains(value) => Ok(Some(*value)),
            Some(_) => Err(SettingError::new(key, format!("give an integer from {least} to {most}"))),
        }
    }

    /// Refuses what nobody has asked for.
    ///
    /// # Errors
    /// [`SettingError`] with the first unknown key and the known ones.
    pub fn finish(self) -> Result<(), SettingError> {
        match self.component.settings.keys().find(|key| !self.known.contains(&key.as_str())) {
            Some(key) => Err(SettingError::new(key, format!("is unknown; known here: {}", self.known.join(", ")))),
            None => Ok(()),
        }
    }
}
