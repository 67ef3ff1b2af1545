//! Two sites of two servers and a balancer each, one front that leads consumers to one of them, a copy of the database in each.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use async_trait::async_trait;
use examples::Fallible;
use ha_backends::Backends;
use ha_backends::local::{Check, EmbeddedBalancer};
use ha_core::state::MemberKind;
use ha_core::topology::{Name, Topology};
use ha_lab::Lab;
use ha_lab::fake_carbon::{CarbonConfig, CarbonHome, Relaunch};
use serde_json::Value;
use tokio::process::Command;
use tokio::task::JoinHandle;

use crate::database::{self, Copies, Copy};
use crate::sites::{self, SERVERS, SITES, TwoSites, until_served};

pub(crate) struct Local {
    lab: Lab,
    /// Two a site, north first.
    homes: Vec<CarbonHome>,
    balancers: Vec<Option<EmbeddedBalancer>>,
    front: EmbeddedBalancer,
    copies: Copies,
    shipping: JoinHandle<()>,
    role: &'static str,
    /// Whether north wakes while it is replaced.
    wakes: bool,
}

impl Drop for Local {
    fn drop(&mut self) {
        self.shipping.abort();
    }
}

impl Local {
    /// Starts it: north serves, south is warm or hot.
    pub(crate) async fn start(hot: bool, wakes: bool) -> Fallible<Self> {
        let lab = Lab::open(Relaunch::program()?)?;
        let homes: Vec<CarbonHome> =
            SERVERS.iter().map(|name| lab.carbon(name, CarbonConfig::new(0, "4.2.0"))).collect::<Result<_, _>>()?;
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
        let cluster = Self { lab, homes, balancers: cluster_balancers, front, copies, shipping, role, wakes };
        let served = if hot { 4 } else { 2 };
        for home in &cluster.homes[..served] {
            script(home, "start").await?;
        }
        let each = cluster.homes[..served].iter().map(CarbonHome::address);
        until_served(each.chain([cluster.front.address()])).await?;
        Ok(cluster)
    }

    async fn wake(&mut self) -> Fallible<()> {
        self.copies.north.set_lost(false)?;
        self.balancers[0] = Some(balancer(&self.lab, SITES[0], &self.homes[..2], true).await?);
        for home in &self.homes[..2] {
            script(home, "start").await?;
        }
        Ok(())
    }
}

#[async_trait]
impl TwoSites for Local {
    fn folder(&self) -> &Path {
        self.lab.path()
    }

    fn address(&self) -> SocketAddr {
        self.front.address()
    }

    fn homes(&self) -> &[CarbonHome] {
        &self.homes
    }

    fn connect(&self, topology: &Topology) -> Fallible<Backends> {
        Ok(database::registry(&self.copies, &self.homes).connect(topology)?)
    }

    /// Its servers die, its balancer and its database answer nobody.
    async fn lose_north(&mut self) -> Fallible<()> {
        self.copies.north.set_lost(true)?;
        for home in &self.homes[..2] {
            home.kill()?;
        }
        self.balancers[0] = None;
        Ok(())
    }

    /// With `--wake` it comes back as soon as it is fenced.
    async fn meanwhile(&mut self, event: &Value) -> Fallible<()> {
        if self.wakes && event["event"] == "step-ended" && event["action"] == "fence" {
            self.wake().await?;
        }
        Ok(())
    }

    async fn wake_north(&mut self) -> Fallible<()> {
        if !self.wakes {
            self.wake().await?;
        }
        let balancer = self.balancers[0].iter().map(EmbeddedBalancer::address);
        until_served(self.homes[..2].iter().map(CarbonHome::address).chain(balancer)).await
    }

    async fn north_takes_a_write(&self) -> Fallible<bool> {
        let mut session = database::open(&self.copies.north.url()).await?;
        Ok(database::write_order(&mut *session, "insisting").await.is_ok())
    }

    async fn orders_in_north(&self) -> Fallible<Vec<String>> {
        self.copies.north.orders().await
    }

    /// A file without its machine is written by nobody.
    async fn written_inside(&mut self) -> Fallible<Vec<(u64, bool)>> {
        Ok(Vec::new())
    }

    async fn share(&self, _: u64) -> Fallible<Option<Duration>> {
        Ok(None)
    }

    fn sets(&self) -> Vec<Option<u64>> {
        Vec::new()
    }

    fn toml(&self) -> String {
        let mut text =
            sites::head(&format!("backend = \"local\"\nsockets = [\"{}\"]\n", self.front.socket().display()));
        for (index, site) in SITES.iter().enumerate() {
            let role = if index == 0 { "serving" } else { self.role };
            let (demo, socket) = ("backend = \"demo\"\n", socket(&self.lab, site));
            let balancer = format!("backend = \"local\"\nsocket = \"{}\"\n", socket.display());
            text.push_str(&sites::site(site, role, demo, demo, &balancer));
        }
        for (place, home) in self.homes.iter().enumerate() {
            text.push_str(&sites::node(place, "backend = \"local\"\n", home));
        }
        text
    }
}

fn socket(lab: &Lab, site: &str) -> PathBuf {
    lab.path().join(format!("lb-{site}.sock"))
}

/// Starts the balancer of a site. What is not to be served is held out.
async fn balancer(lab: &Lab, site: &str, homes: &[CarbonHome], served: bool) -> Fallible<EmbeddedBalancer> {
    let mut builder = EmbeddedBalancer::builder(Name::new("esb")?);
    for (number, home) in homes.iter().enumerate() {
        let name = Name::new(&format!("{}{}", &site[..1], number + 1))?;
        let address = home.address();
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
