use std::time::Duration;

use ha_core::backend::Admin;
use ha_core::engine::rotate;
use ha_core::machine::rotation::{AtDeadline, DrainOutcome, Goal, Outcome, RotationPolicy};
use ha_lab::ServerSpec;
use ha_lab::fake_carbon::CarbonConfig;

use super::{BACK, Cluster, DRAINED, EPOCH, a_while, places, policy};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_with_slow_streamed_and_upgraded_requests_in_flight_is_replaced_without_a_failure() {
    let cluster = Cluster::start(1, CarbonConfig::fast("1"), |spec| spec).await;
    let load = cluster.mixed_load();
    a_while(&load, 300).await;
    assert_eq!(cluster.take_out("esb1").await, DRAINED);
    cluster.replace(0);
    assert_eq!(cluster.put_back("esb1").await, BACK);
    a_while(&load, 150).await;
    let report = load.stop().await;
    assert_eq!(report.counts.failures(), 0, "{:?}", report.counts);
    ha_testkit::figures!(
        "take-out with slow, streamed and upgraded requests: {} requests, 0 failed",
        report.counts.sent
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn control_a_drain_that_is_not_waited_for_loses_requests() {
    let cluster = Cluster::start(1, CarbonConfig::fast("1"), |spec| spec).await;
    let load = cluster.mixed_load();
    a_while(&load, 300).await;
    cluster.raw(0, "set server esb/esb1 state drain");
    assert!(cluster.homes[0].kill().unwrap());
    let report = load.stop().await;
    assert!(report.counts.failures() > 0, "the meter sees nothing: {:?}", report.counts);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_active_server_and_its_backup_change_places_both_ways_without_a_failure() {
    let cluster = Cluster::with_rows(1, CarbonConfig::fast("1"), ServerSpec::as_backup, |spec| spec).await;
    let load = cluster.mixed_load();
    a_while(&load, 150).await;
    for name in ["esb1", "esb2"] {
        let served = cluster.homes[1].requests().unwrap();
        assert_eq!(cluster.take_out(name).await, DRAINED, "{name}");
        a_while(&load, 150).await;
        if name == "esb1" {
            assert!(!cluster.homes[1].requests().unwrap().begun_since(&served).is_empty(), "the backup serves");
        }
        cluster.replace(usize::from(name == "esb2"));
        assert_eq!(cluster.put_back(name).await, BACK, "{name}");
    }
    let report = load.stop().await;
    assert_eq!(report.counts.failures(), 0, "{:?}", report.counts);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_usable_server_is_refused_before_any_command() {
    let cluster = Cluster::start(1, CarbonConfig::fast("1"), |spec| spec).await;
    assert_eq!(cluster.take_out("esb2").await, DRAINED);
    let outcome = cluster.take_out("esb1").await;
    assert!(matches!(&outcome, Outcome::Restored { why, .. } if why.contains("last usable server")), "{outcome:?}");
    assert_eq!(cluster.admin(0, "esb1").await, Admin::Ready);
    // Control: HAProxy itself says well, and has no server left.
    cluster.raw(0, "set server esb/esb1 state drain");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_was_configured_as_disabled_counts_as_usable_once_it_is_ready() {
    // The bit 0x04 stays, and means nothing.
    let disabled = |row: ServerSpec| row.with_words("disabled");
    let lab = ha_lab::Lab::open(ha_lab::fake_carbon::Relaunch::test().unwrap()).unwrap();
    let homes = ["esb1", "esb2"].map(|name| lab.carbon(name, CarbonConfig::fast("1")).unwrap());
    homes.iter().for_each(|home| home.start().unwrap());
    let rows = vec![ServerSpec::new("esb1", homes[0].port()), disabled(ServerSpec::new("esb2", homes[1].port()))];
    let lb = lab.haproxy("lb1", &ha_lab::HaProxySpec::new("esb", rows)).unwrap();
    let driver = || -> Vec<std::sync::Arc<dyn ha_core::backend::LoadBalancer>> {
        vec![std::sync::Arc::new(ha_haproxy::HaProxy::new(ha_haproxy::HaProxyConfig::new(lb.socket())))]
    };
    assert_eq!(rotate(EPOCH, &places(&driver(), "esb2"), Goal::Back, policy()).await, BACK);
    assert!(lb.ask("show servers state esb").unwrap().lines().any(|line| line.contains(" esb2 127.0.0.1 2 4 ")));
    assert_eq!(rotate(EPOCH, &places(&driver(), "esb1"), Goal::Out, policy()).await, DRAINED);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_maintenance_shuts_sessions_down_nothing_is_in_flight_when_it_comes() {
    let cluster = Cluster::start(1, CarbonConfig::fast("1"), |spec| spec.ending_sessions_when_down()).await;
    let load = cluster.mixed_load();
    a_while(&load, 300).await;
    assert_eq!(cluster.take_out("esb1").await, DRAINED);
    cluster.replace(0);
    assert_eq!(cluster.put_back("esb1").await, BACK);
    // Control: maintenance at once cuts what is in flight.
    a_while(&load, 150).await;
    assert_eq!(load.snapshot().failures(), 0, "{:?}", load.snapshot());
    cluster.raw(0, "set server esb/esb2 state maint");
    let report = load.stop().await;
    assert!(report.counts.failures() > 0, "the meter sees nothing: {:?}", report.counts);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_beyond_the_deadline_bring_the_server_back_or_are_cut_and_counted_by_consent() {
    let cluster = Cluster::start(1, CarbonConfig::fast("1"), |spec| spec).await;
    let load = ha_lab::load::Load::new(cluster.lbs[0].address(), 20)
        .with_class(ha_lab::load::Class::new("/orders?ms=6000", "orders ", 1))
        .with_limit(10)
        .start()
        .unwrap();
    super::until(|| async { load.snapshot().sent == 10 }).await;
    let short = RotationPolicy::new(Duration::from_millis(300));
    let outcome = rotate(EPOCH, &places(&cluster.drivers(), "esb1"), Goal::Out, short.clone()).await;
    let Outcome::Restored { drain: Some(DrainOutcome::DeadlineReached { in_flight }), .. } = outcome else {
        panic!("{outcome:?}");
    };
    assert!(in_flight > 0);
    assert_eq!(cluster.admin(0, "esb1").await, Admin::Ready);
    assert_eq!(load.snapshot().failures(), 0, "nothing is cut without consent");
    let consents = short.with_at_deadline(AtDeadline::Cut(ha_core::backend::CutConsent::by("this test")));
    let outcome = rotate(EPOCH, &places(&cluster.drivers(), "esb1"), Goal::Out, consents).await;
    let Outcome::Reached { drain: Some(DrainOutcome::Forced { killed }) } = outcome else { panic!("{outcome:?}") };
    let report = load.finish().await;
    assert!(killed > 0 && report.counts.failures() == killed, "{killed} said, {:?} seen", report.counts);
}
