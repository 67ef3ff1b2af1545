use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::path::{Path, PathBuf};

use rustix::process::Signal;

use super::server::Server;
use super::{SshAccess, SshSpec, launch, reached_by_ssh};
use crate::Lab;

/// A host on a loopback address of its own, with its own processes, `/tmp`, `/run`, `/root`, `/srv` and host name. It
/// shares the network with the system. Dropping it ends all that runs on it.
#[derive(Debug)]
pub struct SshHost {
    server: Server,
}

impl Lab {
    /// Starts a host with an empty home and waits until its sshd greets.
    ///
    /// # Errors
    /// As [`ssh_host_with`](Self::ssh_host_with).
    pub fn ssh_host(&self, name: &str) -> io::Result<SshHost> {
        self.ssh_host_with(name, &SshSpec::new())
    }

    /// Starts a host as `spec` says and waits until its sshd greets.
    ///
    /// # Errors
    /// When this is not root or a program is missing (with how to get it), when the name is no host name or taken, and
    /// when sshd does not greet in 20 s (with its log).
    pub fn ssh_host_with(&self, name: &str, spec: &SshSpec) -> io::Result<SshHost> {
        let guardian = self.guardian()?;
        let address = free_address(launch::loopback(guardian.slot(), guardian.next_host()?))?;
        let server = Server::install(self, name, address, spec, Vec::new())?;
        server.start()?;
        Ok(SshHost { server })
    }
}

impl SshHost {
    /// Returns how it is reached, and what ssh believes of it.
    pub fn access(&self) -> &SshAccess {
        self.server.access()
    }

    /// Kills sshd and all that runs on the host: from now on connections are refused.
    ///
    /// # Errors
    /// When a process does not end in 10 s.
    pub fn stop(&self) -> io::Result<()> {
        self.server.stop()
    }

    /// Starts it at the same port with the same key and a new boot id, and waits until it greets.
    ///
    /// # Errors
    /// When sshd does not greet in 20 s (with its log).
    pub fn start(&self) -> io::Result<()> {
        self.server.start()
    }

    /// Gives it another host key and starts it again; ssh still believes in the old key.
    ///
    /// # Errors
    /// As [`stop`](Self::stop) and [`start`](Self::start).
    pub fn change_host_key(&self) -> io::Result<()> {
        self.stop()?;
        self.access().renew_host_key()?;
        self.start()
    }
}

/// Finds a free port above 2200, below the ports that the kernel gives to clients.
fn free_address(address: Ipv4Addr) -> io::Result<SocketAddrV4> {
    let mut ports = (2200..2400).map(|port| SocketAddrV4::new(address, port));
    ports.find(|at| TcpListener::bind(at).is_ok()).ok_or_else(|| io::Error::other(format!("no free port at {address}")))
}

reached_by_ssh!(SshHost);
