use std::path::PathBuf;
use std::time::Duration;

use ha_core::backend::linux::Supervisor;
use ha_core::topology::{Component, Reported, SettingError, SettingErrors, Settings};

/// How a host is reached. The host key is always checked: there is no setting that turns it off.
///
/// # Examples
///
/// ```
/// use ha_ssh::SshConfig;
///
/// let mut ssh = SshConfig::new("wso2@esb2.example");
/// ssh.port = Some(2222);
/// ssh.known_hosts = Some("/etc/ha/known_hosts".into());
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SshConfig {
    /// The destination, as `user@host` or as a name of the configuration file. Jump hosts, ports, agents and the rest
    /// are set in that file.
    pub destination: String,
    /// The port. Default: what the configuration file says, else 22.
    pub port: Option<u16>,
    /// The client's configuration file. Default: the user's own.
    pub config_file: Option<PathBuf>,
    /// The private key to log in with; no other is tried. Default: what the configuration file or an agent offers.
    pub identity_file: Option<PathBuf>,
    /// The file with the host keys to believe in, and no other. Default: what the configuration file says.
    pub known_hosts: Option<PathBuf>,
    /// Jump hosts, as ssh's `ProxyJump`. Default: what the configuration file says.
    pub jump: Option<String>,
    /// How long connecting may take, the login included. Default 10 s.
    pub connect_deadline: Duration,
    /// How often a silent connection is asked for a sign of life. Default 5 s, at least 1 s.
    pub keepalive: Duration,
    /// How many signs of life may be missing before the connection counts as lost. Default 4.
    pub keepalive_count: u32,
    /// How many executions may run on the host at once; others wait. Default 8; a stock sshd allows 10. From 2 on, one of
    /// them is a shell that stays and answers short reads, one after another; from 3 on, another one starts commands.
    pub sessions: usize,
    /// The ssh client. Default `ssh`.
    pub program: PathBuf,
}

impl SshConfig {
    /// Reaches `destination` with the defaults.
    pub fn new(destination: impl Into<String>) -> Self {
        Self {
            destination: destination.into(),
            port: None,
            config_file: None,
            identity_file: None,
            known_hosts: None,
            jump: None,
            connect_deadline: Duration::from_secs(10),
            keepalive: Duration::from_secs(5),
            keepalive_count: 4,
            sessions: 8,
            program: "ssh".into(),
        }
    }

    /// Refuses what would be read as something else by ssh.
    fn check(&self) -> Result<(), SettingError> {
        let plain = |text: &str| !text.is_empty() && !text.starts_with('-') && !text.contains(['\0', '\n', '"']);
        if !plain(&self.destination) {
            return Err(SettingError::new("host", "give user@host, or a name of the ssh configuration file"));
        }
        if self.jump.as_deref().is_some_and(|jump| !plain(jump)) {
            return Err(SettingError::new("jump", "give jump hosts as user@host:port, with commas between them"));
        }
        for (key, path) in [
            ("ssh_config", &self.config_file),
            ("identity_file", &self.identity_file),
            ("known_hosts", &self.known_hosts),
        ] {
            if path.as_ref().is_some_and(|path| path.to_str().is_none_or(|path| !plain(path))) {
                return Err(SettingError::new(key, "give a path without quotes and line feeds"));
            }
        }
        Ok(())
    }
}

/// How a server of another machine is driven.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SshHostConfig {
    /// How its machine is reached.
    pub ssh: SshConfig,
    /// Its home directory there; commands run in it, and a program with a slash in its name is looked up from there.
    pub home: String,
    /// What starts and stops it.
    pub supervisor: Supervisor,
    /// Starts it in its test domain; empty where it has none. With a unit: starts that unit there.
    pub start_test: Vec<String>,
    /// Prints the installed release in its first line.
    pub version: Vec<String>,
    /// Writes down what the server does before it is killed, with its pid in `HA_PID`. Empty: the server is sent SIGQUIT,
    /// at which a JVM prints its threads.
    pub diagnose: Vec<String>,
    /// Where the highest epoch and the work are kept on the machine: an absolute path, or one from the login's home.
    /// Default `.ha`. Not inside the server's home, which a patch may replace.
    pub state_dir: String,
    /// How long each of the commands above, and a file transfer, may take. Default 15 s.
    pub command_deadline: Duration,
    /// How long a command waits for another controller's to end. Default: the command deadline.
    pub lock_wait: Option<Duration>,
    /// How long one look may take. Default 5 s.
    pub read_deadline: Duration,
}

impl SshHostConfig {
    /// Reads the settings `host`, `port`, `ssh_config`, `identity_file`, `known_hosts`, `jump`, `connect_deadline`,
    /// `keepalive`, `keepalive_count`, `sessions` (all but `host` optional), `home`, `version`, those of its
    /// [`Supervisor`], and optionally `start_test`, `diagnose`, `state_dir`, `command_deadline`, `lock_wait`,
    /// `read_deadline`.
    ///
    /// # Errors
    /// [`SettingErrors`] with every key that is wrong.
    pub fn from_component(component: &Component) -> Result<Self, SettingErrors> {
        let mut settings = Settings::of(component);
        let ssh = read_ssh(&mut settings);
        let home = settings.required_text("home");
        let home = home.and_then(|home| settings.keep(remote_path("home", &home)));
        let (supervisor, version) = (Supervisor::read(&mut settings), settings.argv("version"));
        let (start_test, diagnose) = (settings.optional_argv("start_test"), settings.optional_argv("diagnose"));
        let state_dir = settings.text("state_dir");
        let command_deadline = settings.duration("command_deadline", Duration::from_secs(15));
        let lock_wait = settings.duration("lock_wait", command_deadline.unwrap_or_default());
        let read_deadline = settings.duration("read_deadline", Duration::from_secs(5));
        let read = (|| {
            Ok(Self {
                ssh: ssh?,
                home: home?,
                supervisor: supervisor?,
                start_test: start_test?,
                version: version?,
                diagnose: diagnose?,
                state_dir: state_dir?.unwrap_or_else(|| ".ha".into()),
                command_deadline: command_deadline?,
                lock_wait: Some(lock_wait?),
                read_deadline: read_deadline?,
            })
        })();
        settings.finish(read)
    }

    pub(crate) fn lock_wait(&self) -> Duration {
        self.lock_wait.unwrap_or(self.command_deadline)
    }
}

/// Reads how the host is logged in to.
fn read_ssh(settings: &mut Settings<'_>) -> Result<SshConfig, Reported> {
    let (host, jump) = (settings.required_text("host"), settings.text("jump"));
    let port = settings.integer("port", 1, i64::from(u16::MAX));
    let files = ["ssh_config", "identity_file", "known_hosts"].map(|key| settings.text(key));
    let default = SshConfig::new(String::new());
    let connect_deadline = settings.duration("connect_deadline", default.connect_deadline);
    let keepalive = settings.duration("keepalive", default.keepalive);
    let missing = settings.integer("keepalive_count", 1, 1000);
    let sessions = settings.integer("sessions", 1, 1024);
    let [config_file, identity_file, known_hosts] = files;
    let mut ssh = SshConfig::new(host?);
    ssh.port = port?.and_then(|port| u16::try_from(port).ok());
    ssh.config_file = config_file?.map(PathBuf::from);
    ssh.identity_file = identity_file?.map(PathBuf::from);
    ssh.known_hosts = known_hosts?.map(PathBuf::from);
    ssh.jump = jump?;
    ssh.connect_deadline = connect_deadline?;
    ssh.keepalive = keepalive?.max(Duration::from_secs(1));
    ssh.keepalive_count = missing?.and_then(|count| u32::try_from(count).ok()).unwrap_or(ssh.keepalive_count);
    ssh.sessions = sessions?.and_then(|sessions| usize::try_from(sessions).ok()).unwrap_or(ssh.sessions);
    settings.keep(ssh.check())?;
    Ok(ssh)
}

fn remote_path(key: &'static str, text: &str) -> Result<String, SettingError> {
    if !text.starts_with('/') {
        return Err(SettingError::new(key, "give an absolute path"));
    }
    if text.split('/').any(|part| part == "..") {
        return Err(SettingError::new(key, "give the path without .."));
    }
    Ok(text.into())
}

#[cfg(test)]
mod tests {
    use ha_core::topology::{Name, Setting};

    use super::*;

    fn component() -> Component {
        let mut component = Component::new(Name::new("ssh").unwrap());
        let text = |text: &str| Setting::Text(text.into());
        let argv = |verb: &str| Setting::List(vec!["bin/server.sh".into(), verb.into()]);
        component.settings.extend([
            ("host".into(), text("wso2@esb1")),
            ("home".into(), text("/opt/esb")),
            ("start".into(), argv("start")),
            ("stop".into(), argv("stop")),
            ("version".into(), argv("version")),
            ("pid_file".into(), text("wso2carbon.pid")),
            ("identity".into(), text("-Dcarbon.home=/opt/esb")),
        ]);
        component
    }

    #[test]
    fn the_defaults_are_valid() {
        let config = SshHostConfig::from_component(&component()).unwrap();
        assert_eq!((config.ssh.sessions, config.ssh.keepalive_count), (8, 4));
        assert_eq!(config.state_dir, ".ha");
        assert_eq!(config.lock_wait(), Duration::from_secs(15));
    }

    #[test]
    fn a_wrong_setting_is_refused_by_its_key() {
        let refused = |key: &str, setting: Setting| {
            let mut component = component();
            component.settings.insert(key.into(), setting);
            SshHostConfig::from_component(&component).unwrap_err().to_string()
        };
        let text = |text: &str| Setting::Text(text.into());
        for (key, setting) in [
            ("host", text("-oProxyCommand=reboot")),
            ("jump", text("-x")),
            ("known_hosts", text("a\"b")),
            ("home", text("opt/esb")),
            ("port", Setting::Integer(0)),
            ("port", Setting::Integer(70_000)),
            ("sessions", Setting::Integer(0)),
            ("start", text("bin/server.sh start")),
            ("identity", text("a\nb")),
            ("StrictHostKeyChecking", text("no")),
        ] {
            assert!(refused(key, setting.clone()).starts_with(&format!("setting {key}: ")), "{key} {setting:?}");
        }
    }
}
