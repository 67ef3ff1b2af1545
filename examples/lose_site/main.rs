//! A site is lost under load, another replaces it inside the window that was computed beforehand, and consumers are led back
//! without a request or a write lost.
//!
//! ```text
//! cargo run --release --example lose_site -- [--real] [--hot] [--wake] [--requests N] [--out FOLDER]
//! ```
//!
//! Two sites of two servers, a balancer and a copy of the database each; a balancer in front leads consumers to one of them. South is
//! warm: its servers are stopped; with `--hot` they run. First a drill measures how long it takes to bring south. Then north is lost
//! with all that is in it, and south replaces it: the window that the plan declares is printed beside what was used, and the orders
//! that were lost, which north had answered and not passed on. Then north comes back by itself, with its servers, its balancer and its
//! database: nobody may be answered by it any more, and its database must take nothing. At last consumers are led back to north: they
//! wait while the databases change over, and not one request fails.
//!
//! With `--wake` north comes back as soon as it is fenced, in the middle of its replacement.
//!
//! By default the balancers are embedded ones, and the database two SQLite files. With `--real` each site is two machines with sshd
//! and networks of their own, with an HAProxy and a PostgreSQL (one follows the other by streaming replication); a fifth machine has
//! the HAProxy in front, and the first machine of north brings the files of the services to the other three by rsync. All of it is
//! driven by what `ha_backends::connect` makes of the cluster's file; the fence is a script that shuts the front's way to the site and
//! the site's database. It needs root, HAProxy, OpenSSH, rsync, PostgreSQL and nftables, and says what is missing.
//!
//! With `--real --wake` north does not die: its links are cut while it lives, somebody inside it goes on writing into its database, and
//! its links come back while south replaces it, are cut again, and come back again.
//!
//! Exit codes: 0 that was so; 1 otherwise; 2 the demonstration could not be set up.

mod database;
mod files;
mod judge;
mod local;
mod real;
mod sites;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use examples::{Fallible, Show, demonstration};
use ha_backends::migrate::Session;
use ha_backends::sqlite::SqliteStore;
use ha_core::procedure::{DrillRequest, FailBackRequest, SiteLossRequest};
use ha_core::topology::Topology;
use ha_lab::fake_carbon::{self, Answered as Reply, Asked, Business};
use ha_lab::load::{Class, Load, RunningLoad, Snapshot, ledger_begins};
use tokio::sync::{Mutex, oneshot};
use tokio::time::{Instant, sleep};

use database::now_ms;
use judge::Seen;
use local::Local;
use real::Real;
use sites::{TwoSites, answered};

const RATE: u32 = 200;
/// How long after the loss a person has seen it and asks for the other site.
const DECIDED_AFTER: Duration = Duration::from_secs(1);
/// How long nobody may be answered before the demonstration gives up.
const SILENCE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(20);

#[derive(Clone, Debug)]
struct Options {
    real: bool,
    hot: bool,
    wake: bool,
    requests: u64,
    out: PathBuf,
}

/// The connection of the one server that this process is.
static SESSION: Mutex<Option<Box<dyn Session>>> = Mutex::const_new(None);
static BEGAN: LazyLock<u64> = LazyLock::new(now_ms);
static ORDERS: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);

fn main() -> ExitCode {
    fake_carbon::run_if_asked_with(Business::new(serve));
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    demonstration("lose_site", async { demonstrate(&parse(&arguments)?).await })
}

fn parse(arguments: &[String]) -> Fallible<Options> {
    let mut options = Options { real: false, hot: false, wake: false, requests: 0, out: "target/lose_site".into() };
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--real" => options.real = true,
            "--hot" => options.hot = true,
            "--wake" => options.wake = true,
            "--requests" => {
                let number = words.next().and_then(|number| number.parse().ok());
                options.requests = number.ok_or("--requests needs a number")?;
            }
            "--out" => options.out = words.next().ok_or("--out needs a folder")?.into(),
            other => {
                let known = "--real, --hot, --wake, --requests N, --out FOLDER";
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
    // Two machines may give one number to their processes, and a machine that boots again the one that it gave before.
    let server = asked.home.file_name().unwrap_or_default().to_string_lossy();
    let id = format!("{server}-{}-{}-{number}", std::process::id(), *BEGAN);
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
    let mut sites: Box<dyn TwoSites> = match options.real {
        true => Box::new(Real::start(options.hot, options.wake).await?),
        false => Box::new(Local::start(options.hot, options.wake).await?),
    };
    let file = sites.folder().join("cluster.toml");
    std::fs::write(&file, sites.toml())?;
    let topology = Topology::from_toml_str(&std::fs::read_to_string(&file)?)?;
    let store = Arc::new(SqliteStore::open(sites.folder().join("journal.db"))?);
    let engine = sites.connect(&topology)?.engine(topology).with_store(store.clone(), store).build()?;
    show.line(&format!("load: {RATE} requests/s, each an order that a database takes"));
    let load = Load::new(sites.address(), RATE).with_class(Class::new("/orders", "orders ", 1)).start()?;
    let load = Arc::new(load);
    let (stop, stopped) = oneshot::channel();
    let seconds = tokio::spawn(each_second(load.clone(), stopped));
    until_answered(&load, u64::from(RATE)).await?;
    show.line("south is drilled: nobody is led there");
    let before_drill = load.snapshot();
    let drill = show.play(&engine, Some(&load), "drill-1", &DrillRequest::of("south")).await?;
    let around_drill = [before_drill, load.snapshot()];
    let mut spread: Vec<Duration> = sites.share(2).await?.into_iter().collect();

    let lost_after = load.elapsed();
    ledger_begins("site-loss-1");
    show.line(match (options.real, options.wake) {
        (true, true) => "north is cut off: it lives, and nobody reaches it",
        _ => "north is lost, with its servers, its balancer and its database",
    });
    sites.lose_north().await?;
    let lost_at_ms = now_ms();
    // Somebody has to see it, and to decide.
    sleep(DECIDED_AFTER).await;
    let (mut fenced_at_ms, mut promoting_at_ms, mut served_after) = (0, 0, Duration::ZERO);
    let request = SiteLossRequest::of("north");
    let loss = show.play_with(&engine, Some(&load), "site-loss-1", &request, async |event| {
        match (event["event"].as_str(), event["action"].as_str()) {
            (Some("step-ended"), Some("fence")) => fenced_at_ms = now_ms(),
            (Some("step-started"), Some("promote")) => promoting_at_ms = now_ms(),
            (Some("step-ended"), Some("lead consumers")) => served_after = load.elapsed(),
            _ => {}
        }
        sites.meanwhile(event).await
    });
    let loss = loss.await?;
    let mut sets = sites.sets();
    let sets_of_south = sets.split_off(sets.len() / 2);
    show.line("north comes back by itself, with its servers, its balancer and its database");
    sites.wake_north().await?;
    let takes_a_write = sites.north_takes_a_write().await?;
    until_answered(&load, load.snapshot().ok + u64::from(RATE)).await?;
    let inside = sites.written_inside().await?;
    show.line("consumers are led back to north");
    let (before_back, back_began_at_ms) = (load.snapshot(), now_ms());
    let back = FailBackRequest::to("north").with_discarded_by("the demonstration");
    let back = show.play(&engine, Some(&load), "fail-back-1", &back).await?;
    until_answered(&load, options.requests.max(load.snapshot().ok + u64::from(RATE))).await?;
    let around_back = [before_back, load.snapshot()];
    spread.extend(sites.share(3).await?);
    drop(stop);
    let seconds = seconds.await?;
    let load = Arc::into_inner(load).ok_or("the load is watched on")?.stop().await;
    let seen = Seen {
        drill,
        loss,
        back,
        load,
        seconds,
        around_drill,
        around_back,
        lost_after,
        served_after,
        lost_at_ms,
        fenced_at_ms,
        promoting_at_ms,
        back_began_at_ms,
        answered: answered(sites.homes())?,
        kept: sites.orders_in_north().await?.into_iter().collect(),
        takes_a_write,
        inside,
        insisted: options.real && options.wake,
        spread,
        sets_of_south,
    };
    seen.judge(&options.out, &show)
}

/// Counts what consumers have got after each second, until the other end of `stopped` is dropped.
async fn each_second(load: Arc<RunningLoad>, mut stopped: oneshot::Receiver<()>) -> Vec<Snapshot> {
    let (mut seconds, mut tick) = (Vec::new(), tokio::time::interval(Duration::from_secs(1)));
    tick.tick().await;
    loop {
        tokio::select! {
            _ = tick.tick() => seconds.push(load.snapshot()),
            _ = &mut stopped => return seconds,
        }
    }
}

/// Waits until so many right answers are there.
async fn until_answered(load: &RunningLoad, answers: u64) -> Fallible<()> {
    let (mut last, mut until) = (load.snapshot().ok, Instant::now() + SILENCE);
    while load.snapshot().ok < answers {
        if load.snapshot().ok > last {
            (last, until) = (load.snapshot().ok, Instant::now() + SILENCE);
        }
        if Instant::now() >= until {
            return Err(format!("no request was answered for {SILENCE:?}: {:?}", load.snapshot().failed).into());
        }
        sleep(LOOK).await;
    }
    Ok(())
}
