use ha_lab::fake_carbon::CarbonConfig;
use ha_lab::load::{Class, RunningLoad, Saturate};

use super::{BACK, Cluster, DRAINED, a_while, until};

const CYCLES: usize = 40;
/// How many cycles the control goes on until it has lost a request: on some machines one in forty cycles does, on others
/// each.
const PATIENCE: usize = 400;

fn saturating(cluster: &Cluster) -> RunningLoad {
    Saturate::new(cluster.lbs[0].address()).with_class(Class::new("/orders?ms=2", "orders ", 1)).start().unwrap()
}

/// The stale pool, made certain: HAProxy is stopped while the server is killed and started again, so that it cannot see
/// the connections of its pool end. The clients never rest.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forty_cycles_under_saturation_with_haproxy_paused_over_the_restart_lose_nothing() {
    let cluster = Cluster::start(1, CarbonConfig::fast("1"), |spec| spec).await;
    let load = saturating(&cluster);
    a_while(&load, 200).await;
    for cycle in 0..CYCLES {
        let (server, name) = if cycle % 2 == 0 { (0, "esb1") } else { (1, "esb2") };
        assert_eq!(cluster.take_out(name).await, DRAINED, "cycle {cycle}");
        let paused = cluster.lbs[0].pause().unwrap();
        cluster.replace(server);
        drop(paused);
        // Half of them as the engine does it, which has seen the last life end.
        let back = if cycle % 4 < 2 { cluster.put_back(name).await } else { cluster.put_back_at_once(name).await };
        assert_eq!(back, BACK, "cycle {cycle}");
        a_while(&load, 30).await;
    }
    let report = load.stop().await;
    ha_testkit::figures!(
        "{CYCLES} cycles, HAProxy paused over the restart, 32 saturating clients, retries 0: {} requests, {} failed",
        report.counts.sent,
        report.counts.failures()
    );
    assert_eq!(report.counts.failures(), 0, "{:?}", report.counts);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn control_without_closing_the_pool_the_same_cycles_lose_requests() {
    let cluster = Cluster::start(1, CarbonConfig::fast("1"), |spec| spec).await;
    let load = saturating(&cluster);
    a_while(&load, 200).await;
    let mut cycles = 0;
    for cycle in 0..PATIENCE {
        if load.snapshot().failures() > 0 && cycle >= CYCLES {
            break;
        }
        cycles = cycle + 1;
        let (server, name) = if cycle % 2 == 0 { (0, "esb1") } else { (1, "esb2") };
        cluster.raw(0, &format!("set server esb/{name} state drain"));
        let driver = cluster.driver(0);
        let idle = || async {
            use ha_core::backend::ObserveBalancer;
            driver.quiescence(&super::member(name)).await.unwrap().in_flight() == 0
        };
        until(idle).await;
        let paused = cluster.lbs[0].pause().unwrap();
        cluster.replace(server);
        drop(paused);
        cluster.raw(0, &format!("set server esb/{name} state ready"));
        a_while(&load, 30).await;
    }
    let report = load.stop().await;
    ha_testkit::figures!(
        "control, drain only: {cycles} cycles, {} requests, {} failed",
        report.counts.sent,
        report.counts.failures()
    );
    assert!(report.counts.failures() > 0, "the meter sees nothing: {:?}", report.counts);
}
