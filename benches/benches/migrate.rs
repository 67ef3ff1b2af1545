//! What exact recovery costs: 500 small migrations beside the product's own client running the same statements one after another, and
//! beside refinery, which has no lock and no journal. Private servers, in one run and in turns.
//! `cargo bench -p benches --bench migrate -- PostgreSQL` measures only what has that word in its name.

#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on has failed")]

use std::fs;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ha_backends::migrate::lint::{LintInput, Policy, lint};
use ha_backends::migrate::script::{LoadOptions, Phase, Scripts};
use ha_backends::migrate::split::split;
use ha_backends::migrate::{Catalog, Connect, Dialect, Migrator, MySql, Postgres, Run, Sqlite};
use ha_lab::fake_carbon::{Relaunch, run_if_asked};
use ha_lab::{DatabaseSpec, Lab, MariaDbServer, PostgresServer};
use tokio::runtime::Runtime;

const MIGRATIONS: usize = 500;
const TURNS: usize = 7;

/// Tables, rows, columns, indexes and updates in turns.
fn statement(number: usize) -> String {
    let table = number / 5;
    match number % 5 {
        0 => format!("CREATE TABLE t{table} (id int PRIMARY KEY, n int)"),
        1 => format!("INSERT INTO t{table} VALUES (1, 1)"),
        2 => format!("ALTER TABLE t{table} ADD COLUMN m int"),
        3 => format!("CREATE INDEX i{table} ON t{table} (n)"),
        _ => format!("UPDATE t{table} SET n = n + 1"),
    }
}

enum Server {
    Postgres(PostgresServer),
    MariaDb(MariaDbServer),
    Files(Lab),
}

/// One empty database.
struct Database {
    name: String,
    connect: Arc<dyn Connect>,
}

impl Server {
    fn fresh(&self, number: usize) -> Database {
        match self {
            Self::Postgres(server) => {
                let name = server.database().unwrap();
                let connect = Postgres::on_socket(server.socket_folder(), server.port(), &name, "postgres");
                Database { name, connect: Arc::new(connect) }
            }
            Self::MariaDb(server) => {
                let name = server.database().unwrap();
                let connect = MySql::on_socket(server.socket(), &name, "root").as_mariadb();
                Database { name, connect: Arc::new(connect) }
            }
            Self::Files(lab) => {
                let path = lab.path().join(format!("{number}.db"));
                Database { name: path.display().to_string(), connect: Arc::new(Sqlite::new(path)) }
            }
        }
    }

    /// The product's own client, with a file of statements.
    fn client(&self, database: &Database, file: &str) -> Command {
        let mut command = match self {
            Self::Postgres(server) => {
                let mut command = Command::new("psql");
                command.args(["-X", "-q", "-U", "postgres", "-h"]).arg(server.socket_folder());
                command.args(["-p", &server.port().to_string(), "-d", &database.name, "-f", file]);
                command
            }
            Self::MariaDb(server) => {
                let mut command = Command::new("mariadb");
                command.args(["--no-defaults", "-u", "root", "-S"]).arg(server.socket()).arg(&database.name);
                command.stdin(fs::File::open(file).unwrap());
                command
            }
            Self::Files(_) => {
                let mut command = Command::new("sqlite3");
                command.arg(&database.name).stdin(fs::File::open(file).unwrap());
                command
            }
        };
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command
    }
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

fn migrator(database: &Database) -> Migrator {
    let files = (0..MIGRATIONS).map(|number| (format!("V{}__s.sql", number + 1), format!("{};\n", statement(number))));
    let scripts = Scripts::from_memory(files, &LoadOptions::new()).unwrap();
    Migrator::builder(database.connect.clone(), scripts).build().unwrap()
}

fn run_one(runtime: &Runtime, migrator: &Migrator, applied: usize) -> Duration {
    let began = Instant::now();
    let report = runtime.block_on(migrator.run(&Run::to(Phase::Expand))).unwrap();
    assert_eq!(report.applied.len(), applied);
    began.elapsed()
}

/// refinery over the same driver; PostgreSQL only.
fn refinery(runtime: &Runtime, server: &PostgresServer, database: &Database) -> Duration {
    runtime.block_on(async {
        let config = format!(
            "host={} port={} user=postgres dbname={}",
            server.socket_folder().display(),
            server.port(),
            database.name
        );
        let (mut client, connection) = tokio_postgres::connect(&config, tokio_postgres::NoTls).await.unwrap();
        let connection = tokio::spawn(connection);
        let migrations: Vec<_> = (0..MIGRATIONS)
            .map(|number| {
                refinery_core::Migration::unapplied(&format!("V{}__s", number + 1), &statement(number)).unwrap()
            })
            .collect();
        let began = Instant::now();
        let done = refinery_core::Runner::new(&migrations).run_async(&mut client).await.unwrap();
        let took = began.elapsed();
        assert_eq!(done.applied_migrations().len(), MIGRATIONS);
        drop(client);
        let _ = connection.await;
        took
    })
}

fn compare(runtime: &Runtime, what: &str, server: &Server, file: &str) {
    let (mut ours, mut floor, mut peer, mut nothing) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for turn in 0..TURNS {
        let database = server.fresh(turn * 3);
        let began = Instant::now();
        assert!(server.client(&database, file).status().unwrap().success());
        floor.push(began.elapsed());
        let database = server.fresh(turn * 3 + 1);
        let migrator = migrator(&database);
        ours.push(run_one(runtime, &migrator, MIGRATIONS));
        nothing.push(run_one(runtime, &migrator, 0));
        if let Server::Postgres(postgres) = server {
            peer.push(refinery(runtime, postgres, &server.fresh(turn * 3 + 2)));
        }
    }
    let (middle, floor, nothing) = (median(&mut ours), median(&mut floor), median(&mut nothing));
    print!(
        "{what}: {:.0} ms ({:.0} to {:.0}), the client alone {:.0} ms: {:.2} x; nothing to do {:.1} ms",
        ms(middle),
        ms(ours[0]),
        ms(ours[TURNS - 1]),
        ms(floor),
        ms(middle) / ms(floor),
        ms(nothing)
    );
    if !peer.is_empty() {
        print!("; refinery {:.2} x", ms(median(&mut peer)) / ms(floor));
    }
    println!();
}

fn main() {
    run_if_asked();
    let runtime = Runtime::new().unwrap();
    let lab = Lab::open(Relaunch::program().unwrap()).unwrap();
    let text: String = (0..MIGRATIONS).map(|number| format!("{};\n", statement(number))).collect();
    let file = lab.path().join("all.sql");
    fs::write(&file, &text).unwrap();
    let file = file.to_str().unwrap().to_string();
    let wanted: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let is_wanted = |what: &str| wanted.is_empty() || wanted.iter().any(|word| what.contains(word.as_str()));
    println!("{MIGRATIONS} migrations, medians of {TURNS} alternating turns:");
    let (fast, durable) = (DatabaseSpec::default(), DatabaseSpec::default().durable().on_disk());
    for (what, is_postgres, spec) in [
        ("PostgreSQL without fsync", true, &fast),
        ("PostgreSQL, durable", true, &durable),
        ("MariaDB without fsync", false, &fast),
        ("MariaDB, durable", false, &durable),
    ] {
        if is_wanted(what) {
            let server = match is_postgres {
                true => Server::Postgres(lab.postgres(what, spec).unwrap()),
                false => Server::MariaDb(lab.mariadb(what, spec).unwrap()),
            };
            compare(&runtime, what, &server, &file);
        }
    }
    if is_wanted("SQLite, on disk") {
        let files = Server::Files(Lab::open(Relaunch::program().unwrap()).unwrap());
        compare(&runtime, "SQLite, on disk", &files, &file);
    }
    if is_wanted("splitter") {
        splitter(&text);
    }
    if is_wanted("lint") {
        linter();
    }
}

fn splitter(text: &str) {
    let large = text.repeat((10 << 20) / text.len() + 1);
    for dialect in [Dialect::Postgres, Dialect::MariaDb, Dialect::Sqlite, Dialect::Oracle, Dialect::SqlServer] {
        let mut times: Vec<Duration> = (0..TURNS)
            .map(|_| {
                let began = Instant::now();
                std::hint::black_box(split(dialect, &large).unwrap().len());
                began.elapsed()
            })
            .collect();
        let rate = large.len() as f64 / (1 << 20) as f64 / median(&mut times).as_secs_f64();
        println!("splitter, {dialect}: {rate:.0} MB/s");
    }
}

fn linter() {
    let statements: Vec<String> = (0..10_000).map(statement).collect();
    let mut times: Vec<Duration> = (0..TURNS)
        .map(|_| {
            let began = Instant::now();
            let lines = statements.iter().enumerate().map(|(at, text)| (at + 1, text.as_str()));
            let input = LintInput::new(Dialect::Postgres, "V1__all.sql", Phase::Expand, "", lines);
            std::hint::black_box(lint(&[input], &Catalog::new(), &Policy::new()).findings.len());
            began.elapsed()
        })
        .collect();
    println!("lint of a file of 10,000 statements: {:.0} ms", ms(median(&mut times)));
}
