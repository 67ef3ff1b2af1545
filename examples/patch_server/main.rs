//! The main job: a server patch goes through a running two-node cluster under load, without losing a request.
//!
//! ```text
//! cargo run --release --example patch_server -- [--ssh] [--haproxy] [--pair] [--reload] [--pools [--leave-out [--anyway]]] [--queue] \
//!     [--naive] [--by-hand] [--fail-test] [--kill-controller] [--kill active|passive|spare|balancer|host|link [--at STEP]] [--no-spare] [--rounds N] \
//!     [--requests N] [--out FOLDER]
//! ```
//!
//! With `--pools` each server answers on a second port, behind a backend and under a load of its own: nothing may fail in either
//! pool. With `--leave-out` the topology does not say so, and the plan is refused; with `--anyway` too it is run all
//! the same, and the second pool loses requests.
//!
//! With `--queue` both members serve with a `maxconn` each, and more clients than slots never stop: a queue stands in front of the
//! pool all through.
//!
//! With `--kill` that server is killed with -9 when so many steps have begun (`--at`, by default a random number): the change goes on
//! with what is left, and ends all new or all old with nothing lent. `--kill-active` is `--kill active`; with `--ssh` it is a random
//! one of four hosts, with all that runs on it; with `--ssh --kill link` such a host loses its network link alone, its server goes on
//! unreachable, and when the run has ended the link is healed: the host must answer no consumer. `--kill balancer` kills one HAProxy of a pair: clients that cannot connect to it go to
//! the other, and the change goes on over that.
//!
//! With `--by-hand` nothing is done to the cluster: it runs behind an HAProxy and under load, with a `cluster.toml` and a `patch.toml`,
//! for `hactl` in another terminal, until Enter is pressed or the input ends.
//!
//! With `--rounds` so many patches follow each other, each planned, proven and run by a controller of its own.
//!
//! Balancer, servers and load live in this process and its servers; the controller is a child process, so that killing it
//! leaves the cluster serving. Exit codes: 0 no request failed and the run ended as it should, 1 a request failed or the
//! run ended otherwise, 2 the demonstration itself could not be set up.

mod by_hand;
mod cluster;
mod meter;
mod over_ssh;
mod report;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use examples::{Controller, Fallible, Followed, Resume, Show, as_controller, control, demonstration};
use ha_core::procedure::PatchRequest;
use ha_lab::fake_carbon;
use ha_lab::load::{Class, Load, LoadReport, RunningLoad, Saturate, double_executions};
use tokio::time::sleep;

use cluster::Cluster;

/// What was asked for on the command line.
#[derive(Clone, Debug)]
struct Options {
    ssh: bool,
    haproxy: bool,
    pair: bool,
    reload: bool,
    pools: bool,
    leave_out: bool,
    anyway: bool,
    queue: bool,
    naive: bool,
    by_hand: bool,
    fail_test: bool,
    kill_controller: bool,
    kill: Option<Victim>,
    kill_at: u32,
    no_spare: bool,
    rounds: u32,
    requests: u64,
    out: PathBuf,
}

const RATE: u32 = 500;
/// Of the second pool.
const CONSOLE_RATE: u32 = 100;

fn main() -> ExitCode {
    fake_carbon::run_if_asked();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [role, folder, from, to] = &arguments[..]
        && role == "controller"
    {
        return as_controller(patch(folder, from, to));
    }
    demonstration("patch_server", async { demonstrate(parse(&arguments)?).await })
}

/// What the controller does.
async fn patch(folder: &str, from: &str, to: &str) -> Fallible<()> {
    let argv = |verb: &str| vec!["bin/patch.sh".into(), verb.into()];
    let request = PatchRequest::new(to, argv("apply"), argv("restore")).with_beside(from);
    control(folder.as_ref(), &format!("patch-{to}"), &request, Resume::Forward).await
}

fn parse(arguments: &[String]) -> Fallible<Options> {
    let mut options = Options {
        ssh: false,
        haproxy: false,
        pair: false,
        reload: false,
        pools: false,
        leave_out: false,
        anyway: false,
        queue: false,
        naive: false,
        by_hand: false,
        fail_test: false,
        kill_controller: false,
        kill: None,
        kill_at: fastrand::u32(1..=LAST_STEP),
        no_spare: false,
        rounds: 1,
        requests: 10_000,
        out: "target/patch_server".into(),
    };
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--ssh" => options.ssh = true,
            "--haproxy" => options.haproxy = true,
            "--pair" => (options.haproxy, options.pair) = (true, true),
            "--reload" => (options.haproxy, options.reload) = (true, true),
            "--pools" => (options.haproxy, options.pools) = (true, true),
            "--leave-out" => (options.haproxy, options.pools, options.leave_out) = (true, true, true),
            "--anyway" => options.anyway = true,
            "--queue" => (options.haproxy, options.queue) = (true, true),
            "--naive" => options.naive = true,
            "--by-hand" => (options.haproxy, options.by_hand) = (true, true),
            "--fail-test" => options.fail_test = true,
            "--kill-controller" => options.kill_controller = true,
            "--kill-active" => options.kill = Some(Victim::Active),
            "--kill" => {
                let victim = victim(words.next().map(String::as_str))?;
                let of_pair = victim == Victim::Balancer;
                (options.haproxy, options.pair) = (options.haproxy || of_pair, options.pair || of_pair);
                options.kill = Some(victim);
            }
            "--at" => {
                let number = words.next().and_then(|number| number.parse().ok()).filter(|step| *step > 0);
                options.kill_at = number.ok_or("--at needs a number of steps above 0")?;
            }
            "--no-spare" => options.no_spare = true,
            "--rounds" => {
                let number = words.next().and_then(|number| number.parse().ok()).filter(|rounds| *rounds > 0);
                options.rounds = number.ok_or("--rounds needs a number above 0")?;
            }
            "--requests" => {
                let number = words.next().and_then(|number| number.parse().ok());
                options.requests = number.ok_or("--requests needs a number")?;
            }
            "--out" => options.out = words.next().ok_or("--out needs a folder")?.into(),
            other => {
                let known = "--ssh, --haproxy, --pair, --reload, --pools, --leave-out, --anyway, --queue, --naive, --by-hand, --fail-test, --kill-controller, --kill active|passive|spare|balancer|host|link, --at STEP, --kill-active, --no-spare, --rounds N, --requests N, \
                             --out FOLDER";
                return Err(format!("unknown option {other:?}; known: {known}").into());
            }
        }
    }
    let does = options.ssh || options.naive || options.kill.is_some() || options.kill_controller;
    if options.by_hand && does {
        return Err(
            "--by-hand does nothing to the cluster: leave out --ssh, --naive, --kill and --kill-controller".into()
        );
    }
    if options.ssh && options.kill == Some(Victim::Balancer) {
        return Err("--kill balancer is for a pair on this machine: leave out --ssh".into());
    }
    Ok(options)
}

async fn demonstrate(options: Options) -> Fallible<bool> {
    let show = Show::new();
    if options.ssh && options.kill.is_some() {
        return over_ssh::lose_host(&options, &show).await;
    }
    if options.ssh {
        return over_ssh::run(&options, &show).await;
    }
    if matches!(options.kill, Some(Victim::Host | Victim::Link)) {
        return Err("--kill host and --kill link need --ssh: here all servers share one host".into());
    }
    show.line("starting the active, the passive and the spare server, and the balancer in front");
    let cluster = Cluster::start(&options).await?;
    let [first, others @ ..] = &cluster.addresses()[..] else { return Err("there is no balancer".into()) };
    let load =
        if options.queue { queueing_load(*first, others, &show) } else { open_load(&options, *first, others, &show) }?;
    let console = if options.pools { Some(console_load(*first, others, &show)?) } else { None };
    sleep(Duration::from_secs(2)).await;
    let mut outage = None;
    let run = if options.naive {
        naive(&cluster, &show, &load).await?;
        serde_json::Value::Null
    } else if options.by_hand {
        by_hand::run(&cluster, &show, &load).await?;
        serde_json::Value::Null
    } else {
        rounds(&cluster, &options, &show, &load, &mut outage).await?
    };
    while !options.by_hand && load.snapshot().sent < options.requests {
        show.tick(&load.snapshot());
        sleep(Duration::from_millis(200)).await;
    }
    let report = load.stop().await;
    let console = match console {
        Some(load) => Some(load.stop().await),
        None => None,
    };
    let doubles = double_executions(&cluster.request_logs())?;
    let pools: Vec<(&str, &LoadReport)> = match &console {
        Some(console) => vec![("esb", &report), ("mgmt", console)],
        None => vec![("esb", &report)],
    };
    report::write(&show, &options.out, &cluster, &run, &pools, doubles)?;
    if let Some(outage) = &outage {
        report::outage(outage, &report);
    }
    Ok(match &outage {
        Some(outage) => survived(&cluster, outage, &run, &report),
        None if options.kill.is_some() => {
            return Err("the run ended before the step at which a server was to be killed".into());
        }
        None => verdict(&options, &cluster, &run, &pools),
    })
}

/// Tells whether all is as it should be: no request failed, and every member has the one release.
fn verdict(options: &Options, cluster: &Cluster, run: &serde_json::Value, pools: &[(&str, &LoadReport)]) -> bool {
    let failures: u64 = pools.iter().map(|(_, report)| report.counts.failures()).sum();
    if options.leave_out && !options.anyway {
        return failures == 0 && run["refused"].as_str().is_some_and(|message| message.contains("backend mgmt"));
    }
    if options.by_hand {
        return failures == 0;
    }
    if options.no_spare {
        return failures == 0 && run["refused"].is_string();
    }
    let end = run["end"].as_str().unwrap_or("");
    let expected = if options.fail_test { "all-old" } else { "all-new" };
    let release = cluster::release(if end == "all-old" { 0 } else { options.rounds });
    let whole = cluster.members().iter().all(|member| member.release() == release);
    let ended = options.naive || end == expected || (options.kill_controller && end == "all-old");
    failures == 0 && ended && whole
}

fn open_load(options: &Options, first: SocketAddr, others: &[SocketAddr], show: &Show) -> Fallible<RunningLoad> {
    show.line(&format!("load: {RATE} requests/s, open loop, keep-alive, one in 200 takes 2 s"));
    let mut load = others.iter().fold(Load::new(first, RATE), |load, address| load.with_address(*address));
    if options.kill == Some(Victim::Balancer) {
        show.line("load: who cannot connect to a balancer goes to the other");
        load = load.with_failover();
    }
    let load =
        load.with_class(Class::new("/orders", "orders ", 193)).with_class(Class::new("/orders?ms=50", "orders ", 6));
    Ok(load.with_class(Class::new("/orders?ms=2000", "orders ", 1)).start()?)
}

/// Three times as many clients as there are slots, none of which is ever idle.
fn queueing_load(first: SocketAddr, others: &[SocketAddr], show: &Show) -> Fallible<RunningLoad> {
    let clients = 3 * 2 * cluster::SLOTS;
    show.line(&format!("load: {clients} clients that are never idle, on 2 servers with maxconn {}", cluster::SLOTS));
    let load =
        others.iter().fold(Saturate::new(first), |load, address| load.with_address(*address)).with_clients(clients);
    let load = load.with_class(Class::new("/orders?ms=10", "orders ", 49));
    Ok(load.with_class(Class::new("/orders?ms=200", "orders ", 1)).start()?)
}

/// Starts the load on the second pool.
fn console_load(first: SocketAddr, others: &[SocketAddr], show: &Show) -> Fallible<RunningLoad> {
    show.line(&format!("load: {CONSOLE_RATE} requests/s on the console of each server, a pool of its own"));
    let load = others.iter().fold(Load::new(first, CONSOLE_RATE), |load, address| load.with_address(*address));
    let (short, long) = (Class::new("/mgmt", "mgmt ", 49), Class::new("/mgmt?ms=1000", "mgmt ", 1));
    Ok(load.with_class(short).with_class(long).start()?)
}

/// Which server is killed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Victim {
    Active,
    Passive,
    Spare,
    /// One HAProxy of a pair.
    Balancer,
    /// A host of four, with all that runs on it; over ssh.
    Host,
    /// The network link of a host of four, on which all goes on; over ssh.
    Link,
}

fn victim(word: Option<&str>) -> Fallible<Victim> {
    match word {
        Some("active") => Ok(Victim::Active),
        Some("passive") => Ok(Victim::Passive),
        Some("spare") => Ok(Victim::Spare),
        Some("balancer") => Ok(Victim::Balancer),
        Some("host") => Ok(Victim::Host),
        Some("link") => Ok(Victim::Link),
        other => {
            Err(format!("--kill {other:?}: give active, passive, spare, balancer or, with --ssh, host or link").into())
        }
    }
}

/// Tells whether the loss of a server was survived: what failed failed before the balancer had seen the loss, and the change went on
/// to one of its ends, with nothing lent and one release on the members that are left.
fn survived(cluster: &Cluster, outage: &Outage, run: &serde_json::Value, report: &LoadReport) -> bool {
    let outside = |at: &u64| {
        let at = Duration::from_millis(*at);
        at + CLOCKS < outage.killed || at > outage.detected + CLOCKS
    };
    let failures = [report.first_failure_ms, report.last_failure_ms];
    let repaid = run["open"].as_array().is_some_and(Vec::is_empty);
    let end = run["end"].as_str().unwrap_or("");
    let release = if end == "all-new" { cluster::NEW } else { cluster::OLD };
    let lost =
        |place: usize| (outage.victim, place) == (Victim::Active, 0) || (outage.victim, place) == (Victim::Passive, 1);
    let mut living = cluster.members().iter().enumerate().filter(|(place, _)| !lost(*place));
    let whole = living.all(|(_, member)| member.release() == release);
    !failures.iter().flatten().any(outside) && matches!(end, "all-new" | "all-old") && repaid && whole
}

/// How far the clocks of load and controller may be apart, with an answer under way.
pub(crate) const CLOCKS: Duration = Duration::from_millis(100);

/// The loss of a server, on the clock of the load.
pub(crate) struct Outage {
    pub(crate) victim: Victim,
    pub(crate) killed: Duration,
    pub(crate) detected: Duration,
}

/// Kills a server with -9, wherever the patch is, and waits until the balancer gives it nothing any more.
async fn kill(cluster: &Cluster, load: &RunningLoad, victim: Victim) -> Fallible<Outage> {
    // It may be stopped just then: it is killed as soon as it runs.
    let until = load.elapsed() + Duration::from_secs(10);
    while !cluster.kill(victim)? {
        if load.elapsed() >= until {
            return Err(
                "the server did not run any more when it was to be killed: give an earlier step with --at".into()
            );
        }
        sleep(Duration::from_millis(5)).await;
    }
    let killed = load.elapsed();
    while cluster.may_get_requests(victim).await? {
        if load.elapsed() >= killed + Duration::from_secs(10) {
            return Err("the balancer has not seen the loss in 10 s".into());
        }
        sleep(Duration::from_millis(5)).await;
    }
    Ok(Outage { victim, killed, detected: load.elapsed() })
}

/// Patches and restarts the servers one after the other, as scripts do that know nothing of traffic.
async fn naive(cluster: &Cluster, show: &Show, load: &RunningLoad) -> Fallible<()> {
    for member in cluster.members() {
        for (script, verb) in [("patch.sh", "apply"), ("wso2server.sh", "restart")] {
            show.line(&format!("naive: {script} {verb} in {}", member.path().display()));
            cluster.script(member, script, verb).await?;
            show.tick(&load.snapshot());
        }
        sleep(Duration::from_secs(3)).await;
    }
    Ok(())
}

/// Patches so often as was asked for; returns the report of the last run, or of the first that did not end all new.
async fn rounds(
    cluster: &Cluster,
    options: &Options,
    show: &Show,
    load: &RunningLoad,
    outage: &mut Option<Outage>,
) -> Fallible<serde_json::Value> {
    let mut round = 1;
    loop {
        let releases = (cluster::release(round - 1), cluster::release(round));
        let run = controlled(cluster, &releases, options, show, load, outage).await?;
        if options.rounds > 1 {
            show.line(&format!(
                "round {round} of {}: {} to {}: {}",
                options.rounds, releases.0, releases.1, run["end"]
            ));
        }
        if round == options.rounds || run["end"] != "all-new" {
            return Ok(run);
        }
        round += 1;
    }
}

/// Lets the controller patch the cluster; kills and restarts it in mid-run where that was asked for.
async fn controlled(
    cluster: &Cluster,
    (from, to): &(String, String),
    options: &Options,
    show: &Show,
    load: &RunningLoad,
    outage: &mut Option<Outage>,
) -> Fallible<serde_json::Value> {
    let mut stop_at = match options {
        Options { reload: true, .. } => Some(Moment::Drain),
        Options { kill: Some(_), .. } => Some(Moment::Step(options.kill_at)),
        Options { kill_controller: true, .. } => Some(Moment::Step(KILL_AFTER_STEPS)),
        _ => None,
    };
    let mut controller = controller_of(cluster.folder(), from, to)?;
    loop {
        let (mut steps, stop_at) = (0, stop_at.take());
        let has_come = |told: &serde_json::Value| {
            steps += u32::from(told["event"] == "step-started");
            stop_at.is_some_and(|moment: Moment| moment.has_come(steps, told))
        };
        match controller.follow(show, load, has_come).await? {
            Followed::Ended(report) => return Ok(report),
            Followed::Reached if options.reload => {
                tokio::task::block_in_place(|| cluster.reload_first())?;
                show.line("lb1 was reloaded while the active server drains: it has forgotten the drain");
            }
            Followed::Reached if let Some(victim) = options.kill => {
                let steps = options.kill_at;
                show.line(&format!("the {victim:?} server is killed with -9 in step {steps}").to_lowercase());
                *outage = Some(kill(cluster, load, victim).await?);
            }
            Followed::Reached => {
                controller.kill().await?;
                controller = controller_of(cluster.folder(), from, to)?;
                show.line("the controller was killed with -9; another one goes on from the journal");
            }
        }
    }
}

/// When something is done to the cluster or its controller.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// When so many steps have begun.
    Step(u32),
    /// While the active server drains.
    Drain,
}

impl Moment {
    fn has_come(self, steps: u32, told: &serde_json::Value) -> bool {
        match self {
            Self::Step(wanted) => steps >= wanted,
            Self::Drain => told["action"] == "take out" && told["target"] == "esb1" && told["event"] == "step-started",
        }
    }
}

/// In the passive node's patch: its server is stopped, traffic is on the active one.
const KILL_AFTER_STEPS: u32 = 6;
/// Until this step of a patch every server runs once more.
const LAST_STEP: u32 = 15;

/// Starts a controller that patches the cluster in a folder, or goes on with what another one began there.
fn controller_of(folder: &Path, from: &str, to: &str) -> Fallible<Controller> {
    Controller::start(&["controller", folder.to_str().ok_or("the lab's folder is no text")?, from, to])
}
