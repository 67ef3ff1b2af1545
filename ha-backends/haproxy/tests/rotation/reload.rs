use std::time::Duration;

use ha_core::backend::{Admin, Completeness, ObserveBalancer};
use ha_core::engine::rotate;
use ha_core::machine::rotation::{Goal, Outcome, RotationPolicy};
use ha_lab::HaProxySpec;
use ha_lab::fake_carbon::CarbonConfig;
use ha_lab::load::{Class, Load};

use super::{BACK, Cluster, DRAINED, EPOCH, a_while, member, places, policy, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_older_worker_still_serves_after_a_reload_is_waited_for() {
    let cluster = Cluster::start(1, CarbonConfig::fast("1"), HaProxySpec::with_master).await;
    let load = cluster.mixed_load();
    a_while(&load, 300).await;
    cluster.lbs[0].reload().unwrap();
    let figures = cluster.driver(0).quiescence(&member("esb1")).await.unwrap();
    if ha_lab::haproxy_version().unwrap() < (2, 5) {
        // Its older workers list no servers: that is said, and their requests are given the longest one's time.
        assert_eq!((figures.completeness, figures.older_sessions), (Completeness::OlderGenerationsInvisible, 0));
    } else {
        assert_eq!(figures.completeness, Completeness::Proven);
        assert!(figures.older_sessions > 0, "{figures:?}");
    }
    assert_eq!(cluster.take_out("esb1").await, DRAINED);
    cluster.replace(0);
    assert_eq!(cluster.put_back("esb1").await, BACK);
    a_while(&load, 150).await;
    let report = load.stop().await;
    assert_eq!(report.counts.failures(), 0, "{:?}", report.counts);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_master_socket_a_young_worker_is_not_believed_idle_and_nothing_is_taken_out() {
    let cluster = Cluster::start(1, CarbonConfig::fast("1"), |spec| spec).await;
    let load = Load::new(cluster.lbs[0].address(), 50)
        .with_class(Class::new("/orders?ms=4000", "orders ", 1))
        .with_limit(20)
        .start()
        .unwrap();
    until(|| async { load.snapshot().sent == 20 }).await;
    cluster.lbs[0].reload().unwrap();
    // The new worker says that nothing runs; the old one, which cannot be asked, serves twenty requests.
    let figures = cluster.driver(0).quiescence(&member("esb1")).await.unwrap();
    assert_eq!((figures.in_flight(), figures.completeness), (0, Completeness::OlderGenerationsInvisible));
    let short = RotationPolicy::new(Duration::from_secs(1)).with_longest_request(Duration::from_secs(60));
    let outcome = rotate(EPOCH, &places(&cluster.drivers(), "esb1"), Goal::Out, short).await;
    assert!(matches!(&outcome, Outcome::Restored { why, .. } if why.contains("master")), "{outcome:?}");
    assert_eq!(cluster.admin(0, "esb1").await, Admin::Ready);
    // Control: believed, and killed.
    assert!(cluster.homes[0].kill().unwrap());
    let report = load.finish().await;
    assert!(report.counts.failures() > 0, "the meter sees nothing: {:?}", report.counts);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_while_the_server_drains_is_noticed_and_loses_nothing() {
    let cluster = Cluster::start(1, CarbonConfig::fast("1"), HaProxySpec::with_master).await;
    let load = cluster.mixed_load();
    a_while(&load, 300).await;
    let drivers = cluster.drivers();
    let out = tokio::spawn(async move { rotate(EPOCH, &places(&drivers, "esb1"), Goal::Out, policy()).await });
    until(|| async { cluster.admin(0, "esb1").await == Admin::Drain }).await;
    cluster.lbs[0].reload().unwrap();
    assert_eq!(out.await.unwrap(), DRAINED);
    assert_eq!(cluster.admin(0, "esb1").await, Admin::Maint);
    cluster.replace(0);
    assert_eq!(cluster.put_back("esb1").await, BACK);
    let report = load.stop().await;
    assert_eq!(report.counts.failures(), 0, "{:?}", report.counts);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_a_reload_brought_back_is_held_out_again_at_once() {
    let cluster = Cluster::start(1, CarbonConfig::fast("1"), HaProxySpec::with_master).await;
    let load = cluster.mixed_load();
    a_while(&load, 150).await;
    assert_eq!(cluster.take_out("esb1").await, DRAINED);
    let before = cluster.driver(0).identify().await.unwrap();
    cluster.lbs[0].reload().unwrap();
    assert_ne!(cluster.driver(0).identify().await.unwrap().generation, before.generation, "the generation tells");
    assert_eq!(cluster.admin(0, "esb1").await, Admin::Ready, "the reload forgot");
    let outcome = rotate(EPOCH, &places(&cluster.drivers(), "esb1"), Goal::HeldOut, policy()).await;
    assert_eq!(outcome, DRAINED);
    assert_eq!(cluster.admin(0, "esb1").await, Admin::Maint);
    // The server is healthy here, so what came to it meanwhile was served.
    let report = load.stop().await;
    assert_eq!(report.counts.failures(), 0, "{:?}", report.counts);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_after_every_cycle_loses_nothing() {
    let cluster = Cluster::start(1, CarbonConfig::fast("1"), HaProxySpec::with_master).await;
    let load = cluster.mixed_load();
    for cycle in 0..4 {
        let (server, name) = if cycle % 2 == 0 { (0, "esb1") } else { (1, "esb2") };
        a_while(&load, 150).await;
        assert_eq!(cluster.take_out(name).await, DRAINED, "cycle {cycle}");
        cluster.replace(server);
        assert_eq!(cluster.put_back(name).await, BACK, "cycle {cycle}");
        cluster.lbs[0].reload().unwrap();
    }
    let report = load.stop().await;
    ha_testkit::figures!(
        "4 cycles with a reload after each: {} requests, {} failed",
        report.counts.sent,
        report.counts.failures()
    );
    assert_eq!(report.counts.failures(), 0, "{:?}", report.counts);
}
