//! A set of services is updated on a running cluster under load: deployed and tested on a node that stands by, brought to the
//! others over the file sharing one after the other, each out of traffic and tested before it serves.
//!
//! ```text
//! cargo run --release --example update_service -- [--ssh] [--haproxy] [--pair] [--rsync] [--literal] [--fail-test] \
//!     [--kill-controller] [--rounds N] [--requests N] [--out FOLDER]
//! ```
//!
//! The file sharing is that of this machine, which needs nothing; with `--rsync` rsync, started every second on each node;
//! with `--ssh` each node is a host of its own, and rsync goes over ssh. Every answer carries the set that it came from.
//!
//! With `--haproxy` HAProxy is in front, with `--pair` two of them.
//!
//! With `--literal` the bullets of the published procedure are followed to the letter, and what breaks is counted. With
//! `--fail-test` the set fails its test on the last node that serves. With `--kill-controller` the controller is killed with -9
//! at a random moment of each round, and another one goes on.
//!
//! Exit codes: 0 no request failed, no server answered from a set before its test had passed there, nothing is held, and all
//! nodes have the set that the run's end says; 1 otherwise; 2 the demonstration itself could not be set up.

mod literal;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use examples::cluster::{Cluster, ClusterOptions};
use examples::{
    Balancing, Controlled, Controller, Fallible, Resume, Seen, Show, as_controller, control, demonstration,
};
use ha_core::procedure::UpdateRequest;
use ha_core::state::Generation;
use ha_lab::fake_carbon;
use ha_lab::load::Class;
use serde_json::{Value, json};
use tokio::time::sleep;

/// What was asked for on the command line.
#[derive(Clone, Debug)]
struct Options {
    ssh: bool,
    balancing: Balancing,
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
        return as_controller(update(folder, number, digest));
    }
    demonstration("update_service", async { demonstrate(parse(&arguments)?).await })
}

/// What the controller does.
async fn update(folder: &str, number: &str, digest: &str) -> Fallible<()> {
    let generation = Generation::new(number.parse()?, digest);
    let request = UpdateRequest::new(generation, vec!["bin/deploy.sh".into()]);
    control(folder.as_ref(), &format!("update-{number}"), &request, Resume::Forward).await
}

fn parse(arguments: &[String]) -> Fallible<Options> {
    let mut options = Options {
        ssh: false,
        balancing: Balancing::Embedded,
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
            "--haproxy" => options.balancing = Balancing::HaProxy,
            "--pair" => options.balancing = Balancing::Pair,
            "--rsync" => options.rsync = true,
            "--literal" => options.literal = true,
            "--fail-test" => options.fail_test = true,
            "--kill-controller" => options.kill_controller = true,
            "--rounds" => options.rounds = number()?,
            "--requests" => options.requests = number()?,
            "--out" => options.out = words.next().ok_or("--out needs a folder")?.into(),
            other => {
                let known = "--ssh, --haproxy, --pair, --rsync, --literal, --fail-test, --kill-controller, --rounds N, \
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
    (built.ssh, built.balancing, built.rsync) = (options.ssh, options.balancing, options.rsync);
    // The article lets the passive node be the manager.
    built.writer = if options.literal { "esb2" } else { built.writer };
    let cluster = Cluster::start(built).await?;
    if options.fail_test {
        cluster.homes()[0].fail_test_of("g2")?;
    }
    let schedule = cluster.share().await?;
    show.line(&format!("load: {RATE} requests/s on a deployed service, open loop, keep-alive, one in 50 takes 500 ms"));
    let load = cluster
        .load(RATE)
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
            let (number, generation) = ((round + 1).to_string(), cluster.generation(round + 1).await?);
            let folder = cluster.folder().to_str().ok_or("the lab's folder is no text")?;
            let arguments = ["controller", folder, &number, &generation.digest];
            let kill_within = options.kill_controller.then_some(events);
            let Controlled { report, events: seen, killed } =
                Controller::run(&arguments, &show, &load, kill_within).await?;
            (events, kills) = (seen, kills + u64::from(killed));
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
    let seen = Seen::of(&cluster, load, kills)?;
    seen.print(&show);
    if let Some(run) = runs.last() {
        show.run(run);
    }
    seen.write(&options.out, &show, [("runs", json!(runs)), ("rounds", json!(options.rounds))])?;
    Ok(is_as_it_should_be(&options, &runs, &seen))
}

fn is_as_it_should_be(options: &Options, runs: &[Value], seen: &Seen) -> bool {
    let mut set = 1;
    for (run, number) in runs.iter().zip(2..) {
        if run["end"] == "all-new" {
            set = number;
        } else if run["end"] != "all-old" || !(options.fail_test || options.kill_controller) {
            return false;
        }
    }
    let ended = options.literal || runs.iter().all(|run| run["open"].as_array().is_some_and(Vec::is_empty));
    ended && seen.is_quiet() && seen.all_have(set)
}
