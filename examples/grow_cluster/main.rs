//! A cluster grows and shrinks under load: a third node, on which nothing is installed, becomes a member; the shared files are handed
//! to it; and the member that wrote them until then is retired, its installation removed.
//!
//! ```text
//! cargo run --release --example grow_cluster -- [--haproxy] [--pair] [--requests N] [--out FOLDER]
//! ```
//!
//! Needs nothing: the servers, the balancer in front and the file sharing are of this machine. With `--haproxy` HAProxy is in front,
//! with `--pair` two of them.
//! What is installed is said by commands of each node (`[node.provision]`): the release, and the digest of the configuration that all
//! members share.
//!
//! Exit codes: 0 no request failed, every run ended as it was asked for with nothing open, the new node has the members' release,
//! configuration and files, and the old one has nothing; 1 otherwise; 2 the demonstration could not be set up.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::sync::Arc;
use std::time::Duration;

use examples::cluster::{get, node_toml};
use examples::{Balancing, Fallible, Front, Server, Show, demonstration, page};
use ha_backends::local::{LocalFiles, LocalFilesConfig, generation_of};
use ha_backends::sqlite::SqliteStore;
use ha_core::engine::Engine;
use ha_core::procedure::{AddNodeRequest, HandOverRequest, Procedure, RetireNodeRequest};
use ha_core::record::End;
use ha_core::state::{MemberKind, WriterEpoch};
use ha_core::topology::Topology;
use ha_lab::Lab;
use ha_lab::fake_carbon::{self, CarbonConfig, CarbonHome, Relaunch};
use ha_lab::load::Class;
use tokio::process::Command;
use tokio::time::{Instant, sleep};

const RATE: u32 = 500;
const NAMES: [&str; 3] = ["esb1", "esb2", "esb3"];
const RELEASE: &str = "4.2.0";
/// The folder that is shared, below each home.
const TREE: &str = "repository/shared";
/// The configuration that all members share.
const CONFIGURATION: &str = "repository/conf/members.xml";

const SHOW: &str = r#"#!/bin/sh
if [ -s bin/version.txt ] && [ -x bin/wso2server.sh ] && [ -s repository/conf/members.xml ]; then
    echo "$(cat bin/version.txt) $(sha256sum repository/conf/members.xml | cut -c 1-16)"
else
    echo -
fi
"#;

/// Takes the server from the packages, and the configuration by its digest: what is not there is refused.
const INSTALL: &str = r#"#!/bin/sh
set -e
packages="$(dirname "$0")"
[ -d "$packages/$HA_RELEASE/$HA_NODE" ] && [ -f "$packages/configurations/$HA_CONFIGURATION" ] || exit 3
rm -rf bin.new
cp -a "$packages/$HA_RELEASE/$HA_NODE" bin.new
rm -rf bin
mv bin.new bin
cp "$packages/configurations/$HA_CONFIGURATION" repository/conf/members.xml
"#;

const REMOVE: &str = "#!/bin/sh\nrm -rf bin repository/conf/members.xml\n";

#[derive(Clone, Debug)]
struct Options {
    balancing: Balancing,
    requests: u64,
    out: PathBuf,
}

fn main() -> ExitCode {
    fake_carbon::run_if_asked();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    demonstration("grow_cluster", async { demonstrate(&parse(&arguments)?).await })
}

fn parse(arguments: &[String]) -> Fallible<Options> {
    let mut options = Options { balancing: Balancing::Embedded, requests: 0, out: "target/grow_cluster".into() };
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--haproxy" => options.balancing = Balancing::HaProxy,
            "--pair" => options.balancing = Balancing::Pair,
            "--requests" => {
                let number = words.next().and_then(|number| number.parse().ok());
                options.requests = number.ok_or("--requests needs a number")?;
            }
            "--out" => options.out = words.next().ok_or("--out needs a folder")?.into(),
            other => {
                let known = "--haproxy, --pair, --requests N, --out FOLDER";
                return Err(format!("unknown option {other:?}; known: {known}").into());
            }
        }
    }
    Ok(options)
}

async fn demonstrate(options: &Options) -> Fallible<bool> {
    let show = Show::new();
    show.line("starting two members, an empty third node, the balancer in front, and the file sharing");
    let cluster = Cluster::start(options).await?;
    let topology = Topology::from_toml_str(&cluster.topology)?;
    let store = Arc::new(SqliteStore::open(cluster.lab.path().join("journal.db"))?);
    let engine = ha_backends::connect(&topology)?.engine(topology).with_store(store.clone(), store).build()?;
    let component = engine.topology().files().ok_or("no files are shared")?;
    let files = LocalFiles::new(LocalFilesConfig::from_component(component, engine.topology())?);
    let sharing = tokio::spawn(async move { files.keep_in_step(Duration::from_millis(50)).await });
    show.line(&format!("load: {RATE} requests/s, open loop, keep-alive, one in 20 takes 50 ms"));
    let load = cluster.front.load(RATE).with_class(Class::new("/orders", "orders ", 19));
    let load = load.with_class(Class::new("/orders?ms=50", "orders ", 1)).start()?;
    sleep(Duration::from_secs(1)).await;

    let mut runs = Vec::new();
    for (name, what, procedure) in [
        ("add", "esb3 is added", &AddNodeRequest::of("esb3") as &dyn Procedure),
        ("hand-over", "the shared files are handed to esb3", &HandOverRequest::to("esb3")),
        ("retire", "esb1, which wrote them, is retired", &RetireNodeRequest::of("esb1").and_remove()),
    ] {
        show.line(what);
        runs.push(show.play(&engine, Some(&load), name, procedure).await?);
        sleep(Duration::from_millis(500)).await;
    }
    while load.snapshot().sent < options.requests {
        sleep(Duration::from_millis(100)).await;
    }
    let report = load.stop().await;
    sharing.abort();
    show.line("");
    show.counts(&report, None);
    let as_asked = runs.iter().all(|run| run.end == End::AllNew && run.open.is_empty());
    let ended = as_asked && report.counts.failures() == 0 && cluster.is_grown(&engine, &show).await?;
    let told = serde_json::json!({ "runs": runs, "load": report });
    let pages = [("add", "/runs/0"), ("hand_over", "/runs/1"), ("retire", "/runs/2")];
    page::write(&options.out, &show, &told, &pages, &[("esb", &report)])?;
    Ok(ended)
}

struct Cluster {
    lab: Lab,
    homes: Vec<CarbonHome>,
    front: Front,
    topology: String,
}

impl Cluster {
    async fn start(options: &Options) -> Fallible<Self> {
        let lab = Lab::open(Relaunch::program()?)?;
        let homes: Vec<CarbonHome> =
            NAMES.iter().map(|name| lab.carbon(name, CarbonConfig::new(0, RELEASE))).collect::<Result<_, _>>()?;
        let server = |(place, home): (usize, &CarbonHome)| Server {
            name: NAMES[place],
            port: home.port(),
            kind: MemberKind::Primary,
            held_out: place == 2,
        };
        let servers: Vec<Server> = homes.iter().enumerate().map(server).collect();
        let front = Front::start(&lab, options.balancing, &servers).await?;
        let packages = lab.path().join("packages");
        let topology = topology(&front, &homes, &packages);
        let cluster = Self { lab, homes, front, topology };
        cluster.prepare(&packages)?;
        for home in &cluster.homes[..2] {
            let mut command = Command::new(home.path().join("bin/wso2server.sh"));
            command.arg("start").stdin(Stdio::null()).status().await?;
        }
        cluster.wait_until_served().await?;
        Ok(cluster)
    }

    /// Keeps a package of each server and the shared configuration by its digest, gives both to the members with a set of files, and
    /// takes the server of the third node away.
    fn prepare(&self, packages: &Path) -> Fallible<()> {
        let configurations = packages.join("configurations");
        std::fs::create_dir_all(packages.join(RELEASE))?;
        std::fs::create_dir_all(&configurations)?;
        for (name, text) in [("show.sh", SHOW), ("install.sh", INSTALL), ("remove.sh", REMOVE)] {
            std::fs::write(packages.join(name), text)?;
            std::fs::set_permissions(packages.join(name), std::fs::Permissions::from_mode(0o755))?;
        }
        for (name, home) in NAMES.iter().zip(&self.homes) {
            let (bin, package) = (home.path().join("bin"), packages.join(RELEASE).join(name));
            copy(&bin, &package)?;
            if *name == "esb3" {
                std::fs::remove_dir_all(bin)?;
                continue;
            }
            std::fs::write(home.path().join(CONFIGURATION), "<members><timeout>30</timeout></members>\n")?;
            let services = home.path().join(TREE).join("services");
            std::fs::create_dir_all(&services)?;
            std::fs::write(services.join("orders.xml"), "g1\n")?;
            std::fs::write(home.path().join(TREE).join(".ha-generation"), "1")?;
        }
        let shown = std::process::Command::new(packages.join("show.sh")).current_dir(self.homes[0].path()).output()?;
        let shown = String::from_utf8(shown.stdout)?;
        let digest = shown.split_whitespace().nth(1).ok_or("the configuration has no digest")?;
        std::fs::copy(self.homes[0].path().join(CONFIGURATION), configurations.join(digest))?;
        Ok(())
    }

    async fn wait_until_served(&self) -> Fallible<()> {
        let until = Instant::now() + Duration::from_secs(30);
        let second = SocketAddr::from(([127, 0, 0, 1], self.homes[1].port()));
        for address in self.front.addresses().into_iter().chain([second]) {
            while get(address, "/services/Version").await.is_none() {
                if Instant::now() >= until {
                    return Err("no server answered in 30 s".into());
                }
                sleep(Duration::from_millis(50)).await;
            }
        }
        Ok(())
    }

    /// Compares the new node with the member that stays, and looks for what is left of the old one.
    async fn is_grown(&self, engine: &Engine, show: &Show) -> Fallible<bool> {
        let read = |home: &CarbonHome, file: &str| std::fs::read_to_string(home.path().join(file)).ok();
        let (old, stays, new) = (&self.homes[0], &self.homes[1], &self.homes[2]);
        let same = ["bin/version.txt", CONFIGURATION].iter().all(|file| {
            let text = read(new, file);
            text.is_some() && text == read(stays, file)
        });
        let set = |home: &CarbonHome| generation_of(&home.path().join(TREE));
        let files = set(new)?.is_some() && set(new)? == set(stays)?;
        let gone = old.pid().is_none() && read(old, "bin/version.txt").is_none();
        let seen = engine.observe().await?;
        let writes = |(index, _): &(ha_core::topology::NodeIx, &ha_core::topology::Node)| {
            seen.state.node(*index).writer > WriterEpoch::default()
        };
        let writers: Vec<&str> = engine.topology().nodes().filter(writes).map(|(_, node)| node.name.as_str()).collect();
        show.line(&format!("the new node is what the others are: {same}, has their files: {files}"));
        show.line(&format!("the shared files are written by {}; the old node is gone: {gone}", writers.join(", ")));
        Ok(same && files && gone && writers == ["esb3"])
    }
}

/// Copies a folder of files.
fn copy(from: &Path, to: &Path) -> Fallible<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        std::fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}

fn topology(front: &Front, homes: &[CarbonHome], packages: &Path) -> String {
    let balancers = front.to_toml();
    let mut text = format!(
        "[cluster]\nname = \"demo\"\n[policy]\npeak_load = 1000\ndrain_deadline = \"20s\"\nready_deadline = \"30s\"\n\
         stop_deadline = \"30s\"\ncommand_deadline = \"30s\"\nsoak = \"1s\"\nlease_ttl = \"4s\"\n\
         [pool]\nname = \"esb\"\nserve = 3\n{balancers}\
         [files]\nbackend = \"local\"\ntree = \"{TREE}\"\nwriter = \"esb1\"\n"
    );
    for (name, home) in NAMES.iter().zip(homes) {
        text.push_str(&node_toml(name, false, "backend = \"local\"\n", home));
        let packages = packages.display();
        text.push_str(&format!(
            "[node.provision]\nbackend = \"command\"\nshow = [\"{packages}/show.sh\"]\ninstall = [\"{packages}/install.sh\"]\n\
             remove = [\"{packages}/remove.sh\"]\n"
        ));
    }
    text
}
