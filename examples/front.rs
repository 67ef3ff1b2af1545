use std::net::SocketAddr;

use ha_backends::local::{Check, EmbeddedBalancer};
use ha_core::state::MemberKind;
use ha_core::topology::Name;
use ha_lab::{HaProxyProcess, HaProxySpec, Lab, ServerSpec};

use crate::Fallible;

/// What consumers come in by: a balancer of this process, or HAProxy.
pub enum Front {
    /// The embedded balancer.
    Embedded(EmbeddedBalancer),
    /// An HAProxy of the lab.
    HaProxy(HaProxyProcess),
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
    /// Starts it as `lb1`, in front of these servers of the pool `esb`.
    ///
    /// # Errors
    /// What could not be started.
    pub async fn start(lab: &Lab, haproxy: bool, servers: &[Server]) -> Fallible<Self> {
        if haproxy {
            let declared = |server: &Server| {
                let spec = ServerSpec::new(server.name, server.port);
                let spec = if server.kind == MemberKind::Backup { spec.as_backup() } else { spec };
                if server.held_out { spec.held_out() } else { spec }
            };
            let spec = HaProxySpec::new("esb", servers.iter().map(declared).collect()).with_master();
            return Ok(Self::HaProxy(lab.haproxy("lb1", &spec)?));
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

    /// Returns where consumers come in.
    pub fn address(&self) -> SocketAddr {
        match self {
            Self::Embedded(embedded) => embedded.address(),
            Self::HaProxy(process) => process.address(),
        }
    }

    /// Returns its settings as a `[[balancer]]`, without the name.
    pub fn settings(&self) -> String {
        match self {
            Self::Embedded(embedded) => format!("backend = \"local\"\nsocket = \"{}\"\n", embedded.socket().display()),
            Self::HaProxy(process) => {
                let master = process.master_socket().map_or_else(String::new, |path| path.display().to_string());
                format!("backend = \"haproxy\"\nsocket = \"{}\"\nmaster = \"{master}\"\n", process.socket().display())
            }
        }
    }
}
