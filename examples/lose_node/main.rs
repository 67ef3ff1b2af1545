//! A node is lost at rest, under load: the monitor sees it, the outage procedure secures the cluster, and the node comes back.
//!
//! ```text
//! cargo run --release --example lose_node -- [--active-active] [--haproxy] [--stay-down] [--requests N] [--out FOLDER]
//! ```
//!
//! Active/passive by default: the active server of two is killed with -9. With `--active-active` both serve and one of them is killed.
//! The spare takes the lost member's place; then the server is brought back by the procedure for that, which retires the spare. Requests may fail only until the balancer has seen the loss.
//!
//! Exit codes: 0 that was so, and both procedures ended as they should; 1 otherwise; 2 the demonstration could not be set up.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{ExitCode, Stdio};
use std::sync::Arc;
use std::time::Duration;

use examples::cluster::{get, node_toml};
use examples::{Fallible, Front, Server, Show, demonstration, page};
use ha_backends::sqlite::SqliteStore;
use ha_core::backend::{Admin, Health, MemberRef};
use ha_core::engine::{Engine, MonitorEvent, MonitorPolicy, OnLoss};
use ha_core::procedure::{OutageRequest, RejoinRequest};
use ha_core::record::End;
use ha_core::state::MemberKind;
use ha_core::topology::{Name, Topology};
use ha_lab::Lab;
use ha_lab::fake_carbon::{self, CarbonConfig, CarbonHome, Relaunch};
use ha_lab::load::{Class, Load, RunningLoad};
use tokio::process::Command;
use tokio::time::{Instant, sleep};

const RATE: u32 = 500;
const NAMES: [&str; 3] = ["esb1", "esb2", "spare1"];
/// How far the clocks of load and balancer may be apart, with an answer under way.
const CLOCKS: Duration = Duration::from_millis(100);

#[derive(Clone, Debug)]
struct Options {
    active_active: bool,
    haproxy: bool,
    stay_down: bool,
    requests: u64,
    out: PathBuf,
}

fn main() -> ExitCode {
    fake_carbon::run_if_asked();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    demonstration("lose_node", async { demonstrate(&parse(&arguments)?).await })
}

fn parse(arguments: &[String]) -> Fallible<Options> {
    let mut options =
        Options { active_active: false, haproxy: false, stay_down: false, requests: 0, out: "target/lose_node".into() };
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--active-active" => options.active_active = true,
            "--haproxy" => options.haproxy = true,
            "--stay-down" => options.stay_down = true,
            "--requests" => {
                let number = words.next().and_then(|number| number.parse().ok());
                options.requests = number.ok_or("--requests needs a number")?;
            }
            "--out" => options.out = words.next().ok_or("--out needs a folder")?.into(),
            other => {
                let known = "--active-active, --haproxy, --stay-down, --requests N, --out FOLDER";
                return Err(format!("unknown option {other:?}; known: {known}").into());
            }
        }
    }
    Ok(options)
}

async fn demonstrate(options: &Options) -> Fallible<bool> {
    let show = Show::new();
    show.line("starting two members and a spare, and the balancer in front");
    let cluster = Cluster::start(options).await?;
    let topology = Topology::from_toml_str(&cluster.topology)?;
    let store = Arc::new(SqliteStore::open(cluster.lab.path().join("journal.db"))?);
    let engine = ha_backends::connect(&topology)?.engine(topology).with_store(store.clone(), store).build()?;
    show.line(&format!("load: {RATE} requests/s, open loop, keep-alive"));
    let load = Load::new(cluster.front.address(), RATE).with_class(Class::new("/orders", "orders ", 19));
    let load = load.with_class(Class::new("/orders?ms=50", "orders ", 1)).start()?;
    let mut monitor = engine.monitor(MonitorPolicy::default().with_on_loss(OnLoss::Run));
    sleep(Duration::from_secs(2)).await;

    show.line("esb1 is killed with -9");
    let (killed, killed_at) = (load.elapsed(), Instant::now());
    cluster.homes[0].kill()?;
    let seen = cluster.wait_until_held_back(&engine, &load).await?;
    let lost = loop {
        match monitor.next_event().await.ok_or("the monitor has ended")? {
            MonitorEvent::Proposed { act: true, domains, .. } => break domains,
            event => show.line(&format!("monitor: {event}")),
        }
    };
    let detected = killed_at.elapsed();
    show.line(&format!("monitor: {} is lost, {} ms after the kill", lost.join(", "), detected.as_millis()));
    let outage = show.play(&engine, Some(&load), "outage-1", &OutageRequest::of_all(lost)).await?;
    let secured = killed_at.elapsed();
    sleep(Duration::from_secs(1)).await;

    let mut ended = outage.end == End::AllNew && outage.open.is_empty() && cluster.homes[2].pid().is_some();
    let (back_from, mut back) = (load.elapsed(), None);
    if !options.stay_down {
        show.line("somebody has repaired esb1: it is brought back, tested before any balancer gives it anything");
        let rejoin = show.play(&engine, Some(&load), "rejoin-1", &RejoinRequest::of("esb1")).await?;
        monitor.take_back("esb1");
        ended &= rejoin.end == End::AllNew && rejoin.open.is_empty();
        back = Some(rejoin);
        ended &= cluster.homes[0].pid().is_some() && cluster.homes[2].pid().is_none();
    }
    sleep(Duration::from_secs(1)).await;
    while load.snapshot().sent < options.requests {
        sleep(Duration::from_millis(100)).await;
    }
    drop(monitor);
    let report = load.stop().await;
    show.line("");
    show.counts(&report, 0);
    let after = report.last_failure_ms.is_some_and(|last| Duration::from_millis(last) >= back_from);
    println!("killed             {:>9} ms after the load began", killed.as_millis());
    println!("balancer has seen  {:>9} ms later", seen.saturating_sub(killed).as_millis());
    println!("monitor has seen   {:>9} ms later", detected.as_millis());
    println!("secured            {:>9} ms later, the spare in its place", secured.as_millis());
    if let (Some(first), Some(last)) = (report.first_failure_ms, report.last_failure_ms) {
        println!("requests failed    {first:>9} ms to {last} ms after the load began");
    }
    let outside = |at: &u64| {
        let at = Duration::from_millis(*at);
        at + CLOCKS < killed || at > seen + CLOCKS
    };
    let failures = [report.first_failure_ms, report.last_failure_ms];
    let told = serde_json::json!({ "outage": outage, "rejoin": back, "load": report });
    page::write(&options.out, &show, &told, &[("report", "/outage"), ("rejoin", "/rejoin")], &[("esb", &report)])?;
    Ok(ended && !after && !failures.iter().flatten().any(outside))
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
            NAMES.iter().map(|name| lab.carbon(name, CarbonConfig::new(0, "4.2.0"))).collect::<Result<_, _>>()?;
        let server = |(place, home): (usize, &CarbonHome)| Server {
            name: NAMES[place],
            port: home.port(),
            kind: if place == 0 || options.active_active { MemberKind::Primary } else { MemberKind::Backup },
            held_out: place == 2,
        };
        let servers: Vec<Server> = homes.iter().enumerate().map(server).collect();
        let front = Front::start(&lab, options.haproxy, &servers).await?;
        let topology = topology(options, &front, &homes);
        let cluster = Self { lab, homes, front, topology };
        for place in [0, 1] {
            cluster.script(place, "start").await?;
        }
        let until = Instant::now() + Duration::from_secs(30);
        let passive = SocketAddr::from(([127, 0, 0, 1], cluster.homes[1].port()));
        for address in [cluster.front.address(), passive] {
            while get(address, "/services/Version").await.is_none() {
                if Instant::now() >= until {
                    return Err("no server answered in 30 s".into());
                }
                sleep(Duration::from_millis(50)).await;
            }
        }
        Ok(cluster)
    }

    async fn script(&self, place: usize, verb: &str) -> Fallible<()> {
        let mut command = Command::new(self.homes[place].path().join("bin/wso2server.sh"));
        command.arg(verb).stdin(Stdio::null()).status().await?;
        Ok(())
    }

    /// Waits until the balancer gives the killed server nothing any more; returns when, on the clock of the load.
    async fn wait_until_held_back(&self, engine: &Engine, load: &RunningLoad) -> Fallible<Duration> {
        let backends = ha_backends::connect(engine.topology())?;
        let (_, balancer) = backends.balancers.first().ok_or("there is no balancer")?;
        let until = Instant::now() + Duration::from_secs(10);
        loop {
            let member = balancer.member(&MemberRef::new(Name::new("esb")?, Name::new(NAMES[0])?)).await?;
            if member.health == Health::Down || member.admin != Admin::Ready {
                return Ok(load.elapsed());
            }
            if Instant::now() >= until {
                return Err("the balancer has not seen the loss in 10 s".into());
            }
            sleep(Duration::from_millis(5)).await;
        }
    }
}

fn topology(options: &Options, front: &Front, homes: &[CarbonHome]) -> String {
    let serve = if options.active_active { 2 } else { 1 };
    let balancer = front.settings();
    let mut text = format!(
        "[cluster]\nname = \"demo\"\n[policy]\npeak_load = 1000\ndrain_deadline = \"20s\"\nready_deadline = \"30s\"\n\
         stop_deadline = \"30s\"\nsoak = \"1s\"\nlease_ttl = \"4s\"\nlost_after = \"1s\"\n\
         [pool]\nname = \"esb\"\nserve = {serve}\n[[balancer]]\nname = \"lb1\"\n{balancer}"
    );
    for (place, home) in homes.iter().enumerate() {
        text.push_str(&node_toml(NAMES[place], place == 2, "backend = \"local\"\n", home));
    }
    text
}
