use std::net::SocketAddr;

use ha_backends::local::{Check, EmbeddedBalancer};
use ha_core::state::MemberKind;
use ha_core::topology::Name;
use ha_lab::load::Load;
use ha_lab::{HaProxyProcess, HaProxySpec, Lab, ServerSpec};

use crate::Fallible;

/// What is in front of the servers.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Balancing {
    /// The embedded balancer.
    #[default]
    Embedded,
    /// An HAProxy.
    HaProxy,
    /// Two HAProxys, which share the requests.
    Pair,
}

/// What consumers come in by: a balancer of this process, or HAProxy.
pub enum Front {
    /// The embedded balancer.
    Embedded(EmbeddedBalancer),
    /// The HAProxys of the lab.
    HaProxy(Vec<HaProxyProcess>),
}

/// A server behind the front.
#[derive(Clone, Copy, Debug)]
pub struct Server {
    /// Its name, as the topology has it.
    pub name: &'static str,
    /// Where it listens, on the loopback.
    pub port: u16,
    /// Whether it serves, or takes over.
    pub kind: MemberKind,
    /// Whether it gets nothing at first.
    pub held_out: bool,
}

impl Front {
    /// Starts it in front of these servers of the pool `esb`: as `lb1`, and `lb2` where they are two.
    ///
    /// # Errors
    /// What could not be started.
    pub async fn start(lab: &Lab, balancing: Balancing, servers: &[Server]) -> Fallible<Self> {
        if balancing != Balancing::Embedded {
            return Self::haproxy(lab, balancing, servers, |_, spec| Ok(spec));
        }
        let mut embedded = EmbeddedBalancer::builder(Name::new("esb")?).with_check(Check::new("/services/Version"));
        for server in servers {
            let (name, address) = (Name::new(server.name)?, SocketAddr::from(([127, 0, 0, 1], server.port)));
            embedded = match server.held_out {
                true => embedded.with_member_held_out(name, address, server.kind),
                false => embedded.with_member(name, address, server.kind),
            };
        }
        let started = embedded.start(SocketAddr::from(([127, 0, 0, 1], 0)), &lab.path().join("lb1.sock")).await?;
        Ok(Self::Embedded(started))
    }

    /// Starts HAProxys, each with what `shape` makes of what it is to do.
    ///
    /// # Errors
    /// What could not be started.
    pub fn haproxy(
        lab: &Lab,
        balancing: Balancing,
        servers: &[Server],
        shape: impl Fn(&str, HaProxySpec) -> Fallible<HaProxySpec>,
    ) -> Fallible<Self> {
        let declared = |server: &Server| {
            let spec = ServerSpec::new(server.name, server.port);
            let spec = if server.kind == MemberKind::Backup { spec.as_backup() } else { spec };
            if server.held_out { spec.held_out() } else { spec }
        };
        let names = if balancing == Balancing::Pair { &["lb1", "lb2"][..] } else { &["lb1"] };
        let start = |name: &&str| -> Fallible<HaProxyProcess> {
            // Without its own timeout a check fails that is not answered within its interval, of 100 ms: on a busy machine all servers
            // would be down at once.
            let spec = HaProxySpec::new("esb", servers.iter().map(declared).collect())
                .with_master()
                .with_backend_line("timeout check 2s");
            Ok(lab.haproxy(name, &shape(name, spec)?)?)
        };
        Ok(Self::HaProxy(names.iter().map(start).collect::<Fallible<_>>()?))
    }

    /// Returns where consumers come in: at each balancer.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        match self {
            Self::Embedded(embedded) => vec![embedded.address()],
            Self::HaProxy(processes) => processes.iter().map(HaProxyProcess::address).collect(),
        }
    }

    /// Describes a load of so many requests a second, which all balancers share.
    pub fn load(&self, per_second: u32) -> Load {
        let addresses = self.addresses();
        let load = Load::new(addresses[0], per_second);
        addresses[1..].iter().fold(load, |load, address| load.with_address(*address))
    }

    /// Returns a `[[balancer]]` for each.
    pub fn to_toml(&self) -> String {
        match self {
            Self::Embedded(embedded) => {
                let socket = embedded.socket().display();
                format!("[[balancer]]\nname = \"lb1\"\nbackend = \"local\"\nsocket = \"{socket}\"\n")
            }
            Self::HaProxy(processes) => {
                let block = |(process, number): (&HaProxyProcess, u32)| {
                    let master = process.master_socket().map_or_else(String::new, |path| path.display().to_string());
                    let socket = process.socket().display();
                    format!(
                        "[[balancer]]\nname = \"lb{number}\"\nbackend = \"haproxy\"\nsocket = \"{socket}\"\n\
                         master = \"{master}\"\n"
                    )
                };
                processes.iter().zip(1..).map(block).collect()
            }
        }
    }
}
