//! An active server, a passive one and a spare, with one database.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use examples::Fallible;
use examples::cluster::{NAMES, get, node_toml};
use ha_backends::local::{Check, EmbeddedBalancer};
use ha_core::state::MemberKind;
use ha_core::topology::{Name, Topology};
use ha_lab::fake_carbon::{CarbonConfig, CarbonHome, Relaunch};
use ha_lab::{HaProxyProcess, HaProxySpec, Lab, ServerSpec};
use tokio::process::Command;
use tokio::time::{Instant, sleep};

use crate::Options;
use crate::database::{Database, Kind, NEW, OLD};
use crate::scripts;

pub(crate) struct Cluster {
    pub(crate) database: Database,
    front: Front,
    homes: Vec<CarbonHome>,
    /// Last: the others end before it.
    lab: Lab,
}

enum Front {
    Embedded(EmbeddedBalancer),
    HaProxy(HaProxyProcess),
}

impl Cluster {
    /// Starts it with the old release on the old schema, and waits until it serves.
    pub(crate) async fn start(options: &Options) -> Fallible<Self> {
        let lab = Lab::open(Relaunch::program()?)?;
        let database = Database::start(&lab, options.kind)?;
        let homes = NAMES.map(|name| lab.carbon(name, CarbonConfig::new(0, OLD)));
        let homes: Vec<CarbonHome> = homes.into_iter().collect::<Result<_, _>>()?;
        for home in &homes {
            std::fs::write(home.path().join("database"), &database.url)?;
        }
        let front = if options.haproxy {
            let server = |(name, home): (&str, &CarbonHome)| ServerSpec::new(name, home.port());
            let servers = NAMES.into_iter().zip(&homes).map(server).map(|server| match server.name.as_str() {
                "esb1" => server,
                "esb2" => server.as_backup(),
                _ => server.as_backup().held_out(),
            });
            Front::HaProxy(lab.haproxy("lb1", &HaProxySpec::new("esb", servers.collect()).with_master())?)
        } else {
            let address = |home: &CarbonHome| SocketAddr::from(([127, 0, 0, 1], home.port()));
            let embedded = EmbeddedBalancer::builder(Name::new("esb")?)
                .with_member(Name::new("esb1")?, address(&homes[0]), MemberKind::Primary)
                .with_member(Name::new("esb2")?, address(&homes[1]), MemberKind::Backup)
                .with_member_held_out(Name::new("spare1")?, address(&homes[2]), MemberKind::Backup)
                .with_check(Check::new("/services/Version"));
            Front::Embedded(embedded.start(([127, 0, 0, 1], 0).into(), &lab.path().join("lb1.sock")).await?)
        };
        let cluster = Self { database, front, homes, lab };
        std::fs::write(cluster.folder().join("cluster.toml"), cluster.toml())?;
        scripts::write_base(&cluster.scripts())?;
        cluster.database.migrate_base(&cluster.scripts()).await?;
        cluster.database.fill().await?;
        for home in &cluster.homes[..2] {
            cluster.run(home, "wso2server.sh", "start").await?;
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

    /// Returns where consumers come in.
    pub(crate) fn address(&self) -> SocketAddr {
        match &self.front {
            Front::Embedded(embedded) => embedded.address(),
            Front::HaProxy(process) => process.address(),
        }
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
        for address in [self.address(), passive] {
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
        let balancer = match &self.front {
            Front::Embedded(embedded) => format!("backend = \"local\"\nsocket = \"{}\"\n", embedded.socket().display()),
            Front::HaProxy(process) => {
                let master = process.master_socket().map_or_else(String::new, |path| path.display().to_string());
                format!("backend = \"haproxy\"\nsocket = \"{}\"\nmaster = \"{master}\"\n", process.socket().display())
            }
        };
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
[[balancer]]
name = "lb1"
{balancer}
[database]
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
        for (name, home) in NAMES.iter().zip(&self.homes) {
            text.push_str(&node_toml(name, *name == "spare1", "backend = \"local\"\n", home));
        }
        text
    }
}
