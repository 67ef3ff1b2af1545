//! A script of fifty megabytes runs with a memory that is a small multiple of it, and one beyond the limit is refused by name.

use std::time::Instant;

use ha_migrate::script::{LoadOptions, Scripts};
use ha_migrate::{Migrator, Report};

use crate::engine::{Engine, Kind, Target};
use crate::kit::{block_on, expand, policy};
use crate::says;

const BYTES: usize = 50 << 20;

/// Statements of a thousand rows each.
fn text() -> (String, usize) {
    let mut text = String::from("CREATE TABLE big (id int PRIMARY KEY, t varchar(64));\n");
    let mut rows = 0_usize;
    while text.len() < BYTES {
        text.push_str("INSERT INTO big VALUES ");
        for number in rows..rows + 1_000 {
            let end = if number % 1_000 == 999 { ";\n" } else { ",\n" };
            text.push_str(&format!("({number}, 'a row of the table that is big, number {number:08}'){end}"));
        }
        rows += 1_000;
    }
    (text, rows)
}

/// Peak memory of this process, in megabytes.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

/// Runs in a process of its own where the environment says so, to measure its memory; a test of nothing otherwise.
#[test]
fn large_process() {
    let (Ok(target), Ok(folder)) = (std::env::var("HA_MIGRATE_TARGET"), std::env::var("HA_MIGRATE_FOLDER")) else {
        return;
    };
    let scripts = Scripts::from_dir(folder.as_ref(), &LoadOptions::new()).unwrap();
    let builder = Migrator::builder(Target::from_env(&target).connect(), scripts).with_policy(policy());
    let began = Instant::now();
    let report: Report = block_on(builder.build().unwrap().run(&expand())).unwrap_or_else(|error| panic!("{error}"));
    println!("LARGE {} MB {} ms {:?}", peak(), began.elapsed().as_millis(), report.applied);
}

fn runs_in_bounded_memory(kind: Kind) {
    let folder = tempfile::tempdir().unwrap();
    let (text, rows) = text();
    std::fs::write(folder.path().join("V1__big.sql"), &text).unwrap();
    let engine = Engine::start(kind);
    let target = engine.fresh();
    let ran = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["large::large_process", "--exact", "--nocapture", "--test-threads=1"])
        .env("HA_MIGRATE_TARGET", target.to_env())
        .env("HA_MIGRATE_FOLDER", folder.path())
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&ran.stdout).into_owned() + &String::from_utf8_lossy(&ran.stderr);
    let line = printed.lines().find_map(|line| line.split_once("LARGE ")).unwrap_or_else(|| panic!("{printed}")).1;
    println!("{}: {} MB of script: {line}", kind.name(), text.len() >> 20);
    assert_eq!(engine.sql(&target, "SELECT count(*) FROM big"), rows.to_string(), "{kind:?}");
    let megabytes: u64 = line.split(' ').next().unwrap().parse().unwrap();
    assert!(megabytes < 12 * 50, "{kind:?}: {line}");
}

#[test]
fn fifty_megabytes_run_on_sqlite_in_bounded_memory() {
    runs_in_bounded_memory(Kind::Sqlite);
}

#[test]
fn fifty_megabytes_run_on_postgresql_in_bounded_memory() {
    runs_in_bounded_memory(Kind::Postgres);
}

#[test]
fn fifty_megabytes_run_on_mariadb_in_bounded_memory() {
    runs_in_bounded_memory(Kind::MariaDb);
}

#[test]
fn a_script_beyond_the_limit_is_refused_with_its_size_and_the_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let file = std::fs::File::create(folder.path().join("V1__big.sql")).unwrap();
    file.set_len((64 << 20) + 1).unwrap();
    let refused = Scripts::from_dir(folder.path(), &LoadOptions::new()).unwrap_err().to_string();
    says(&refused, &["V1__big.sql", "67108865 bytes", "limit of 67108864", "split it", "raise the limit"]);
}
