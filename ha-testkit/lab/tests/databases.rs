//! Private database servers start in a moment, die when told, and leave nothing behind.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use ha_lab::fake_carbon::Relaunch;
use ha_lab::{DatabaseSpec, Lab, MariaDbServer, PostgresServer};

ha_lab::roles!();

fn lab() -> Lab {
    Lab::open(Relaunch::test().unwrap()).unwrap()
}

fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < until, "waited in vain for: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Processes whose command line has `text` in it.
fn processes(text: &str) -> usize {
    let dirs = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = dirs.filter_map(|dir| std::fs::read(dir.path().join("cmdline")).ok());
    lines.filter(|line| String::from_utf8_lossy(line).contains(text)).count()
}

/// Either server, as the tests use it.
trait Server: Sized + Sync {
    const DURABLE_SETTING: (&str, &str);
    fn start(lab: &Lab, spec: &DatabaseSpec) -> Self;
    fn database(&self) -> String;
    fn sql(&self, database: &str, sql: &str) -> std::io::Result<String>;
    fn kill(&self);
    fn restart(&self);
    fn folder(&self) -> PathBuf;
    fn pause(&self) -> ha_lab::PausedServer;
    fn port(&self) -> u16;
}

impl Server for PostgresServer {
    const DURABLE_SETTING: (&str, &str) = ("SHOW fsync", "on");
    fn start(lab: &Lab, spec: &DatabaseSpec) -> Self {
        lab.postgres("db", spec).unwrap()
    }
    fn database(&self) -> String {
        self.database().unwrap()
    }
    fn sql(&self, database: &str, sql: &str) -> std::io::Result<String> {
        self.sql(database, sql)
    }
    fn kill(&self) {
        self.kill();
    }
    fn restart(&self) {
        self.restart().unwrap();
    }
    fn folder(&self) -> PathBuf {
        self.socket_folder().to_path_buf()
    }
    fn pause(&self) -> ha_lab::PausedServer {
        self.pause().unwrap()
    }
    fn port(&self) -> u16 {
        self.port()
    }
}

impl Server for MariaDbServer {
    const DURABLE_SETTING: (&str, &str) = ("SELECT @@innodb_flush_log_at_trx_commit", "1");
    fn start(lab: &Lab, spec: &DatabaseSpec) -> Self {
        lab.mariadb("db", spec).unwrap()
    }
    fn database(&self) -> String {
        self.database().unwrap()
    }
    fn sql(&self, database: &str, sql: &str) -> std::io::Result<String> {
        self.sql(database, sql)
    }
    fn kill(&self) {
        self.kill();
    }
    fn restart(&self) {
        self.restart().unwrap();
    }
    fn folder(&self) -> PathBuf {
        self.socket().parent().unwrap().to_path_buf()
    }
    fn pause(&self) -> ha_lab::PausedServer {
        self.pause().unwrap()
    }
    fn port(&self) -> u16 {
        self.port()
    }
}

fn each_test_has_a_database_of_its_own<S: Server>() {
    let lab = lab();
    let server = S::start(&lab, &DatabaseSpec::default());
    let (one, other) = (server.database(), server.database());
    assert_ne!(one, other);
    server.sql(&one, "CREATE TABLE t (a int); INSERT INTO t VALUES (1)").unwrap();
    assert_eq!(server.sql(&one, "SELECT a FROM t").unwrap(), "1");
    let refused = server.sql(&other, "SELECT a FROM t").unwrap_err().to_string();
    assert!(refused.contains("exist"), "{refused}");
}

fn what_was_committed_survives_the_kill_of_a_durable_server<S: Server>() {
    let lab = lab();
    let server = S::start(&lab, &DatabaseSpec::default().durable());
    let database = server.database();
    let (setting, value) = S::DURABLE_SETTING;
    assert_eq!(server.sql(&database, setting).unwrap(), value);
    for round in 1..=3 {
        server
            .sql(&database, &format!("CREATE TABLE t{round} (a int); INSERT INTO t{round} VALUES ({round})"))
            .unwrap();
        server.kill();
        assert!(server.sql(&database, "SELECT 1").is_err(), "it was killed");
        server.restart();
        assert_eq!(server.sql(&database, &format!("SELECT a FROM t{round}")).unwrap(), round.to_string());
    }
}

fn a_paused_server_answers_only_after_it_goes_on<S: Server>() {
    let lab = lab();
    let server = S::start(&lab, &DatabaseSpec::default());
    let paused = server.pause();
    assert!(paused.processes() >= 1);
    std::thread::scope(|scope| {
        let asking =
            scope.spawn(|| server.sql(if S::DURABLE_SETTING.1 == "on" { "postgres" } else { "mysql" }, "SELECT 7"));
        // It is connected (the kernel does that), and has no answer.
        wait_for("the client's connection", || server_clients(&server.folder()) > 0);
        assert!(!asking.is_finished(), "a stopped server answers nothing");
        paused.resume();
        assert_eq!(asking.join().unwrap().unwrap(), "7");
    });
}

/// Clients whose command line names the folder of the server.
fn server_clients(folder: &Path) -> usize {
    let text = folder.display().to_string();
    let dirs = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = dirs.filter_map(|dir| std::fs::read(dir.path().join("cmdline")).ok());
    let lines = lines.map(|line| String::from_utf8_lossy(&line).into_owned());
    lines.filter(|line| line.contains(&text) && line.contains("SELECT 7")).count()
}

fn nothing_is_left_of_a_dropped_server<S: Server>() {
    let lab = lab();
    let server = S::start(&lab, &DatabaseSpec::default());
    let (folder, port) = (server.folder(), server.port());
    let name = folder.display().to_string();
    assert!(processes(&name) > 0);
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
    drop(server);
    assert!(!folder.exists());
    assert_eq!(processes(&name), 0);
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err());
}

fn a_setting_that_the_server_refuses_fails_loudly<S: Server>(refusal: impl Fn(&Lab) -> std::io::Error) {
    let said = refusal(&lab()).to_string();
    assert!(said.contains("no_such_setting") || said.contains("no-such-setting"), "{said}");
}

fn nothing_is_left_behind_after_kill_9<S: Server>(test: &str) {
    if std::env::var_os("HA_LAB_VICTIM").is_some() {
        let lab = lab();
        let server = S::start(&lab, &DatabaseSpec::default());
        println!("folder {}", server.folder().display());
        std::thread::sleep(Duration::from_secs(600));
        return;
    }
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env("HA_LAB_VICTIM", "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(victim.stdout.take().unwrap()).lines().map_while(Result::ok);
    let folder = lines.filter_map(|line| Some(line.split_once("folder ")?.1.to_string())).next().unwrap();
    assert!(processes(&folder) > 0);
    victim.kill().unwrap();
    victim.wait().unwrap();
    wait_for("the end of every process", || processes(&folder) == 0);
    wait_for("the end of the folder", || !Path::new(&folder).exists());
}

macro_rules! on_both {
    ($($test:ident),+ $(,)?) => {
        mod postgres {
            use super::*;
            $(#[test] fn $test() { super::$test::<PostgresServer>(); })+

            #[test]
            fn a_setting_that_the_server_refuses_fails_loudly() {
                let spec = DatabaseSpec::default().with_setting("no_such_setting=1");
                super::a_setting_that_the_server_refuses_fails_loudly::<PostgresServer>(|lab| lab.postgres("db", &spec).unwrap_err());
            }

            #[test]
            fn nothing_is_left_behind_after_kill_9() {
                super::nothing_is_left_behind_after_kill_9::<PostgresServer>("postgres::nothing_is_left_behind_after_kill_9");
            }
        }

        mod mariadb {
            use super::*;
            $(#[test] fn $test() { super::$test::<MariaDbServer>(); })+

            #[test]
            fn a_setting_that_the_server_refuses_fails_loudly() {
                let spec = DatabaseSpec::default().with_setting("no-such-setting=1");
                super::a_setting_that_the_server_refuses_fails_loudly::<MariaDbServer>(|lab| lab.mariadb("db", &spec).unwrap_err());
            }

            #[test]
            fn nothing_is_left_behind_after_kill_9() {
                super::nothing_is_left_behind_after_kill_9::<MariaDbServer>("mariadb::nothing_is_left_behind_after_kill_9");
            }
        }
    };
}

on_both! {
    each_test_has_a_database_of_its_own,
    what_was_committed_survives_the_kill_of_a_durable_server,
    a_paused_server_answers_only_after_it_goes_on,
    nothing_is_left_of_a_dropped_server,
}
