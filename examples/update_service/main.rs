//! A set of services is updated on a running cluster under load: deployed and tested on a node that stands by, brought to the
//! others over the file sharing one after the other, each out of traffic and tested before it serves.
//!
//! ```text
//! cargo run --release --example update_service -- [--ssh] [--haproxy] [--rsync] [--literal] [--fail-test] \
//!     [--kill-controller] [--rounds N] [--requests N] [--out FOLDER]
//! ```
//!
//! The file sharing is that of this machine, which needs nothing; with `--rsync` rsync, started every second on each node;
//! with `--ssh` each node is a host of its own, and rsync goes over ssh. Every answer carries the set that it came from.
//!
//! With `--literal` the bullets of the published procedure are followed to the letter, and what breaks is counted. With
//! `--fail-test` the set fails its test on the last node that serves. With `--kill-controller` the controller is killed with -9
//! at a random moment of each round, and another one goes on.
//!
//! Exit codes: 0 no request failed, no server answered from a set before its test had passed there, nothing is held, and all
//! nodes have the set that the run's end says; 1 otherwise; 2 the demonstration itself could not be set up.

mod literal;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use examples::cluster::{Cluster, ClusterOptions, NAMES};
use examples::{Controller, Fallible, Followed, Show, control, tell_cost};
use ha_core::procedure::UpdateRequest;
use ha_core::state::Generation;
use ha_lab::fake_carbon;
use ha_lab::load::{Class, Load, LoadReport, RunningLoad, double_executions, untested_answers};
use serde_json::{Value, json};
use tokio::time::sleep;

/// What was asked for on the command line.
#[derive(Clone, Debug)]
struct Options {
    ssh: bool,
    haproxy: bool,
    rsync: bool,
    literal: bool,
    fail_test: bool,
    kill_controller: bool,
    rounds: u64,
    requests: u64,
    out: PathBuf,
}

const RATE: u32 = 300;

fn main() -> ExitCode {
    fake_carbon::run_if_asked();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [role, folder, number, digest] = &arguments[..]
        && role == "controller"
    {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let controlled =
            runtime.map_err(Into::into).and_then(|runtime| runtime.block_on(update(folder, number, digest)));
        if let Err(error) = &controlled {
            println!("controller: {error}");
        }
        tell_cost();
        return if controlled.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error),
    };
    match parse(&arguments).map(|options| runtime.block_on(demonstrate(options))) {
        Ok(Ok(true)) => ExitCode::SUCCESS,
        Ok(Ok(false)) => ExitCode::FAILURE,
        Ok(Err(error)) | Err(error) => failed(&*error),
    }
}

/// What the controller does.
async fn update(folder: &str, number: &str, digest: &str) -> Fallible<()> {
    let generation = Generation::new(number.parse()?, digest);
    let request = UpdateRequest::new(generation, vec!["bin/deploy.sh".into()]);
    control(folder.as_ref(), &format!("update-{number}"), &request).await
}

fn failed(error: &dyn Error) -> ExitCode {
    eprintln!("update_service: {error}");
    ExitCode::from(2)
}

fn parse(arguments: &[String]) -> Fallible<Options> {
    let mut options = Options {
        ssh: false,
        haproxy: false,
        rsync: false,
        literal: false,
        fail_test: false,
        kill_controller: false,
        rounds: 1,
        requests: 3_000,
        out: "target/update_service".into(),
    };
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        let mut number = || {
            let number = words.next().and_then(|number| number.parse().ok()).filter(|number| *number > 0);
            number.ok_or_else(|| format!("{word} needs a number above 0"))
        };
        match word.as_str() {
            "--ssh" => (options.ssh, options.rsync) = (true, true),
            "--haproxy" => options.haproxy = true,
            "--rsync" => options.rsync = true,
            "--literal" => options.literal = true,
            "--fail-test" => options.fail_test = true,
            "--kill-controller" => options.kill_controller = true,
            "--rounds" => options.rounds = number()?,
            "--requests" => options.requests = number()?,
            "--out" => options.out = words.next().ok_or("--out needs a folder")?.into(),
            other => {
                let known = "--ssh, --haproxy, --rsync, --literal, --fail-test, --kill-controller, --rounds N, \
                             --requests N, --out FOLDER";
                return Err(format!("unknown option {other:?}; known: {known}").into());
            }
        }
    }
    Ok(options)
}

async fn demonstrate(options: Options) -> Fallible<bool> {
    let show = Show::new();
    show.line("starting the active, the passive and the spare server, the balancer in front, and the file sharing");
    let mut built = ClusterOptions::local();
    (built.ssh, built.haproxy, built.rsync) = (options.ssh, options.haproxy, options.rsync);
    // The article lets the passive node be the manager.
    built.writer = if options.literal { "esb2" } else { built.writer };
    let cluster = Cluster::start(built).await?;
    if options.fail_test {
        cluster.homes()[0].fail_test_of("g2")?;
    }
    let schedule = cluster.share().await?;
    show.line(&format!("load: {RATE} requests/s on a deployed service, open loop, keep-alive, one in 50 takes 500 ms"));
    let load = Load::new(cluster.address(), RATE)
        .with_class(Class::new("/services/orders", "orders ", 49))
        .with_class(Class::new("/services/orders?ms=500", "orders ", 1))
        .start()?;
    sleep(Duration::from_secs(1)).await;
    let (mut runs, mut kills) = (Vec::new(), 0);
    let schedule = if options.literal {
        literal::run(&cluster, schedule, &show, &load).await?
    } else {
        let mut events = 40;
        for round in 1..=options.rounds {
            let (report, seen, killed) = controlled(&cluster, &options, round + 1, events, &show, &load).await?;
            (events, kills) = (seen.max(1), kills + u64::from(killed));
            show.line(&format!("round {round} of {}: {}", options.rounds, report["end"]));
            let goes_on = report["end"] == "all-new" || report["end"] == "all-old";
            runs.push(report);
            if !goes_on {
                break;
            }
        }
        schedule
    };
    while load.snapshot().sent < options.requests {
        show.tick(&load.snapshot());
        sleep(Duration::from_millis(200)).await;
    }
    let load = load.stop().await;
    drop(schedule);
    let told = Told {
        untested: untested_answers(&cluster.request_logs(), "g1")?.values().sum(),
        doubles: double_executions(&cluster.request_logs())?,
        sets: cluster.homes().iter().map(Cluster::set_of).collect(),
        held: cluster.held(),
        load,
        runs,
        kills,
    };
    told.print(&show);
    std::fs::create_dir_all(&options.out)?;
    let written = options.out.join("report.json");
    std::fs::write(&written, serde_json::to_vec_pretty(&told.to_json())?)?;
    show.line(&format!("report: {}", written.display()));
    Ok(told.is_as_it_should_be(&options))
}

/// What was seen at the end.
struct Told {
    runs: Vec<Value>,
    load: LoadReport,
    /// Answers from a set that had not passed its test on the server that gave them.
    untested: u64,
    doubles: u64,
    /// The set of each node.
    sets: Vec<u64>,
    /// The nodes whose sync is still held.
    held: Vec<String>,
    kills: u64,
}

impl Told {
    fn print(&self, show: &Show) {
        show.line("");
        show.counts(&self.load, self.doubles);
        println!("untested answers   {:>9}", self.untested);
        let sets: Vec<String> = NAMES.iter().zip(&self.sets).map(|(name, set)| format!("{name} g{set}")).collect();
        println!("sets               {}", sets.join(", "));
        println!("file syncs held    {:?}", self.held);
        if self.kills > 0 {
            println!("controllers killed {:>9}", self.kills);
        }
        if let Some(run) = self.runs.last() {
            show.run(run);
        }
    }

    fn to_json(&self) -> Value {
        json!({
            "runs": self.runs, "load": self.load, "untested": self.untested, "executed_twice": self.doubles,
            "sets": self.sets, "held": self.held, "kills": self.kills,
        })
    }

    fn is_as_it_should_be(&self, options: &Options) -> bool {
        let mut set = 1;
        for (run, number) in self.runs.iter().zip(2..) {
            if run["end"] == "all-new" {
                set = number;
            } else if run["end"] != "all-old" || !(options.fail_test || options.kill_controller) {
                return false;
            }
        }
        let ended = options.literal || self.runs.iter().all(|run| run["open"].as_array().is_some_and(Vec::is_empty));
        let is_quiet = self.load.counts.failures() == 0 && self.untested == 0 && self.held.is_empty();
        ended && is_quiet && self.sets.iter().all(|have| *have == set)
    }
}

/// Lets the controller bring the set with this number to the cluster; kills it at a random moment where that was asked for, and
/// lets another one go on. Returns the report, how many events were seen, and whether a controller was killed.
async fn controlled(
    cluster: &Cluster,
    options: &Options,
    number: u64,
    events: u64,
    show: &Show,
    load: &RunningLoad,
) -> Fallible<(Value, u64, bool)> {
    let generation = cluster.generation(number).await?;
    let folder = cluster.folder().to_str().ok_or("the lab's folder is no text")?;
    let number = number.to_string();
    let start = || Controller::start(&["controller", folder, &number, &generation.digest]);
    let (mut controller, mut seen, mut killed) = (start()?, 0, false);
    let kill_at = if options.kill_controller { Some(fastrand::u64(1..=events)) } else { None };
    loop {
        let has_come = |told: &Value| {
            seen += u64::from(told["event"] != "cost" && told["event"] != "report");
            !killed && kill_at.is_some_and(|at| seen >= at)
        };
        match controller.follow(show, load, has_come).await? {
            Followed::Ended(report) => return Ok((report, seen, killed)),
            Followed::Reached => {
                killed = true;
                let late = Duration::from_millis(fastrand::u64(0..300));
                sleep(late).await;
                controller.kill().await?;
                show.line(&format!(
                    "the controller was killed with -9, {late:?} after event {seen}; another one goes on"
                ));
                controller = start()?;
            }
        }
    }
}
