//! An active Tomcat, a passive one and a spare behind HAProxy; wars that they share, or a database, where the job needs one.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use examples::cluster::{NAMES, deploy_script, get};
use examples::orders::{Database, Kind, NEW, OLD, ROWS, write_base, write_upgrade};
use examples::{Balancing, Fallible, Front, Hosts, Server};
use ha_backends::local::generation_of;
use ha_core::state::{Generation, MemberKind};
use ha_core::topology::Topology;
use ha_lab::fake_carbon::Relaunch;
use ha_lab::{Lab, TomcatHome, TomcatRelease, write_war};
use tokio::time::{Instant, sleep};

use crate::{Job, Options};

/// The folder that is shared, below each home.
const TREE: &str = "webapps";
const ORDERS: &str = include_str!("orders.jsp");
const STOCK: &str = r#"<%@ page session="false" contentType="text/plain" trimDirectiveWhitespaces="true" %><%
String ms = request.getParameter("ms");
if (ms != null) Thread.sleep(Long.parseLong(ms));
%>stock GENERATION <%= ProcessHandle.current().pid() %>
"#;

pub(crate) struct Cluster {
    job: Job,
    pub(crate) database: Option<Database>,
    pub(crate) front: Front,
    homes: Vec<TomcatHome>,
    pub(crate) hosts: Hosts,
    /// Last: the others end before it.
    lab: Lab,
}

impl Cluster {
    /// Starts it with the old release, and waits until both members serve.
    pub(crate) async fn start(options: &Options) -> Fallible<Self> {
        let lab = Lab::open(Relaunch::program()?)?;
        let database = match options.job {
            Job::Upgrade => Some(Database::start(&lab, Kind::Postgres)?),
            Job::Patch | Job::Update | Job::LoseActive => None,
        };
        let release = |name: &str, column: &str| {
            let release = TomcatRelease::new(name);
            match &database {
                Some(_) => {
                    let page = ORDERS.replace("COLUMN", column).replace("ROWS", &ROWS.to_string());
                    release.with_page("orders", page)
                }
                None => release,
            }
        };
        let homes = NAMES.iter().map(|name| lab.tomcat(&format!("{name}-home"), &release(OLD, "amount")));
        let homes: Vec<TomcatHome> = homes.collect::<Result<_, _>>()?;
        lab.tomcat_release(&release(NEW, "total"))?;
        let hosts = Hosts::start(&lab, &NAMES, options.ssh)?;
        let server = |(place, home): (usize, &TomcatHome)| Server {
            name: NAMES[place],
            port: home.port(),
            kind: if place == 0 { MemberKind::Primary } else { MemberKind::Backup },
            held_out: place == 2,
        };
        let servers: Vec<Server> = homes.iter().enumerate().map(server).collect();
        let front = Front::start(&lab, Balancing::HaProxy, &servers).await?;
        let cluster = Self { job: options.job, database, front, homes, hosts, lab };
        cluster.prepare().await?;
        for (place, home) in cluster.homes[..2].iter().enumerate() {
            let script = home.path().join("bin/startup.sh");
            let started = cluster.hosts.script(place, &script, ">&2").status().await?;
            if !started.success() {
                return Err(format!("{} could not be started: {started}", NAMES[place]).into());
            }
        }
        cluster.wait_until_served().await?;
        Ok(cluster)
    }

    pub(crate) fn folder(&self) -> &Path {
        self.lab.path()
    }

    pub(crate) fn homes(&self) -> &[TomcatHome] {
        &self.homes
    }

    /// Makes the first set of wars, or the database of the old release.
    async fn prepare(&self) -> Fallible<()> {
        if self.job == Job::Update {
            self.make_set(1)?;
            for home in &self.homes {
                let script = home.path().join("bin/deploy.sh");
                std::fs::write(&script, deploy_script(TREE))?;
                std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755))?;
                let deployed = std::process::Command::new(&script).env("HA_GENERATION", "1").status()?;
                if !deployed.success() {
                    return Err(format!("the first wars could not be deployed: {deployed}").into());
                }
            }
        }
        if let Some(database) = &self.database {
            write_base(&self.scripts())?;
            database.migrate_base(&self.scripts()).await?;
            database.fill().await?;
            write_upgrade(&self.scripts(), Kind::Postgres, false)?;
            for home in &self.homes {
                home.set_postgres(&format!("{}&ApplicationName=esb-${{ha.release}}", database.url))?;
            }
        }
        Ok(())
    }

    fn scripts(&self) -> PathBuf {
        self.folder().join("scripts")
    }

    /// Makes the set with this number: its own version of the war, beside the one before it, which sessions may still use.
    fn make_set(&self, number: u64) -> Fallible<PathBuf> {
        let folder = self.folder().join("sets").join(number.to_string());
        std::fs::create_dir_all(&folder)?;
        for number in number.saturating_sub(1).max(1)..=number {
            let (version, page) = (format!("{number:03}"), STOCK.replace("GENERATION", &format!("g{number}")));
            write_war(
                &folder.join(format!("stock##{version}.war")),
                &[("version.txt", &version), ("index.jsp", &page)],
            )?;
        }
        std::fs::write(folder.join(".ha-generation"), number.to_string())?;
        Ok(folder)
    }

    /// Makes a set, and tells how the file sharing will name it.
    pub(crate) fn generation(&self, number: u64) -> Fallible<Generation> {
        Ok(generation_of(&self.make_set(number)?)?.ok_or("the set has no number")?)
    }

    /// Lists the sets of wars that the nodes have.
    pub(crate) fn sets(&self) -> Vec<u64> {
        let set = |home: &TomcatHome| generation_of(&home.path().join(TREE)).ok().flatten();
        self.homes.iter().map(|home| set(home).map_or(0, |set| set.sequence)).collect()
    }

    async fn wait_until_served(&self) -> Fallible<()> {
        let until = Instant::now() + Duration::from_secs(60);
        let passive = SocketAddr::from(([127, 0, 0, 1], self.homes[1].port()));
        for address in self.front.addresses().into_iter().chain([passive]) {
            while get(address, self.job.path()).await.is_none() {
                if Instant::now() >= until {
                    return Err(format!("no server answered through {address} in 60 s").into());
                }
                sleep(Duration::from_millis(50)).await;
            }
        }
        Ok(())
    }

    pub(crate) fn topology(&self) -> Fallible<Topology> {
        let balancers = self.front.to_toml();
        let mut text = format!(
            r#"[cluster]
name = "tomcat-demo"
[policy]
peak_load = 1000
drain_deadline = "20s"
ready_deadline = "60s"
stop_deadline = "60s"
command_deadline = "30s"
soak = "1s"
lease_ttl = "10s"
lost_after = "1s"
[pool]
name = "esb"
serve = 1
{balancers}"#
        );
        if self.job == Job::Update {
            text.push_str(&format!("[files]\nbackend = \"local\"\ntree = \"{TREE}\"\nwriter = \"esb1\"\n"));
        }
        if let Some(database) = &self.database {
            text.push_str(&format!(
                "[database]\nbackend = \"migrate\"\nurl = \"{}\"\nscripts = \"{}\"\nbase_version = \"1\"\n\
                 old_sessions = [\"{OLD} application=esb-{OLD}\"]\n",
                database.url,
                self.scripts().display()
            ));
        }
        // What an upgraded server has to show is that it writes an order.
        let (test, expect) = if self.database.is_some() { ("orders", "orders") } else { ("selftest", "ok") };
        for (place, (name, home)) in NAMES.iter().zip(&self.homes).enumerate() {
            text.push_str(&format!(
                r#"
[[node]]
name = "{name}"
capacity = 1000
spare = {spare}
[node.host]
{host}home = "{home}"
start = ["bin/startup.sh"]
stop = ["bin/shutdown.sh"]
version = ["cat", "version.txt"]
pid_file = "tomcat.pid"
identity = "{identity}"
[node.probe]
backend = "http"
url = "http://127.0.0.1:{port}/services/Version"
test_url = "http://127.0.0.1:{port}/{test}"
test_expect = "{expect}"
"#,
                spare = place == 2,
                host = self.hosts.settings(place),
                home = home.path().display(),
                identity = home.identity(),
                port = home.port(),
            ));
        }
        Ok(Topology::from_toml_str(&text)?)
    }
}
