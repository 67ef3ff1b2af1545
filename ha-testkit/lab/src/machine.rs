use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};

use rustix::process::Signal;

use super::ssh::{Network, Server, reached_by_ssh};
use super::{Lab, SshAccess, SshSpec};

/// A machine of the lab: a network with an address of its own, processes, `/tmp`, `/run`, `/root`, `/srv` and host name;
/// sshd at port 22. Dropping it switches it off for good.
#[derive(Debug)]
pub struct SshMachine {
    server: Server,
    network: Network,
}

/// The network of a machine: where a HAProxy or a database runs that is to be reached there, and lost with it.
#[derive(Clone, Debug)]
pub struct Inside {
    /// What runs a program in it.
    pub(crate) enter: Vec<String>,
    pub(crate) address: Ipv4Addr,
}

impl Inside {
    /// The command line that runs `argv` in it, in the same process.
    pub(crate) fn argv(inside: Option<&Self>, argv: Vec<String>) -> Vec<String> {
        inside.map_or_else(Vec::new, |inside| inside.enter.clone()).into_iter().chain(argv).collect()
    }

    /// Where something listens that may be in it.
    pub(crate) fn address(inside: Option<&Self>) -> Ipv4Addr {
        inside.map_or(Ipv4Addr::LOCALHOST, |inside| inside.address)
    }
}

/// What a blackhole swallows, seen from the machine.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Direction {
    /// What others send to the machine.
    Inbound,
    /// What the machine sends.
    Outbound,
    /// Both.
    Both,
}

impl Lab {
    /// Starts a machine with an empty home and waits until its sshd greets.
    ///
    /// # Errors
    /// As [`ssh_machine_with`](Self::ssh_machine_with).
    pub fn ssh_machine(&self, name: &str) -> io::Result<SshMachine> {
        self.ssh_machine_with(name, &SshSpec::new())
    }

    /// Starts a machine as `spec` says and waits until its sshd greets.
    ///
    /// # Errors
    /// When this is not root or a program is missing (with how to get it), when the name is no host name or taken, when
    /// the system gives no network namespace, and when sshd does not greet in 20 s (with its log).
    pub fn ssh_machine_with(&self, name: &str, spec: &SshSpec) -> io::Result<SshMachine> {
        let guardian = self.guardian()?;
        let network = Network::of(guardian.slot(), guardian.next_host()?)?;
        let server = Server::install(self, name, SocketAddrV4::new(network.address(), 22), spec, network.enter())?;
        network.make(&guardian)?;
        let machine = SshMachine { server, network };
        machine.server.start()?;
        Ok(machine)
    }
}

impl SshMachine {
    /// Returns how it is reached, and what ssh believes of it.
    pub fn access(&self) -> &SshAccess {
        self.server.access()
    }

    /// Returns its network, for what runs beside its own processes: it stays when the machine is switched off, and hears nothing then.
    pub fn inside(&self) -> Inside {
        Inside { enter: self.network.enter(), address: self.network.address() }
    }

    /// Pulls the network cable: silence in both directions.
    ///
    /// # Errors
    /// When the machine is off.
    pub fn cut_link(&self) -> io::Result<()> {
        self.network.set_link(self.server.guardian(), "down")
    }

    /// Plugs the network cable in.
    ///
    /// # Errors
    /// When the machine is off.
    pub fn restore_link(&self) -> io::Result<()> {
        self.network.set_link(self.server.guardian(), "up")
    }

    /// Swallows every packet in a direction, in place of what was swallowed before.
    ///
    /// # Errors
    /// When the machine is off.
    pub fn blackhole(&self, direction: Direction) -> io::Result<()> {
        let hooks: &[&str] = match direction {
            Direction::Inbound => &["input"],
            Direction::Outbound => &["output"],
            Direction::Both => &["input", "output"],
        };
        self.network.drop_packets(self.server.guardian(), hooks)
    }

    /// Swallows nothing any more.
    ///
    /// # Errors
    /// When the machine is off.
    pub fn heal(&self) -> io::Result<()> {
        self.network.pass_packets(self.server.guardian())
    }

    /// Switches it off without warning: the other ends of its connections hear nothing.
    ///
    /// # Errors
    /// When a process does not end in 10 s, and when it is off.
    pub fn power_off(&self) -> io::Result<()> {
        self.cut_link()?;
        self.server.stop()?;
        self.network.remove(self.server.guardian())
    }

    /// Switches it on and waits until its sshd greets: a new boot id, an empty `/run`, an intact network; `/tmp`, `/root`
    /// and `/srv` are as they were.
    ///
    /// # Errors
    /// When it is on, and when sshd does not greet in 20 s (with its log).
    pub fn power_on(&self) -> io::Result<()> {
        self.network.make(self.server.guardian())?;
        self.server.start()
    }

    /// Switches it off and on.
    ///
    /// # Errors
    /// As [`power_off`](Self::power_off) and [`power_on`](Self::power_on).
    pub fn power_cycle(&self) -> io::Result<()> {
        self.power_off()?;
        self.power_on()
    }

    /// Gives it another host key and starts it again; ssh still believes in the old key.
    ///
    /// # Errors
    /// As [`power_cycle`](Self::power_cycle).
    pub fn change_host_key(&self) -> io::Result<()> {
        self.power_off()?;
        self.access().renew_host_key()?;
        self.power_on()
    }
}

impl Drop for SshMachine {
    fn drop(&mut self) {
        // One that is off, or whose lab is closed, has nothing left to remove.
        let _ = self.power_off();
    }
}

reached_by_ssh!(SshMachine);
