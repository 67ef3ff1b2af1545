//! A service is added to a running cluster under load: deployed and tested dark on a node that stands by, brought to the others over
//! the file sharing one after the other, each out of traffic and tested before it returns, and exposed last, by the map of HAProxy.
//!
//! ```text
//! cargo run --release --example add_service -- [--ssh] [--rsync] [--fail-test] [--kill-controller] [--requests N] [--out FOLDER]
//! ```
//!
//! HAProxy must be installed. The file sharing is that of this machine, which needs nothing; with `--rsync` rsync; with `--ssh` each
//! node is a host of its own, and rsync goes over ssh. Consumers ask for the old services all the time, and, every 10 ms, for the new
//! one too, which HAProxy answers with 404 until its route is exposed.
//!
//! With `--fail-test` the set fails its test on the last node that serves: the service is never offered. With `--kill-controller` the
//! controller is killed with -9 at a random moment, and another one goes on.
//!
//! Exit codes: 0 no request of an old service failed, the new one answered nothing before each member had passed its test and
//! everything once it was exposed, nothing is held, and all nodes have the set that the run's end says; 1 otherwise; 2 the
//! demonstration itself could not be set up.

mod consumer;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use examples::cluster::{Cluster, ClusterOptions, NAMES};
use examples::{Controller, Fallible, Followed, Show, control, tell_cost};
use ha_core::procedure::AddServiceRequest;
use ha_core::state::{Generation, RouteKey, ServiceRoute};
use ha_core::topology::Name;
use ha_lab::fake_carbon;
use ha_lab::load::{Class, Load, LoadReport, RunningLoad, double_executions, untested_answers};
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

fn main() -> ExitCode {
    fake_carbon::run_if_asked();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [role, folder, digest] = &arguments[..]
        && role == "controller"
    {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let controlled = runtime.map_err(Into::into).and_then(|runtime| runtime.block_on(add(folder, digest)));
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
async fn add(folder: &str, digest: &str) -> Fallible<()> {
    let route = ServiceRoute::new(RouteKey::new(format!("/services/{SERVICE}"))?, Name::new("esb")?);
    let request = AddServiceRequest::new(Generation::new(NEW, digest), vec!["bin/deploy.sh".into()], route);
    control(folder.as_ref(), "add-service", &request).await
}

fn failed(error: &dyn Error) -> ExitCode {
    eprintln!("add_service: {error}");
    ExitCode::from(2)
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
            "--rsync" => options.cluster.rsync = true,
            "--fail-test" => options.fail_test = true,
            "--kill-controller" => options.kill_controller = true,
            "--requests" => {
                let number = words.next().and_then(|number| number.parse().ok()).filter(|number| *number > 0);
                options.requests = number.ok_or("--requests needs a number above 0")?;
            }
            "--out" => options.out = words.next().ok_or("--out needs a folder")?.into(),
            other => {
                let known = "--ssh, --rsync, --fail-test, --kill-controller, --requests N, --out FOLDER";
                return Err(format!("unknown option {other:?}; known: {known}").into());
            }
        }
    }
    Ok(options)
}

async fn demonstrate(options: Options) -> Fallible<bool> {
    let show = Show::new();
    show.line("starting the active, the passive and the spare server, HAProxy in front, and the file sharing");
    let cluster = Cluster::start(options.cluster).await?;
    if options.fail_test {
        cluster.homes()[0].fail_test_of(&format!("g{NEW}"))?;
    }
    let schedule = cluster.share().await?;
    show.line(&format!(
        "load: {RATE} requests/s on an old service, and every 10 ms one on the new, /services/{SERVICE}"
    ));
    let load = Load::new(cluster.address(), RATE)
        .with_class(Class::new("/services/orders", "orders ", 49))
        .with_class(Class::new("/services/orders?ms=500", "orders ", 1))
        .start()?;
    let members = cluster.request_logs().into_iter().take(2).collect();
    let consumer = Consumer::start(cluster.address(), SERVICE, format!("g{NEW}"), members);
    sleep(Duration::from_secs(1)).await;
    let (run, kills) = controlled(&cluster, &options, &show, &load).await?;
    sleep(Duration::from_secs(1)).await;
    while load.snapshot().sent < options.requests {
        show.tick(&load.snapshot());
        sleep(Duration::from_millis(200)).await;
    }
    let (answers, load) = (consumer.stop().await?, load.stop().await);
    drop(schedule);
    let told = Told {
        untested: untested_answers(&cluster.request_logs(), "g1")?.values().sum(),
        doubles: double_executions(&cluster.request_logs())?,
        sets: cluster.homes().iter().map(Cluster::set_of).collect(),
        held: cluster.held(),
        answers,
        load,
        run,
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
    run: Value,
    load: LoadReport,
    /// What consumers of the new service got.
    answers: Answers,
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
        let Answers { asked, answered, early, missed } = self.answers;
        println!("new service asked  {asked:>9}");
        println!("  answered         {answered:>9}");
        println!("  before all tests {early:>9}");
        println!("  missed afterwards{missed:>9}");
        println!("untested answers   {:>9}", self.untested);
        let sets: Vec<String> = NAMES.iter().zip(&self.sets).map(|(name, set)| format!("{name} g{set}")).collect();
        println!("sets               {}", sets.join(", "));
        println!("file syncs held    {:?}", self.held);
        if self.kills > 0 {
            println!("controllers killed {:>9}", self.kills);
        }
        show.run(&self.run);
    }

    fn to_json(&self) -> Value {
        let Answers { asked, answered, early, missed } = self.answers;
        json!({
            "run": self.run, "load": self.load, "untested": self.untested, "executed_twice": self.doubles,
            "new_service": { "asked": asked, "answered": answered, "before_all_tests": early, "missed_afterwards": missed },
            "sets": self.sets, "held": self.held, "kills": self.kills,
        })
    }

    fn is_as_it_should_be(&self, options: &Options) -> bool {
        let is_new = self.run["end"] == "all-new";
        let is_old = self.run["end"] == "all-old" && options.fail_test;
        if !is_new && !is_old {
            return false;
        }
        let set = if is_new { NEW } else { 1 };
        let is_quiet = self.load.counts.failures() == 0 && self.untested == 0 && self.held.is_empty();
        let is_closed = self.run["open"].as_array().is_some_and(Vec::is_empty);
        let is_offered = self.answers.early + self.answers.missed == 0 && (self.answers.answered > 0) == is_new;
        is_quiet && is_closed && is_offered && self.sets.iter().all(|have| *have == set)
    }
}

/// Lets the controller add the service; kills it at a random moment where that was asked for, and lets another one go on. Returns
/// the report, and how many controllers were killed.
async fn controlled(cluster: &Cluster, options: &Options, show: &Show, load: &RunningLoad) -> Fallible<(Value, u64)> {
    let generation = cluster.generation(NEW).await?;
    let folder = cluster.folder().to_str().ok_or("the lab's folder is no text")?;
    let start = || Controller::start(&["controller", folder, &generation.digest]);
    let (mut controller, mut seen, mut kills) = (start()?, 0, 0);
    let kill_at = if options.kill_controller { Some(fastrand::u64(1..=35)) } else { None };
    loop {
        let has_come = |told: &Value| {
            seen += u64::from(told["event"] != "cost" && told["event"] != "report");
            kills == 0 && kill_at.is_some_and(|at| seen >= at)
        };
        match controller.follow(show, load, has_come).await? {
            Followed::Ended(report) => return Ok((report, kills)),
            Followed::Reached => {
                kills += 1;
                controller.kill().await?;
                show.line(&format!("the controller was killed with -9 after event {seen}; another one goes on"));
                controller = start()?;
            }
        }
    }
}
