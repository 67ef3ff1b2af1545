//! A cluster of an active node, a passive one and a spare that share the files of their services.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ha_backends::connect;
use ha_backends::local::{Check, EmbeddedBalancer, LocalFiles, LocalFilesConfig, generation_of};
use ha_backends::rsync::{Rsync, RsyncConfig};
use ha_core::state::{Generation, LeaseEpoch, MemberKind};
use ha_core::topology::{Name, Topology};
use ha_lab::Lab;
use ha_lab::fake_carbon::{CarbonConfig, CarbonHome, Relaunch, quoted};
use ha_lab::load::Load;
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::{Balancing, Fallible, Front, Hosts, Server};

/// The names of the nodes.
pub const NAMES: [&str; 3] = ["esb1", "esb2", "spare1"];
/// The folder that is shared, below each home.
const TREE: &str = "repository/shared";
const SERVICES: [&str; 3] = ["orders", "billing", "stock"];

/// Writes what puts the set with the number in `HA_GENERATION` where the server finds it, staged and swapped; an old set just as well.
/// The sets are beside the home.
pub fn deploy_script(tree: &str) -> String {
    format!(
        r#"#!/bin/sh
set -e
cd "$(dirname "$0")/.."
rm -rf staged old
cp -a "../sets/$HA_GENERATION" staged
[ ! -e {tree} ] || mv {tree} old
mv staged {tree}
rm -rf old
"#
    )
}

/// How a cluster is built.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ClusterOptions {
    /// Each node is a host of its own, driven over ssh.
    pub ssh: bool,
    /// What is in front.
    pub balancing: Balancing,
    /// rsync keeps the files in step, and no copies of this process.
    pub rsync: bool,
    /// The node that writes the shared files at first.
    pub writer: &'static str,
    /// A service that sets from 2 on have, and the balancer leads nobody to: it answers 404 for whatever it has no route of.
    pub added: Option<&'static str>,
}

impl ClusterOptions {
    /// Everything on this machine; the active node writes.
    pub fn local() -> Self {
        Self { ssh: false, balancing: Balancing::Embedded, rsync: false, writer: "esb1", added: None }
    }

    /// With routes, or HAProxy's map, of all services but this one.
    #[must_use]
    pub fn with_service_to_add(mut self, service: &'static str) -> Self {
        self.added = Some(service);
        self
    }
}

/// An active node, a passive one and a spare, which share the files of their services.
pub struct Cluster {
    lab: Lab,
    homes: Vec<CarbonHome>,
    balancer: Front,
    hosts: Hosts,
    sharing: Sharing,
    options: ClusterOptions,
}

/// What keeps the files of the nodes in step.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Sharing {
    /// Copies of this process.
    Local,
    /// rsync, on this machine or over ssh, started every second on each node.
    Rsync,
}

/// The schedule of the file sharing: nothing is begun once it is dropped.
pub enum Schedule {
    /// Copies of this process.
    Task(JoinHandle<()>),
    /// The timer of each node.
    Timers(Vec<Child>),
}

impl Drop for Schedule {
    fn drop(&mut self) {
        match self {
            Self::Task(task) => task.abort(),
            // Each is killed with its handle.
            Self::Timers(timers) => timers.clear(),
        }
    }
}

impl Cluster {
    /// Starts it, and waits until both members serve set 1.
    ///
    /// # Errors
    /// What could not be started.
    pub async fn start(options: ClusterOptions) -> Fallible<Self> {
        let lab = Lab::open(Relaunch::program()?)?;
        let homes = NAMES.map(|name| lab.carbon(&format!("{name}-home"), CarbonConfig::new(0, "4.2.0")));
        let homes: Vec<CarbonHome> = homes.into_iter().collect::<Result<_, _>>()?;
        let hosts = Hosts::start(&lab, &NAMES, options.ssh)?;
        let routes = |balancer: &str| lab.path().join(format!("services-{balancer}.map"));
        let known = ["Version"].iter().chain(&SERVICES).map(|service| format!("/services/{service} esb\n"));
        let known: String = known.collect();
        let balancer = if options.balancing != Balancing::Embedded {
            let server = |(place, home): (usize, &CarbonHome)| Server {
                name: NAMES[place],
                port: home.port(),
                kind: if place == 0 { MemberKind::Primary } else { MemberKind::Backup },
                held_out: place == 2,
            };
            let servers: Vec<Server> = homes.iter().enumerate().map(server).collect();
            Front::haproxy(&lab, options.balancing, &servers, |name, spec| {
                if options.added.is_none() {
                    return Ok(spec);
                }
                std::fs::write(routes(name), &known)?;
                let found = format!("path,map_beg({})", routes(name).display());
                Ok(spec
                    .with_frontend_line(format!("http-request deny deny_status 404 unless {{ {found} -m found }}"))
                    .with_frontend_line(format!("use_backend %[{found}]")))
            })?
        } else {
            let address = |home: &CarbonHome| SocketAddr::from(([127, 0, 0, 1], home.port()));
            let mut embedded = EmbeddedBalancer::builder(Name::new("esb")?)
                .with_member(Name::new("esb1")?, address(&homes[0]), MemberKind::Primary)
                .with_member(Name::new("esb2")?, address(&homes[1]), MemberKind::Backup)
                .with_member_held_out(Name::new("spare1")?, address(&homes[2]), MemberKind::Backup)
                .with_check(Check::new("/services/Version"));
            if options.added.is_some() {
                std::fs::write(routes("lb1"), &known)?;
                embedded = embedded.with_routes(routes("lb1"));
            }
            let socket = lab.path().join("lb1.sock");
            Front::Embedded(embedded.start(SocketAddr::from(([127, 0, 0, 1], 0)), &socket).await?)
        };
        let sharing = if options.rsync { Sharing::Rsync } else { Sharing::Local };
        let cluster = Self { lab, homes, balancer, hosts, sharing, options };
        std::fs::write(cluster.folder().join("cluster.toml"), cluster.toml())?;
        cluster.make_set(1)?;
        for home in &cluster.homes {
            let script = home.path().join("bin/deploy.sh");
            std::fs::write(&script, deploy_script(TREE))?;
            std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755))?;
            cluster.deploy(home, 1).await?;
        }
        for (place, home) in cluster.homes[..2].iter().enumerate() {
            let script = home.path().join("bin/wso2server.sh");
            cluster.hosts.script(place, &script, "start").status().await?;
        }
        cluster.wait_until_served().await?;
        Ok(cluster)
    }

    /// Returns the folder of the cluster, with its `cluster.toml`.
    pub fn folder(&self) -> &Path {
        self.lab.path()
    }

    /// Returns the servers, in the order of [`NAMES`].
    pub fn homes(&self) -> &[CarbonHome] {
        &self.homes
    }

    /// Returns the request log of each server.
    pub fn request_logs(&self) -> Vec<PathBuf> {
        self.homes.iter().map(CarbonHome::request_log).collect()
    }

    /// Returns where consumers come in.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.balancer.addresses()
    }

    /// Describes a load of so many requests a second on what is in front.
    pub fn load(&self, per_second: u32) -> Load {
        self.balancer.load(per_second)
    }

    /// Returns the topology.
    ///
    /// # Errors
    /// Never: it is written by this program.
    pub fn topology(&self) -> Fallible<Topology> {
        Ok(Topology::from_toml_str(&self.toml())?)
    }

    /// Returns the number of the set that a node has; 0 where it is no whole one.
    pub fn set_of(home: &CarbonHome) -> u64 {
        generation_of(&home.path().join(TREE)).ok().flatten().map_or(0, |set| set.sequence)
    }

    /// Lists the nodes whose sync is held by anybody.
    pub fn held(&self) -> Vec<String> {
        let is_held = |home: &CarbonHome| {
            let held = home.path().join(".ha-files/held");
            held.is_file() || std::fs::read_dir(held).is_ok_and(|mut holds| holds.next().is_some())
        };
        let held = NAMES.iter().zip(&self.homes).filter(|(_, home)| is_held(home));
        held.map(|(name, _)| (*name).to_string()).collect()
    }

    /// Makes the set with this number, where the deployment takes it from.
    ///
    /// # Errors
    /// What the file system says.
    pub fn make_set(&self, number: u64) -> Fallible<PathBuf> {
        let folder = self.folder().join("sets").join(number.to_string());
        std::fs::create_dir_all(folder.join("services"))?;
        for service in SERVICES.into_iter().chain(self.options.added.filter(|_| number > 1)) {
            std::fs::write(folder.join(format!("services/{service}.xml")), format!("g{number}\n"))?;
        }
        std::fs::write(folder.join(".ha-generation"), number.to_string())?;
        Ok(folder)
    }

    /// Tells how the file sharing will name the set with this number.
    ///
    /// # Errors
    /// When the set cannot be made or read.
    pub async fn generation(&self, number: u64) -> Fallible<Generation> {
        let folder = self.make_set(number)?;
        match self.sharing {
            Sharing::Local => Ok(generation_of(&folder)?.ok_or("the set has no number")?),
            Sharing::Rsync => {
                let folder = folder.to_str().ok_or("the lab's folder is no text")?;
                Ok(self.rsync()?.generation_in(&Name::new("esb1")?, folder).await?)
            }
        }
    }

    fn rsync(&self) -> Fallible<Rsync> {
        let topology = self.topology()?;
        let config = RsyncConfig::from_component(topology.files().ok_or("no files are shared")?, &topology)?;
        Ok(Rsync::new(&config, &connect(&topology)?.hosts)?)
    }

    /// Starts the schedule of the file sharing: the timer of every node, or the copies of this process.
    ///
    /// # Errors
    /// When it cannot be started.
    pub async fn share(&self) -> Fallible<Schedule> {
        if self.sharing == Sharing::Local {
            let topology = self.topology()?;
            let config = LocalFilesConfig::from_component(topology.files().ok_or("no files are shared")?, &topology)?;
            let files = LocalFiles::new(config);
            return Ok(Schedule::Task(tokio::spawn(
                async move { files.keep_in_step(Duration::from_millis(50)).await },
            )));
        }
        self.rsync()?.install(LeaseEpoch::new(1)).await?;
        let timer = |(place, home): (usize, &CarbonHome)| {
            let sync = quoted(&home.path().join(".ha-files/ha-files").to_string_lossy());
            let line = format!("while sleep 1; do {sync} sync; done");
            self.hosts.command(place, &line).stderr(std::process::Stdio::null()).spawn()
        };
        Ok(Schedule::Timers(self.homes.iter().enumerate().map(timer).collect::<Result<_, _>>()?))
    }

    /// Deploys a set on a node, by the script that a controller runs there.
    ///
    /// # Errors
    /// When the script fails.
    pub async fn deploy(&self, home: &CarbonHome, number: u64) -> Fallible<()> {
        let mut script = Command::new(home.path().join("bin/deploy.sh"));
        let ended = script.env("HA_GENERATION", number.to_string()).stdin(std::process::Stdio::null()).status().await?;
        if ended.success() { Ok(()) } else { Err(format!("the deployment of set {number}: {ended}").into()) }
    }

    async fn wait_until_served(&self) -> Fallible<()> {
        let until = Instant::now() + Duration::from_secs(30);
        let passive = SocketAddr::from(([127, 0, 0, 1], self.homes[1].port()));
        for address in self.addresses().into_iter().chain([passive]) {
            while !get(address, "/services/orders").await.is_some_and(|answer| answer.contains("orders g1")) {
                if Instant::now() >= until {
                    return Err(format!("no server answered through {address} in 30 s").into());
                }
                sleep(Duration::from_millis(50)).await;
            }
        }
        Ok(())
    }

    fn toml(&self) -> String {
        let balancers = self.balancer.to_toml();
        let files = match (self.sharing, self.hosts.ssh_config()) {
            (Sharing::Local, _) => "backend = \"local\"\n".to_string(),
            (Sharing::Rsync, None) => "backend = \"rsync\"\n".to_string(),
            (Sharing::Rsync, Some(config)) => {
                format!("backend = \"rsync\"\nrsh = [\"ssh\", \"-F\", \"{}\"]\n", config.display())
            }
        };
        let exposure = match self.options.added {
            Some(_) if self.options.balancing != Balancing::Embedded => {
                let map = self.folder().join("services-{balancer}.map");
                format!("[exposure]\nbackend = \"haproxy\"\nmap = \"{}\"\n", map.display())
            }
            Some(_) => "[exposure]\nbackend = \"local\"\n".to_string(),
            None => String::new(),
        };
        let mut text = format!(
            r#"[cluster]
name = "update-demo"
[policy]
peak_load = 1000
drain_deadline = "20s"
ready_deadline = "30s"
stop_deadline = "30s"
command_deadline = "30s"
soak = "1s"
lease_ttl = "4s"
[pool]
name = "esb"
serve = 1
{balancers}
[files]
tree = "{TREE}"
writer = "{}"
{files}{exposure}"#,
            self.options.writer
        );
        for ((place, name), home) in NAMES.iter().enumerate().zip(&self.homes) {
            let host = self.hosts.settings(place);
            text.push_str(&node_toml(name, *name == "spare1", &host, home));
        }
        text
    }
}

/// A server of the lab as a `[[node]]`, driven by its own scripts over the host whose settings these are.
pub fn node_toml(name: &str, spare: bool, host: &str, home: &CarbonHome) -> String {
    format!(
        r#"
[[node]]
name = "{name}"
capacity = 1000
spare = {spare}
[node.host]
{host}home = "{home}"
start = ["bin/wso2server.sh", "start"]
stop = ["bin/wso2server.sh", "stop"]
version = ["cat", "bin/version.txt"]
pid_file = "wso2carbon.pid"
identity = "{identity}"
[node.probe]
backend = "http"
url = "http://{address}/services/Version"
test_url = "http://{address}/selftest"
test_expect = "ok"
"#,
        home = home.path().display(),
        identity = home.identity(),
        address = home.address(),
    )
}

/// Gets a page; `None` when no answer of status 200 comes in two seconds.
pub async fn get(address: SocketAddr, path: &str) -> Option<String> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let ask = async {
        let mut stream = tokio::net::TcpStream::connect(address).await?;
        let request = format!("GET {path} HTTP/1.1\r\nhost: demo\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok::<String, std::io::Error>(answer)
    };
    let answer = tokio::time::timeout(Duration::from_secs(2), ask).await.ok()?.ok()?;
    answer.starts_with("HTTP/1.1 200").then_some(answer)
}
