//! A site is lost under load, another replaces it inside the window that was computed beforehand, and consumers are led back
//! without a request or a write lost.
//!
//! ```text
//! cargo run --release --example lose_site -- [--hot] [--wake] [--requests N] [--out FOLDER]
//! ```
//!
//! Two sites of two servers, a balancer and a copy of the database each; an embedded balancer in front leads consumers to one of them.
//! South is warm: its servers are stopped; with `--hot` they run. First a drill measures how long it takes to bring south. Then
//! north is lost with all that is in it, and south replaces it: the window that the plan declares is printed beside what was used,
//! and the orders that were lost, which north had answered and not passed on. With `--wake` north comes back by itself meanwhile,
//! with its servers and its balancer: nobody may be answered by it any more, and its database must take nothing. At last consumers
//! are led back to north: they wait while the databases change over, and not one request fails.
//!
//! Exit codes: 0 that was so; 1 otherwise; 2 the demonstration could not be set up.

mod cluster;
mod database;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use examples::{Fallible, Show, demonstration, page};
use ha_backends::migrate::Session;
use ha_backends::sqlite::SqliteStore;
use ha_core::backend::ReplicaRole;
use ha_core::engine::Engine;
use ha_core::procedure::{DrillRequest, FailBackRequest, SiteLossRequest};
use ha_core::record::End;
use ha_core::report::RunReport;
use ha_lab::fake_carbon::{self, Answered as Reply, Asked, Business};
use ha_lab::load::{Class, Load, ledger_begins};
use serde_json::json;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

use cluster::{Answered, Cluster};

const RATE: u32 = 200;

#[derive(Clone, Debug)]
struct Options {
    hot: bool,
    wake: bool,
    requests: u64,
    out: PathBuf,
}

/// The connection of the one server that this process is.
static SESSION: Mutex<Option<Box<dyn Session>>> = Mutex::const_new(None);
static ORDERS: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);

fn main() -> ExitCode {
    fake_carbon::run_if_asked_with(Business::new(serve));
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    demonstration("lose_site", async { demonstrate(&parse(&arguments)?).await })
}

fn parse(arguments: &[String]) -> Fallible<Options> {
    let mut options = Options { hot: false, wake: false, requests: 0, out: "target/lose_site".into() };
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--hot" => options.hot = true,
            "--wake" => options.wake = true,
            "--requests" => {
                let number = words.next().and_then(|number| number.parse().ok());
                options.requests = number.ok_or("--requests needs a number")?;
            }
            "--out" => options.out = words.next().ok_or("--out needs a folder")?.into(),
            other => {
                let known = "--hot, --wake, --requests N, --out FOLDER";
                return Err(format!("unknown option {other:?}; known: {known}").into());
            }
        }
    }
    Ok(options)
}

/// Answers an order once its site's database has it, with the epoch with which the site takes writes.
async fn serve(asked: Asked) -> Option<Reply> {
    if asked.path != "/orders" {
        return None;
    }
    Some(match order(&asked).await {
        Ok((site, epoch, id)) => (200, format!("orders {site} {epoch} {id}")),
        Err(error) => (500, format!("orders failed: {error}")),
    })
}

async fn order(asked: &Asked) -> Fallible<(String, u64, String)> {
    let url = std::fs::read_to_string(asked.home.join("database"))?;
    let site = std::fs::read_to_string(asked.home.join("site"))?;
    let number = ORDERS.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let id = format!("{}-{number}", std::process::id());
    let mut held = SESSION.lock().await;
    let mut session = match held.take() {
        Some(session) => session,
        None => database::open(&url).await?,
    };
    let epoch = database::write_order(&mut *session, &id).await?;
    *held = Some(session);
    // What is not noted here was not answered for.
    let line = format!("{} {epoch} {site} {id}\n", database::now_ms());
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(asked.home.join("answered"))?;
    std::io::Write::write_all(&mut file, line.as_bytes())?;
    Ok((site, epoch, id))
}

async fn demonstrate(options: &Options) -> Fallible<bool> {
    let show = Show::new();
    show.line("starting two sites, and the front that leads consumers to north");
    let mut cluster = Cluster::start(options.hot).await?;
    let topology = cluster.topology()?;
    let store = Arc::new(SqliteStore::open(cluster.folder().join("journal.db"))?);
    let registry = database::registry(&cluster.copies, &cluster.pids());
    let engine = registry.connect(&topology)?.engine(topology).with_store(store.clone(), store).build()?;
    show.line("south is drilled: nobody is led there");
    let drill = show.play(&engine, None, "drill-1", &DrillRequest::of("south")).await?;
    show.line(&format!("load: {RATE} requests/s, each an order that a database takes"));
    let load = Load::new(cluster.address(), RATE).with_class(Class::new("/orders", "orders ", 1)).start()?;
    sleep(Duration::from_secs(2)).await;

    show.line("north is lost, with its servers, its balancer and its database");
    let (lost_at, lost_after) = (Instant::now(), load.elapsed());
    ledger_begins("site-loss-1");
    cluster.lose_north()?;
    sleep(Duration::from_secs(1)).await;
    let request = SiteLossRequest::of("north");
    let began = Instant::now();
    let loss = show.play(&engine, Some(&load), "site-loss-1", &request).await?;
    let (used, served_after, window) = (began.elapsed(), load.elapsed(), declared(&loss));
    let dark = lost_at.elapsed();
    if options.wake {
        show.line("north comes back by itself, with its servers and its balancer");
        cluster.wake_north().await?;
    }
    sleep(Duration::from_secs(2)).await;
    let before_back = load.snapshot();
    let refused = database_of(&engine, &cluster, "north").await;
    if !options.wake {
        cluster.wake_north().await?;
        sleep(Duration::from_secs(1)).await;
    }
    show.line("consumers are led back to north");
    let back = FailBackRequest::to("north").with_discarded_by("the demonstration");
    let back = show.play(&engine, Some(&load), "fail-back-1", &back).await?;
    sleep(Duration::from_secs(1)).await;
    while load.snapshot().sent < options.requests {
        sleep(Duration::from_millis(100)).await;
    }
    let after_back = load.snapshot();
    let report = load.stop().await;
    show.line("");
    show.counts(&report, 0);
    let answered = cluster.answered()?;
    let kept: BTreeSet<String> = cluster.copies.north.orders().await?.into_iter().collect();
    let missing: Vec<&Answered> = answered.iter().filter(|order| !kept.contains(&order.id)).collect();
    let (lost, later): (Vec<&Answered>, Vec<&Answered>) = missing.into_iter().partition(|order| order.epoch == 1);
    let at_once = overlaps(&answered);
    let failed_back = after_back.failures() - before_back.failures();
    println!("north lost         {:>9} ms after the load began", lost_after.as_millis());
    println!(
        "served by south    {:>9} ms after the load began, {} ms after the loss",
        served_after.as_millis(),
        dark.as_millis()
    );
    println!("window declared    {:>9} ms from the run's begin on", window.as_millis());
    println!("window used        {:>9} ms", used.as_millis());
    println!("orders lost        {:>9} that north had answered and not passed on", lost.len());
    println!("orders lost later  {:>9}", later.len());
    println!("answered at once   {:>9} by two sites", at_once);
    println!("way back           {failed_back:>9} requests failed of {}", after_back.sent - before_back.sent);
    println!(
        "consumers waited   {:>9} ms at most, of {} ms declared",
        report.max_us / 1000,
        declared(&back).as_millis()
    );
    let outside = |at: u64| {
        let at = Duration::from_millis(at);
        at + Duration::from_millis(200) < lost_after || at > served_after + Duration::from_millis(200)
    };
    let failures = [report.first_failure_ms, report.last_failure_ms];
    let runs = [("drill", &drill), ("site loss", &loss), ("fail back", &back)];
    let ended = runs.iter().all(|(_, run)| run.end == End::AllNew && run.open.is_empty());
    let told = json!({ "drill": drill, "site_loss": loss, "fail_back": back, "load": report });
    let pages = [("drill", "/drill"), ("report", "/site_loss"), ("fail_back", "/fail_back")];
    page::write(&options.out, &show, &told, &pages, &[("front", &report)])?;
    let in_window = !failures.iter().flatten().any(|at| outside(*at));
    Ok(ended && in_window && used <= window && later.is_empty() && at_once == 0 && failed_back == 0 && refused)
}

/// Tells whether the database of a site takes no writes.
async fn database_of(engine: &Engine, cluster: &Cluster, site: &str) -> bool {
    let registry = database::registry(&cluster.copies, &cluster.pids());
    let Ok(backends) = registry.connect(engine.topology()) else { return false };
    for (name, replica) in backends.replicas {
        if name == site {
            return replica.replica().await.map_or(true, |seen| seen.role != ReplicaRole::Primary);
        }
    }
    false
}

/// Counts the orders that were answered with an epoch after one with a higher epoch was.
fn overlaps(answered: &[Answered]) -> usize {
    let mut by_time: Vec<&Answered> = answered.iter().collect();
    by_time.sort_by_key(|order| order.at_ms);
    let mut highest = (0, String::new());
    let mut late = 0;
    for order in by_time {
        if order.epoch < highest.0 || (order.epoch == highest.0 && order.site != highest.1) {
            late += 1;
        } else {
            highest = (order.epoch, order.site.clone());
        }
    }
    late
}

/// Returns the longest window that a plan declared for its consumers.
fn declared(report: &RunReport) -> Duration {
    Duration::from_millis(report.windows.iter().map(|window| window.at_most_ms).max().unwrap_or_default())
}
