use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use ha_core::topology::{Component, Setting};

/// Where a socket of HAProxy is. A socket that is forwarded over SSH (`ssh -L`) is one of these on this machine.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Endpoint {
    /// A unix socket.
    Unix(PathBuf),
    /// A host and a port, as `127.0.0.1:9999`. It has no password: give it a loopback address or a firewall.
    Tcp(String),
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "{}", path.display()),
            Self::Tcp(address) => f.write_str(address),
        }
    }
}

impl Endpoint {
    /// Reads `/absolute/path` or `host:port`.
    fn parse(text: &str) -> Option<Self> {
        if text.starts_with('/') {
            return Some(Self::Unix(text.into()));
        }
        let (host, port) = text.rsplit_once(':')?;
        let fits = !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0);
        fits.then(|| Self::Tcp(text.to_string()))
    }
}

/// Where one HAProxy instance is driven, and how long it may take.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct HaProxyConfig {
    /// The admin socket (`stats socket ... level admin`).
    pub socket: Endpoint,
    /// The master socket (`haproxy -W -S ...`): the only way to see what older workers still serve after a reload.
    pub master: Option<Endpoint>,
    /// How long one command may take from connecting to the end of its answer. Default 2 s.
    pub deadline: Duration,
    /// Longer answers are refused. Default 16 MiB.
    pub max_reply: u64,
    /// How many connections this value opens to a socket at once; HAProxy answers ten. Default 4.
    pub connections: usize,
    /// Whether clients are bound to servers in a way that the socket does not show (stick tables). Cookies are seen.
    /// Default: what `config_file` says, or no.
    pub persistent: Option<bool>,
    /// Whether `on-marked-down shutdown-sessions` is set, which the socket does not show. Default: what `config_file` says,
    /// or no.
    pub cuts_on_maint: Option<bool>,
    /// HAProxy's configuration, where this machine has it: it is read for what the socket does not show, and linted.
    pub config_file: Option<PathBuf>,
    /// Rules of the lint whose warnings are accepted here.
    pub accept: Vec<String>,
}

/// Refuses the settings of a component.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("setting {key}: {what}")]
pub struct ConfigError {
    key: String,
    what: String,
}

const KNOWN: [&str; 9] = [
    "socket",
    "master",
    "deadline_ms",
    "max_reply",
    "connections",
    "persistent",
    "cuts_on_maint",
    "config_file",
    "accept",
];

impl HaProxyConfig {
    /// Describes the unix socket at `path`, with default limits.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self::at(Endpoint::Unix(path.into()))
    }

    /// Describes an admin socket, with default limits.
    pub fn at(socket: Endpoint) -> Self {
        Self {
            socket,
            master: None,
            deadline: Duration::from_secs(2),
            max_reply: 16 * 1024 * 1024,
            connections: 4,
            persistent: None,
            cuts_on_maint: None,
            config_file: None,
            accept: Vec::new(),
        }
    }

    /// Adds the master socket.
    #[must_use]
    pub fn with_master(mut self, master: Endpoint) -> Self {
        self.master = Some(master);
        self
    }

    /// Sets how long one command may take.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Says whether clients are bound to servers, and whether maintenance cuts what is in flight.
    #[must_use]
    pub fn with_persistence(mut self, persistent: bool, cuts_on_maint: bool) -> Self {
        (self.persistent, self.cuts_on_maint) = (Some(persistent), Some(cuts_on_maint));
        self
    }

    /// Reads and lints this configuration file.
    #[must_use]
    pub fn with_config_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.config_file = Some(path.into());
        self
    }

    /// Reads the settings `socket` and `master` (an absolute path or `host:port`), `deadline_ms`, `max_reply`,
    /// `connections` (1 to 10), `persistent`, `cuts_on_maint`, `config_file` (an absolute path) and `accept` (names of lint
    /// rules). Only `socket` is required.
    ///
    /// # Errors
    /// [`ConfigError`] with the key.
    pub fn from_component(component: &Component) -> Result<Self, ConfigError> {
        let error = |key: &str, what: &str| ConfigError { key: key.into(), what: what.into() };
        let setting = |key: &str| component.settings.get(key);
        let endpoint = |key: &str| match setting(key) {
            None => Ok(None),
            Some(Setting::Text(text)) => Endpoint::parse(text).map(Some).ok_or(()),
            Some(_) => Err(()),
        };
        let where_it_is = "give the absolute path of a unix socket, or host:port";
        let socket = endpoint("socket").map_err(|()| error("socket", where_it_is))?;
        let socket = socket.ok_or_else(|| error("socket", &format!("is missing: {where_it_is}")))?;
        let mut config = Self::at(socket);
        config.master = endpoint("master").map_err(|()| error("master", where_it_is))?;
        let number = |key: &str, most: i64| match setting(key) {
            None => Ok(None),
            Some(Setting::Integer(number)) if (1..=most).contains(number) => Ok(Some(number.unsigned_abs())),
            Some(_) => Err(error(key, &format!("give a whole number from 1 to {most}"))),
        };
        if let Some(ms) = number("deadline_ms", 600_000)? {
            config.deadline = Duration::from_millis(ms);
        }
        if let Some(bytes) = number("max_reply", 1 << 30)? {
            config.max_reply = bytes;
        }
        if let Some(connections) = number("connections", 10)? {
            config.connections = usize::try_from(connections).unwrap_or(config.connections);
        }
        let flag = |key: &str| match setting(key) {
            None => Ok(None),
            Some(Setting::Flag(flag)) => Ok(Some(*flag)),
            Some(_) => Err(error(key, "give true or false")),
        };
        (config.persistent, config.cuts_on_maint) = (flag("persistent")?, flag("cuts_on_maint")?);
        config.config_file = match setting("config_file") {
            None => None,
            Some(Setting::Text(path)) if path.starts_with('/') => Some(path.into()),
            Some(_) => return Err(error("config_file", "give the absolute path of haproxy.cfg on this machine")),
        };
        config.accept = match setting("accept") {
            None => Vec::new(),
            Some(Setting::List(rules)) => rules.clone(),
            Some(_) => return Err(error("accept", "give a list of lint rules, as [\"retries\"]")),
        };
        match component.settings.keys().find(|key| !KNOWN.contains(&key.as_str())) {
            Some(key) => Err(error(key, &format!("is unknown; known here: {}", KNOWN.join(", ")))),
            None => Ok(config),
        }
    }
}

#[cfg(test)]
mod tests {
    use ha_core::topology::Name;

    use super::*;

    fn read(settings: &[(&str, Setting)]) -> Result<HaProxyConfig, String> {
        let mut component = Component::new(Name::new("haproxy").unwrap());
        component.settings = settings.iter().map(|(key, value)| ((*key).to_string(), value.clone())).collect();
        HaProxyConfig::from_component(&component).map_err(|error| error.to_string())
    }

    fn text(value: &str) -> Setting {
        Setting::Text(value.into())
    }

    #[test]
    fn every_wrong_setting_is_named_with_what_to_give() {
        for (settings, words) in [
            (vec![], "socket: is missing"),
            (vec![("socket", text("relative.sock"))], "socket: give the absolute path"),
            (vec![("socket", text("host:0"))], "socket: give"),
            (vec![("socket", text("/a")), ("master", Setting::Flag(true))], "master: give"),
            (vec![("socket", text("/a")), ("deadline_ms", Setting::Integer(0))], "deadline_ms: give a whole number"),
            (vec![("socket", text("/a")), ("connections", Setting::Integer(11))], "connections: give a whole number"),
            (vec![("socket", text("/a")), ("persistent", text("yes"))], "persistent: give true or false"),
            (vec![("socket", text("/a")), ("config_file", text("haproxy.cfg"))], "config_file: give the absolute path"),
            (vec![("socket", text("/a")), ("accept", text("retries"))], "accept: give a list"),
            (vec![("socket", text("/a")), ("sockets", text("/b"))], "sockets: is unknown"),
        ] {
            let error = read(&settings).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn a_socket_is_a_path_or_a_host_and_a_port() {
        let config = read(&[("socket", text("[::1]:9999")), ("master", text("/run/m.sock"))]).unwrap();
        assert_eq!(config.socket, Endpoint::Tcp("[::1]:9999".into()));
        assert_eq!(config.master, Some(Endpoint::Unix("/run/m.sock".into())));
    }
}
