use std::path::{Path, PathBuf};
use std::process::Stdio;

use ha_lab::fake_carbon::quoted;
use ha_lab::{Lab, SshHost};
use tokio::process::Command;

use crate::Fallible;

/// Where the servers of a cluster run: all on this machine, or each on a host of its own, driven over ssh.
pub struct Hosts {
    hosts: Vec<SshHost>,
    config: PathBuf,
}

impl Hosts {
    /// Starts a host for each name; with `ssh` false, none: this machine is all there is.
    ///
    /// # Errors
    /// What could not be started: hosts with sshd need root.
    pub fn start(lab: &Lab, names: &[&str], ssh: bool) -> Fallible<Self> {
        let names = if ssh { names } else { &[] };
        let hosts: Vec<SshHost> = names.iter().map(|name| lab.ssh_host(name)).collect::<Result<_, _>>()?;
        let config = lab.ssh_config(hosts.iter().map(SshHost::access))?;
        Ok(Self { hosts, config })
    }

    /// Returns the configuration of ssh, where the servers are driven over it.
    pub fn ssh_config(&self) -> Option<&Path> {
        (!self.hosts.is_empty()).then_some(&*self.config)
    }

    /// Returns the settings of a node's `[node.host]` that say where it is.
    pub fn settings(&self, place: usize) -> String {
        match self.hosts.get(place) {
            None => "backend = \"local\"\n".to_string(),
            Some(host) => {
                let config = self.config.display();
                format!("backend = \"ssh\"\nhost = \"{}\"\nssh_config = \"{config}\"\n", host.name())
            }
        }
    }

    /// Prepares a line of shell on a host. It is ended with its handle.
    pub fn command(&self, place: usize, line: &str) -> Command {
        let mut command = match self.hosts.get(place) {
            None => {
                let mut command = Command::new("sh");
                command.arg("-c");
                command
            }
            Some(host) => {
                let mut command = Command::new("ssh");
                command.arg("-F").arg(&self.config).arg(host.name());
                command
            }
        };
        command.arg(line).stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    /// Prepares a script of a server, with what is added to its line.
    pub fn script(&self, place: usize, script: &Path, more: &str) -> Command {
        self.command(place, &format!("{} {more}", quoted(&script.to_string_lossy())))
    }

    /// Ends a server with kill -9 where it runs. Its pid file says which process that is: each host has its own.
    ///
    /// # Errors
    /// When there is none.
    pub async fn kill(&self, place: usize, pid_file: &Path) -> Fallible<()> {
        let line = format!("kill -9 \"$(tr -d '\\000\\n' < {})\"", quoted(&pid_file.to_string_lossy()));
        let ended = self.command(place, &line).status().await?;
        if ended.success() {
            Ok(())
        } else {
            Err(format!("the server of {} was not killed: {ended}", pid_file.display()).into())
        }
    }
}
