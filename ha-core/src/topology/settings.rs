use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::reader::{LONGEST, duration, edit_distance};
use super::{Component, Setting};

/// One setting of a component that is wrong: its key, and what to give.
///
/// # Examples
///
/// ```
/// use ha_core::topology::SettingError;
///
/// let error = SettingError::new("socket", "give an absolute path");
/// assert_eq!(error.to_string(), "setting socket: give an absolute path");
/// ```
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("setting {key}: {what}")]
pub struct SettingError {
    key: String,
    what: String,
}

impl SettingError {
    /// Says what is wrong with the setting `key`, and what to do about it.
    pub fn new(key: &str, what: impl Into<String>) -> Self {
        Self { key: key.into(), what: what.into() }
    }

    /// Returns the key.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Returns what is wrong, and what to do about it.
    pub fn what(&self) -> &str {
        &self.what
    }
}

/// Refuses the settings of a component, with everything that is wrong in them.
///
/// # Examples
///
/// ```
/// use ha_core::topology::{SettingError, SettingErrors};
///
/// let refused = SettingErrors::from(SettingError::new("socket", "is missing: add it"));
/// assert_eq!(refused.errors().len(), 1);
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SettingErrors {
    errors: Vec<SettingError>,
}

impl SettingErrors {
    /// Lists what is wrong, in the order in which it was found. At least one.
    pub fn errors(&self) -> &[SettingError] {
        &self.errors
    }

    /// Adds what another reader of the same component has found wrong.
    #[must_use]
    pub fn with(mut self, others: Self) -> Self {
        self.errors.extend(others.errors);
        self
    }
}

impl From<SettingError> for SettingErrors {
    fn from(error: SettingError) -> Self {
        Self { errors: vec![error] }
    }
}

impl fmt::Display for SettingErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.errors.iter().enumerate() {
            write!(f, "{}{error}", if index == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}

impl std::error::Error for SettingErrors {}

/// Takes the place of a value that cannot be used: what is wrong was reported to the [`Settings`], which return it in the end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Reported(());

/// Reads the settings of a component by key, collects everything that is wrong, and refuses what nobody asked for.
///
/// Ask for every key first, then use the values: a reader that ends at its first error leaves keys unasked for.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use ha_core::topology::{Component, Name, Setting, Settings};
///
/// let mut component = Component::new(Name::new("mine")?);
/// component.settings.insert("deadlin".into(), Setting::Text("2s".into()));
/// let mut settings = Settings::of(&component);
/// let (socket, deadline) = (settings.absolute_path("socket"), settings.duration("deadline", Duration::from_secs(1)));
/// let read = (|| Ok((socket?, deadline?)))();
/// let refused = settings.finish(read).unwrap_err();
/// assert_eq!(refused.to_string(), "setting socket: is missing: add it; setting deadlin: is unknown: did you mean deadline?");
/// # Ok::<(), ha_core::topology::InvalidName>(())
/// ```
#[derive(Debug)]
pub struct Settings<'a> {
    component: &'a Component,
    known: Vec<&'static str>,
    found: Vec<SettingError>,
    /// The keys whose values are missing: a misspelt one is not reported twice.
    missing: Vec<&'static str>,
}

impl<'a> Settings<'a> {
    /// Begins to read.
    pub fn of(component: &'a Component) -> Self {
        Self { component, known: Vec::new(), found: Vec::new(), missing: Vec::new() }
    }

    fn get(&mut self, key: &'static str) -> Option<&'a Setting> {
        self.known.push(key);
        self.component.settings.get(key)
    }

    /// Reads a value, unless a text in it holds a NUL, which nothing that is started or opened can be given.
    fn get_clean(&mut self, key: &'static str) -> Result<Option<&'a Setting>, Reported> {
        let value = self.get(key);
        let holds_nul = match value {
            Some(Setting::Text(text)) => text.contains('\0'),
            Some(Setting::List(list)) => list.iter().any(|text| text.contains('\0')),
            Some(Setting::Integer(_) | Setting::Flag(_)) | None => false,
        };
        if holds_nul { Err(self.wrong(key, "holds a NUL character: remove it")) } else { Ok(value) }
    }

    /// Reports that a setting is wrong.
    pub fn wrong(&mut self, key: &str, what: impl Into<String>) -> Reported {
        self.found.push(SettingError::new(key, what));
        Reported(())
    }

    /// Takes a value that was read elsewhere, or reports why there is none.
    ///
    /// # Errors
    /// [`Reported`] for an error.
    pub fn keep<T>(&mut self, read: Result<T, SettingError>) -> Result<T, Reported> {
        read.map_err(|error| {
            self.found.push(error);
            Reported(())
        })
    }

    /// Returns a value that has to be there.
    ///
    /// # Errors
    /// [`Reported`] when it is missing, or was reported before.
    pub fn require<T>(&mut self, key: &'static str, read: Result<Option<T>, Reported>) -> Result<T, Reported> {
        read?.ok_or_else(|| {
            self.missing.push(key);
            self.wrong(key, "is missing: add it")
        })
    }

    /// Reads a text that may be missing.
    ///
    /// # Errors
    /// [`Reported`] when it is no text, or an empty one.
    pub fn text(&mut self, key: &'static str) -> Result<Option<String>, Reported> {
        match self.get_clean(key)? {
            None => Ok(None),
            Some(Setting::Text(text)) if !text.is_empty() => Ok(Some(text.clone())),
            Some(_) => Err(self.wrong(key, "give a text that is not empty")),
        }
    }

    /// Reads a text.
    ///
    /// # Errors
    /// [`Reported`] when it is missing, no text, or an empty one.
    pub fn required_text(&mut self, key: &'static str) -> Result<String, Reported> {
        let text = self.text(key);
        self.require(key, text)
    }

    /// Reads an absolute path.
    ///
    /// # Errors
    /// [`Reported`] when it is missing, not absolute, or has `..` in it.
    pub fn absolute_path(&mut self, key: &'static str) -> Result<PathBuf, Reported> {
        let path = self.optional_path(key);
        self.require(key, path)
    }

    /// Reads an absolute path that may be missing.
    ///
    /// # Errors
    /// [`Reported`] when it is not absolute, or has `..` in it.
    pub fn optional_path(&mut self, key: &'static str) -> Result<Option<PathBuf>, Reported> {
        match self.text(key)?.map(PathBuf::from) {
            Some(path) if !path.is_absolute() => Err(self.wrong(key, "give an absolute path")),
            Some(path) if climbs(&path) => Err(self.wrong(key, "give the path without ..")),
            path => Ok(path),
        }
    }

    /// Reads an argument vector; empty where it is missing.
    ///
    /// # Errors
    /// [`Reported`] when it is no list of strings with a program first.
    pub fn optional_argv(&mut self, key: &'static str) -> Result<Vec<String>, Reported> {
        match self.get_clean(key)? {
            None => Ok(Vec::new()),
            Some(Setting::List(argv)) if argv.first().is_some_and(|program| !program.is_empty()) => Ok(argv.clone()),
            Some(_) => Err(self.wrong(key, "give a list of strings: the program and its arguments")),
        }
    }

    /// Reads an argument vector.
    ///
    /// # Errors
    /// [`Reported`] when it is missing, or no list of strings with a program first.
    pub fn argv(&mut self, key: &'static str) -> Result<Vec<String>, Reported> {
        let argv = self.optional_argv(key).map(|argv| if argv.is_empty() { None } else { Some(argv) });
        self.require(key, argv)
    }

    /// Reads a list of texts; a text alone is a list of one, and a missing list is empty.
    ///
    /// # Errors
    /// [`Reported`] when it is something else, or empty, or a text in it is.
    pub fn texts(&mut self, key: &'static str) -> Result<Vec<String>, Reported> {
        match self.get_clean(key)? {
            None => Ok(Vec::new()),
            Some(Setting::Text(text)) if !text.is_empty() => Ok(vec![text.clone()]),
            Some(Setting::List(list)) if !list.is_empty() && list.iter().all(|text| !text.is_empty()) => {
                Ok(list.clone())
            }
            Some(_) => Err(self.wrong(key, "give a list of texts, none of them empty")),
        }
    }

    /// Reads a list of texts that may be empty or missing.
    ///
    /// # Errors
    /// [`Reported`] when it is something else.
    pub fn list(&mut self, key: &'static str) -> Result<Vec<String>, Reported> {
        match self.get_clean(key)? {
            None => Ok(Vec::new()),
            Some(Setting::List(list)) => Ok(list.clone()),
            Some(_) => Err(self.wrong(key, "give a list of texts")),
        }
    }

    /// Reads a duration, written with its unit as `"500ms"`, `"2s"`, `"5m"` or `"1h"`: from 1 ms to 24 h.
    ///
    /// # Errors
    /// [`Reported`] when it is something else, a bare number included.
    pub fn duration(&mut self, key: &'static str, default: Duration) -> Result<Duration, Reported> {
        let read = match self.get(key) {
            None => return Ok(default),
            Some(Setting::Text(text)) => duration(text).filter(|read| !read.is_zero() && *read <= LONGEST),
            Some(_) => None,
        };
        read.ok_or_else(|| self.wrong(key, "give a duration as \"500ms\", \"2s\" or \"5m\", from \"1ms\" to \"24h\""))
    }

    /// Reads an integer from `least` to `most`, both included, that may be missing.
    ///
    /// # Errors
    /// [`Reported`] when it is something else.
    pub fn integer(&mut self, key: &'static str, least: i64, most: i64) -> Result<Option<i64>, Reported> {
        match self.get(key) {
            None => Ok(None),
            Some(Setting::Integer(value)) if (least..=most).contains(value) => Ok(Some(*value)),
            Some(_) => Err(self.wrong(key, format!("give a whole number from {least} to {most}"))),
        }
    }

    /// Reads a yes or no that may be missing.
    ///
    /// # Errors
    /// [`Reported`] when it is something else.
    pub fn flag(&mut self, key: &'static str) -> Result<Option<bool>, Reported> {
        match self.get(key) {
            None => Ok(None),
            Some(Setting::Flag(flag)) => Ok(Some(*flag)),
            Some(_) => Err(self.wrong(key, "give true or false")),
        }
    }

    /// Refuses what nobody has asked for, and returns what was read of the rest.
    ///
    /// # Errors
    /// [`SettingErrors`] with all that was reported. An unknown key comes with the known one that is close to it, which is
    /// not reported as missing then.
    pub fn finish<T>(mut self, read: Result<T, Reported>) -> Result<T, SettingErrors> {
        for key in self.component.settings.keys().filter(|key| !self.known.contains(&key.as_str())) {
            let meant = self.meant_by(key);
            self.found
                .retain(|error| Some(error.key()) != meant || !self.missing.iter().any(|key| error.key() == *key));
            let what = match meant {
                Some(meant) if key.strip_suffix("_ms") == Some(meant) => {
                    format!("is unknown: durations have their unit in the text, as {meant} = \"2s\"")
                }
                Some(meant) => format!("is unknown: did you mean {meant}?"),
                None => format!("is unknown; known here: {}", self.known.join(", ")),
            };
            self.found.push(SettingError::new(key, what));
        }
        match read {
            Ok(read) if self.found.is_empty() => Ok(read),
            Ok(_) | Err(_) => Err(SettingErrors { errors: self.found }),
        }
    }

    /// Finds the known key that is not given and that somebody may have meant by an unknown one.
    fn meant_by(&self, unknown: &str) -> Option<&'static str> {
        let free = self.known.iter().copied().filter(|known| !self.component.settings.contains_key(*known));
        let distance = |known: &str| match unknown.strip_suffix("_ms") {
            Some(stem) if stem == known => 0,
            Some(_) | None => edit_distance(&unknown.replace('-', "_").to_lowercase(), known),
        };
        let near = |known: &&str| distance(known) <= 2.min(known.len() / 3);
        free.filter(near).min_by_key(|known| distance(known))
    }
}

/// Tells whether a path goes up somewhere: what it names depends on links, and it is not told from another that names the same.
pub(crate) fn climbs(path: &Path) -> bool {
    path.components().any(|part| part == std::path::Component::ParentDir)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::Name;

    fn read(settings: &[(&str, Setting)]) -> Result<Duration, Vec<String>> {
        let mut component = Component::new(Name::new("x").unwrap());
        component.settings.extend(settings.iter().map(|(key, value)| ((*key).to_string(), value.clone())));
        let mut settings = Settings::of(&component);
        let (pid_file, start) = (settings.required_text("pid_file"), settings.argv("start"));
        let deadline = settings.duration("deadline", Duration::from_secs(7));
        let read = pid_file.and(start).and(deadline);
        settings.finish(read).map_err(|refused| refused.errors().iter().map(ToString::to_string).collect())
    }

    fn text(text: &str) -> Setting {
        Setting::Text(text.into())
    }

    fn good() -> Vec<(&'static str, Setting)> {
        vec![("pid_file", text("x.pid")), ("start", Setting::List(vec!["x".into()]))]
    }

    #[test]
    fn all_that_is_wrong_is_told_at_once() {
        let refused = read(&[("start", text("x")), ("deadline", Setting::Integer(5)), ("colour", text("red"))]);
        let refused = refused.unwrap_err();
        assert_eq!(refused.len(), 4, "{refused:?}");
        assert!(refused[0].starts_with("setting pid_file: is missing"), "{refused:?}");
        assert!(
            refused[3].contains("setting colour: is unknown; known here: pid_file, start, deadline"),
            "{refused:?}"
        );
    }

    #[test]
    fn a_misspelt_key_is_unknown_with_the_likely_one_and_that_is_not_missing() {
        for misspelt in ["pidfile", "pid-file", "PID_FILE", "pid_fiel"] {
            let refused = read(&[(misspelt, text("x.pid")), ("start", Setting::List(vec!["x".into()]))]).unwrap_err();
            assert_eq!(refused, [format!("setting {misspelt}: is unknown: did you mean pid_file?")]);
        }
    }

    #[test]
    fn a_duration_has_a_unit_and_an_end() {
        for (given, expected) in [("500ms", 500), ("2s", 2_000), ("5m", 300_000), ("24h", 86_400_000)] {
            let settings = [good(), vec![("deadline", text(given))]].concat();
            assert_eq!(read(&settings), Ok(Duration::from_millis(expected)), "{given}");
        }
        assert_eq!(read(&good()), Ok(Duration::from_secs(7)));
        for wrong in [text("2"), text("0s"), text("25h"), text("soon"), Setting::Integer(2_000), Setting::Flag(true)] {
            let refused = read(&[good(), vec![("deadline", wrong.clone())]].concat()).unwrap_err();
            assert!(refused[0].starts_with("setting deadline: give a duration as"), "{wrong:?}: {refused:?}");
        }
        let refused = read(&[good(), vec![("deadline_ms", Setting::Integer(2_000))]].concat()).unwrap_err();
        assert_eq!(
            refused,
            ["setting deadline_ms: is unknown: durations have their unit in the text, as deadline = \"2s\""]
        );
    }
}
