use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};

use super::tools;

/// How a host is reached: address, keys, and what ssh is told to believe of it.
#[derive(Clone, Debug)]
pub struct SshAccess {
    name: String,
    address: SocketAddrV4,
    dir: PathBuf,
}

impl SshAccess {
    /// Makes a host key, a client key and the files that go with them in `dir`.
    pub(super) fn create(name: &str, address: SocketAddrV4, dir: &Path) -> io::Result<Self> {
        let access = Self { name: name.into(), address, dir: dir.into() };
        std::thread::scope(|scope| {
            let host_key = scope.spawn(|| make_key(&access.host_key()));
            make_key(&access.identity_file())?;
            host_key.join().unwrap_or_else(|_| Err(io::Error::other("making the host key failed")))
        })?;
        access.admit_logins()?;
        access.trust()?;
        fs::write(access.ssh_config(), access.stanza())?;
        Ok(access)
    }

    /// Returns the name by which ssh knows it with [`ssh_config`](Self::ssh_config).
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the address it listens on.
    pub fn address(&self) -> Ipv4Addr {
        *self.address.ip()
    }

    /// Returns the port it listens on.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Returns address and port.
    pub fn socket_address(&self) -> SocketAddrV4 {
        self.address
    }

    /// Returns the user to log in as: root.
    pub fn user(&self) -> &'static str {
        "root"
    }

    /// Returns the file with the client's private key.
    pub fn identity_file(&self) -> PathBuf {
        self.dir.join("id")
    }

    /// Returns the file with the host keys that ssh believes in.
    pub fn known_hosts(&self) -> PathBuf {
        self.dir.join("known_hosts")
    }

    /// Returns a configuration file for `ssh -F file name`. It is strict: the host key must be known, no key but
    /// [`identity_file`](Self::identity_file) is tried, and nothing is ever asked.
    pub fn ssh_config(&self) -> PathBuf {
        self.dir.join("ssh_config")
    }

    /// Returns the text of [`ssh_config`](Self::ssh_config), to be joined with others.
    pub fn stanza(&self) -> String {
        format!(
            "Host {}\n    HostName {}\n    Port {}\n    User {}\n    IdentityFile {}\n    IdentitiesOnly yes\n    \
             IdentityAgent none\n    UserKnownHostsFile {}\n    GlobalKnownHostsFile /dev/null\n    \
             StrictHostKeyChecking yes\n    UpdateHostKeys no\n    BatchMode yes\n    \
             PreferredAuthentications publickey\n    ControlMaster no\n    ControlPath none\n",
            self.name,
            self.address(),
            self.port(),
            self.user(),
            self.identity_file().display(),
            self.known_hosts().display(),
        )
    }

    /// Lets ssh believe in the host key that the host has now.
    ///
    /// # Errors
    /// What the file system says.
    pub fn trust(&self) -> io::Result<()> {
        self.write_known_hosts("")
    }

    /// Lets ssh know of no host key: the host is unknown.
    ///
    /// # Errors
    /// What the file system says.
    pub fn forget(&self) -> io::Result<()> {
        fs::write(self.known_hosts(), "")
    }

    /// Lets ssh know the host key as a revoked one.
    ///
    /// # Errors
    /// What the file system says.
    pub fn revoke(&self) -> io::Result<()> {
        self.write_known_hosts("@revoked ")
    }

    /// Takes the client's key off the host: every later login is refused.
    ///
    /// # Errors
    /// What the file system says.
    pub fn deny_logins(&self) -> io::Result<()> {
        fs::write(self.authorized_keys(), "")
    }

    /// Puts the client's key on the host.
    ///
    /// # Errors
    /// What the file system says.
    pub fn admit_logins(&self) -> io::Result<()> {
        fs::copy(self.dir.join("id.pub"), self.authorized_keys()).map(drop)
    }

    /// Returns the host's public key as `ssh-ed25519 AAAA...`.
    ///
    /// # Errors
    /// What the file system says.
    pub fn host_public_key(&self) -> io::Result<String> {
        let text = fs::read_to_string(self.dir.join("host_key.pub"))?;
        Ok(text.split_whitespace().take(2).collect::<Vec<_>>().join(" "))
    }

    pub(crate) fn renew_host_key(&self) -> io::Result<()> {
        fs::remove_file(self.host_key())?;
        make_key(&self.host_key())
    }

    pub(super) fn host_key(&self) -> PathBuf {
        self.dir.join("host_key")
    }

    pub(super) fn authorized_keys(&self) -> PathBuf {
        self.dir.join("authorized_keys")
    }

    fn write_known_hosts(&self, marker: &str) -> io::Result<()> {
        let host = match self.port() {
            22 => self.address().to_string(),
            port => format!("[{}]:{port}", self.address()),
        };
        fs::write(self.known_hosts(), format!("{marker}{host} {}\n", self.host_public_key()?))
    }
}

fn make_key(path: &Path) -> io::Result<()> {
    let path = path.to_str().ok_or_else(|| io::Error::other("the path of a key is not UTF-8"))?;
    tools::run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-C", "ha-lab", "-f", path]).map(drop)
}
