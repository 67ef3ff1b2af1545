//! Load on real HAProxy and real servers: what clients lose is counted, whatever kind of request it was.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ha_lab::fake_carbon::{CarbonConfig, CarbonHome, Relaunch};
use ha_lab::load::{Class, FailureKind, Load, RunningLoad, Saturate, double_executions};
use ha_lab::{HaProxyProcess, HaProxySpec, Lab, ServerSpec};
use tokio::time::sleep;

ha_lab::roles!();

/// Two servers: the release of `esb1` is 1.1, that of `esb2` is 1.2.
struct Cluster {
    lab: Lab,
    homes: Vec<CarbonHome>,
}

impl Cluster {
    fn start() -> Self {
        let lab = Lab::open(Relaunch::test().unwrap()).unwrap();
        let install = |(name, release)| {
            let home = lab.carbon(name, CarbonConfig::fast(release)).unwrap();
            home.start().unwrap();
            home
        };
        let homes = [("esb1", "1.1"), ("esb2", "1.2")].map(install).into();
        Self { lab, homes }
    }

    fn spec(&self) -> HaProxySpec {
        let row = |(name, home): (&str, &CarbonHome)| ServerSpec::new(name, home.port());
        HaProxySpec::new("esb", ["esb1", "esb2"].into_iter().zip(&self.homes).map(row).collect()).without_checks()
    }

    fn haproxy(&self) -> HaProxyProcess {
        self.lab.haproxy("lb1", &self.spec()).unwrap()
    }

    fn double_executions(&self) -> u64 {
        double_executions(&self.homes.iter().map(CarbonHome::request_log).collect::<Vec<_>>()).unwrap()
    }
}

fn every_class(load: Load) -> Load {
    load.with_class(Class::new("/orders", "orders ", 20))
        .with_class(Class::new("/orders?ms=20", "orders ", 5).as_post("a=1"))
        .with_class(Class::new("/orders", "orders ", 5).closing())
        .with_class(Class::new("/stream?ms=200", "stream ", 2))
        .with_class(Class::new("/echo", "echo ", 2).upgraded_for(Duration::from_millis(200)))
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < until, "waited in vain for: {what}");
        sleep(Duration::from_millis(2)).await;
    }
}

async fn until_sent(load: &RunningLoad, more: u64) {
    let already = load.snapshot().ok;
    until("answers", || load.snapshot().ok >= already + more).await;
}

/// Reads a figure of the server's row.
fn figure(haproxy: &HaProxyProcess, server: &str, name: &str) -> u64 {
    let stat = haproxy.ask("show stat esb 6 -1").unwrap();
    let column = stat.lines().next().unwrap().split(',').position(|column| column == name).unwrap();
    let row = stat.lines().find(|line| line.split(',').nth(1) == Some(server)).unwrap();
    row.split(',').nth(column).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_of_request_passes_a_pair_of_haproxys_without_a_failure() {
    let cluster = Cluster::start();
    let [lb1, lb2] = cluster.lab.haproxy_pair(&cluster.spec()).unwrap();
    let load = every_class(Load::new(lb1.address(), 400).with_address(lb2.address()).with_limit(340));
    let report = load.start().unwrap().finish().await;
    assert_eq!((report.counts.failed.clone(), report.counts.ok), (BTreeMap::new(), 340));
    assert_eq!(report.counts.by_release.keys().collect::<Vec<_>>(), ["1.1", "1.2"]);
    for haproxy in [lb1, lb2] {
        assert!(figure(&haproxy, "BACKEND", "stot") >= 150, "both had their part");
    }
    let begun: usize = cluster.homes.iter().map(|home| home.requests().unwrap().begun.len()).sum();
    assert_eq!((begun, cluster.double_executions()), (340, 0));
    let ended = || cluster.homes.iter().all(|home| home.requests().unwrap().unfinished().is_empty());
    until("the end of every request in the servers' logs", ended).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_cuts_streams_and_upgraded_connections_where_the_client_sees_it() {
    let cluster = Cluster::start();
    let address = SocketAddr::from(([127, 0, 0, 1], cluster.homes[0].port()));
    let long = Duration::from_secs(30);
    let load = Load::new(address, 200)
        .with_class(Class::new("/stream?ms=30000", "stream ", 1))
        .with_class(Class::new("/echo", "echo ", 1).upgraded_for(long))
        .with_class(Class::new("/orders?ms=30000", "orders ", 1).as_post("a=1"))
        .with_limit(6);
    let load = load.start().unwrap();
    until("the requests at the server", || cluster.homes[0].requests().unwrap().begun.len() == 6).await;
    // The server has one thread: when a later request is answered, the answers of streams and upgrades have begun.
    let later = Load::new(address, 100).with_class(Class::new("/orders", "orders ", 1)).with_limit(5);
    assert_eq!(later.start().unwrap().finish().await.counts.ok, 5);
    assert!(cluster.homes[0].kill().unwrap());
    let failed = load.finish().await.counts.failed;
    let cut = |kind| failed.get(&kind).copied().unwrap_or(0);
    let (whole, before) = (cut(FailureKind::Truncated), cut(FailureKind::EofBeforeAnswer));
    assert_eq!(whole + before + cut(FailureKind::Reset), 6, "{failed:?}");
    assert!(whole >= 1 && before >= 1, "{failed:?}");
    assert_eq!(cluster.homes[0].requests().unwrap().unfinished().len(), 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn saturating_clients_see_a_server_die_and_see_nothing_when_it_was_emptied_first() {
    let cluster = Cluster::start();
    let haproxy = cluster.haproxy();
    let saturate = || Saturate::new(haproxy.address()).with_class(Class::new("/orders?ms=1", "orders ", 1));
    let load = saturate().start().unwrap();
    until_sent(&load, 200).await;
    cluster.homes[0].kill().unwrap();
    until("a failure", || load.snapshot().failures() > 0).await;
    let report = load.stop().await;
    assert_eq!(report.counts.sent, report.counts.ok + report.counts.failures());

    cluster.homes[0].start().unwrap();
    let load = saturate().start().unwrap();
    until_sent(&load, 200).await;
    haproxy.ask("set server esb/esb1 state drain").unwrap();
    for times in 0..2 {
        until("idle", || figure(&haproxy, "esb1", "scur") == 0).await;
        assert!(times < 2);
    }
    haproxy.ask("set server esb/esb1 state maint").unwrap();
    until("an empty pool", || figure(&haproxy, "esb1", "srv_icur") == 0).await;
    let before = cluster.homes[0].requests().unwrap();
    until_sent(&load, 200).await;
    assert_eq!(cluster.homes[0].requests().unwrap().begun_since(&before), Vec::<String>::new());
    cluster.homes[0].kill().unwrap();
    until_sent(&load, 200).await;
    let report = load.stop().await;
    assert_eq!(report.counts.failed, BTreeMap::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_with_cookies_stay_on_their_server_until_maintenance_moves_them() {
    let cluster = Cluster::start();
    let haproxy = cluster.lab.haproxy("lb1", &cluster.spec().with_cookie()).unwrap();
    let class = || Class::new("/orders?ms=1", "orders ", 1);
    let closed = || Saturate::new(haproxy.address()).with_clients(8).with_cookies().with_class(class()).start();
    let open = || Load::new(haproxy.address(), 200).with_cookie_clients(8).with_class(class()).start();
    for start in [&closed as &dyn Fn() -> std::io::Result<RunningLoad>, &open] {
        let load = start().unwrap();
        until_sent(&load, 100).await;
        haproxy.ask("set server esb/esb1 state drain").unwrap();
        let drained = cluster.homes[0].requests().unwrap();
        until_sent(&load, 100).await;
        assert!(!cluster.homes[0].requests().unwrap().begun_since(&drained).is_empty(), "drain moves nobody");
        assert_eq!(load.snapshot().moved, 0);
        haproxy.ask("set server esb/esb1 state maint").unwrap();
        until("clients that were moved", || load.snapshot().moved > 0).await;
        assert_eq!(load.stop().await.counts.failed, BTreeMap::new());
        haproxy.ask("set server esb/esb1 state ready").unwrap();
    }
}
