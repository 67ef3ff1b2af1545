//! An active server, a passive one and a spare, with one database.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use examples::cluster::{NAMES, get, node_toml};
use examples::orders::{Database, Kind, NEW, OLD, write_base};
use examples::{Fallible, Front, Hosts, Server};
use ha_core::state::MemberKind;
use ha_core::topology::Topology;
use ha_lab::Lab;
use ha_lab::fake_carbon::{CarbonConfig, CarbonHome, Relaunch};
use tokio::process::Command;
use tokio::time::{Instant, sleep};

use crate::Options;

pub(crate) struct Cluster {
    pub(crate) database: Database,
    pub(crate) front: Front,
    hosts: Hosts,
    homes: Vec<CarbonHome>,
    /// Last: the others end before it.
    lab: Lab,
}

impl Cluster {
    /// Starts it with the old release on the old schema, and waits until it serves.
    pub(crate) async fn start(options: &Options) -> Fallible<Self> {
        let lab = Lab::open(Relaunch::program()?)?;
        let database = Database::start(&lab, options.kind)?;
        let homes = NAMES.map(|name| lab.carbon(&format!("{name}-home"), CarbonConfig::new(0, OLD)));
        let homes: Vec<CarbonHome> = homes.into_iter().collect::<Result<_, _>>()?;
        for home in &homes {
            std::fs::write(home.path().join("database"), &database.url)?;
        }
        let server = |(place, home): (usize, &CarbonHome)| Server {
            name: NAMES[place],
            port: home.port(),
            kind: if place == 0 { MemberKind::Primary } else { MemberKind::Backup },
            held_out: place == 2,
        };
        let servers: Vec<Server> = homes.iter().enumerate().map(server).collect();
        let front = Front::start(&lab, options.balancing, &servers).await?;
        let hosts = Hosts::start(&lab, &NAMES, options.ssh)?;
        let cluster = Self { database, front, hosts, homes, lab };
        std::fs::write(cluster.folder().join("cluster.toml"), cluster.toml())?;
        write_base(&cluster.scripts())?;
        cluster.database.migrate_base(&cluster.scripts()).await?;
        cluster.database.fill().await?;
        for (place, home) in cluster.homes[..2].iter().enumerate() {
            let script = home.path().join("bin/wso2server.sh");
            cluster.hosts.script(place, &script, "start").status().await?;
        }
        cluster.wait_until_served().await?;
        Ok(cluster)
    }

    pub(crate) fn folder(&self) -> &Path {
        self.lab.path()
    }

    pub(crate) fn scripts(&self) -> PathBuf {
        self.folder().join("scripts")
    }

    pub(crate) fn homes(&self) -> &[CarbonHome] {
        &self.homes
    }

    pub(crate) fn request_logs(&self) -> Vec<PathBuf> {
        self.homes.iter().map(CarbonHome::request_log).collect()
    }

    pub(crate) fn topology(&self) -> Fallible<Topology> {
        Ok(Topology::from_toml_str(&self.toml())?)
    }

    /// Runs a script of a server; what it says proves nothing.
    pub(crate) async fn run(&self, home: &CarbonHome, script: &str, verb: &str) -> Fallible<()> {
        let mut command = Command::new(home.path().join("bin").join(script));
        command.arg(verb).env("HA_RELEASE", NEW).stdin(Stdio::null()).status().await?;
        Ok(())
    }

    /// Waits until both members answer with orders.
    pub(crate) async fn wait_until_served(&self) -> Fallible<()> {
        let until = Instant::now() + Duration::from_secs(30);
        let passive = SocketAddr::from(([127, 0, 0, 1], self.homes[1].port()));
        for address in self.front.addresses().into_iter().chain([passive]) {
            while get(address, "/orders").await.is_none() {
                if Instant::now() >= until {
                    return Err(format!("no server answered through {address} in 30 s").into());
                }
                sleep(Duration::from_millis(50)).await;
            }
        }
        Ok(())
    }

    fn toml(&self) -> String {
        let balancers = self.front.to_toml();
        let mut text = format!(
            r#"[cluster]
name = "upgrade-demo"
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
{balancers}[database]
backend = "migrate"
url = "{url}"
clone_url = "{clone}"
scripts = "{scripts}"
base_version = "1"
{old_sessions}"#,
            old_sessions = match self.database.kind {
                Kind::Postgres => format!("old_sessions = [\"{OLD} application=esb-{OLD}\"]\n"),
                // Sessions say nothing of a release here.
                Kind::MariaDb | Kind::Sqlite => String::new(),
            },
            url = self.database.url,
            clone = self.database.clone_url,
            scripts = self.scripts().display(),
        );
        for (place, (name, home)) in NAMES.iter().zip(&self.homes).enumerate() {
            text.push_str(&node_toml(name, *name == "spare1", &self.hosts.settings(place), home));
        }
        text
    }
}
