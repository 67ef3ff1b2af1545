use std::time::Duration;

use ha_core::backend::Weight;
use ha_core::engine::rotate;
use ha_core::machine::rotation::{Canary, Goal};
use ha_core::topology::Permille;
use ha_lab::fake_carbon::CarbonConfig;
use ha_lab::{HaProxySpec, ServerSpec};

use super::{BACK, Cluster, DRAINED, EPOCH, a_while, member, places, policy, until};

/// The server listens at once after its start, and answers 503 for so long.
const WARM_UP: u64 = 1_500;

async fn replaced_with_a_warm_up(shape: impl Fn(HaProxySpec) -> HaProxySpec) {
    let cluster = Cluster::start(1, CarbonConfig::fast("1").with_warm_up(WARM_UP), shape).await;
    // What is not checked was usable before it was warm; what is checked may have gone down meanwhile.
    warm(&cluster, 0).await;
    warm(&cluster, 1).await;
    cluster.until_usable().await;
    let load = cluster.mixed_load();
    a_while(&load, 150).await;
    assert_eq!(cluster.take_out("esb1").await, DRAINED);
    cluster.replace(0);
    warm(&cluster, 0).await;
    assert_eq!(cluster.put_back("esb1").await, BACK);
    a_while(&load, 150).await;
    let report = load.stop().await;
    assert_eq!(report.counts.failures(), 0, "{:?}", report.counts);
}

/// Waits for the server's own answer, past HAProxy, as the engine's gate does.
async fn warm(cluster: &Cluster, server: usize) {
    let port = cluster.homes[server].port();
    until(|| async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let Ok(mut stream) = tokio::net::TcpStream::connect(("127.0.0.1", port)).await else { return false };
        let ask = b"GET /services/Version HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
        let mut answer = String::new();
        stream.write_all(ask).await.is_ok()
            && stream.read_to_string(&mut answer).await.is_ok()
            && answer.starts_with("HTTP/1.1 200")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_listens_before_it_serves_gets_nothing_before_it_does_where_it_is_checked() {
    replaced_with_a_warm_up(|spec| spec).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_listens_before_it_serves_gets_nothing_before_it_does_where_it_is_not_checked() {
    replaced_with_a_warm_up(HaProxySpec::without_checks).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn control_a_server_made_ready_from_maintenance_is_up_before_any_check() {
    let cluster = Cluster::start(1, CarbonConfig::fast("1"), |spec| spec).await;
    let load = cluster.mixed_load();
    a_while(&load, 150).await;
    assert_eq!(cluster.take_out("esb1").await, DRAINED);
    cluster.homes[0].never_ready_with("1").unwrap();
    cluster.replace(0);
    // Its first requests are lost: they come before a check has failed. On a machine that does nothing else one that is
    // made ready between two checks gets some at once; on a busy one it is tried again.
    until(|| async {
        cluster.raw(0, "set server esb/esb1 state maint");
        cluster.raw(0, "set server esb/esb1 state ready");
        a_while(&load, 10).await;
        load.snapshot().failures() > 0
    })
    .await;
    load.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_whose_check_never_passes_stays_out() {
    let cluster = Cluster::start(1, CarbonConfig::fast("1"), |spec| spec.checking("/health")).await;
    assert_eq!(cluster.take_out("esb1").await, DRAINED);
    cluster.homes[0].set_health(503).unwrap();
    let outcome = cluster.put_back("esb1").await;
    let words = "did not pass in full";
    assert!(
        matches!(&outcome, ha_core::machine::rotation::Outcome::Restored { why, .. } if why.contains(words)),
        "{outcome:?}"
    );
    assert_eq!(cluster.admin(0, "esb1").await, ha_core::backend::Admin::Maint);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_canary_gets_a_little_traffic_and_then_its_share_and_none_is_lost() {
    let weighs = |row: ServerSpec| row.with_weight(100);
    let cluster = Cluster::with_rows(2, CarbonConfig::fast("1"), weighs, |spec| spec).await;
    let load = cluster.mixed_load();
    a_while(&load, 150).await;
    let careful = policy().with_canary(Some(Canary::new(Permille::new(100), Duration::from_secs(1))));
    assert_eq!(cluster.take_out("esb2").await, DRAINED);
    cluster.replace(1);
    let (drivers, seen) = (cluster.drivers(), cluster.driver(0));
    let back = tokio::spawn(async move { rotate(EPOCH, &places(&drivers, "esb2"), Goal::Back, careful).await });
    until(|| async {
        use ha_core::backend::ObserveBalancer;
        seen.member(&member("esb2")).await.unwrap().weight == Weight::new(10)
    })
    .await;
    assert_eq!(back.await.unwrap(), BACK);
    for lb in 0..2 {
        use ha_core::backend::ObserveBalancer;
        assert_eq!(cluster.driver(lb).member(&member("esb2")).await.unwrap().weight, Weight::new(100));
    }
    let report = load.stop().await;
    assert_eq!(report.counts.failures(), 0, "{:?}", report.counts);
    // A weight of 1 has no tenth: a canary by percentage would get no traffic at all.
    let careful = policy().with_canary(Some(Canary::new(Permille::new(100), Duration::from_secs(1))));
    assert_eq!(cluster.take_out("esb1").await, DRAINED);
    let outcome = rotate(EPOCH, &places(&cluster.drivers(), "esb1"), Goal::Back, careful).await;
    assert!(format!("{outcome:?}").contains("weight 100"), "{outcome:?}");
}
