//! The lab's HAProxy does what a test asks of it: it is reloaded, paused, killed, started anew, and never left behind.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use ha_lab::fake_carbon::{CarbonConfig, CarbonHome, Relaunch};
use ha_lab::{HaProxyProcess, HaProxySpec, Lab, ServerSpec};

ha_lab::roles!();

fn lab() -> Lab {
    Lab::open(Relaunch::test().unwrap()).unwrap()
}

fn server(lab: &Lab, name: &str) -> CarbonHome {
    let home = lab.carbon(name, CarbonConfig::fast("1.0")).unwrap();
    home.start().unwrap();
    home
}

fn row(home: &CarbonHome) -> ServerSpec {
    ServerSpec::new("esb1", home.port())
}

/// A row that nobody serves.
fn nobody(lab: &Lab, name: &str) -> ServerSpec {
    ServerSpec::new(name, lab.free_port().unwrap())
}

fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < until, "waited in vain for: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Processes that belong to the lab in this folder.
fn processes(lab: &str) -> usize {
    let dirs = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = dirs.filter_map(|dir| std::fs::read(dir.path().join("cmdline")).ok());
    lines.filter(|line| String::from_utf8_lossy(line).contains(lab)).count()
}

fn send(port: u16, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    stream
}

fn answer(mut stream: TcpStream) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

fn admin_state(process: &HaProxyProcess, server: &str) -> String {
    let table = process.ask("show servers state").unwrap();
    let line = table.lines().find(|line| line.split(' ').nth(3) == Some(server)).unwrap();
    line.split(' ').nth(6).unwrap().to_string()
}

#[test]
fn a_reload_of_a_master_leaves_the_old_worker_with_its_requests() {
    let lab = lab();
    let home = server(&lab, "esb1");
    let spec = HaProxySpec::new("esb", vec![row(&home)]).without_checks().with_master().with_tcp_admin();
    let haproxy = lab.haproxy("lb1", &spec).unwrap();
    let before = haproxy.worker_pids().unwrap();
    assert_eq!((before.current.clone(), before.old.len()), (vec![haproxy.pid().unwrap()], 0));
    let slow = send(haproxy.port(), "/orders?ms=1000");
    wait_for("the request at the server", || !home.requests().unwrap().begun.is_empty());

    haproxy.reload().unwrap();

    let after = haproxy.worker_pids().unwrap();
    assert_ne!(haproxy.pid().unwrap(), before.current[0]);
    assert_eq!((after.current, after.old), (vec![haproxy.pid().unwrap()], before.current.clone()));
    let old = haproxy.ask_master(&format!("@!{} show stat esb 4 -1", before.current[0])).unwrap();
    assert!(old.contains("esb,esb1,0,0,1,"), "the old worker still has a session: {old}");
    assert!(answer(slow).starts_with("HTTP/1.1 200"));
    wait_for("the old worker's end", || haproxy.worker_pids().unwrap().old.is_empty());
}

#[test]
fn a_reload_without_a_master_hands_over_and_leaves_the_old_process_with_its_requests() {
    let lab = lab();
    let home = server(&lab, "esb1");
    let haproxy = lab.haproxy("lb1", &HaProxySpec::new("esb", vec![row(&home)]).without_checks()).unwrap();
    let old = haproxy.pid().unwrap();
    let slow = send(haproxy.port(), "/orders?ms=1000");
    wait_for("the request at the server", || !home.requests().unwrap().begun.is_empty());
    haproxy.reload().unwrap();
    let workers = haproxy.worker_pids().unwrap();
    assert_eq!((workers.current, workers.old), (vec![haproxy.pid().unwrap()], vec![old]));
    assert!(answer(slow).starts_with("HTTP/1.1 200"));
    wait_for("the old process's end", || haproxy.worker_pids().unwrap().old.is_empty());
}

#[test]
fn a_configuration_that_haproxy_refuses_is_told_and_the_old_worker_goes_on() {
    let lab = lab();
    let good = HaProxySpec::new("esb", vec![nobody(&lab, "esb1")]).without_checks();
    for (name, good) in [("lb1", good.clone()), ("lb2", good.with_master())] {
        let bad = good.clone().with_global_line("no-such-word");
        assert!(lab.haproxy(&format!("{name}-bad"), &bad).unwrap_err().to_string().contains("no-such-word"));
        let haproxy = lab.haproxy(name, &good).unwrap();
        let pid = haproxy.pid().unwrap();
        let error = haproxy.reload_with(&bad).unwrap_err();
        assert!(error.to_string().contains("no-such-word"), "{error}");
        assert_eq!(haproxy.pid().unwrap(), pid, "{name}");
        haproxy.reload_with(&good).unwrap();
        assert_ne!(haproxy.pid().unwrap(), pid, "{name}");
    }
}

#[test]
fn a_reload_forgets_maintenance_unless_the_state_was_saved() {
    let lab = lab();
    let spec = HaProxySpec::new("esb", vec![nobody(&lab, "esb1")]).without_checks().with_master().with_state_file();
    let haproxy = lab.haproxy("lb1", &spec).unwrap();
    haproxy.ask("set server esb/esb1 state maint").unwrap();
    haproxy.save_state().unwrap();
    haproxy.reload().unwrap();
    assert_eq!(admin_state(&haproxy, "esb1"), "1");
    haproxy.reload_with(&HaProxySpec::new("esb", spec.servers).without_checks().with_master()).unwrap();
    assert_eq!(admin_state(&haproxy, "esb1"), "0");
}

#[test]
fn a_paused_worker_answers_nothing_and_executes_what_came_meanwhile_once_it_goes_on() {
    let lab = lab();
    let spec = HaProxySpec::new("esb", vec![nobody(&lab, "esb1")]).without_checks().with_master();
    let haproxy = lab.haproxy("lb1", &spec).unwrap();
    let paused = haproxy.pause().unwrap();
    assert_eq!(vec![paused.pid()], haproxy.worker_pids().unwrap().current);
    let mut hasty = UnixStream::connect(haproxy.socket()).unwrap();
    hasty.write_all(b"set server esb/esb1 state maint\n").unwrap();
    hasty.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    assert!(hasty.read(&mut [0]).is_err(), "nobody answers");
    drop(hasty);
    paused.resume();
    wait_for("the command that was given up", || admin_state(&haproxy, "esb1") == "1");
}

#[test]
fn a_paused_worker_goes_on_after_a_panic_of_the_test() {
    let lab = lab();
    let haproxy = lab.haproxy("lb1", &HaProxySpec::new("esb", vec![nobody(&lab, "esb1")]).without_checks()).unwrap();
    let pid = haproxy.pid().unwrap();
    let panicked = std::thread::scope(|scope| {
        let test = scope.spawn(|| {
            let _paused = haproxy.pause().unwrap();
            std::panic::resume_unwind(Box::new("a failed assertion"));
        });
        test.join().is_err()
    });
    assert!(panicked);
    assert_eq!(haproxy.pid().unwrap(), pid);
}

#[test]
fn a_killed_haproxy_comes_back_at_the_same_places() {
    let lab = lab();
    let spec = HaProxySpec::new("esb", vec![nobody(&lab, "esb1")]).without_checks().with_master().with_tcp_admin();
    let haproxy = lab.haproxy("lb1", &spec).unwrap();
    let old = haproxy.pid().unwrap();
    haproxy.kill();
    assert!(TcpStream::connect(haproxy.address()).is_err());
    assert!(haproxy.pid().is_err() && haproxy.socket().exists(), "the socket's file stays behind");
    assert!(haproxy.reload().is_err());
    haproxy.restart().unwrap();
    assert_ne!(haproxy.pid().unwrap(), old);
    assert!(TcpStream::connect(haproxy.address()).is_ok());
    assert!(TcpStream::connect(haproxy.tcp_admin().unwrap()).is_ok());
    assert!(haproxy.ask_master("show proc").unwrap().contains("worker"));
}

#[test]
fn every_option_of_a_spec_is_one_that_haproxy_takes() {
    let lab = lab();
    let rows = || {
        let first = nobody(&lab, "esb1").with_weight(100).with_words("maxconn 7");
        vec![first, nobody(&lab, "esb2").as_backup().held_out()]
    };
    let spec = HaProxySpec::new("esb", rows())
        .with_pool("crm", vec![nobody(&lab, "crm1").tracking("esb/esb1")])
        .checking("/health")
        .with_checks_every(Duration::from_millis(200), 3, 4)
        .with_level("operator")
        .with_master()
        .with_tcp_admin()
        .with_retries(2)
        .with_redispatch()
        .with_reuse("always")
        .with_balance("leastconn")
        .with_cookie()
        .with_stick_on_source()
        .ending_sessions_when_down()
        .with_state_file()
        .with_hard_stop_after(Duration::from_secs(1))
        .with_cli_connections(20)
        .with_global_line("nbthread 1")
        .with_defaults_line("timeout check 300ms")
        .with_backend_line("fullconn 100");
    let haproxy = lab.haproxy("lb1", &spec).unwrap();
    let stat = haproxy.ask("show stat").unwrap();
    for row in ["esb,esb1,", "esb,esb2,", "crm,crm1,", "crm,BACKEND,"] {
        assert!(stat.contains(row), "{stat}");
    }
    let printed = std::fs::read_to_string(lab.path().join("lb1/haproxy.log")).unwrap();
    assert!(!printed.contains("parsing [") && !printed.contains("config :"), "{printed}");
    let tcp = HaProxySpec::new("db", rows()).in_tcp_mode().with_tcp_checks_only().with_cookie().with_reuse("never");
    lab.haproxy("lb2", &tcp).unwrap();
}

#[test]
fn requests_reach_the_backend_that_their_path_names() {
    let lab = lab();
    let home = server(&lab, "crm1");
    let spec = HaProxySpec::new("esb", vec![nobody(&lab, "esb1")]).without_checks();
    let pair = lab.haproxy_pair(&spec.with_pool("crm", vec![row(&home)])).unwrap();
    for haproxy in pair {
        assert!(answer(send(haproxy.port(), "/crm/customers")).contains("crm/customers 1.0"));
        assert!(answer(send(haproxy.port(), "/orders")).starts_with("HTTP/1.1 503"));
    }
}

#[test]
fn a_warden_does_not_depend_on_a_pipe_that_nobody_reads() {
    let lab = lab();
    let haproxy = lab.haproxy("lb1", &HaProxySpec::new("esb", vec![nobody(&lab, "esb1")]).without_checks()).unwrap();
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", haproxy.pid().unwrap())).unwrap();
    let warden = stat.rsplit_once(") ").unwrap().1.split(' ').nth(1).unwrap();
    wait_for("its output in the log", || {
        std::fs::read_link(format!("/proc/{warden}/fd/1")).unwrap() == lab.path().join("lb1/haproxy.log")
    });
}

const VICTIM: &str = "HA_LAB_MASTER_VICTIM";

#[test]
fn no_worker_is_left_behind_after_kill_9_of_the_test_whatever_state_it_is_in() {
    if std::env::var_os(VICTIM).is_some() {
        return victim();
    }
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "no_worker_is_left_behind_after_kill_9_of_the_test_whatever_state_it_is_in", "--nocapture"])
        .env(VICTIM, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(victim.stdout.take().unwrap()).lines();
    let lab = lines.map_while(Result::ok).find_map(|line| line.split("lab at ").nth(1).map(str::to_string)).unwrap();
    assert!(processes(&lab) >= 5, "a server, a master, two workers, a paused one: {}", processes(&lab));
    victim.kill().unwrap();
    victim.wait().unwrap();
    wait_for("the end of all that the lab had started", || processes(&lab) == 0);
    let _ = std::fs::remove_dir_all(lab);
}

fn victim() {
    let lab = lab();
    let home = server(&lab, "esb1");
    let frozen = server(&lab, "esb2");
    let spec = HaProxySpec::new("esb", vec![row(&home)]).without_checks();
    let reloaded = lab.haproxy("lb1", &spec.clone().with_master()).unwrap();
    let _slow = send(reloaded.port(), "/orders?ms=60000");
    wait_for("the request at the server", || !home.requests().unwrap().begun.is_empty());
    reloaded.reload().unwrap();
    let paused = lab.haproxy("lb2", &spec.with_master()).unwrap();
    let guards = (paused.pause().unwrap(), frozen.freeze().unwrap());
    println!("lab at {}", lab.path().display());
    std::thread::sleep(Duration::from_secs(60));
    drop(guards);
}
