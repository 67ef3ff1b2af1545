use std::path::PathBuf;

use ha_core::topology::{Component, SettingError, Settings};

use crate::command::Limits;
use crate::ports::Ports;
use crate::run::checked;

/// What a log probe looks for, and where.
#[derive(Clone, Debug)]
pub struct LogProbeConfig {
    pub(super) log: PathBuf,
    pub(super) line: String,
    pub(super) start_line: Option<String>,
    pub(super) identity: Identity,
    pub(super) ports: Ports,
    pub(super) test: Vec<String>,
    pub(super) limits: Limits,
}

/// What tells the release.
#[derive(Clone, Debug)]
pub(super) enum Identity {
    /// The line itself, after this text.
    Prefix(String),
    /// The first line that a program prints.
    Command(Vec<String>),
}

impl LogProbeConfig {
    /// Reads the settings `log`, `line`, `start_line`, `release_prefix` or `release_command`, `ports`, `test`,
    /// `timeout_ms` and `test_timeout_ms`. A line tells of the past, so that `ports` is not optional.
    ///
    /// # Errors
    /// [`SettingError`] with the key.
    pub fn from_component(component: &Component) -> Result<Self, SettingError> {
        let mut settings = Settings::of(component);
        let prefix = settings.text("release_prefix")?;
        let command = checked("release_command", settings.optional_argv("release_command")?)?;
        let identity = match (prefix, command.is_empty()) {
            (Some(prefix), true) => Identity::Prefix(prefix),
            (None, false) => Identity::Command(command),
            (Some(_), false) => {
                return Err(SettingError::new("release_prefix", "give it or release_command, not both"));
            }
            (None, true) => {
                let words = "is missing: give it or release_command, a line alone does not tell the release";
                return Err(SettingError::new("release_prefix", words));
            }
        };
        let config = Self {
            log: settings.absolute_path("log")?,
            line: settings.required_text("line")?,
            start_line: settings.text("start_line")?,
            identity,
            ports: Ports::require(&mut settings)?,
            test: checked("test", settings.optional_argv("test")?)?,
            limits: Limits::read(&mut settings)?,
        };
        settings.finish()?;
        Ok(config)
    }
}
