//! A node is lost at rest, under load: the monitor sees it, the outage procedure secures the cluster, and the node comes back.
//!
//! ```text
//! cargo run --release --example lose_node -- [--active-active] [--haproxy] [--pair] [--ssh] [--stay-down] [--requests N] [--out FOLDER]
//! cargo run --release --example lose_node -- --failover [--turns N] [--check-every MS] [--out FOLDER]
//! ```
//!
//! Active/passive by default: the active server of two is killed with -9. With `--active-active` both serve and one of them is killed.
//! The spare takes the lost member's place; then the server is brought back by the procedure for that, which retires the spare. Requests may fail only until the balancer has seen the loss.
//!
//! With `--haproxy` HAProxy is in front, with `--pair` two of them; with `--ssh` each server is on a host of its own, driven over ssh.
//!
//! With `--failover` nothing is shown but measured, in `--turns` turns (20): how long after a kill -9 of the active server consumers are
//! served by the passive, which here stands by outside of the balancer until the outage procedure admits it, beside HAProxy's own
//! `backup` server and, where it is installed and for root, keepalived. Each looks every `--check-every` ms (50). Exit code 0: every one
//! failed over.
//!
//! Exit codes: 0 that was so, and both procedures ended as they should; 1 otherwise; 2 the demonstration could not be set up.

mod failover;
mod keepalived;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use examples::cluster::{get, node_toml};
use examples::{Balancing, Fallible, Front, Hosts, Loss, Server, Show, demonstration, page};
use ha_backends::sqlite::SqliteStore;
use ha_core::state::MemberKind;
use ha_core::topology::Topology;
use ha_lab::Lab;
use ha_lab::fake_carbon::{self, CarbonConfig, CarbonHome, Relaunch};
use ha_lab::load::Class;
use tokio::time::{Instant, sleep};

const RATE: u32 = 500;
const NAMES: [&str; 3] = ["esb1", "esb2", "spare1"];

#[derive(Clone, Debug)]
struct Options {
    active_active: bool,
    balancing: Balancing,
    ssh: bool,
    stay_down: bool,
    failover: bool,
    turns: u32,
    check_every: Duration,
    requests: u64,
    out: PathBuf,
}

fn main() -> ExitCode {
    fake_carbon::run_if_asked();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    demonstration("lose_node", async { demonstrate(&parse(&arguments)?).await })
}

fn parse(arguments: &[String]) -> Fallible<Options> {
    let mut options = Options {
        active_active: false,
        balancing: Balancing::Embedded,
        ssh: false,
        stay_down: false,
        failover: false,
        turns: 20,
        check_every: Duration::from_millis(50),
        requests: 0,
        out: "target/lose_node".into(),
    };
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--active-active" => options.active_active = true,
            "--haproxy" => options.balancing = Balancing::HaProxy,
            "--pair" => options.balancing = Balancing::Pair,
            "--ssh" => options.ssh = true,
            "--stay-down" => options.stay_down = true,
            "--failover" => options.failover = true,
            "--turns" => {
                let number = words.next().and_then(|number| number.parse().ok()).filter(|turns| *turns > 0);
                options.turns = number.ok_or("--turns needs a number above 0")?;
            }
            "--check-every" => {
                let number = words.next().and_then(|number| number.parse().ok()).filter(|ms| *ms >= 10 && ms % 10 == 0);
                let number = number.ok_or("--check-every needs a number of milliseconds, a multiple of 10")?;
                options.check_every = Duration::from_millis(number);
            }
            "--requests" => {
                let number = words.next().and_then(|number| number.parse().ok());
                options.requests = number.ok_or("--requests needs a number")?;
            }
            "--out" => options.out = words.next().ok_or("--out needs a folder")?.into(),
            other => {
                let known = "--active-active, --haproxy, --pair, --ssh, --stay-down, --failover, --turns N, --check-every MS, \
                             --requests N, --out FOLDER";
                return Err(format!("unknown option {other:?}; known: {known}").into());
            }
        }
    }
    let of_others =
        options.active_active || options.ssh || options.stay_down || options.balancing != Balancing::Embedded;
    if options.failover && (of_others || options.requests > 0) {
        return Err(
            "--failover measures clusters of its own: give only --turns, --check-every and --out with it".into()
        );
    }
    Ok(options)
}

async fn demonstrate(options: &Options) -> Fallible<bool> {
    let show = Show::new();
    if options.failover {
        return failover::compare(options, &show).await;
    }
    show.line("starting two members and a spare, and the balancer in front");
    let cluster = Cluster::start(options).await?;
    let topology = Topology::from_toml_str(&cluster.topology)?;
    let store = Arc::new(SqliteStore::open(cluster.lab.path().join("journal.db"))?);
    let engine = ha_backends::connect(&topology)?.engine(topology).with_store(store.clone(), store).build()?;
    show.line(&format!("load: {RATE} requests/s, open loop, keep-alive"));
    let load = cluster.front.load(RATE).with_class(Class::new("/orders", "orders ", 19));
    let load = load.with_class(Class::new("/orders?ms=50", "orders ", 1)).start()?;
    let pid_file = cluster.homes[0].path().join("wso2carbon.pid");
    let kill = cluster.hosts.kill(0, &pid_file);
    let loss = Loss::of(&engine, &load, &show, NAMES[0], !options.stay_down, kill).await?;
    // The spare stands in until the member is back.
    let runs = async |place: usize| {
        let address = SocketAddr::from(([127, 0, 0, 1], cluster.homes[place].port()));
        get(address, "/services/Version").await.is_some()
    };
    let in_place = runs(0).await != options.stay_down && runs(2).await == options.stay_down;
    while load.snapshot().sent < options.requests {
        sleep(Duration::from_millis(100)).await;
    }
    let report = load.stop().await;
    show.line("");
    show.counts(&report, None);
    loss.print(&report);
    let told = serde_json::json!({ "outage": loss.outage, "rejoin": loss.rejoin, "load": report });
    page::write(&options.out, &show, &told, &[("report", "/outage"), ("rejoin", "/rejoin")], &[("esb", &report)])?;
    Ok(loss.is_as_said(&report) && in_place)
}

struct Cluster {
    homes: Vec<CarbonHome>,
    front: Front,
    topology: String,
    hosts: Hosts,
    /// Last: the others end before it.
    lab: Lab,
}

impl Cluster {
    async fn start(options: &Options) -> Fallible<Self> {
        let lab = Lab::open(Relaunch::program()?)?;
        let homes = NAMES.map(|name| lab.carbon(&format!("{name}-home"), CarbonConfig::new(0, "4.2.0")));
        let homes: Vec<CarbonHome> = homes.into_iter().collect::<Result<_, _>>()?;
        let server = |(place, home): (usize, &CarbonHome)| Server {
            name: NAMES[place],
            port: home.port(),
            kind: if place == 0 || options.active_active { MemberKind::Primary } else { MemberKind::Backup },
            held_out: place == 2,
        };
        let servers: Vec<Server> = homes.iter().enumerate().map(server).collect();
        let front = Front::start(&lab, options.balancing, &servers).await?;
        let hosts = Hosts::start(&lab, &NAMES, options.ssh)?;
        let topology = topology(options, &front, &hosts, &homes);
        let cluster = Self { homes, front, topology, hosts, lab };
        for (place, home) in cluster.homes[..2].iter().enumerate() {
            let script = home.path().join("bin/wso2server.sh");
            cluster.hosts.script(place, &script, "start").status().await?;
        }
        let until = Instant::now() + Duration::from_secs(30);
        let passive = SocketAddr::from(([127, 0, 0, 1], cluster.homes[1].port()));
        for address in cluster.front.addresses().into_iter().chain([passive]) {
            while get(address, "/services/Version").await.is_none() {
                if Instant::now() >= until {
                    return Err("no server answered in 30 s".into());
                }
                sleep(Duration::from_millis(50)).await;
            }
        }
        Ok(cluster)
    }
}

fn topology(options: &Options, front: &Front, hosts: &Hosts, homes: &[CarbonHome]) -> String {
    let serve = if options.active_active { 2 } else { 1 };
    let balancers = front.to_toml();
    let mut text = format!(
        "[cluster]\nname = \"demo\"\n[policy]\npeak_load = 1000\ndrain_deadline = \"20s\"\nready_deadline = \"30s\"\n\
         stop_deadline = \"30s\"\nsoak = \"1s\"\nlease_ttl = \"4s\"\nlost_after = \"1s\"\n\
         [pool]\nname = \"esb\"\nserve = {serve}\n{balancers}"
    );
    for (place, home) in homes.iter().enumerate() {
        text.push_str(&node_toml(NAMES[place], place == 2, &hosts.settings(place), home));
    }
    text
}
