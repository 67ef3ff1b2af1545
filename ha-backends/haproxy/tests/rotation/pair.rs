use std::sync::Arc;
use std::time::Duration;

use ha_core::backend::{Admin, Applied, LoadBalancer, ObserveBalancer, SetAdmin, StepError};
use ha_core::engine::rotate;
use ha_core::machine::rotation::{Goal, Outcome};
use ha_core::state::LeaseEpoch;
use ha_haproxy::{HaProxy, HaProxyConfig};
use ha_lab::fake_carbon::CarbonConfig;
use ha_lab::{HaProxySpec, ServerSpec};

use super::{BACK, Cluster, DRAINED, EPOCH, a_while, member, places, policy, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pair_of_instances_under_load_loses_nothing_also_when_one_is_reloaded_in_the_middle() {
    let cluster = Cluster::start(2, CarbonConfig::fast("1"), HaProxySpec::with_master).await;
    let load = cluster.mixed_load();
    a_while(&load, 300).await;
    for (cycle, name) in ["esb1", "esb2", "esb1"].into_iter().enumerate() {
        let drivers = cluster.drivers();
        let out = tokio::spawn(async move { rotate(EPOCH, &places(&drivers, name), Goal::Out, policy()).await });
        if cycle == 1 {
            until(|| async { cluster.admin(1, name).await == Admin::Drain }).await;
            cluster.lbs[1].reload().unwrap();
        }
        assert_eq!(out.await.unwrap(), DRAINED, "{cycle}");
        for lb in 0..2 {
            assert_eq!(cluster.admin(lb, name).await, Admin::Maint, "{cycle}, balancer {lb}");
        }
        cluster.replace(usize::from(name == "esb2"));
        assert_eq!(cluster.put_back(name).await, BACK, "{cycle}");
    }
    let report = load.stop().await;
    ha_testkit::figures!(
        "a pair, one reloaded in mid-drain: {} requests, {} failed",
        report.counts.sent,
        report.counts.failures()
    );
    assert_eq!(report.counts.failures(), 0, "{:?}", report.counts);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn control_a_pair_of_which_only_one_is_drained_loses_what_the_other_one_carries() {
    let cluster = Cluster::start(2, CarbonConfig::fast("1"), |spec| spec).await;
    let load = cluster.mixed_load();
    a_while(&load, 300).await;
    let half: Vec<Arc<dyn LoadBalancer>> = vec![Arc::new(cluster.driver(0))];
    assert_eq!(rotate(EPOCH, &places(&half, "esb1"), Goal::Out, policy()).await, DRAINED);
    assert!(cluster.homes[0].kill().unwrap());
    let report = load.stop().await;
    assert!(report.counts.failures() > 0, "the meter sees nothing: {:?}", report.counts);
}

/// Whatever is wrong with the second instance: nothing is taken out, and the first one is as it was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_that_is_missing_forbidden_or_does_not_know_the_server_refuses_the_step() {
    let cluster = Cluster::start(1, CarbonConfig::fast("1"), |spec| spec).await;
    let lab = ha_lab::Lab::open(ha_lab::fake_carbon::Relaunch::test().unwrap()).unwrap();
    let rows = |first: &str| {
        vec![ServerSpec::new(first, cluster.homes[0].port()), ServerSpec::new("esb2", cluster.homes[1].port())]
    };
    let operator = lab.haproxy("operator", &HaProxySpec::new("esb", rows("esb1")).with_level("operator")).unwrap();
    let stranger = lab.haproxy("stranger", &HaProxySpec::new("esb", rows("other"))).unwrap();
    let killed = lab.haproxy("killed", &HaProxySpec::new("esb", rows("esb1"))).unwrap();
    killed.kill();
    let load = cluster.mixed_load();
    for (socket, words) in [
        (lab.path().join("nowhere.sock"), "is HAProxy running"),
        (killed.socket().to_path_buf(), "is HAProxy running"),
        (operator.socket().to_path_buf(), "ermission denied"),
        (stranger.socket().to_path_buf(), "has no server esb1"),
    ] {
        // A check that has not passed yet makes the only other server unusable.
        let second = HaProxy::new(HaProxyConfig::new(&socket).with_deadline(Duration::from_secs(1)));
        if socket.exists() && socket != killed.socket() {
            until(|| async { second.member(&member("esb2")).await.is_ok_and(|member| member.is_usable()) }).await;
        }
        let both: Vec<Arc<dyn LoadBalancer>> = vec![Arc::new(cluster.driver(0)), Arc::new(second)];
        let outcome = rotate(EPOCH, &places(&both, "esb1"), Goal::Out, policy()).await;
        let Outcome::Restored { why, .. } = &outcome else { panic!("{}: {outcome:?}", socket.display()) };
        assert!(why.contains("balancer 2") && why.contains(words), "{why}");
        assert_eq!(cluster.admin(0, "esb1").await, Admin::Ready, "{}", socket.display());
    }
    let report = load.stop().await;
    assert_eq!(report.counts.failures(), 0, "{:?}", report.counts);
}

/// Drives an instance that is frozen in the very moment of the first change.
#[derive(Debug)]
struct FrozenAtTheWrite {
    inner: HaProxy,
    pid: u32,
    frozen: std::sync::Mutex<bool>,
}

impl FrozenAtTheWrite {
    fn signal(&self, signal: &str) {
        let status = std::process::Command::new("kill").args([signal, &self.pid.to_string()]).status();
        assert!(status.unwrap().success());
    }
}

impl Drop for FrozenAtTheWrite {
    fn drop(&mut self) {
        let _ = std::process::Command::new("kill").args(["-CONT", &self.pid.to_string()]).status();
    }
}

ha_core::forward!(impl ObserveBalancer for FrozenAtTheWrite, |this| this.inner);

ha_core::forward! {
    impl LoadBalancer for FrozenAtTheWrite, |this| this.inner => set_weight, close_sessions;

    async fn set_admin(&self, epoch: LeaseEpoch, request: SetAdmin) -> Result<Applied, StepError> {
        let first = !std::mem::replace(&mut *self.frozen.lock().unwrap(), true);
        if first {
            self.signal("-STOP");
        }
        self.inner.set_admin(epoch, request).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_that_freezes_is_named_and_what_it_does_when_it_thaws_is_noticed_and_put_right() {
    let cluster = Cluster::start(2, CarbonConfig::fast("1"), |spec| spec).await;
    let frozen = Arc::new(FrozenAtTheWrite {
        inner: cluster.driver(1),
        pid: cluster.lbs[1].pid().unwrap(),
        frozen: std::sync::Mutex::new(false),
    });
    let both: Vec<Arc<dyn LoadBalancer>> = vec![Arc::new(cluster.driver(0)), frozen.clone()];
    let outcome = rotate(EPOCH, &places(&both, "esb1"), Goal::Out, policy()).await;
    assert!(matches!(&outcome, Outcome::Stuck { instances, .. } if *instances == [1]), "{outcome:?}");
    assert_eq!(cluster.admin(0, "esb1").await, Admin::Ready, "the other one was put back");
    frozen.signal("-CONT");
    // Whatever it carried out late, a look tells, and the same call puts it right.
    until(|| async { frozen.member(&member("esb1")).await.is_ok() }).await;
    assert_eq!(rotate(EPOCH, &places(&both, "esb1"), Goal::Back, policy()).await, BACK);
    for lb in 0..2 {
        assert_eq!(cluster.admin(lb, "esb1").await, Admin::Ready);
    }
}
