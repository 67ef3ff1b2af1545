//! The rotation on real HAProxy under load, `retries 0` and no redispatch: nothing is hidden. Each sequence that loses
//! nothing stands beside its control, which leaves one step out and must lose something: otherwise the test shows nothing.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod back;
mod cycles;
mod pair;
mod persistence;
mod reload;
mod take_out;

use std::sync::Arc;
use std::time::Duration;

use ha_core::backend::{Admin, LoadBalancer, MemberRef, ObserveBalancer};
use ha_core::engine::rotate;
use ha_core::machine::rotation::{DrainOutcome, Goal, Outcome, Place, RotationPolicy};
use ha_core::state::LeaseEpoch;
use ha_core::topology::Name;
use ha_haproxy::{Endpoint, HaProxy, HaProxyConfig};
use ha_lab::fake_carbon::{CarbonConfig, CarbonHome, Relaunch};
use ha_lab::load::{Class, Load, RunningLoad};
use ha_lab::{HaProxyProcess, HaProxySpec, Lab, ServerSpec};
use tokio::time::sleep;

ha_lab::roles!();

pub(crate) const EPOCH: LeaseEpoch = LeaseEpoch::new(1);
pub(crate) const DRAINED: Outcome = Outcome::Reached { drain: Some(DrainOutcome::Drained) };
pub(crate) const BACK: Outcome = Outcome::Reached { drain: None };

/// Two servers behind HAProxy.
pub(crate) struct Cluster {
    pub(crate) lbs: Vec<HaProxyProcess>,
    pub(crate) homes: [CarbonHome; 2],
    // Dropped last: it ends everything.
    _lab: Lab,
}

impl Cluster {
    /// Starts both servers, and as many HAProxys with the same rows.
    pub(crate) async fn start(lbs: usize, config: CarbonConfig, shape: impl Fn(HaProxySpec) -> HaProxySpec) -> Self {
        Self::with_rows(lbs, config, |row| row, shape).await
    }

    pub(crate) async fn with_rows(
        lbs: usize,
        config: CarbonConfig,
        second: impl Fn(ServerSpec) -> ServerSpec,
        shape: impl Fn(HaProxySpec) -> HaProxySpec,
    ) -> Self {
        let lab = Lab::open(Relaunch::test().unwrap()).unwrap();
        let homes = ["esb1", "esb2"].map(|name| lab.carbon(name, config.clone()).unwrap());
        for home in &homes {
            home.start().unwrap();
        }
        let rows = vec![ServerSpec::new("esb1", homes[0].port()), second(ServerSpec::new("esb2", homes[1].port()))];
        let spec = shape(HaProxySpec::new("esb", rows));
        let lbs: Vec<_> = (1..=lbs).map(|number| lab.haproxy(&format!("lb{number}"), &spec).unwrap()).collect();
        let cluster = Self { lbs, homes, _lab: lab };
        cluster.until_usable().await;
        cluster
    }

    /// Waits until every HAProxy would give requests to both servers.
    async fn until_usable(&self) {
        for lb in self.drivers() {
            for name in ["esb1", "esb2"] {
                until(|| async { lb.member(&member(name)).await.unwrap().is_usable() }).await;
            }
        }
    }

    pub(crate) fn driver(&self, lb: usize) -> HaProxy {
        let process = &self.lbs[lb];
        let config = HaProxyConfig::new(process.socket()).with_deadline(Duration::from_secs(1));
        HaProxy::new(match process.master_socket() {
            Some(path) => config.with_master(Endpoint::Unix(path.into())),
            None => config,
        })
    }

    pub(crate) fn drivers(&self) -> Vec<Arc<dyn LoadBalancer>> {
        (0..self.lbs.len()).map(|lb| Arc::new(self.driver(lb)) as Arc<dyn LoadBalancer>).collect()
    }

    pub(crate) async fn take_out(&self, name: &str) -> Outcome {
        rotate(EPOCH, &places(&self.drivers(), name), Goal::Out, policy()).await
    }

    pub(crate) async fn put_back(&self, name: &str) -> Outcome {
        rotate(EPOCH, &places(&self.drivers(), name), Goal::Back, policy()).await
    }

    /// Puts a server back whose last life is known to have ended: nothing is waited for but the balancer itself.
    pub(crate) async fn put_back_at_once(&self, name: &str) -> Outcome {
        let policy = policy().with_server_gone_for(Duration::from_secs(1));
        rotate(EPOCH, &places(&self.drivers(), name), Goal::Back, policy).await
    }

    /// Puts fast, slow, posted, streamed and upgraded requests on all HAProxys.
    pub(crate) fn mixed_load(&self) -> RunningLoad {
        let load = Load::new(self.lbs[0].address(), 150);
        let load = self.lbs[1..].iter().fold(load, |load, lb| load.with_address(lb.address()));
        load.with_class(Class::new("/orders", "orders ", 30))
            .with_class(Class::new("/orders", "orders ", 6).closing())
            .with_class(Class::new("/orders?ms=50", "orders ", 6).as_post("<order/>"))
            .with_class(Class::new("/orders?ms=2000", "orders ", 3))
            .with_class(Class::new("/stream?ms=1500", "stream ", 3))
            .with_class(Class::new("/echo", "echo ", 2).upgraded_for(Duration::from_millis(1500)))
            .start()
            .unwrap()
    }

    /// Kills a server with -9 and starts it again.
    pub(crate) fn replace(&self, server: usize) {
        assert!(self.homes[server].kill().unwrap(), "it did not run");
        self.homes[server].start().unwrap();
    }

    pub(crate) async fn admin(&self, lb: usize, name: &str) -> Admin {
        self.driver(lb).member(&member(name)).await.unwrap().admin
    }

    /// Gives a command past the backend.
    pub(crate) fn raw(&self, lb: usize, command: &str) {
        let answer = self.lbs[lb].ask(command).unwrap();
        assert_eq!(answer.trim(), "", "{command}");
    }
}

pub(crate) fn member(name: &str) -> MemberRef {
    MemberRef::new(Name::new("esb").unwrap(), Name::new(name).unwrap())
}

/// Names where a member of the one pool is: on each of these balancers.
pub(crate) fn places(drivers: &[Arc<dyn LoadBalancer>], name: &str) -> Vec<(Arc<dyn LoadBalancer>, Place)> {
    drivers.iter().map(|driver| (driver.clone(), Place::new(member(name)))).collect()
}

pub(crate) fn policy() -> RotationPolicy {
    RotationPolicy::new(Duration::from_secs(20)).with_longest_request(Duration::from_secs(5))
}

/// Waits until something holds; the test fails where it does not in a time that no machine needs.
pub(crate) async fn until<F: Future<Output = bool>>(holds: impl Fn() -> F) {
    for _ in 0..1_500 {
        if holds().await {
            return;
        }
        sleep(Duration::from_millis(20)).await;
    }
    panic!("it did not come to hold");
}

/// Lets the load run for a while; nothing is concluded from the time.
pub(crate) async fn a_while(load: &RunningLoad, requests: u64) {
    let sent = load.snapshot().sent;
    until(|| async { load.snapshot().sent >= sent + requests }).await;
}
