use std::path::Path;

use crate::topology::{Reported, Settings, climbs};

/// What starts and stops a server, and knows whether it runs.
///
/// # Examples
///
/// ```
/// use ha_core::backend::linux::Supervisor;
/// use ha_core::topology::{Component, Name, Setting, Settings};
///
/// let mut component = Component::new(Name::new("mine")?);
/// component.settings.insert("unit".into(), Setting::Text("wso2esb.service".into()));
/// let mut settings = Settings::of(&component);
/// let supervisor = Supervisor::read(&mut settings);
/// assert!(matches!(settings.finish(supervisor), Ok(Supervisor::Systemd(_))));
/// # Ok::<(), ha_core::topology::InvalidName>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Supervisor {
    /// Scripts of the server's own, its pid file and its command line.
    Scripts(Scripts),
    /// systemd, which also starts it again as its unit says.
    Systemd(SystemdUnit),
}

/// A server that its own scripts start and stop.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Scripts {
    /// Starts it. May return before the server does anything.
    pub start: Vec<String>,
    /// Stops it. May return before the server is gone.
    pub stop: Vec<String>,
    /// The pid file, inside the home.
    pub pid_file: String,
    /// One whole argument of the server's command line that no other process has.
    pub identity: String,
}

/// A server that is a service of systemd.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct SystemdUnit {
    /// The unit, such as `wso2esb.service`.
    pub unit: String,
    /// How systemd is asked. Default `systemctl`; `["sudo", "-n", "systemctl"]` where the login may not do it itself.
    pub systemctl: Vec<String>,
}

impl SystemdUnit {
    /// Returns the command line of a request about the unit.
    pub fn request(&self, arguments: &[&str]) -> Vec<String> {
        let arguments = arguments.iter().copied().chain(["--", self.unit.as_str()]).map(String::from);
        self.systemctl.iter().cloned().chain(arguments).collect()
    }
}

impl Supervisor {
    /// Reads `unit` and `systemctl` (optional), or else `start`, `stop`, `pid_file` and `identity`.
    ///
    /// # Errors
    /// [`Reported`] when one is missing or wrong.
    pub fn read(settings: &mut Settings<'_>) -> Result<Self, Reported> {
        let unit = settings.text("unit");
        let systemctl = settings.optional_argv("systemctl");
        if let Some(unit) = unit? {
            // A pattern would be another set of units every time.
            let plain = |c: u8| c.is_ascii_alphanumeric() || b":_.\\@-".contains(&c);
            if unit.starts_with('-') || !unit.bytes().all(plain) || !unit.ends_with(".service") {
                return Err(settings.wrong("unit", "give the whole name of a service, such as wso2esb.service"));
            }
            let systemctl = systemctl?;
            let systemctl = if systemctl.is_empty() { vec!["systemctl".into()] } else { systemctl };
            return Ok(Self::Systemd(SystemdUnit { unit, systemctl }));
        }
        let (start, stop) = (settings.argv("start"), settings.argv("stop"));
        let (pid_file, identity) = (settings.required_text("pid_file"), settings.required_text("identity"));
        if identity.as_ref().is_ok_and(|identity| identity.contains('\n')) {
            return Err(settings.wrong("identity", "give one argument without line feeds"));
        }
        if pid_file.as_ref().is_ok_and(|pid_file| climbs(Path::new(pid_file))) {
            return Err(settings.wrong("pid_file", "give the path without .."));
        }
        Ok(Self::Scripts(Scripts { start: start?, stop: stop?, pid_file: pid_file?, identity: identity? }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::{Component, Name, Setting};

    fn read(settings: &[(&str, &str)]) -> Result<Supervisor, String> {
        let mut component = Component::new(Name::new("ssh").unwrap());
        let text = |text: &&str| Setting::Text((*text).into());
        component.settings.extend(settings.iter().map(|(key, value)| ((*key).into(), text(value))));
        let mut settings = Settings::of(&component);
        let read = Supervisor::read(&mut settings);
        settings.finish(read).map_err(|error| error.to_string())
    }

    #[test]
    fn a_unit_is_one_service_by_its_whole_name() {
        let Ok(Supervisor::Systemd(unit)) = read(&[("unit", "esb@1.service")]) else { panic!("no unit") };
        assert_eq!(unit.request(&["stop", "--no-block"]).join(" "), "systemctl stop --no-block -- esb@1.service");
        for wrong in ["esb", "esb*.service", "-x.service", "a b.service", "a/b.service", "esb.timer", "a\n.service"] {
            assert!(read(&[("unit", wrong)]).unwrap_err().starts_with("setting unit: "), "{wrong}");
        }
    }

    #[test]
    fn a_unit_leaves_nothing_for_scripts_to_say() {
        let refused = read(&[("unit", "esb.service"), ("pid_file", "esb.pid")]).unwrap_err();
        assert!(refused.starts_with("setting pid_file: "), "{refused}");
        assert!(read(&[("pid_file", "esb.pid")]).unwrap_err().starts_with("setting start: "));
    }
}
