use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use ha_core::topology::{Component, Reported, SettingError, SettingErrors as ConfigError, Settings};

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
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if text.starts_with('/') {
            return Some(Self::Unix(text.into()));
        }
        let (host, port) = text.rsplit_once(':')?;
        let fits = !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0);
        fits.then(|| Self::Tcp(text.to_string()))
    }
}

/// Where one HAProxy instance is driven, and how long it may take.
///
/// # Examples
///
/// ```
/// use ha_haproxy::{Endpoint, HaProxyConfig};
///
/// let config = HaProxyConfig::at(Endpoint::Tcp("127.0.0.1:9999".into()))
///     .with_master(Endpoint::Unix("/run/haproxy/master.sock".into()));
/// assert_eq!(config.connections, 4);
/// ```
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
    /// Default: what the configuration says, or no.
    pub persistent: Option<bool>,
    /// Whether `on-marked-down shutdown-sessions` is set, which the socket does not show. Default: what the configuration
    /// says, or no.
    pub cuts_on_maint: Option<bool>,
    /// HAProxy's configuration, where this machine has it: it is read for what the socket does not show, and linted. As with
    /// HAProxy's own `-f`: files in their order, and of a folder every `*.cfg` in the order of their names.
    pub config_files: Vec<PathBuf>,
    /// Rules of the lint whose warnings are accepted here.
    pub accept: Vec<String>,
}

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
            config_files: Vec::new(),
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

    /// Reads and lints this configuration, a file or a folder; called again, further ones behind it.
    #[must_use]
    pub fn with_config_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.config_files.push(path.into());
        self
    }

    /// Accepts what this rule of the lint warns of.
    #[must_use]
    pub fn with_accepted(mut self, rule: impl Into<String>) -> Self {
        self.accept.push(rule.into());
        self
    }

    /// Reads the settings `socket` and `master` (an absolute path or `host:port`), `deadline`, `max_reply`, `connections` (1
    /// to 10), `persistent`, `cuts_on_maint`, `config_file` (an absolute path, or a list of them) and
    /// `accept` (names of lint rules). Only `socket` is required.
    ///
    /// # Errors
    /// [`ConfigError`] with every key that is wrong.
    pub fn from_component(component: &Component) -> Result<Self, ConfigError> {
        let mut settings = Settings::of(component);
        let (socket, master) = (endpoint(&mut settings, "socket"), endpoint(&mut settings, "master"));
        let socket = settings.require("socket", socket);
        let mut config = Self::at(Endpoint::Tcp(String::new()));
        let deadline = settings.duration("deadline", config.deadline);
        let max_reply = settings.integer("max_reply", 1, 1 << 30);
        let connections = settings.integer("connections", 1, 10);
        let (persistent, cuts_on_maint) = (settings.flag("persistent"), settings.flag("cuts_on_maint"));
        let (config_files, accept) = (config_files(&mut settings), settings.list("accept"));
        let read = (|| {
            config.socket = socket?;
            config.master = master?;
            config.deadline = deadline?;
            config.max_reply = max_reply?.map_or(config.max_reply, i64::unsigned_abs);
            let connections = connections?.and_then(|connections| usize::try_from(connections).ok());
            config.connections = connections.unwrap_or(config.connections);
            (config.persistent, config.cuts_on_maint) = (persistent?, cuts_on_maint?);
            (config.config_files, config.accept) = (config_files?, accept?);
            Ok(config)
        })();
        settings.finish(read)
    }
}

fn config_files(settings: &mut Settings<'_>) -> Result<Vec<PathBuf>, Reported> {
    let paths: Vec<PathBuf> = settings.texts("config_file")?.into_iter().map(PathBuf::from).collect();
    match paths.iter().find(|path| !path.is_absolute()) {
        Some(path) => Err(settings.wrong("config_file", format!("give an absolute path: {} is none", path.display()))),
        None => Ok(paths),
    }
}

fn endpoint(settings: &mut Settings<'_>, key: &'static str) -> Result<Option<Endpoint>, Reported> {
    let Some(text) = settings.text(key)? else { return Ok(None) };
    let wrong = || SettingError::new(key, "give the absolute path of a unix socket, or host:port");
    if text.split('/').any(|part| part == "..") {
        return Err(settings.wrong(key, "give the path without .."));
    }
    settings.keep(Endpoint::parse(&text).ok_or_else(wrong)).map(Some)
}

#[cfg(test)]
mod tests {
    use ha_core::topology::{Name, Setting};

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
            (vec![("socket", text("/a")), ("master", Setting::Flag(true))], "master: give a text"),
            (vec![("socket", text("/a")), ("deadline", Setting::Integer(2_000))], "deadline: give a duration"),
            (vec![("socket", text("/a")), ("connections", Setting::Integer(11))], "connections: give a whole number"),
            (vec![("socket", text("/a")), ("persistent", text("yes"))], "persistent: give true or false"),
            (vec![("socket", text("/a")), ("config_file", text("haproxy.cfg"))], "config_file: give an absolute path"),
            (
                vec![("socket", text("/a")), ("config_file", Setting::List(vec!["/a.cfg".into(), "b.cfg".into()]))],
                "b.cfg is none",
            ),
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
