//! The main job: a server patch goes through a running two-node cluster under load, without losing a request.
//!
//! ```text
//! cargo run --release --example patch_server -- [--haproxy] [--naive] [--fail-test] [--kill-controller] \
//!     [--requests N] [--out FOLDER]
//! ```
//!
//! Balancer, servers and load live in this process and its servers; the controller is a child process, so that killing it
//! leaves the cluster serving. Exit codes: 0 no request failed and the run ended as it should, 1 a request failed or the
//! run ended otherwise, 2 the demonstration itself could not be set up.

mod cluster;
mod controller;
mod show;

use std::error::Error;
use std::path::PathBuf;
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use ha_testkit::fake_carbon;
use ha_testkit::load::{Class, Load, LoadReport, RunningLoad, double_executions};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::sleep;

use cluster::Cluster;
use show::Show;

type Fallible<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// What was asked for on the command line.
#[derive(Clone, Debug)]
struct Options {
    haproxy: bool,
    naive: bool,
    fail_test: bool,
    kill_controller: bool,
    requests: u64,
    out: PathBuf,
}

const RATE: u32 = 500;

fn main() -> ExitCode {
    fake_carbon::run_if_asked();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error),
    };
    if let Some(("controller", folder)) = arguments.first().map(String::as_str).zip(arguments.get(1)) {
        return runtime.block_on(controller::run(folder.as_ref()));
    }
    let demonstrated = parse(&arguments).map(|options| runtime.block_on(demonstrate(options)));
    match demonstrated {
        Ok(Ok(true)) => ExitCode::SUCCESS,
        Ok(Ok(false)) => ExitCode::FAILURE,
        Ok(Err(error)) | Err(error) => failed(&*error),
    }
}

fn failed(error: &dyn Error) -> ExitCode {
    eprintln!("patch_server: {error}");
    ExitCode::from(2)
}

fn parse(arguments: &[String]) -> Fallible<Options> {
    let mut options = Options {
        haproxy: false,
        naive: false,
        fail_test: false,
        kill_controller: false,
        requests: 10_000,
        out: "target/patch_server".into(),
    };
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--haproxy" => options.haproxy = true,
            "--naive" => options.naive = true,
            "--fail-test" => options.fail_test = true,
            "--kill-controller" => options.kill_controller = true,
            "--requests" => {
                let number = words.next().and_then(|number| number.parse().ok());
                options.requests = number.ok_or("--requests needs a number")?;
            }
            "--out" => options.out = words.next().ok_or("--out needs a folder")?.into(),
            other => {
                let known = "--haproxy, --naive, --fail-test, --kill-controller, --requests N, --out FOLDER";
                return Err(format!("unknown option {other:?}; known: {known}").into());
            }
        }
    }
    Ok(options)
}

async fn demonstrate(options: Options) -> Fallible<bool> {
    let show = Show::new();
    show.line("starting the active, the passive and the spare server, and the balancer in front");
    let cluster = Cluster::start(&options).await?;
    let load = Load::new(cluster.address(), RATE)
        .with_class(Class::new("/orders", "orders ", 193))
        .with_class(Class::new("/orders?ms=50", "orders ", 6))
        .with_class(Class::new("/orders?ms=2000", "orders ", 1))
        .start()?;
    show.line(&format!("load: {RATE} requests/s, open loop, keep-alive, one in 200 takes 2 s"));
    sleep(Duration::from_secs(2)).await;
    let run = if options.naive {
        naive(&cluster, &show, &load).await?;
        serde_json::Value::Null
    } else {
        controlled(&cluster, &options, &show, &load).await?
    };
    while load.snapshot().sent < options.requests {
        show.tick(&load.snapshot());
        sleep(Duration::from_millis(200)).await;
    }
    let report = load.stop().await;
    let doubles = double_executions(&cluster.request_logs())?;
    let written = show.report(&options.out, &cluster, &run, &report, doubles)?;
    show.line(&format!("report: {}", written.display()));
    Ok(verdict(&options, &cluster, &run, &report))
}

/// Tells whether all is as it should be: no request failed, and every member has the one release.
fn verdict(options: &Options, cluster: &Cluster, run: &serde_json::Value, report: &LoadReport) -> bool {
    let end = run["end"].as_str().unwrap_or("");
    let expected = if options.fail_test { "all-old" } else { "all-new" };
    let release = if end == "all-old" { cluster::OLD } else { cluster::NEW };
    let whole = cluster.members().iter().all(|member| member.release() == release);
    let ended = options.naive || end == expected || (options.kill_controller && end == "all-old");
    report.counts.failures() == 0 && ended && whole
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

/// Lets the controller patch the cluster; kills and restarts it in mid-run where that was asked for.
async fn controlled(
    cluster: &Cluster,
    options: &Options,
    show: &Show,
    load: &RunningLoad,
) -> Fallible<serde_json::Value> {
    let mut kill_at = options.kill_controller.then_some(KILL_AFTER_STEPS);
    loop {
        let mut child = controller_process(cluster)?;
        match follow(&mut child, show, load, kill_at.take()).await? {
            Followed::Ended(report) => return Ok(report),
            Followed::Killed => show.line("the controller was killed with -9; another one goes on from the journal"),
        }
    }
}

/// In the passive node's patch: its server is stopped, traffic is on the active one.
const KILL_AFTER_STEPS: u32 = 6;

enum Followed {
    Ended(serde_json::Value),
    Killed,
}

fn controller_process(cluster: &Cluster) -> Fallible<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("controller").arg(cluster.folder()).stdout(Stdio::piped()).kill_on_drop(true);
    Ok(command.spawn()?)
}

async fn follow(child: &mut Child, show: &Show, load: &RunningLoad, kill_at: Option<u32>) -> Fallible<Followed> {
    let stdout = child.stdout.take().ok_or("the controller has no output")?;
    let mut lines = BufReader::new(stdout).lines();
    let (mut steps, mut report) = (0, serde_json::Value::Null);
    let mut tick = tokio::time::interval(Duration::from_millis(200));
    loop {
        tokio::select! {
            line = lines.next_line() => {
                let Some(line) = line? else { break };
                let Ok(told) = serde_json::from_str::<serde_json::Value>(&line) else {
                    show.line(&line);
                    continue;
                };
                if told["event"] == "report" {
                    report = told["report"].clone();
                } else {
                    show.event(&told);
                }
                steps += u32::from(told["event"] == "step-started");
                if kill_at.is_some_and(|at| steps >= at) {
                    child.kill().await?;
                    return Ok(Followed::Killed);
                }
            }
            _ = tick.tick() => show.tick(&load.snapshot()),
        }
    }
    let status = child.wait().await?;
    if report.is_null() {
        return Err(format!("the controller ended without a report: {status}").into());
    }
    Ok(Followed::Ended(report))
}
