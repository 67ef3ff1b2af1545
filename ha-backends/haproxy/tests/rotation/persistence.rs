use ha_core::backend::ObserveBalancer;
use ha_lab::fake_carbon::CarbonConfig;
use ha_lab::load::{Class, Saturate};

use super::{BACK, Cluster, DRAINED, a_while, member, places};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_bound_by_a_cookie_are_moved_and_none_of_their_requests_fails() {
    let cluster = Cluster::start(1, CarbonConfig::fast("1"), |spec| spec.with_cookie()).await;
    assert!(cluster.driver(0).member(&member("esb1")).await.unwrap().persistent, "HAProxy shows the cookie");
    let load = Saturate::new(cluster.lbs[0].address())
        .with_cookies()
        .with_class(Class::new("/orders?ms=5", "orders ", 1))
        .start()
        .unwrap();
    a_while(&load, 300).await;
    // Control: draining alone leaves them where they are.
    cluster.raw(0, "set server esb/esb1 state drain");
    let served = cluster.homes[0].requests().unwrap();
    a_while(&load, 300).await;
    assert!(
        !cluster.homes[0].requests().unwrap().begun_since(&served).is_empty(),
        "a drained server still serves them"
    );
    cluster.raw(0, "set server esb/esb1 state ready");
    assert_eq!(cluster.take_out("esb1").await, DRAINED);
    let served = cluster.homes[0].requests().unwrap();
    a_while(&load, 300).await;
    assert!(cluster.homes[0].requests().unwrap().begun_since(&served).is_empty(), "they were moved");
    cluster.replace(0);
    assert_eq!(cluster.put_back("esb1").await, BACK);
    let report = load.stop().await;
    assert_eq!(report.counts.failures(), 0, "{:?}", report.counts);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_bound_by_their_source_address_are_moved_and_none_of_their_requests_fails() {
    let cluster = Cluster::start(1, CarbonConfig::fast("1"), |spec| spec.with_stick_on_source()).await;
    let load =
        Saturate::new(cluster.lbs[0].address()).with_class(Class::new("/orders?ms=50", "orders ", 1)).start().unwrap();
    a_while(&load, 300).await;
    // All of them come from one address, so one server has them all once its entry is there.
    // As long as both have requests, each of them may write the entry anew.
    let driver = cluster.driver(0);
    let in_flight = |name: &'static str| {
        let driver = driver.clone();
        async move { driver.quiescence(&member(name)).await.unwrap().in_flight() }
    };
    super::until(|| async { in_flight("esb1").await == 0 || in_flight("esb2").await == 0 }).await;
    let (server, name) = if in_flight("esb2").await == 0 { (0, "esb1") } else { (1, "esb2") };
    // A stick table does not show on the socket: it is declared.
    let config = ha_haproxy::HaProxyConfig::new(cluster.lbs[0].socket()).with_persistence(true, false);
    let drivers: Vec<std::sync::Arc<dyn ha_core::backend::LoadBalancer>> =
        vec![std::sync::Arc::new(ha_haproxy::HaProxy::new(config))];
    // Control: not declared, the drain reaches its deadline, since every request still goes there.
    let short = ha_core::machine::rotation::RotationPolicy::new(std::time::Duration::from_secs(2));
    let goal = ha_core::machine::rotation::Goal::Out;
    let undeclared = ha_core::engine::rotate(super::EPOCH, &places(&cluster.drivers(), name), goal, short).await;
    assert!(format!("{undeclared:?}").contains("DeadlineReached"), "{undeclared:?}");
    let outcome = ha_core::engine::rotate(super::EPOCH, &places(&drivers, name), goal, super::policy()).await;
    assert_eq!(outcome, DRAINED);
    let served = cluster.homes[server].requests().unwrap();
    a_while(&load, 300).await;
    assert!(cluster.homes[server].requests().unwrap().begun_since(&served).is_empty(), "they were moved");
    cluster.replace(server);
    assert_eq!(cluster.put_back(name).await, BACK);
    let report = load.stop().await;
    assert_eq!(report.counts.failures(), 0, "{:?}", report.counts);
}
