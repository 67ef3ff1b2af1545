//! A service is added to a running cluster under load: deployed and tested dark on a node that stands by, brought to the others over
//! the file sharing one after the other, each out of traffic and tested before it returns, and exposed last, by a route of the
//! balancer.
//!
//! ```text
//! cargo run --release --example add_service -- [--haproxy] [--pair] [--ssh] [--rsync] [--fail-test] [--kill-controller] [--requests N] [--out FOLDER]
//! ```
//!
//! Without options nothing needs to be installed: the embedded balancer is in front, and the file sharing is that of this machine.
//! With `--haproxy` HAProxy is (with `--pair` two of them), and its map exposes the service; with `--rsync` rsync shares the files; with `--ssh` each node is a host
//! of its own, and rsync goes over ssh. Consumers ask for the old services all the time, and, every 10 ms, for the new one too, which
//! the balancer answers with 404 until its route is exposed.
//!
//! With `--fail-test` the set fails its test on the last node that serves: it is taken from that node again, the run holds, and a person
//! rolls it back; the service is never offered. With `--kill-controller` the
//! controller is killed with -9 at a random moment, and another one goes on.
//!
//! Exit codes: 0 no request of an old service failed, the new one answered nothing before each member had passed its test and
//! everything once it was exposed, nothing is held, and all nodes have the set that the run's end says; 1 otherwise; 2 the
//! demonstration itself could not be set up.

mod consumer;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use examples::cluster::{Cluster, ClusterOptions};
use examples::{
    Balancing, Controlled, Controller, Fallible, Resume, Seen, Show, as_controller, control, demonstration,
};
use ha_core::procedure::AddServiceRequest;
use ha_core::state::{Generation, RouteKey, ServiceRoute};
use ha_core::topology::Name;
use ha_lab::fake_carbon;
use ha_lab::load::Class;
use serde_json::{Value, json};
use tokio::time::sleep;

use consumer::{Answers, Consumer};

/// What was asked for on the command line.
#[derive(Clone, Debug)]
struct Options {
    cluster: ClusterOptions,
    fail_test: bool,
    kill_controller: bool,
    requests: u64,
    out: PathBuf,
}

const RATE: u32 = 300;
/// The new service, which set 2 has.
const SERVICE: &str = "returns";
const NEW: u64 = 2;
/// Tells a controller to roll the run back.
const ROLL_BACK: &str = "roll-back";
/// A controller that is to be killed is within the first so many events; a run has some more.
const EVENTS: u64 = 35;

fn main() -> ExitCode {
    fake_carbon::run_if_asked();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match &arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["controller", folder, digest] => return as_controller(add(folder, digest, Resume::Forward)),
        ["controller", folder, digest, ROLL_BACK] => return as_controller(add(folder, digest, Resume::RollBack)),
        _ => {}
    }
    demonstration("add_service", async { demonstrate(parse(&arguments)?).await })
}

/// What the controller does.
async fn add(folder: &str, digest: &str, how: Resume) -> Fallible<()> {
    let route = ServiceRoute::new(RouteKey::new(format!("/services/{SERVICE}"))?, Name::new("esb")?);
    let request = AddServiceRequest::new(Generation::new(NEW, digest), vec!["bin/deploy.sh".into()], route);
    control(folder.as_ref(), "add-service", &request, how).await
}

fn parse(arguments: &[String]) -> Fallible<Options> {
    let mut options = Options {
        cluster: ClusterOptions::local().with_service_to_add(SERVICE),
        fail_test: false,
        kill_controller: false,
        requests: 3_000,
        out: "target/add_service".into(),
    };
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--ssh" => (options.cluster.ssh, options.cluster.rsync) = (true, true),
            "--haproxy" => options.cluster.balancing = Balancing::HaProxy,
            "--pair" => options.cluster.balancing = Balancing::Pair,
            "--rsync" => options.cluster.rsync = true,
            "--fail-test" => options.fail_test = true,
            "--kill-controller" => options.kill_controller = true,
            "--requests" => {
                let number = words.next().and_then(|number| number.parse().ok()).filter(|number| *number > 0);
                options.requests = number.ok_or("--requests needs a number above 0")?;
            }
            "--out" => options.out = words.next().ok_or("--out needs a folder")?.into(),
            other => {
                let known =
                    "--haproxy, --pair, --ssh, --rsync, --fail-test, --kill-controller, --requests N, --out FOLDER";
                return Err(format!("unknown option {other:?}; known: {known}").into());
            }
        }
    }
    Ok(options)
}

async fn demonstrate(options: Options) -> Fallible<bool> {
    let show = Show::new();
    show.line("starting the active, the passive and the spare server, the balancer in front, and the file sharing");
    let cluster = Cluster::start(options.cluster).await?;
    if options.fail_test {
        cluster.homes()[0].fail_test_of(&format!("g{NEW}"))?;
    }
    let schedule = cluster.share().await?;
    show.line(&format!(
        "load: {RATE} requests/s on an old service, and every 10 ms one on the new, /services/{SERVICE}"
    ));
    let load = cluster
        .load(RATE)
        .with_class(Class::new("/services/orders", "orders ", 49))
        .with_class(Class::new("/services/orders?ms=500", "orders ", 1))
        .start()?;
    let members = cluster.request_logs().into_iter().take(2).collect();
    let consumer = Consumer::start(cluster.addresses()[0], SERVICE, format!("g{NEW}"), members);
    sleep(Duration::from_secs(1)).await;
    let folder = cluster.folder().to_str().ok_or("the lab's folder is no text")?;
    let generation = cluster.generation(NEW).await?;
    let arguments = ["controller", folder, &generation.digest];
    let Controlled { report: mut run, killed, .. } =
        Controller::run(&arguments, &show, &load, options.kill_controller.then_some(EVENTS)).await?;
    let withdrawn = run["end"]["needs-operator"] == "withdrawn";
    if withdrawn {
        show.run(&run);
        show.line("a person decides: it is rolled back");
        let arguments = ["controller", folder, &generation.digest, ROLL_BACK];
        run = Controller::run(&arguments, &show, &load, None).await?.report;
    }
    sleep(Duration::from_secs(1)).await;
    while load.snapshot().sent < options.requests {
        show.tick(&load.snapshot());
        sleep(Duration::from_millis(200)).await;
    }
    let (answers, load) = (consumer.stop().await?, load.stop().await);
    drop(schedule);
    let seen = Seen::of(&cluster, load, u64::from(killed))?;
    seen.print(&show);
    let Answers { asked, answered, early, missed } = answers;
    println!("new service asked  {asked:>9}");
    println!("  answered         {answered:>9}");
    println!("  before all tests {early:>9}");
    println!("  missed afterwards{missed:>9}");
    show.run(&run);
    let new = json!({ "asked": asked, "answered": answered, "before_all_tests": early, "missed_afterwards": missed });
    seen.write(&options.out, &show, [("run", run.clone()), ("new_service", new)])?;
    Ok(withdrawn == options.fail_test && is_as_it_should_be(&options, &run, &answers, &seen))
}

fn is_as_it_should_be(options: &Options, run: &Value, answers: &Answers, seen: &Seen) -> bool {
    let is_new = run["end"] == "all-new";
    let is_old = run["end"] == "all-old" && options.fail_test;
    let is_closed = run["open"].as_array().is_some_and(Vec::is_empty);
    let is_offered = answers.early + answers.missed == 0 && (answers.answered > 0) == is_new;
    (is_new || is_old) && is_closed && is_offered && seen.is_quiet() && seen.all_have(if is_new { NEW } else { 1 })
}
