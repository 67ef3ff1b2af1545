//! Services exposed over the maps of real HAProxys: the suite, and what consumers get. The truth is read past the backend: from
//! HAProxy's raw socket, and by requests.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ha_core::backend::{Applied, Effect, ErrorKind, ExposeRoute, Exposure, HideRoute, ObserveExposure};
use ha_core::state::{LeaseEpoch, Route, RouteKey, ServiceRoute};
use ha_core::topology::{Component, Name, NodeSpec, PoolSpec, Setting, Topology};
use ha_haproxy::{HaProxyConfig, HaProxyExposure, MapOn};
use ha_lab::fake_carbon::Relaunch;
use ha_lab::{HaProxyProcess, HaProxySpec, Lab, ServerSpec};
use ha_testkit::conformance::Breach;
use ha_testkit::conformance::exposure::{ExposureAbility, ExposureFixture, ExposureSubject};

ha_lab::roles!();

/// Two HAProxys, each with a map file of its own; the last with a master and workers.
struct TwoHaProxys;

struct Driven {
    exposure: Arc<HaProxyExposure>,
    processes: Vec<HaProxyProcess>,
    lab: Lab,
}

const NAMES: [&str; 2] = ["lb1", "lb2"];

impl Driven {
    fn start() -> Result<Self, Breach> {
        let lab = Lab::open(Relaunch::test()?)?;
        let mut processes = Vec::new();
        for name in NAMES {
            let map = lab.path().join(format!("{name}.map"));
            fs::write(&map, "# where services are\n")?;
            let answers = |backend: &str| {
                format!(
                    "backend {backend}\n    http-request return status 200 content-type text/plain string {backend}"
                )
            };
            let mut spec = HaProxySpec::new("nobody", vec![ServerSpec::new("none", lab.free_port()?)])
                .without_checks()
                .with_frontend_line(format!("use_backend %[path,map_beg({})]", map.display()))
                .with_section(answers("esb"))
                .with_section(answers("legacy"));
            spec = if name == "lb2" { spec.with_master() } else { spec };
            processes.push(lab.haproxy(name, &spec)?);
        }
        let mut driven = Self { exposure: Arc::new(HaProxyExposure::new(Vec::new())), processes, lab };
        driven.exposure = Arc::new(driven.value());
        Ok(driven)
    }

    fn map(&self, instance: usize) -> PathBuf {
        self.lab.path().join(format!("{}.map", NAMES[instance]))
    }

    fn value(&self) -> HaProxyExposure {
        let on = |(instance, process): (usize, &HaProxyProcess)| {
            MapOn::new(NAMES[instance], HaProxyConfig::new(process.socket()), self.map(instance))
        };
        HaProxyExposure::new(self.processes.iter().enumerate().map(on).collect())
    }

    fn set_running(&self, instance: usize, key: &RouteKey, to: Option<&Name>) -> Result<(), Breach> {
        let (process, map) = (&self.processes[instance], self.map(instance));
        process.ask(&format!("del map {} {key}", map.display()))?;
        if let Some(value) = to {
            process.ask(&format!("add map {} {key} {value}", map.display()))?;
        }
        Ok(())
    }

    fn set_written(&self, instance: usize, key: &RouteKey, to: Option<&Name>) -> Result<(), Breach> {
        let text = fs::read_to_string(self.map(instance))?;
        let others = text.lines().filter(|line| line.split_whitespace().next() != Some(key.as_str()));
        let mut next: String = others.map(|line| format!("{line}\n")).collect();
        next.extend(to.map(|value| format!("{key} {value}\n")));
        Ok(fs::write(self.map(instance), next)?)
    }

    /// Asks for a path as a consumer does, and returns the last line of the answer.
    fn get(&self, instance: usize, path: &str) -> String {
        let mut stream = TcpStream::connect(self.processes[instance].address()).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let status = answer.split(' ').nth(1).unwrap_or_default().to_string();
        if status == "200" { answer.lines().last().unwrap_or_default().to_string() } else { status }
    }
}

#[async_trait]
impl ExposureFixture for TwoHaProxys {
    fn name(&self) -> String {
        "maps of two HAProxys".into()
    }

    fn can(&self, ability: ExposureAbility) -> bool {
        ability != ExposureAbility::Fences
    }

    async fn fresh(&self) -> Result<Box<dyn ExposureSubject>, Breach> {
        Ok(Box::new(Driven::start()?))
    }
}

#[async_trait]
impl ExposureSubject for Driven {
    fn exposure(&self) -> Arc<dyn Exposure> {
        self.exposure.clone()
    }

    fn another(&self) -> Arc<dyn Exposure> {
        Arc::new(self.value())
    }

    async fn truth(&self, key: &RouteKey) -> Result<Vec<Option<String>>, Breach> {
        let leads = |instance: usize| {
            let process = &self.processes[instance];
            // A process that was killed leads nobody anywhere.
            let answer = process.ask(&format!("show map {}", self.map(instance).display())).unwrap_or_default();
            let words = answer.lines().map(|line| line.split(' ').collect::<Vec<_>>()).collect::<Vec<_>>();
            let found = words.iter().find(|words| words.get(1) == Some(&key.as_str()));
            found.map(|words| words[2].to_string())
        };
        Ok((0..self.processes.len()).map(leads).collect())
    }

    async fn lead(&self, instance: usize, key: &RouteKey, to: Option<&Name>) -> Result<(), Breach> {
        self.set_written(instance, key, to)?;
        self.set_running(instance, key, to)
    }

    async fn tear(&self, instance: usize, key: &RouteKey, to: Option<&Name>) -> Result<(), Breach> {
        self.set_running(instance, key, to)
    }

    async fn restart(&self) -> Result<(), Breach> {
        for process in &self.processes {
            process.restart()?;
        }
        Ok(())
    }

    async fn lose_last(&self) -> Result<(), Breach> {
        self.processes[1].kill();
        Ok(())
    }
}

mod maps_of_two_haproxys {
    use super::TwoHaProxys;

    ha_testkit::conformance!(exposure, TwoHaProxys, skips = ["fixture: fences"]);
}

const EPOCH: LeaseEpoch = LeaseEpoch::new(1);

fn key(text: &str) -> RouteKey {
    RouteKey::new(text).unwrap()
}

fn orders() -> ServiceRoute {
    ServiceRoute::new(key("/orders"), Name::new("esb").unwrap())
}

fn expose() -> ExposeRoute {
    ExposeRoute::new(orders())
}

/// 503: the backend behind all routes has no server.
#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_reaches_a_service_over_every_haproxy_while_it_is_exposed_and_after_a_reload() {
    let driven = Driven::start().unwrap();
    let all = |path: &str| [driven.get(0, path), driven.get(1, path)];
    assert_eq!(all("/orders/7"), ["503", "503"]);
    driven.exposure.expose(EPOCH, expose()).await.unwrap();
    assert_eq!((all("/orders/7"), all("/order")), (["esb", "esb"].map(String::from), ["503", "503"].map(String::from)));
    for process in &driven.processes {
        process.reload().unwrap();
    }
    assert_eq!(all("/orders/7"), ["esb", "esb"]);
    driven.exposure.hide(EPOCH, HideRoute::new(orders())).await.unwrap();
    assert_eq!(all("/orders/7"), ["503", "503"]);
    for process in &driven.processes {
        process.reload().unwrap();
    }
    assert_eq!(all("/orders/7"), ["503", "503"]);
    let text = fs::read_to_string(driven.map(0)).unwrap();
    assert_eq!(text, "# where services are\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_map_file_that_differs_from_the_map_in_force_is_refused_with_both_values() {
    let driven = Driven::start().unwrap();
    let (stock, legacy) = (key("/stock"), Name::new("legacy").unwrap());
    driven.set_running(1, &stock, Some(&legacy)).unwrap();
    driven.set_written(1, &stock, Some(&Name::new("esb").unwrap())).unwrap();
    let refused = driven.exposure.expose(EPOCH, expose()).await.unwrap_err();
    assert_eq!((refused.kind(), refused.effect()), (ErrorKind::Conflict, Effect::None), "{refused}");
    let text = refused.to_string();
    for wanted in ["/stock leads to legacy in force on lb2", "to esb in its map file", "lb2.map", "reload lb2"] {
        assert!(text.contains(wanted), "{wanted}: {text}");
    }
    assert_eq!(driven.get(0, "/orders"), "503");
    driven.set_running(1, &stock, None).unwrap();
    let text = driven.exposure.expose(EPOCH, expose()).await.unwrap_err().to_string();
    assert!(text.contains("/stock leads nowhere in force on lb2, and to esb"), "{text}");
    driven.processes[1].reload().unwrap();
    assert_eq!(driven.exposure.expose(EPOCH, expose()).await.unwrap(), Applied::Applied);
}

/// Killed between the two halves of a change: the file has it, and nothing is in force.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_is_written_and_not_in_force_is_seen_and_finished_either_way() {
    let driven = Driven::start().unwrap();
    let route = orders();
    let state = async || Route::seen(&route, &driven.exposure.route(&route.key).await.unwrap());
    driven.set_written(0, &route.key, Some(&route.value)).unwrap();
    assert_eq!(state().await, Route::Unknown);
    assert_eq!(driven.exposure.hide(EPOCH, HideRoute::new(orders())).await.unwrap(), Applied::Applied);
    assert_eq!(state().await, Route::Dark);
    driven.set_written(1, &route.key, Some(&route.value)).unwrap();
    assert_eq!(driven.exposure.expose(EPOCH, expose()).await.unwrap(), Applied::Applied);
    assert_eq!(state().await, Route::Exposed);
    // Twice in force, as two controllers leave it: hidden all the same.
    driven.processes[0].ask(&format!("add map {} /orders esb", driven.map(0).display())).unwrap();
    assert_eq!(driven.exposure.hide(EPOCH, HideRoute::new(orders())).await.unwrap(), Applied::Applied);
    assert_eq!((state().await, driven.get(0, "/orders")), (Route::Dark, "503".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_map_that_haproxy_does_not_know_and_a_file_that_is_not_there_are_told_apart() {
    let driven = Driven::start().unwrap();
    let socket = driven.processes[0].socket();
    let other = driven.lab.path().join("other.map");
    let exposure = HaProxyExposure::new(vec![MapOn::new("lb1", HaProxyConfig::new(socket), &other)]);
    let refused = exposure.expose(EPOCH, expose()).await.unwrap_err();
    assert_eq!((refused.kind(), refused.effect()), (ErrorKind::NotFound, Effect::None), "{refused}");
    assert!(refused.to_string().contains("use_backend %[path,map_beg("), "{refused}");
    fs::remove_file(driven.map(0)).unwrap();
    let refused = driven.exposure.expose(EPOCH, expose()).await.unwrap_err();
    assert_eq!((refused.kind(), refused.effect()), (ErrorKind::NotFound, Effect::None), "{refused}");
    assert!(refused.to_string().contains("lb1.map of lb1"), "{refused}");
    assert_eq!(driven.get(1, "/orders"), "503");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_that_waits_for_another_change_waits_no_longer_than_its_own_call_may_take() {
    let driven = Driven::start().unwrap();
    // As another process keeps it that changes a map there.
    let folder = fs::File::open(driven.lab.path()).unwrap();
    folder.lock().unwrap();
    let first = driven.exposure.clone();
    let first = tokio::spawn(async move { first.expose(EPOCH, expose()).await });
    tokio::time::sleep(Duration::from_millis(200)).await;
    let late = driven.exposure.expose(EPOCH, expose().with_deadline(Duration::from_millis(100))).await.unwrap_err();
    assert_eq!((late.kind(), late.effect()), (ErrorKind::Timeout, Effect::None), "{late}");
    assert!(!first.is_finished() && late.to_string().contains("another change"), "{late}");
    folder.unlock().unwrap();
    assert_eq!(first.await.unwrap().unwrap(), Applied::Applied);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_controllers_at_once_lose_no_line_of_a_map_file() {
    let driven = Driven::start().unwrap();
    let values = [driven.another(), driven.another()];
    let mut calls = tokio::task::JoinSet::new();
    for number in 0..10 {
        let (value, route) =
            (values[number % 2].clone(), ServiceRoute::new(key(&format!("/{number}")), orders().value));
        calls.spawn(async move {
            // One that meets the other half-way is refused, and tried again.
            for _ in 0..200 {
                match value.expose(EPOCH, ExposeRoute::new(route.clone())).await {
                    Err(error) if error.kind() == ErrorKind::Conflict => {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                    ended => return ended.map(|_| ()),
                }
            }
            panic!("{route} never was exposed");
        });
    }
    while let Some(ended) = calls.join_next().await {
        ended.unwrap().unwrap();
    }
    for instance in 0..2 {
        let text = fs::read_to_string(driven.map(instance)).unwrap();
        assert_eq!(text.lines().count(), 11, "{text}");
    }
}

#[test]
fn every_wrong_setting_of_an_exposure_is_named_with_what_to_give() {
    let component = |backend: &str, key: &str, value: &str| {
        let mut component = Component::new(Name::new(backend).unwrap());
        component.settings = [(key.to_string(), Setting::Text(value.into()))].into();
        component
    };
    let of = |balancer: Component, exposure: Component| {
        let fake = || Component::new(Name::new("fake").unwrap());
        let topology = Topology::builder("orders")
            .balancer("lb1", balancer)
            .pool(PoolSpec::new("esb", 1, 1000))
            .node(NodeSpec::new("esb1", 1000, fake(), fake()))
            .node(NodeSpec::new("esb2", 1000, fake(), fake()))
            .build()
            .unwrap();
        MapOn::from_component(&exposure, &topology).map_err(|error| error.to_string())
    };
    let haproxy = || component("haproxy", "socket", "/run/haproxy/admin.sock");
    let maps = of(haproxy(), component("haproxy", "map", "/etc/haproxy/{balancer}.map")).unwrap();
    assert_eq!((maps[0].instance.as_str(), maps[0].map.to_str()), ("lb1", Some("/etc/haproxy/lb1.map")));
    for (balancer, setting, value, wanted) in [
        (haproxy(), "maps", "/a.map", "maps: is unknown: did you mean map?"),
        (haproxy(), "map", "services.map", "map: give an absolute path"),
        (haproxy(), "map", "/a b.map", "map: give an absolute path"),
        (haproxy(), "map", "/a;show.map", "map: give an absolute path"),
        (haproxy(), "map", "/a\n.map", "map: give an absolute path"),
        (haproxy(), "map", "/a/../b.map", "map: give an absolute path"),
        (component("local", "socket", "/a"), "map", "/a.map", "backend: lb1 is no HAProxy"),
        (component("haproxy", "sockets", "/a"), "map", "/a.map", "backend: the settings of balancer lb1 are wrong"),
    ] {
        let error = of(balancer, component("haproxy", setting, value)).unwrap_err();
        assert!(error.contains(wanted), "{wanted}: {error}");
    }
}
