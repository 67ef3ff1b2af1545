//! The backend on real HAProxy. What HAProxy then does is read by another route: a raw socket.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::process::Command;
use std::time::{Duration, Instant};

use ha_core::backend::{
    Admin, Applied, Effect, ErrorKind, Expectations, Health, LoadBalancer, MemberRef, ObserveBalancer, SetAdmin,
    StepError,
};
use ha_core::state::{LeaseEpoch, MemberKind};
use ha_core::topology::Name;
use ha_haproxy::{Endpoint, HaProxy, HaProxyConfig};
use ha_lab::fake_carbon::{CarbonConfig, Relaunch};
use ha_lab::{HaProxyProcess, HaProxySpec, Lab, ServerSpec};
use tokio::time::sleep;

ha_lab::roles!();

const EPOCH: LeaseEpoch = LeaseEpoch::new(1);

fn member(pool: &str, name: &str) -> MemberRef {
    MemberRef::new(Name::new(pool).unwrap(), Name::new(name).unwrap())
}

fn set(name: &str, admin: Admin) -> SetAdmin {
    SetAdmin::new(member("esb", name), admin)
}

/// Starts HAProxy in front of one server that serves and one that does not exist.
fn start(lab: &Lab, level: &str) -> (HaProxyProcess, HaProxy) {
    let home = lab.carbon("esb1", CarbonConfig::new(0, "1.0")).unwrap();
    Command::new(home.path().join("bin/wso2server.sh")).arg("start").status().unwrap();
    let nobody = lab.free_port().unwrap();
    let servers = vec![ServerSpec::new("esb1", home.port()), ServerSpec::new("esb2", nobody).as_backup()];
    let mut spec = HaProxySpec::new("esb", servers);
    spec.level = level.into();
    let process = lab.haproxy("lb1", &spec).unwrap();
    let backend = HaProxy::new(HaProxyConfig::new(process.socket()));
    (process, backend)
}

fn lab() -> Lab {
    Lab::open(Relaunch::test().unwrap()).unwrap()
}

/// Reads `srv_admin_state` past the backend.
fn raw_admin_bits(process: &HaProxyProcess, server: &str) -> String {
    let table = process.ask("show servers state esb").unwrap();
    let line = table.lines().find(|line| line.split(' ').nth(3) == Some(server)).unwrap();
    line.split(' ').nth(6).unwrap().to_string()
}

async fn until_health(backend: &HaProxy, name: &str, wanted: Health) {
    for _ in 0..500 {
        if backend.member(&member("esb", name)).await.unwrap().health == wanted {
            return;
        }
        sleep(Duration::from_millis(20)).await;
    }
    panic!("{name} never was {wanted:?}");
}

fn assert_refused(error: &StepError, kind: ErrorKind, words: &str) {
    assert_eq!((error.kind(), error.effect()), (kind, Effect::None), "{error}");
    assert!(error.to_string().contains(words), "{error}");
}

#[tokio::test]
async fn every_administrative_state_is_set_and_read_back() {
    let lab = lab();
    let (process, backend) = start(&lab, "admin");
    for (admin, bits) in [(Admin::Drain, "8"), (Admin::Maint, "1"), (Admin::Ready, "0")] {
        assert_eq!(backend.set_admin(EPOCH, set("esb1", admin)).await.unwrap(), Applied::Applied);
        assert_eq!(raw_admin_bits(&process, "esb1"), bits, "{admin:?}");
        assert_eq!(backend.member(&member("esb", "esb1")).await.unwrap().admin, admin);
        assert_eq!(backend.set_admin(EPOCH, set("esb1", admin)).await.unwrap(), Applied::AlreadySo);
    }
}

/// Starts HAProxy with a master in front of a server that does not exist, and takes it out, for which older workers are looked for.
async fn start_with_master(lab: &Lab) -> (HaProxyProcess, HaProxy) {
    let servers = vec![ServerSpec::new("esb1", lab.free_port().unwrap())];
    let process = lab.haproxy("lb1", &HaProxySpec::new("esb", servers).with_master()).unwrap();
    let master = Endpoint::Unix(process.master_socket().unwrap().to_path_buf());
    let config = HaProxyConfig::new(process.socket()).with_master(master);
    let backend = HaProxy::new(config);
    backend.set_admin(EPOCH, set("esb1", Admin::Maint)).await.unwrap();
    backend.look(&member("esb", "esb1")).await.unwrap();
    (process, backend)
}

#[tokio::test]
async fn a_balancer_whose_process_has_ended_is_gone_and_one_that_is_back_answers() {
    let lab = lab();
    let (process, backend) = start_with_master(&lab).await;
    process.kill();
    for error in [
        backend.look(&member("esb", "esb1")).await.unwrap_err(),
        backend.member(&member("esb", "esb1")).await.unwrap_err(),
        backend.members(&Name::new("esb").unwrap()).await.unwrap_err(),
        backend.quiescence(&member("esb", "esb1")).await.unwrap_err(),
        backend.identify().await.unwrap_err(),
        backend.set_admin(EPOCH, set("esb1", Admin::Maint)).await.unwrap_err(),
    ] {
        assert_eq!((error.kind(), error.effect()), (ErrorKind::Gone, Effect::None), "{error}");
        assert!(error.to_string().contains("has ended"), "{error}");
    }
    process.restart().unwrap();
    assert_eq!(backend.look(&member("esb", "esb1")).await.unwrap().member.admin, Admin::Ready, "as configured");
}

/// Tells what a look at the member fails with.
async fn failure(backend: &HaProxy) -> ErrorKind {
    backend.look(&member("esb", "esb1")).await.unwrap_err().kind()
}

#[tokio::test]
async fn a_balancer_that_hangs_or_was_never_seen_is_not_called_gone() {
    let lab = lab();
    let (process, backend) = start_with_master(&lab).await;
    let frozen = process.pause().unwrap();
    assert_eq!(backend.member(&member("esb", "esb1")).await.unwrap_err().kind(), ErrorKind::Timeout);
    drop(frozen);
    backend.member(&member("esb", "esb1")).await.unwrap();
    process.kill();
    assert_eq!(failure(&backend).await, ErrorKind::Gone);
    // Another one, which has never seen it run, knows of no process that has ended.
    let master = Endpoint::Unix(process.master_socket().unwrap().to_path_buf());
    let other = HaProxy::new(HaProxyConfig::new(process.socket()).with_master(master));
    assert_eq!(failure(&other).await, ErrorKind::Unreachable);
}

#[tokio::test]
async fn without_a_master_no_instance_is_proven_gone() {
    let lab = lab();
    let (process, backend) = start(&lab, "admin");
    backend.look(&member("esb", "esb1")).await.unwrap();
    process.kill();
    assert_eq!(failure(&backend).await, ErrorKind::Unreachable);
}

#[tokio::test]
async fn over_tcp_no_instance_is_proven_gone() {
    let lab = lab();
    let servers = vec![ServerSpec::new("esb1", lab.free_port().unwrap())];
    let process = lab.haproxy("lb1", &HaProxySpec::new("esb", servers).with_master().with_tcp_admin()).unwrap();
    let backend = HaProxy::new(HaProxyConfig::at(Endpoint::Tcp(process.tcp_admin().unwrap().to_string())));
    backend.look(&member("esb", "esb1")).await.unwrap();
    process.kill();
    assert_eq!(failure(&backend).await, ErrorKind::Unreachable);
}

/// Returns the state of a process and its parent; `None` once it is not there.
fn process_of(pid: u32) -> Option<(char, u32)> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

fn parent_of(pid: u32) -> u32 {
    process_of(pid).unwrap().1
}

fn runs(pid: u32) -> bool {
    process_of(pid).is_some_and(|(state, _)| state != 'Z')
}

fn signal(pid: u32, signal: &str) {
    assert!(Command::new("kill").args([signal, &pid.to_string()]).status().unwrap().success());
}

/// A process that is stopped until this is dropped.
struct Stopped(u32);

impl Stopped {
    fn at_once(pid: u32) -> Self {
        signal(pid, "-STOP");
        Self(pid)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        signal(self.0, "-CONT");
    }
}

/// Ends one process alone.
async fn kill_one(pid: u32) {
    signal(pid, "-KILL");
    while runs(pid) {
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_balancer_whose_master_runs_is_not_gone_though_its_worker_has_ended() {
    let lab = lab();
    let (process, backend) = start_with_master(&lab).await;
    let worker = process.pid().unwrap();
    // Stopped, so that it neither ends nor starts another one.
    let master = Stopped::at_once(parent_of(worker));
    kill_one(worker).await;
    assert_eq!(failure(&backend).await, ErrorKind::Unreachable);
    drop(master);
}

#[tokio::test]
async fn a_balancer_that_runs_is_not_gone_though_its_sockets_are_removed() {
    let lab = lab();
    let (process, backend) = start_with_master(&lab).await;
    std::fs::remove_file(process.socket()).unwrap();
    std::fs::remove_file(process.master_socket().unwrap()).unwrap();
    assert_eq!(failure(&backend).await, ErrorKind::Unreachable);
    process.kill();
    assert_eq!(failure(&backend).await, ErrorKind::Gone);
}

#[tokio::test]
async fn a_balancer_that_was_reloaded_since_it_was_seen_is_gone_with_its_master_alone() {
    let lab = lab();
    let (process, backend) = start_with_master(&lab).await;
    process.reload().unwrap();
    // Nothing listens where it was asked, as after a reload that moves the socket.
    std::fs::remove_file(process.socket()).unwrap();
    assert_eq!(failure(&backend).await, ErrorKind::Unreachable);
    process.kill();
    assert_eq!(failure(&backend).await, ErrorKind::Gone);
}

#[tokio::test]
async fn a_worker_that_a_reload_has_left_with_a_request_ends_with_the_master() {
    let lab = lab();
    let home = lab.carbon("esb1", CarbonConfig::new(0, "1.0")).unwrap();
    Command::new(home.path().join("bin/wso2server.sh")).arg("start").status().unwrap();
    let spec = HaProxySpec::new("esb", vec![ServerSpec::new("esb1", home.port())]).with_master();
    let process = lab.haproxy("lb1", &spec).unwrap();
    let backend = HaProxy::new(HaProxyConfig::new(process.socket()));
    until_health(&backend, "esb1", Health::Up).await;
    let port = process.port();
    let request = tokio::spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        stream.write_all(b"GET /orders?ms=20000 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
        let _ = stream.read_to_end(&mut Vec::new()).await;
    });
    while backend.quiescence(&member("esb", "esb1")).await.unwrap().in_flight() == 0 {
        sleep(Duration::from_millis(5)).await;
    }
    let old = process.pid().unwrap();
    process.reload().unwrap();
    let current = process.pid().unwrap();
    assert!(runs(old) && old != current, "it has a request");
    let master = parent_of(current);
    // What ends the rest of a process that has ended is stopped: they end by themselves.
    let warden = Stopped::at_once(parent_of(master));
    kill_one(master).await;
    let killed = Instant::now();
    while runs(old) || runs(current) {
        assert!(killed.elapsed() < Duration::from_secs(1), "a worker outlives its master");
        sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(failure(&backend).await, ErrorKind::Gone);
    drop(warden);
    request.await.unwrap();
}

#[tokio::test]
async fn health_and_row_are_what_haproxy_itself_thinks() {
    let lab = lab();
    let (_process, backend) = start(&lab, "admin");
    until_health(&backend, "esb1", Health::Up).await;
    until_health(&backend, "esb2", Health::Down).await;
    assert_eq!(backend.member(&member("esb", "esb1")).await.unwrap().kind, MemberKind::Primary);
    assert_eq!(backend.member(&member("esb", "esb2")).await.unwrap().kind, MemberKind::Backup);
    // In DRAIN the status text hides a failing check; the figures do not.
    backend.set_admin(EPOCH, set("esb2", Admin::Drain)).await.unwrap();
    assert_eq!(backend.member(&member("esb", "esb2")).await.unwrap().health, Health::Down);
    backend.set_admin(EPOCH, set("esb2", Admin::Maint)).await.unwrap();
    assert_eq!(backend.member(&member("esb", "esb2")).await.unwrap().health, Health::Paused);
}

#[tokio::test]
async fn a_running_request_is_counted_until_it_ends() {
    let lab = lab();
    let (process, backend) = start(&lab, "admin");
    until_health(&backend, "esb1", Health::Up).await;
    let port = process.port();
    let request = tokio::spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        stream.write_all(b"GET /orders?ms=1500 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    });
    let esb1 = member("esb", "esb1");
    while backend.quiescence(&esb1).await.unwrap().in_flight() == 0 {
        sleep(Duration::from_millis(5)).await;
    }
    backend.set_admin(EPOCH, set("esb1", Admin::Drain)).await.unwrap();
    assert_eq!(backend.quiescence(&esb1).await.unwrap().in_flight(), 1, "drained, and still running");
    let answer = request.await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    while backend.quiescence(&esb1).await.unwrap().in_flight() > 0 {
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn unknown_names_are_refused_and_change_nothing() {
    let lab = lab();
    let (process, backend) = start(&lab, "admin");
    let error = backend.set_admin(EPOCH, set("esb9", Admin::Maint)).await.unwrap_err();
    assert_refused(&error, ErrorKind::NotFound, "no server esb9");
    let error = backend.set_admin(EPOCH, SetAdmin::new(member("crm", "esb1"), Admin::Maint)).await.unwrap_err();
    assert_refused(&error, ErrorKind::NotFound, "crm/esb1");
    let error = backend.quiescence(&member("esb", "esb9")).await.unwrap_err();
    assert_refused(&error, ErrorKind::NotFound, "esb9");
    assert_eq!(raw_admin_bits(&process, "esb1"), "0");
}

#[tokio::test]
async fn a_socket_that_is_missing_or_not_allowed_to_write_is_named() {
    let lab = lab();
    let nowhere = HaProxy::new(HaProxyConfig::new(lab.path().join("nowhere.sock")));
    let error = nowhere.set_admin(EPOCH, set("esb1", Admin::Maint)).await.unwrap_err();
    assert_refused(&error, ErrorKind::Unreachable, "is HAProxy running");
    for level in ["user", "operator"] {
        let own = Lab::open(Relaunch::test().unwrap()).unwrap();
        let (process, backend) = start(&own, level);
        let error = backend.set_admin(EPOCH, set("esb1", Admin::Maint)).await.unwrap_err();
        assert_refused(&error, ErrorKind::Denied, "ermission denied");
        if level == "operator" {
            assert_eq!(raw_admin_bits(&process, "esb1"), "0", "{level}");
        }
    }
}

#[tokio::test]
async fn a_frozen_haproxy_ends_in_a_timeout_and_not_in_a_hang() {
    let lab = lab();
    let (process, _) = start(&lab, "admin");
    let config = HaProxyConfig::new(process.socket()).with_deadline(Duration::from_millis(300));
    let backend = HaProxy::new(config);
    // Stopped for certain: one that still stops may answer the read, and then the write is unknown.
    let frozen = process.pause().unwrap();
    let error = backend.set_admin(EPOCH, set("esb1", Admin::Maint)).await.unwrap_err();
    // The read before the write did not answer: nothing was written.
    assert_refused(&error, ErrorKind::Timeout, "may hang");
    drop(frozen);
    assert_eq!(raw_admin_bits(&process, "esb1"), "0");
    assert_eq!(backend.set_admin(EPOCH, set("esb1", Admin::Drain)).await.unwrap(), Applied::Applied);
}

#[tokio::test]
async fn another_process_is_another_generation() {
    let lab = lab();
    let (first, backend) = start(&lab, "admin");
    let instance = backend.identify().await.unwrap();
    assert!(instance.version.starts_with("HAProxy "), "{instance:?}");
    assert_eq!(backend.identify().await.unwrap(), instance);
    let own = Lab::open(Relaunch::test().unwrap()).unwrap();
    let (_second, other) = start(&own, "admin");
    assert_ne!(other.identify().await.unwrap().generation, instance.generation);
    drop(first);
}

#[tokio::test]
async fn a_backend_that_runs_with_a_members_server_and_is_not_declared_is_told_once() {
    let lab = lab();
    let [one, two, other] = [(); 3].map(|()| lab.free_port().unwrap());
    let servers = vec![ServerSpec::new("esb1", one), ServerSpec::new("esb2", two)];
    let spec = HaProxySpec::new("esb", servers)
        .with_pool("mgmt", vec![ServerSpec::new("console1", one)])
        .with_pool("ws", vec![ServerSpec::new("esb2", other)])
        .with_pool("crm", vec![ServerSpec::new("crm1", other)]);
    let process = lab.haproxy("lb1", &spec).unwrap();
    let name = |text: &str| Name::new(text).unwrap();
    let expect = Expectations::new(name("esb"), Duration::from_secs(1)).with_members(vec![name("esb1"), name("esb2")]);
    let told = |config: HaProxyConfig, expect: Expectations| async move {
        let config_findings = HaProxy::new(config).config_findings(&expect).await.unwrap();
        let about = config_findings.into_iter().filter(|concern| concern.message.contains("left-out"));
        about.map(|concern| (concern.is_danger, concern.message)).collect::<Vec<_>>()
    };
    let plain = HaProxyConfig::new(process.socket());
    let found = told(plain.clone(), expect.clone()).await;
    assert!(found.iter().all(|(danger, _)| *danger) && found.len() == 2, "{found:?}");
    assert!(
        found[0].1.starts_with("backend mgmt: server console1 has the address and port of member esb1"),
        "{found:?}"
    );
    assert!(found[1].1.starts_with("backend ws: server esb2 has the name of member esb2"), "{found:?}");
    let declared = expect.clone().with_declared(vec![name("mgmt"), name("ws")]);
    assert_eq!(told(plain.clone(), declared).await, []);
    assert_eq!(
        told(plain, Expectations::new(name("esb"), Duration::from_secs(1))).await,
        [],
        "nothing known of members"
    );
    // The file tells the same, with its line; only what the running process has besides is added to it.
    let (file, text) = (lab.path().join("lint.cfg"), "backend esb\n server esb1 127.0.0.1:");
    std::fs::write(&file, format!("{text}{one} check\nbackend mgmt\n server console1 127.0.0.1:{one} check\n"))
        .unwrap();
    let mut with_file = HaProxyConfig::new(process.socket());
    with_file.config_files = vec![file];
    let found = told(with_file.clone(), expect.clone()).await;
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].1.contains("line 4: backend mgmt: server console1: danger"), "{found:?}");
    with_file.accept = vec!["left-out".into()];
    assert_eq!(told(with_file, expect).await, []);
}
