//! A version is upgraded together with its database, under load whose every request writes a row and reads it back: the schema is
//! expanded and filled while the old release serves, one node after another is upgraded while both do, and what only the old release
//! needed is removed when it is gone.
//!
//! ```text
//! cargo run --release --example upgrade_version -- [--postgres] [--mariadb] [--haproxy] [--pair] [--ssh] [--breaking [--window]] [--literal] \
//!     [--fail-test] [--kill-controller] [--requests N] [--out FOLDER]
//! ```
//!
//! Without options nothing needs to be installed: the database is a SQLite file, the embedded balancer is in front. With `--postgres`
//! or `--mariadb` a private server of that kind is started, and with `--haproxy` HAProxy, with
//! `--pair` two of them. With `--ssh` each server is on a host of its own, driven over ssh.
//!
//! With `--breaking` the script that removes the old column is not marked as a contraction: it is refused before anything is done. With
//! `--breaking --window` the database may refuse writes for a minute: it is cloned, and the servers change to the clone, one after
//! another. Half of the requests only read then, and none of them fails; writes are refused in the window, and counted apart. With
//! `--literal` the published procedure is followed to the letter, the scripts run at once for the passive node: what breaks is seen.
//! With `--fail-test` the new release fails its test on the last node: all goes back, and the schema stays expanded. With
//! `--kill-controller` the controller is killed with -9 at a random moment, and another one goes on.
//!
//! Exit codes: 0 no request failed, no write was refused outside of the window and every order that was answered is there, every row has its total, and all nodes have the release and the database the schema that the run's
//! end says, or the plan was refused as `--breaking` asks for; 1 otherwise; 2 the demonstration itself could not be set up.

mod cluster;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use examples::orders::{self, Judged, Kind, NEW, OLD, Orders, Window};
use examples::{
    Balancing, Controlled, Controller, Fallible, Resume, Show, as_controller, control, demonstration, page,
};
use ha_backends::connect;
use ha_backends::migrate::SessionRole;
use ha_core::procedure::{PatchRequest, ReleaseFacts, UpgradeRequest};
use ha_core::state::{Schema, SchemaRange};
use ha_lab::fake_carbon::{self, Business};
use ha_lab::load::{Class, double_executions};
use serde_json::{Value, json};
use tokio::sync::Mutex;
use tokio::time::sleep;

use cluster::Cluster;

/// What was asked for on the command line.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    kind: Kind,
    balancing: Balancing,
    ssh: bool,
    breaking: bool,
    window: bool,
    literal: bool,
    fail_test: bool,
    kill_controller: bool,
    requests: u64,
    out: PathBuf,
}

const RATE: u32 = 200;
/// A controller that is to be killed is within the first so many events; a run has some more.
const EVENTS: u64 = 35;

static ORDERS: Mutex<Option<Arc<Orders>>> = Mutex::const_new(None);

fn main() -> ExitCode {
    fake_carbon::run_if_asked_with(Business::new(|asked| orders::serve(&ORDERS, asked)));
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [role, folder] = &arguments[..]
        && role == "controller"
    {
        return as_controller(upgrade(folder));
    }
    demonstration("upgrade_version", async { demonstrate(parse(&arguments)?).await })
}

/// What the controller does.
async fn upgrade(folder: &str) -> Fallible<()> {
    let window = Window::read(folder.as_ref());
    let script = |verb: &str| vec![if window.is_some() { orders::SCRIPT } else { "bin/patch.sh" }.into(), verb.into()];
    let change = PatchRequest::new(NEW, script("apply"), script("restore"))
        .with_facts(ReleaseFacts::new(OLD).with_schema(SchemaRange::OLD))
        .with_facts(ReleaseFacts::new(NEW).with_beside(OLD).with_schema(SchemaRange::NEW));
    let request = UpgradeRequest::new(change);
    let request = match window {
        Some(Window { at_most }) => request.with_window(at_most),
        None => request,
    };
    control(folder.as_ref(), "upgrade", &request, Resume::Forward).await
}

fn parse(arguments: &[String]) -> Fallible<Options> {
    let mut options = Options {
        kind: Kind::Sqlite,
        balancing: Balancing::Embedded,
        ssh: false,
        breaking: false,
        window: false,
        literal: false,
        fail_test: false,
        kill_controller: false,
        requests: 2_000,
        out: "target/upgrade_version".into(),
    };
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--postgres" => options.kind = Kind::Postgres,
            "--mariadb" => options.kind = Kind::MariaDb,
            "--haproxy" => options.balancing = Balancing::HaProxy,
            "--pair" => options.balancing = Balancing::Pair,
            "--ssh" => options.ssh = true,
            "--breaking" => options.breaking = true,
            "--window" => options.window = true,
            "--literal" => options.literal = true,
            "--fail-test" => options.fail_test = true,
            "--kill-controller" => options.kill_controller = true,
            "--requests" => {
                let number = words.next().and_then(|number| number.parse().ok()).filter(|number| *number > 0);
                options.requests = number.ok_or("--requests needs a number above 0")?;
            }
            "--out" => options.out = words.next().ok_or("--out needs a folder")?.into(),
            other => {
                let known = "--postgres, --mariadb, --haproxy, --pair, --ssh, --breaking, --window, --literal, --fail-test, --kill-controller, \
                             --requests N, --out FOLDER";
                return Err(format!("unknown option {other:?}; known: {known}").into());
            }
        }
    }
    if options.window && !options.breaking {
        return Err("--window is for scripts that break the old release: add --breaking".into());
    }
    Ok(options)
}

async fn demonstrate(options: Options) -> Fallible<bool> {
    let show = Show::new();
    show.line("starting the database, the active, the passive and the spare server, and the balancer in front");
    let cluster = Cluster::start(&options).await?;
    if options.fail_test {
        cluster.homes()[0].fail_test_of(NEW)?;
    }
    orders::write_upgrade(&cluster.scripts(), options.kind, options.breaking)?;
    let load = cluster.front.load(RATE).with_class(Class::new("/orders", "orders ", 1));
    let load = if options.window {
        Window::declare(cluster.folder(), options.kind, cluster.homes())?;
        show.line(&format!(
            "load: {RATE} requests/s, every other one writes an order and reads it back, the rest reads an old one"
        ));
        load.with_class(Class::new("/read", "orders ", 1)).start()?
    } else {
        show.line(&format!("load: {RATE} requests/s, each writes an order and reads it back, and an old one"));
        load.start()?
    };
    sleep(Duration::from_secs(1)).await;
    let (run, killed) = if options.literal {
        literally(&cluster, &show).await?;
        (Value::Null, false)
    } else {
        let folder = cluster.folder().to_str().ok_or("the lab's folder is no text")?;
        let kill = options.kill_controller.then_some(EVENTS);
        let Controlled { report, killed, .. } = Controller::run(&["controller", folder], &show, &load, kill).await?;
        (report, killed)
    };
    let ended_at = orders::now_ms();
    sleep(Duration::from_secs(1)).await;
    while load.snapshot().sent < options.requests {
        show.tick(&load.snapshot());
        sleep(Duration::from_millis(200)).await;
    }
    let load = load.stop().await;
    // Of what was changed behind its back, the history knows nothing.
    let schema = connect(&cluster.topology()?)?.database.ok_or("there is no database")?.schema().await?;
    let is_new = run["end"] == "all-new";
    let judged = match options.window {
        true => Some(Window::judge(cluster.homes(), &cluster.database, &run, ended_at).await?),
        false => None,
    };
    let column = if is_new {
        "total"
    } else if schema == Schema::Base && !options.literal {
        "amount"
    } else {
        "total"
    };
    let on_clone = options.window && is_new;
    let (rows, wrong) = cluster.database.count(column, on_clone).await?;
    let releases: Vec<String> = cluster.homes().iter().map(|home| home.release()).collect();
    let doubles = double_executions(&cluster.request_logs())?;
    show.line("");
    show.counts(&load, doubles);
    println!("schema             {schema:>9}");
    println!("rows               {rows:>9}");
    println!("rows with a wrong {column:<6} {wrong:>4}");
    println!("releases           {}", releases.join(", "));
    if let Some(judged) = &judged {
        judged.print();
    }
    show.run(&run);
    let told = json!({
        "load": load, "executed_twice": doubles, "schema": schema, "rows": rows, "wrong": wrong, "releases": releases,
        "kills": u64::from(killed), "run": run, "window": judged.as_ref().map(Judged::to_json),
    });
    page::write(&options.out, &show, &told, &[("report", "/run")], &[("esb", &load)])?;
    let (end, members) = if options.breaking {
        // Nothing is run on the database itself.
        (Schema::Base, if is_new { NEW } else { OLD })
    } else if run["end"] == "all-new" {
        (Schema::Contracted, NEW)
    } else {
        (schema.min(Schema::Backfilled), OLD)
    };
    let is_ended = match (&run["end"], &run["refused"]) {
        (Value::String(end), _) => end == "all-new" || (end == "all-old" && options.fail_test),
        (_, Value::String(_)) => options.breaking && !options.window,
        _ => false,
    };
    let is_open = run["open"].as_array().is_some_and(|open| !open.is_empty());
    let is_as_said = schema == end && releases[..2].iter().all(|release| release == members);
    let is_in_window = judged.is_none_or(|judged: Judged| judged.is_good());
    Ok(is_ended && !is_open && is_as_said && is_in_window && wrong == 0 && load.counts.failures() == 0)
}

/// "Run the migration scripts for the passive node", then upgrade it, switch, and upgrade the other: on the one database that both
/// share.
async fn literally(cluster: &Cluster, show: &Show) -> Fallible<()> {
    show.line("literally: the scripts are run for the passive node");
    let mut session = cluster.database.session(SessionRole::Migrator).await?;
    session.execute("ALTER TABLE orders RENAME COLUMN amount TO total").await?;
    drop(session);
    for home in [&cluster.homes()[1], &cluster.homes()[0]] {
        show.line(&format!("literally: {} is stopped, patched and started", home.path().display()));
        for (script, verb) in [("wso2server.sh", "stop"), ("patch.sh", "apply"), ("wso2server.sh", "start")] {
            cluster.run(home, script, verb).await?;
            sleep(Duration::from_secs(1)).await;
        }
    }
    Ok(())
}
