use std::path::PathBuf;

/// How a host of the lab is made.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SshSpec {
    /// How many channels one connection may have open (sshd's `MaxSessions`). Default 64; a stock sshd has 10.
    pub max_sessions: u16,
    /// The login shell of root, an absolute path. Default: the system's.
    pub login_shell: Option<PathBuf>,
    /// Files of root's home: name and text. Default: none, the home is empty.
    pub home_files: Vec<(String, String)>,
    /// Bytes of a small disk at `/srv/small`, to be filled up. Default: no such disk. At 0 it has no limit.
    pub small_disk: Option<u64>,
    /// Whether a systemd runs there. Default: none does.
    pub systemd: bool,
}

/// How the systemd of a host is asked: it is root's own instance, not the machine's first process.
pub const SYSTEMCTL: [&str; 4] = ["env", "XDG_RUNTIME_DIR=/run/user/0", "systemctl", "--user"];

impl SshSpec {
    /// Describes a host with an empty home and 64 channels a connection.
    pub fn new() -> Self {
        Self { max_sessions: 64, login_shell: None, home_files: Vec::new(), small_disk: None, systemd: false }
    }

    /// Sets how many channels one connection may have open.
    #[must_use]
    pub fn with_max_sessions(mut self, sessions: u16) -> Self {
        self.max_sessions = sessions;
        self
    }

    /// Sets root's login shell, an absolute path such as `/usr/bin/fish`.
    #[must_use]
    pub fn with_login_shell(mut self, shell: impl Into<PathBuf>) -> Self {
        self.login_shell = Some(shell.into());
        self
    }

    /// Adds a file to root's home, such as a `.bashrc` that prints or sleeps.
    #[must_use]
    pub fn with_home_file(mut self, name: impl Into<String>, text: impl Into<String>) -> Self {
        self.home_files.push((name.into(), text.into()));
        self
    }

    /// Adds a disk of so many bytes at `/srv/small`. What is on it is lost with the power.
    #[must_use]
    pub fn with_small_disk(mut self, bytes: u64) -> Self {
        self.small_disk = Some(bytes);
        self
    }

    /// Runs a systemd there, of root and with units from `/srv/units` alone: none of the system's own are ever started. It
    /// is asked by [`SYSTEMCTL`].
    #[must_use]
    pub fn with_systemd(mut self) -> Self {
        self.systemd = true;
        self
    }
}

impl Default for SshSpec {
    fn default() -> Self {
        Self::new()
    }
}
