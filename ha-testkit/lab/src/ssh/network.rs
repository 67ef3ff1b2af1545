use std::fmt::Write as _;
use std::io;
use std::net::Ipv4Addr;
use std::sync::PoisonError;

use super::launch::{Names, subnet};
use super::{Guardian, tools};

/// The last byte of the address that this system has on a lab's bridge.
const SYSTEM: u8 = 254;

/// The network namespace of one machine and its cable to the lab's bridge.
#[derive(Debug)]
pub(crate) struct Network {
    slot: u8,
    machine: u8,
    bridge: String,
    veth: String,
    netns: String,
    ip: String,
    nft: String,
}

impl Network {
    /// Names a network without making it.
    pub(crate) fn of(slot: u8, machine: u8) -> io::Result<Self> {
        let names = Names::of(slot);
        let (veth, netns) = (format!("{}{machine}", names.veth), format!("{}{machine}", names.netns));
        let (ip, nft) = (tools::program("ip")?, tools::program("nft")?);
        Ok(Self { slot, machine, bridge: names.bridge, veth, netns, ip, nft })
    }

    pub(crate) fn address(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 213, self.slot, self.machine)
    }

    /// Returns what runs a program inside.
    pub(crate) fn enter(&self) -> Vec<String> {
        [self.ip.as_str(), "netns", "exec", &self.netns].map(String::from).to_vec()
    }

    /// Makes the network, and the bridge if this is the lab's first. Addresses of links are fixed, so that nobody sends to
    /// the old address of a machine that was switched off and on.
    pub(crate) fn make(&self, guardian: &Guardian) -> io::Result<()> {
        let Self { slot, machine, bridge, veth, netns, .. } = self;
        let (net, link) = (subnet(*slot), format!("02:48:41:{slot:02x}:00"));
        let mut made = guardian.bridged.lock().unwrap_or_else(PoisonError::into_inner);
        let mut outside = String::new();
        if !*made {
            let _ = write!(
                outside,
                "link add {bridge} address {link}:{SYSTEM:02x} type bridge\n\
                 addr add {net}{SYSTEM}/24 dev {bridge}\nlink set {bridge} up\n"
            );
        }
        let _ = write!(
            outside,
            "netns add {netns}\n\
             link add {veth} type veth peer name eth0 address {link}:{machine:02x} netns {netns}\n\
             link set {veth} master {bridge} up\n"
        );
        guardian.run(&[&self.ip, "-batch", "-"], outside)?;
        *made = true;
        drop(made);
        let inside = format!(
            "link set lo up\naddr add {net}{machine}/24 dev eth0\nlink set eth0 up\n\
             route add default via {net}{SYSTEM}\n"
        );
        guardian.run(&[&self.ip, "-n", netns, "-batch", "-"], inside).map(drop)
    }

    /// Removes it with all that the kernel knows of its connections; their other ends hear nothing.
    pub(crate) fn remove(&self, guardian: &Guardian) -> io::Result<()> {
        let lines = format!("link del {}\nnetns del {}\n", self.veth, self.netns);
        guardian.run(&[&self.ip, "-batch", "-"], lines).map(drop)
    }

    /// Pulls the cable or plugs it in.
    pub(crate) fn set_link(&self, guardian: &Guardian, state: &str) -> io::Result<()> {
        guardian.run(&[&self.ip, "link", "set", &self.veth, state], String::new()).map(drop)
    }

    /// Drops every packet on its way in, out, or both.
    pub(crate) fn drop_packets(&self, guardian: &Guardian, hooks: &[&str]) -> io::Result<()> {
        let mut rules = String::from("table inet ha\ndelete table inet ha\ntable inet ha {\n");
        for hook in hooks {
            let _ = writeln!(rules, "chain {hook} {{ type filter hook {hook} priority 0; policy drop; }}");
        }
        rules.push_str("}\n");
        self.rule(guardian, rules)
    }

    /// Lets packets pass again.
    pub(crate) fn pass_packets(&self, guardian: &Guardian) -> io::Result<()> {
        self.rule(guardian, "table inet ha\ndelete table inet ha\n".into())
    }

    fn rule(&self, guardian: &Guardian, rules: String) -> io::Result<()> {
        guardian.run(&[&self.ip, "netns", "exec", &self.netns, &self.nft, "-f", "-"], rules).map(drop)
    }
}
