use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ha_backends::local::{Check, EmbeddedBalancer};
use ha_core::backend::{Admin, Health, MemberRef};
use ha_core::state::MemberKind;
use ha_core::topology::{Name, Topology};
use ha_lab::fake_carbon::{CarbonConfig, CarbonHome, Relaunch};
use ha_lab::{HaProxyProcess, HaProxySpec, Lab, ServerSpec};
use tokio::process::Command;
use tokio::time::{Instant, sleep};

use examples::Fallible;
use examples::cluster::{get, node_toml};

use super::{Options, Victim};

/// The release at the beginning.
pub(crate) const OLD: &str = "4.2.0";
/// The release of the patch.
pub(crate) const NEW: &str = "4.2.1";

/// Names the release after so many patches.
pub(crate) fn release(patches: u32) -> String {
    format!("4.2.{patches}")
}

/// How many requests a server takes at once in front of which others queue.
pub(crate) const SLOTS: usize = 4;

/// The cluster of the demonstration: two members and a spare behind one balancer.
pub(crate) struct Cluster {
    lab: Lab,
    balancer: Front,
    members: Vec<CarbonHome>,
    spare: CarbonHome,
    declares_spare: bool,
    console: Console,
    /// Rules of the balancer's lint that are accepted.
    accept: &'static str,
    /// Whether HAProxy's file is checked.
    reads_config: bool,
    /// How many members serve at rest.
    serve: u32,
}

/// The second pool: a console on a port of its own, behind a backend of its own.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Console {
    Absent,
    Declared,
    /// HAProxy has it, and the topology does not say so.
    LeftOut,
}

enum Front {
    Embedded(EmbeddedBalancer),
    HaProxy(Vec<HaProxyProcess>),
}

impl Cluster {
    pub(crate) async fn start(options: &Options) -> Fallible<Self> {
        let lab = Lab::open(Relaunch::program()?)?;
        let console = match options {
            Options { leave_out: true, .. } => Console::LeftOut,
            Options { pools: true, .. } => Console::Declared,
            _ => Console::Absent,
        };
        let install = |name: &str| {
            let second = if console == Console::Absent { 0 } else { lab.free_port()? };
            lab.carbon(name, CarbonConfig::new(0, OLD).with_second_port(second))
        };
        let (members, spare) = (vec![install("esb1")?, install("esb2")?], install("spare1")?);
        if options.fail_test {
            members[1].fail_test_of(NEW)?;
        }
        let balancer = if options.haproxy {
            let esb = ["esb1", "esb2", "spare1"].into_iter().zip(members.iter().chain([&spare]));
            let esb = esb.map(|(name, home)| ServerSpec::new(name, home.port()));
            let servers: Vec<ServerSpec> = if options.queue {
                // Both members serve, each with so many slots.
                esb.map(|server| server.with_words(format!("maxconn {SLOTS}"))).collect()
            } else {
                esb.map(|server| if server.name == "esb1" { server } else { server.as_backup() }).collect()
            };
            let held = |server: ServerSpec| if server.name == "spare1" { server.held_out() } else { server };
            let spec = HaProxySpec::new("esb", servers.into_iter().map(held).collect()).with_master();
            // Both members serve the console.
            let consoles = vec![
                ServerSpec::new("esb1", members[0].second_port()),
                ServerSpec::new("esb2", members[1].second_port()),
                ServerSpec::new("spare1", spare.second_port()).held_out(),
            ];
            let spec = if console == Console::Absent { spec } else { spec.with_pool("mgmt", consoles) };
            let names = if options.pair { &["lb1", "lb2"][..] } else { &["lb1"] };
            Front::HaProxy(names.iter().map(|name| lab.haproxy(name, &spec)).collect::<Result<_, _>>()?)
        } else {
            let address = |home: &CarbonHome| SocketAddr::from(([127, 0, 0, 1], home.port()));
            let embedded = EmbeddedBalancer::builder(Name::new("esb")?)
                .with_member(Name::new("esb1")?, address(&members[0]), MemberKind::Primary)
                .with_member(Name::new("esb2")?, address(&members[1]), MemberKind::Backup)
                .with_member_held_out(Name::new("spare1")?, address(&spare), MemberKind::Backup)
                .with_check(Check::new("/services/Version"));
            let socket = lab.path().join("lb1.sock");
            Front::Embedded(embedded.start(SocketAddr::from(([127, 0, 0, 1], 0)), &socket).await?)
        };
        let accept = match (options.anyway, options.by_hand) {
            (true, _) => "accept = [\"left-out\"]\n",
            // A person finds the whole file of HAProxy checked.
            (false, true) => {
                "# HAProxy repeats no request here, so that each one that is lost is seen. Let yours repeat, and leave this out.\n\
                 accept = [\"redispatch\", \"retries\"]\n"
            }
            (false, false) => "",
        };
        let serve = if options.queue { 2 } else { 1 };
        let cluster = Self {
            lab,
            balancer,
            members,
            spare,
            declares_spare: !options.no_spare,
            console,
            accept,
            reads_config: options.by_hand,
            serve,
        };
        std::fs::write(cluster.folder().join("cluster.toml"), cluster.topology())?;
        for member in &cluster.members {
            cluster.script(member, "wso2server.sh", "start").await?;
        }
        cluster.wait_until_served().await?;
        Ok(cluster)
    }

    fn victim(&self, victim: Victim) -> Option<(&'static str, &CarbonHome)> {
        match victim {
            Victim::Active => Some(("esb1", &self.members[0])),
            Victim::Passive => Some(("esb2", &self.members[1])),
            Victim::Spare => Some(("spare1", &self.spare)),
            Victim::Balancer | Victim::Host | Victim::Link => None,
        }
    }

    /// Kills a server, or a random balancer of a pair, with -9; tells whether it ran.
    pub(crate) fn kill(&self, victim: Victim) -> Fallible<bool> {
        match (self.victim(victim), &self.balancer) {
            (Some((_, home)), _) => Ok(home.kill()?),
            (None, Front::HaProxy(pair)) => {
                pair.get(fastrand::usize(..pair.len())).ok_or("there is no HAProxy")?.kill();
                Ok(true)
            }
            (None, Front::Embedded(_)) => Err("the embedded balancer is part of this process".into()),
        }
    }

    /// Asks the balancer whether it may give requests to a server; a killed balancer gives none to any.
    pub(crate) async fn may_get_requests(&self, victim: Victim) -> Fallible<bool> {
        let Some((name, _)) = self.victim(victim) else { return Ok(false) };
        let topology = Topology::from_toml_str(&self.topology())?;
        let backends = ha_backends::connect(&topology)?;
        let (_, balancer) = backends.balancers.first().ok_or("there is no balancer")?;
        let member = balancer.member(&MemberRef::new(Name::new("esb")?, Name::new(name)?)).await?;
        Ok(member.admin == Admin::Ready && member.health != Health::Down)
    }

    pub(crate) fn folder(&self) -> &Path {
        self.lab.path()
    }

    pub(crate) fn members(&self) -> &[CarbonHome] {
        &self.members
    }

    /// Returns where clients send their requests; the instances of a pair share them.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        match &self.balancer {
            Front::Embedded(embedded) => vec![embedded.address()],
            Front::HaProxy(instances) => instances.iter().map(HaProxyProcess::address).collect(),
        }
    }

    /// Reloads the first HAProxy.
    pub(crate) fn reload_first(&self) -> Fallible<()> {
        match &self.balancer {
            Front::HaProxy(instances) => Ok(instances.first().ok_or("there is no HAProxy")?.reload()?),
            Front::Embedded(_) => Err("the embedded balancer is not reloaded".into()),
        }
    }

    pub(crate) fn request_logs(&self) -> Vec<PathBuf> {
        self.members.iter().chain([&self.spare]).map(CarbonHome::request_log).collect()
    }

    /// Runs a script of a server; what it says proves nothing.
    pub(crate) async fn script(&self, home: &CarbonHome, script: &str, verb: &str) -> Fallible<()> {
        let mut command = Command::new(home.path().join("bin").join(script));
        command.arg(verb).env("HA_RELEASE", NEW).stdin(std::process::Stdio::null());
        command.status().await?;
        Ok(())
    }

    async fn wait_until_served(&self) -> Fallible<()> {
        let until = Instant::now() + Duration::from_secs(30);
        let passive = SocketAddr::from(([127, 0, 0, 1], self.members[1].port()));
        let services = self.addresses().into_iter().chain([passive]).map(|address| (address, "/services/Version"));
        // Each backend has checks of its own, and sends nothing before they have passed.
        let consoles = self.addresses().into_iter().filter(|_| self.console != Console::Absent);
        for (address, path) in services.chain(consoles.map(|address| (address, "/mgmt"))) {
            while get(address, path).await.is_none() {
                if Instant::now() >= until {
                    return Err(format!("no server answered {path} through {address} in 30 s").into());
                }
                sleep(Duration::from_millis(50)).await;
            }
        }
        Ok(())
    }

    fn balancers(&self) -> String {
        match &self.balancer {
            Front::Embedded(embedded) => {
                format!(
                    "[[balancer]]\nname = \"lb1\"\nbackend = \"local\"\nsocket = \"{}\"\n",
                    embedded.socket().display()
                )
            }
            Front::HaProxy(instances) => {
                let row = |(process, number): (&HaProxyProcess, u32)| {
                    let master = process.master_socket().map_or_else(String::new, |path| path.display().to_string());
                    let file = match self.reads_config {
                        true => format!("config_file = \"{}\"\n", process.config_file().display()),
                        false => String::new(),
                    };
                    format!(
                        "[[balancer]]\nname = \"lb{number}\"\nbackend = \"haproxy\"\nsocket = \"{}\"\nmaster = \"{master}\"\n{file}{}",
                        process.socket().display(),
                        self.accept,
                    )
                };
                instances.iter().zip(1..).map(row).collect()
            }
        }
    }

    fn topology(&self) -> String {
        let mut text = String::from(
            r#"[cluster]
name = "demo"

[policy]
drain_deadline = "20s"
ready_deadline = "30s"
stop_deadline = "30s"
command_deadline = "30s"
soak = "2s"
lease_ttl = "4s"
after_loss = "finish"

[[pool]]
name = "esb"
"#,
        );
        text.push_str(&format!("serve = {}\npeak_load = 1000\n\n", self.serve));
        if self.console == Console::Declared {
            text.push_str("[[pool]]\nname = \"mgmt\"\nserve = 2\npeak_load = 1000\n\n");
        }
        text.push_str(&self.balancers());
        let spare = self.declares_spare.then_some((&self.spare, true));
        let nodes = self.members.iter().map(|home| (home, false)).chain(spare);
        for ((home, spare), name) in nodes.zip(["esb1", "esb2", "spare1"]) {
            text.push_str(&node_toml(name, spare, "backend = \"local\"\n", home));
        }
        text
    }
}
