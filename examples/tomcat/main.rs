//! A real Java server: three Tomcats of Debian behind HAProxy are changed under load, started and stopped by the scripts that come
//! with them.
//!
//! ```text
//! cargo run --release --example tomcat -- [patch | update | upgrade | lose-active] [--ssh] [--naive] [--requests N] [--out FOLDER]
//! ```
//!
//! `patch` (the default) installs a release on one server after another. `update` brings a set of wars to them over the file sharing:
//! a newer version of a war beside the one that is there, as Tomcat's parallel deployment has it. `upgrade` changes the release
//! together with its PostgreSQL: every request writes a row over JDBC and reads it back. `lose-active` kills the active server with
//! -9, and brings it back.
//!
//! With `--ssh` each server is on a host of its own, driven over ssh. With `--naive` the servers are restarted one after another by
//! their scripts, on this machine, without a drain: what breaks is counted.
//!
//! Needs Debian's tomcat10, tomcat10-user and haproxy; `upgrade` postgresql and libpostgresql-jdbc-java too; `--ssh` root and
//! openssh-server.
//!
//! Exit codes: 0 no request failed (of `lose-active`: but until HAProxy had seen the loss), none was executed twice (of `lose-active`
//! nobody can tell: a Tomcat notes a request when it ends), and every run ended as it was asked for with nothing open; 1 otherwise, as
//! with `--naive`; 2 the demonstration could not be set up.

mod cluster;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use examples::cluster::NAMES;
use examples::orders::{NEW, OLD};
use examples::{Fallible, Loss, Show, demonstration};
use ha_backends::local::{LocalFiles, LocalFilesConfig};
use ha_backends::sqlite::SqliteStore;
use ha_core::engine::Engine;
use ha_core::procedure::{PatchRequest, Procedure, ReleaseFacts, UpdateRequest, UpgradeRequest};
use ha_core::record::End;
use ha_core::report::RunReport;
use ha_core::state::SchemaRange;
use ha_lab::fake_carbon;
use ha_lab::load::{Class, RunningLoad, double_executions};
use serde_json::json;
use tokio::time::sleep;

use cluster::Cluster;

/// What is done.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Job {
    Patch,
    Update,
    Upgrade,
    LoseActive,
}

impl Job {
    /// Returns what consumers ask for.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Update => "/stock/",
            Self::Patch | Self::Upgrade | Self::LoseActive => "/orders",
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Options {
    job: Job,
    ssh: bool,
    naive: bool,
    requests: u64,
    out: PathBuf,
}

const RATE: u32 = 100;

fn main() -> ExitCode {
    fake_carbon::run_if_asked();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    demonstration("tomcat", async { demonstrate(&parse(&arguments)?).await })
}

fn parse(arguments: &[String]) -> Fallible<Options> {
    let mut options = Options { job: Job::Patch, ssh: false, naive: false, requests: 0, out: "target/tomcat".into() };
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "patch" => options.job = Job::Patch,
            "update" => options.job = Job::Update,
            "upgrade" => options.job = Job::Upgrade,
            "lose-active" => options.job = Job::LoseActive,
            "--ssh" => options.ssh = true,
            "--naive" => options.naive = true,
            "--requests" => {
                let number = words.next().and_then(|number| number.parse().ok());
                options.requests = number.ok_or("--requests needs a number")?;
            }
            "--out" => options.out = words.next().ok_or("--out needs a folder")?.into(),
            other => {
                let known = "patch, update, upgrade, lose-active, --ssh, --naive, --requests N, --out FOLDER";
                return Err(format!("unknown option {other:?}; known: {known}").into());
            }
        }
    }
    if options.naive && options.ssh {
        return Err("--naive restarts servers of this machine: leave out --ssh".into());
    }
    Ok(options)
}

async fn demonstrate(options: &Options) -> Fallible<bool> {
    let show = Show::new();
    show.line("starting an active, a passive and a spare Tomcat, and HAProxy in front");
    let cluster = Cluster::start(options).await?;
    let topology = cluster.topology()?;
    let store = Arc::new(SqliteStore::open(cluster.folder().join("journal.db"))?);
    let engine = ha_backends::connect(&topology)?.engine(topology).with_store(store.clone(), store).build()?;
    let path = options.job.path();
    let expect = format!("{} ", path.trim_matches('/'));
    show.line(&format!("load: {RATE} requests/s on {path}, open loop, keep-alive, one in 20 takes 200 ms"));
    let load = cluster.front.load(RATE).with_class(Class::new(path, &expect, 19));
    let load = load.with_class(Class::new(format!("{path}?ms=200"), &expect, 1)).start()?;
    sleep(Duration::from_secs(1)).await;
    let (runs, loss) = if options.naive {
        restart(&cluster, &show, &load).await?;
        (Vec::new(), None)
    } else {
        change(options.job, &cluster, &engine, &show, &load).await?
    };
    sleep(Duration::from_secs(1)).await;
    while load.snapshot().sent < options.requests {
        show.tick(&load.snapshot());
        sleep(Duration::from_millis(100)).await;
    }
    let load = load.stop().await;
    let logs: Vec<PathBuf> = cluster.homes().iter().map(|home| home.request_log()).collect();
    let doubles = if loss.is_some() { None } else { Some(double_executions(&logs)?) };
    show.line("");
    show.counts(&load, doubles);
    if let Some(loss) = &loss {
        loss.print(&load);
    }
    let releases: Vec<String> = cluster.homes().iter().map(|home| home.release()).collect();
    let rows = match &cluster.database {
        Some(database) => Some(database.count("total", false).await?),
        None => None,
    };
    let told = json!({
        "runs": runs, "load": load, "executed_twice": doubles, "releases": releases, "sets": cluster.sets(), "rows": rows,
    });
    std::fs::create_dir_all(&options.out)?;
    let written = options.out.join("report.json");
    std::fs::write(&written, serde_json::to_vec_pretty(&told)?)?;
    show.line(&format!("report: {}", written.display()));
    let as_asked = runs.iter().all(|run| run.end == End::AllNew && run.open.is_empty());
    let changed = match options.job {
        // Nothing is to change.
        _ if options.naive => true,
        Job::Patch => releases[..2].iter().all(|release| release == NEW),
        Job::Update => cluster.sets() == [2; 3],
        Job::Upgrade => releases[..2].iter().all(|release| release == NEW) && rows.is_some_and(|(_, wrong)| wrong == 0),
        Job::LoseActive => true,
    };
    let kept = loss.map_or(load.counts.failures() == 0, |loss| loss.is_as_said(&load));
    Ok(as_asked && changed && kept && doubles.unwrap_or(0) == 0)
}

/// Does the job; returns how the runs of it ended.
async fn change(
    job: Job,
    cluster: &Cluster,
    engine: &Engine,
    show: &Show,
    load: &RunningLoad,
) -> Fallible<(Vec<RunReport>, Option<Loss>)> {
    let script = |verb: &str| vec!["bin/patch.sh".to_string(), verb.to_string()];
    let patch = PatchRequest::new(NEW, script("apply"), script("restore"));
    let procedure: Box<dyn Procedure> = match job {
        Job::Patch => Box::new(patch.with_beside(OLD)),
        Job::Update => Box::new(UpdateRequest::new(cluster.generation(2)?, vec!["bin/deploy.sh".into()])),
        Job::Upgrade => Box::new(UpgradeRequest::new(
            patch
                .with_facts(ReleaseFacts::new(OLD).with_schema(SchemaRange::OLD))
                .with_facts(ReleaseFacts::new(NEW).with_beside(OLD).with_schema(SchemaRange::NEW)),
        )),
        Job::LoseActive => {
            let pid_file = cluster.homes()[0].path().join("tomcat.pid");
            let kill = cluster.hosts.kill(0, &pid_file);
            let loss = Loss::of(engine, load, show, NAMES[0], true, kill).await?;
            return Ok((std::iter::once(&loss.outage).chain(&loss.rejoin).cloned().collect(), Some(loss)));
        }
    };
    let sharing = match engine.topology().files() {
        Some(component) => {
            let files = LocalFiles::new(LocalFilesConfig::from_component(component, engine.topology())?);
            Some(tokio::spawn(async move { files.keep_in_step(Duration::from_millis(50)).await }))
        }
        None => None,
    };
    let run = show.play(engine, Some(load), "change", &*procedure).await;
    if let Some(sharing) = sharing {
        sharing.abort();
    }
    Ok((vec![run?], None))
}

/// Restarts the members one after another, as a script without a drain does.
async fn restart(cluster: &Cluster, show: &Show, load: &RunningLoad) -> Fallible<()> {
    for (name, home) in NAMES.iter().zip(&cluster.homes()[..2]) {
        show.line(&format!("naive: {name} is stopped and started by its scripts"));
        tokio::task::block_in_place(|| -> Fallible<()> {
            std::process::Command::new(home.path().join("bin/shutdown.sh")).output()?;
            let _ = std::fs::remove_file(home.path().join("tomcat.pid"));
            Ok(home.start()?)
        })?;
        show.tick(&load.snapshot());
    }
    Ok(())
}
