//! A disk that is full: what was not there before is not there, and after space is made the same run goes on.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use ha_migrate::{DbErrorKind, MigrateError, Migrator, Sqlite};

use crate::engine::{Engine, Kind};
use crate::kit::{block_on, expand, migrator, policy, scripts};
use crate::says;

/// A file system of a few megabytes in memory. It goes when this is dropped, and also when the test is killed.
struct SmallDisk {
    path: PathBuf,
    sweeper: Child,
}

impl SmallDisk {
    fn mount(megabytes: u32) -> Self {
        let path = tempfile::Builder::new().prefix("ha-small-disk-").tempdir().unwrap().keep();
        let size = format!("size={megabytes}m,mode=0777");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&path).status().unwrap();
        assert!(mounted.success(), "a small file system cannot be mounted: this test needs root");
        let sweep = "read -r _; umount -l \"$1\"; rmdir \"$1\"";
        let mut sweeper = Command::new("/bin/sh");
        sweeper.args(["-c", sweep, "sh"]).arg(&path).stdin(Stdio::piped());
        Self { sweeper: sweeper.spawn().unwrap(), path }
    }

    fn grow(&self, megabytes: u32) {
        let size = format!("remount,size={megabytes}m");
        assert!(Command::new("mount").args(["-o", &size]).arg(&self.path).status().unwrap().success());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(self.sweeper.stdin.take());
        let _ = self.sweeper.wait();
    }
}

fn is_full(failed: &MigrateError) {
    let MigrateError::Statement(of) = failed else { panic!("{failed}") };
    assert_eq!(of.error.kind, DbErrorKind::Full, "{failed}");
    says(&failed.to_string(), &["V2__fill.sql, statement 2 (line 2)", "make space on the server, then run again"]);
}

/// The folder belongs to the server's user.
fn give(path: &Path, user: &str) {
    assert!(Command::new("chown").arg(user).arg(path).status().unwrap().success());
}

#[test]
fn a_full_tablespace_of_postgresql_leaves_nothing_half_done() {
    let disk = SmallDisk::mount(8);
    let engine = Engine::start(Kind::Postgres);
    let target = engine.fresh();
    give(&disk.path, "postgres");
    engine.sql(&target, &format!("CREATE TABLESPACE small LOCATION '{}'", disk.path.display()));
    let base = (
        "V1__a.sql",
        "CREATE TABLE a (id int PRIMARY KEY, t text) TABLESPACE small;\nINSERT INTO a VALUES (0, 'kept');",
    );
    let fill = (
        "V2__fill.sql",
        "CREATE TABLE b (id int);\nINSERT INTO a SELECT g, repeat('x', 1000) FROM generate_series(1, 20000) g;",
    );
    let failed = block_on(migrator(&target, &[base, fill]).run(&expand())).unwrap_err();
    is_full(&failed);
    says(&failed.to_string(), &["nothing of it is there"]);
    assert_eq!(engine.sql(&target, "SELECT count(*) FROM a"), "1");
    assert!(engine.try_sql(&target, "SELECT * FROM b").is_err());
    disk.grow(64);
    assert_eq!(block_on(migrator(&target, &[base, fill]).run(&expand())).unwrap().applied, ["V2__fill.sql"]);
    assert_eq!(engine.sql(&target, "SELECT count(*) FROM a"), "20001");
}

#[test]
fn a_full_disk_of_mariadb_leaves_the_statements_before_it_and_says_so() {
    let disk = SmallDisk::mount(8);
    let engine = Engine::start(Kind::MariaDb);
    let target = engine.fresh();
    give(&disk.path, "mysql");
    let base = format!(
        "CREATE TABLE a (id int PRIMARY KEY, t text) DATA DIRECTORY='{}';\nINSERT INTO a VALUES (0, 'kept');",
        disk.path.display()
    );
    let base = ("V1__a.sql", base.as_str());
    let fill =
        ("V2__fill.sql", "CREATE TABLE b (id int);\nINSERT INTO a SELECT seq, repeat('x', 1000) FROM seq_1_to_20000;");
    let failed = block_on(migrator(&target, &[base, fill]).run(&expand())).unwrap_err();
    is_full(&failed);
    says(&failed.to_string(), &["1 of its 2 statements are done", "statement 1 is done and stays"]);
    assert_eq!(engine.sql(&target, "SELECT count(*) FROM a"), "1");
    engine.sql(&target, "SELECT * FROM b");
    disk.grow(128);
    assert_eq!(block_on(migrator(&target, &[base, fill]).run(&expand())).unwrap().applied, ["V2__fill.sql"]);
    assert_eq!(engine.sql(&target, "SELECT count(*) FROM a"), "20001");
}

#[test]
fn a_full_disk_under_a_sqlite_file_leaves_nothing_half_done() {
    let disk = SmallDisk::mount(4);
    let file = disk.path.join("a.db");
    let base = ("V1__a.sql", "CREATE TABLE a (id int PRIMARY KEY, t text);\nINSERT INTO a VALUES (0, 'kept');");
    let fill = (
        "V2__fill.sql",
        "CREATE TABLE b (id int);\nINSERT INTO a WITH RECURSIVE g(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM g WHERE i < 20000) \
         SELECT i, hex(zeroblob(500)) FROM g;",
    );
    let run = || {
        let builder = Migrator::builder(Arc::new(Sqlite::new(&file)), scripts(&[base, fill])).with_policy(policy());
        block_on(builder.build().unwrap().run(&expand()))
    };
    let failed = run().unwrap_err();
    is_full(&failed);
    says(&failed.to_string(), &["nothing of it is there"]);
    let ask = |sql: &str| {
        let done = Command::new("sqlite3").arg(&file).arg(sql).output().unwrap();
        String::from_utf8_lossy(&done.stdout).trim().to_owned()
    };
    assert_eq!(ask("SELECT count(*) FROM a; SELECT count(*) FROM sqlite_master WHERE name = 'b'"), "1\n0");
    disk.grow(128);
    assert_eq!(run().unwrap().applied, ["V2__fill.sql"]);
    assert_eq!(ask("SELECT count(*) FROM a; PRAGMA integrity_check"), "20001\nok");
}
