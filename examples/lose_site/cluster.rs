//! Two sites of two servers and a balancer each, one front that leads consumers to one of them, a copy of the database in each.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use examples::Fallible;
use examples::cluster::{get, node_toml};
use ha_backends::local::{Check, EmbeddedBalancer};
use ha_core::state::MemberKind;
use ha_core::topology::{Name, Topology};
use ha_lab::Lab;
use ha_lab::fake_carbon::{CarbonConfig, CarbonHome, Relaunch};
use tokio::process::Command;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::database::{Copies, Copy};

pub(crate) const SITES: [&str; 2] = ["north", "south"];

pub(crate) struct Cluster {
    lab: Lab,
    /// Two a site, north first.
    homes: Vec<CarbonHome>,
    balancers: Vec<Option<EmbeddedBalancer>>,
    front: EmbeddedBalancer,
    pub(crate) copies: Copies,
    shipping: JoinHandle<()>,
    role: &'static str,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.shipping.abort();
    }
}

impl Cluster {
    /// Starts it: north serves, south is warm or hot.
    pub(crate) async fn start(hot: bool) -> Fallible<Self> {
        let lab = Lab::open(Relaunch::program()?)?;
        let names = ["n1", "n2", "s1", "s2"];
        let homes: Vec<CarbonHome> =
            names.iter().map(|name| lab.carbon(name, CarbonConfig::new(0, "4.2.0"))).collect::<Result<_, _>>()?;
        let mut copies = Vec::new();
        for (site, role) in SITES.iter().zip(["primary", "standby"]) {
            let folder = lab.path().join(site);
            std::fs::create_dir(&folder)?;
            let copy = Copy::in_folder(site, &folder);
            copy.create(role).await?;
            copies.push(copy);
        }
        for (place, home) in homes.iter().enumerate() {
            let site = place / 2;
            std::fs::write(home.path().join("database"), copies[site].url())?;
            std::fs::write(home.path().join("site"), SITES[site])?;
        }
        let (south, north) = (copies.pop().ok_or("no copy")?, copies.pop().ok_or("no copy")?);
        let copies = Copies { north, south };
        let mut cluster_balancers = Vec::new();
        for (site, name) in SITES.iter().enumerate() {
            let served = site == 0 || hot;
            cluster_balancers.push(Some(balancer(&lab, name, &homes[site * 2..site * 2 + 2], served).await?));
        }
        let front = front(&lab, &cluster_balancers).await?;
        let shipping = tokio::spawn(copies.clone().ship());
        let role = if hot { "hot" } else { "warm" };
        let cluster = Self { lab, homes, balancers: cluster_balancers, front, copies, shipping, role };
        let served = if hot { 4 } else { 2 };
        for home in &cluster.homes[..served] {
            script(home, "start").await?;
        }
        cluster.wait_until_served(served).await?;
        Ok(cluster)
    }

    pub(crate) fn folder(&self) -> &Path {
        self.lab.path()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.front.address()
    }

    pub(crate) fn topology(&self) -> Fallible<Topology> {
        Ok(Topology::from_toml_str(&self.toml())?)
    }

    /// Lists for each site the files with the processes of its servers.
    pub(crate) fn pids(&self) -> Vec<(String, Vec<PathBuf>)> {
        let of = |site: usize| {
            self.homes[site * 2..site * 2 + 2].iter().map(|home| home.path().join("wso2carbon.pid")).collect()
        };
        SITES.iter().enumerate().map(|(index, site)| ((*site).to_string(), of(index))).collect()
    }

    /// Loses north: its servers die, its balancer and its database answer nobody.
    pub(crate) fn lose_north(&mut self) -> Fallible<()> {
        self.copies.north.set_lost(true)?;
        for home in &self.homes[..2] {
            home.kill()?;
        }
        self.balancers[0] = None;
        Ok(())
    }

    /// Lets north come back by itself: its machine answers, its balancer and its servers start.
    pub(crate) async fn wake_north(&mut self) -> Fallible<()> {
        self.copies.north.set_lost(false)?;
        self.balancers[0] = Some(balancer(&self.lab, SITES[0], &self.homes[..2], true).await?);
        for home in &self.homes[..2] {
            script(home, "start").await?;
        }
        Ok(())
    }

    /// Reads what the servers have answered: time, site epoch, site, and number of each order.
    pub(crate) fn answered(&self) -> Fallible<Vec<Answered>> {
        let mut all = Vec::new();
        for home in &self.homes {
            let Ok(text) = std::fs::read_to_string(home.path().join("answered")) else { continue };
            for line in text.lines() {
                let words: Vec<&str> = line.split(' ').collect();
                let [at, epoch, site, id] = words[..] else { continue };
                all.push(Answered { at_ms: at.parse()?, epoch: epoch.parse()?, site: site.into(), id: id.into() });
            }
        }
        Ok(all)
    }

    async fn wait_until_served(&self, servers: usize) -> Fallible<()> {
        let until = Instant::now() + Duration::from_secs(30);
        let address = |home: &CarbonHome| SocketAddr::from(([127, 0, 0, 1], home.port()));
        let each = self.homes[..servers].iter().map(|home| (address(home), "/services/Version"));
        for (address, path) in each.chain([(self.address(), "/services/Version")]) {
            while get(address, path).await.is_none() {
                if Instant::now() >= until {
                    return Err(format!("{address} did not answer in 30 s").into());
                }
                sleep(Duration::from_millis(50)).await;
            }
        }
        Ok(())
    }

    fn toml(&self) -> String {
        let mut text = format!(
            "[cluster]\nname = \"two-sites\"\n[policy]\ndrain_deadline = \"20s\"\nready_deadline = \"30s\"\n\
             stop_deadline = \"30s\"\ncommand_deadline = \"30s\"\nmigrate_deadline = \"60s\"\nsoak = \"1s\"\n\
             lease_ttl = \"4s\"\nlost_after = \"1s\"\n[switch]\nbackend = \"local\"\nsockets = [\"{}\"]\n",
            self.front.socket().display()
        );
        for (index, site) in SITES.iter().enumerate() {
            let role = if index == 0 { "serving" } else { self.role };
            let socket = socket(&self.lab, site);
            text.push_str(&format!(
                "[[site]]\nname = \"{site}\"\nrole = \"{role}\"\nfence = {{ backend = \"demo\" }}\n\
                 replica = {{ backend = \"demo\" }}\n[[pool]]\nname = \"esb-{site}\"\nbackend = \"esb\"\nserve = 2\n\
                 peak_load = 1000\nsite = \"{site}\"\nbalancers = [\"lb-{site}\"]\n[[balancer]]\nname = \"lb-{site}\"\n\
                 backend = \"local\"\nsocket = \"{}\"\n",
                socket.display()
            ));
        }
        for (place, (name, home)) in ["n1", "n2", "s1", "s2"].iter().zip(&self.homes).enumerate() {
            let node = node_toml(name, false, "backend = \"local\"\n", home);
            let named = format!("name = \"{name}\"\n");
            text.push_str(&node.replacen(&named, &format!("{named}site = \"{}\"\n", SITES[place / 2]), 1));
        }
        text
    }
}

/// An order that a server has answered for.
pub(crate) struct Answered {
    pub(crate) at_ms: u64,
    pub(crate) epoch: u64,
    pub(crate) site: String,
    pub(crate) id: String,
}

fn socket(lab: &Lab, site: &str) -> PathBuf {
    lab.path().join(format!("lb-{site}.sock"))
}

/// Starts the balancer of a site. What is not to be served is held out.
async fn balancer(lab: &Lab, site: &str, homes: &[CarbonHome], served: bool) -> Fallible<EmbeddedBalancer> {
    let mut builder = EmbeddedBalancer::builder(Name::new("esb")?);
    for (number, home) in homes.iter().enumerate() {
        let name = Name::new(&format!("{}{}", &site[..1], number + 1))?;
        let address = SocketAddr::from(([127, 0, 0, 1], home.port()));
        builder = match served {
            true => builder.with_member(name, address, MemberKind::Primary),
            false => builder.with_member_held_out(name, address, MemberKind::Primary),
        };
    }
    let listen = listen_of(lab, site)?;
    Ok(builder.with_check(Check::new("/services/Version")).start(listen, &socket(lab, site)).await?)
}

/// Returns where a site's balancer listens: the same place each time it is started.
fn listen_of(lab: &Lab, site: &str) -> Fallible<SocketAddr> {
    let file = lab.path().join(format!("lb-{site}.port"));
    let port = match std::fs::read_to_string(&file) {
        Ok(port) => port.parse()?,
        Err(_) => {
            let port = lab.free_port()?;
            std::fs::write(&file, port.to_string())?;
            port
        }
    };
    Ok(SocketAddr::from(([127, 0, 0, 1], port)))
}

async fn front(lab: &Lab, balancers: &[Option<EmbeddedBalancer>]) -> Fallible<EmbeddedBalancer> {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let led = lab.path().join("consumers");
    std::fs::write(&led, "led north\n")?;
    let mut builder = EmbeddedBalancer::builder(Name::new("front")?);
    for (site, balancer) in SITES.iter().zip(balancers) {
        let address = balancer.as_ref().ok_or("no balancer")?.address();
        builder = builder.with_pool(Name::new(site)?, any).with_member(Name::new("lb")?, address, MemberKind::Primary);
    }
    Ok(builder.with_sites(led).start(any, &lab.path().join("front.sock")).await?)
}

async fn script(home: &CarbonHome, verb: &str) -> Fallible<()> {
    let mut command = Command::new(home.path().join("bin/wso2server.sh"));
    command.arg(verb).stdin(Stdio::null()).status().await?;
    Ok(())
}

/// Ends the process that a file names, where it runs.
pub(crate) fn end(pid_file: &Path) {
    let pid = std::fs::read_to_string(pid_file).ok().and_then(|pid| pid.trim().parse().ok());
    if let Some(pid) = pid.and_then(rustix::process::Pid::from_raw) {
        // One that is gone has nothing to end.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
}
