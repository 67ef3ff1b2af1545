//! Hosts that answer to ssh: plain ones on loopback, machines with a network, processes and a power switch of their own,
//! and tarpits that do not answer as they should.
//!
//! Everything is started by the lab's guardian, a process that ends it all and clears it away when the lab is gone.

mod access;
mod guardian;
mod guardian_role;
mod host;
mod launch;
mod network;
mod pid_space;
mod server;
mod spec;
mod systemd;
mod tarpit;
mod tools;

pub use access::SshAccess;
pub(crate) use guardian::Guardian;
pub(crate) use guardian_role::guardian;
pub use host::SshHost;
pub(super) use network::Network;
pub(super) use server::Server;
pub use spec::{SYSTEMCTL, SshSpec};
pub use tarpit::{Tarpit, TarpitKind};

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};

use super::Lab;

impl Lab {
    /// Writes one configuration file for several hosts: `ssh -F file name`.
    ///
    /// # Errors
    /// What the file system says.
    pub fn ssh_config<'a>(&self, hosts: impl IntoIterator<Item = &'a SshAccess>) -> io::Result<PathBuf> {
        let text: String = hosts.into_iter().map(SshAccess::stanza).collect();
        let file = tempfile::Builder::new().prefix("ssh_config-").tempfile_in(self.path())?;
        let (_, path) = file.keep().map_err(|error| error.error)?;
        std::fs::write(&path, text)?;
        Ok(path)
    }

    /// Returns the lab's guardian; the first call starts it.
    pub(super) fn guardian(&self) -> io::Result<Arc<Guardian>> {
        let mut guardian = self.guardian.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(guardian) = &*guardian {
            return Ok(guardian.clone());
        }
        let started = Arc::new(Guardian::start(self.relaunch(), self.path())?);
        *guardian = Some(started.clone());
        Ok(started)
    }
}

/// What hosts and machines have in common, on a struct with a field `server`.
macro_rules! reached_by_ssh {
    ($host:ty) => {
        impl $host {
            /// Returns the name by which ssh knows it with [`ssh_config`](Self::ssh_config).
            pub fn name(&self) -> &str {
                self.access().name()
            }

            /// Returns the address it listens on.
            pub fn address(&self) -> Ipv4Addr {
                self.access().address()
            }

            /// Returns the port it listens on.
            pub fn port(&self) -> u16 {
                self.access().port()
            }

            /// Returns the user to log in as: root.
            pub fn user(&self) -> &'static str {
                self.access().user()
            }

            /// Returns the file with the client's private key.
            pub fn identity_file(&self) -> PathBuf {
                self.access().identity_file()
            }

            /// Returns the file with the host keys that ssh believes in.
            pub fn known_hosts(&self) -> PathBuf {
                self.access().known_hosts()
            }

            /// Returns a strict configuration file for `ssh -F file name`.
            pub fn ssh_config(&self) -> PathBuf {
                self.access().ssh_config()
            }

            /// Returns where the home of root on it is on this system.
            ///
            /// # Errors
            /// None at present.
            pub fn home(&self) -> io::Result<PathBuf> {
                self.outside("/root")
            }

            /// Returns where a path below `/tmp`, `/run`, `/root` or `/srv` of it is on this system: the truth by another
            /// route than ssh.
            ///
            /// # Errors
            /// When the path is below none of them: then it is the system's own.
            pub fn outside(&self, inside: impl AsRef<Path>) -> io::Result<PathBuf> {
                self.server.outside(inside.as_ref())
            }

            /// Returns the boot id it has since its last start.
            ///
            /// # Errors
            /// What the file system says.
            pub fn boot_id(&self) -> io::Result<String> {
                self.server.boot_id()
            }

            /// Returns the file with sshd's log.
            pub fn log(&self) -> PathBuf {
                self.server.log()
            }

            /// Lists the processes that run on it, by the pids they have on this system. None when it is stopped.
            pub fn pids(&self) -> Vec<i32> {
                self.server.pids()
            }

            /// Stops the processes that serve the present connections: they stay open and silent. Returns how many.
            pub fn freeze_sessions(&self) -> usize {
                self.server.signal_sessions(Signal::STOP)
            }

            /// Lets frozen connections go on. Returns how many.
            pub fn thaw_sessions(&self) -> usize {
                self.server.signal_sessions(Signal::CONT)
            }

            /// Kills the processes that serve the present connections; what they have started goes on. Returns how many.
            pub fn kill_sessions(&self) -> usize {
                self.server.signal_sessions(Signal::KILL)
            }
        }
    };
}
pub(super) use reached_by_ssh;
