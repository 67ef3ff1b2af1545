use std::path::PathBuf;

use ha_core::topology::{Component, Reported, SettingErrors, Settings};

use crate::command::Limits;
use crate::ports::Ports;
use crate::run::optional_program;

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
    /// `timeout` and `test_timeout`. A line tells of the past, so that `ports` is not optional.
    ///
    /// # Errors
    /// [`SettingErrors`] with every key that is wrong.
    pub fn from_component(component: &Component) -> Result<Self, SettingErrors> {
        let mut settings = Settings::of(component);
        let identity = identity(&mut settings);
        let (log, line) = (settings.absolute_path("log"), settings.required_text("line"));
        let (start_line, ports) = (settings.text("start_line"), Ports::require(&mut settings));
        let (test, limits) = (optional_program(&mut settings, "test"), Limits::read(&mut settings));
        let read = (|| {
            Ok(Self {
                log: log?,
                line: line?,
                start_line: start_line?,
                identity: identity?,
                ports: ports?,
                test: test?,
                limits: limits?,
            })
        })();
        settings.finish(read)
    }
}

fn identity(settings: &mut Settings<'_>) -> Result<Identity, Reported> {
    let (prefix, command) = (settings.text("release_prefix"), optional_program(settings, "release_command"));
    let (prefix, command) = (prefix?, command?);
    match (prefix, command.is_empty()) {
        (Some(prefix), true) => Ok(Identity::Prefix(prefix)),
        (None, false) => Ok(Identity::Command(command)),
        (Some(_), false) => Err(settings.wrong("release_prefix", "give it or release_command, not both")),
        (None, true) => {
            let what = "is missing: give it or release_command, a line alone does not tell the release";
            Err(settings.wrong("release_prefix", what))
        }
    }
}
