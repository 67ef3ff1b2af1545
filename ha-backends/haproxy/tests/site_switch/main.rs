//! Real HAProxys in front of two sites: the suite, what consumers see of a planned switch under load, and what a front lacks. The
//! truth is what a consumer gets.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod faults;

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ha_core::backend::{
    Applied, Consumers, Effect, ErrorKind, LeadConsumers, ObserveSiteSwitch, SiteSwitch, StepError,
};
use ha_core::state::LeaseEpoch;
use ha_core::topology::{Component, Name, NodeSpec, PoolSpec, Setting, SiteRole, Topology};
use ha_haproxy::{Endpoint, HOLD_LUA, HaProxyConfig, HaProxySwitch, MapOn};
use ha_lab::fake_carbon::{CarbonConfig, CarbonHome, Relaunch};
use ha_lab::load::{Class, Load, RunningLoad, double_executions};
use ha_lab::{HaProxyProcess, HaProxySpec, Lab, ServerSpec};
use ha_testkit::conformance::site_switch::{
    HeldConsumer, RequestInProgress, SiteSwitchAbility, SiteSwitchFixture, SiteSwitchSubject, held, in_progress,
};
use ha_testkit::conformance::{Breach, Origins};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

ha_lab::roles!();

const FRONTS: [&str; 2] = ["front1", "front2"];
const EPOCH: LeaseEpoch = LeaseEpoch::new(1);
/// A request that is not answered in this time is held.
const HELD: Duration = Duration::from_millis(400);

fn sites() -> Vec<Name> {
    ["north", "south"].map(|site| Name::new(site).unwrap()).into()
}

fn to(site: &str) -> Consumers {
    Consumers::To(site.into())
}

/// Two HAProxys in front of two sites, the second with a master and workers.
struct Fronts {
    processes: Vec<HaProxyProcess>,
    lab: Lab,
}

impl Fronts {
    fn start(lab: Lab, north: u16, south: u16) -> Result<Self, Breach> {
        let script = lab.path().join("ha-hold.lua");
        fs::write(&script, HOLD_LUA)?;
        let mut processes = Vec::new();
        for name in FRONTS {
            let map = lab.path().join(format!("{name}.map"));
            fs::write(&map, "# where consumers are led\nsite north\n")?;
            let site = |name: &str, port: u16| format!("backend site_{name}\n    server lb 127.0.0.1:{port}");
            let mut spec = HaProxySpec::new("nowhere", vec![ServerSpec::new("none", lab.free_port()?)])
                .without_checks()
                .with_global_line(format!("setenv HA_SITES_MAP {}", map.display()))
                .with_global_line(format!("lua-load {}", script.display()))
                .with_frontend_line("http-request lua.ha_hold")
                .with_frontend_line(format!("use_backend site_%[str(site),map({})]", map.display()))
                .with_section(site("north", north))
                .with_section(site("south", south));
            spec = if name == "front2" { spec.with_master() } else { spec };
            processes.push(lab.haproxy(name, &spec)?);
        }
        Ok(Self { processes, lab })
    }

    fn map(&self, front: usize) -> PathBuf {
        self.lab.path().join(format!("{}.map", FRONTS[front]))
    }

    fn switch(&self) -> HaProxySwitch {
        let on = |(front, process): (usize, &HaProxyProcess)| {
            let mut config = HaProxyConfig::new(process.socket());
            if let Some(master) = process.master_socket() {
                config = config.with_master(Endpoint::Unix(master.into()));
            }
            MapOn::new(FRONTS[front], config, self.map(front))
        };
        HaProxySwitch::new(self.processes.iter().enumerate().map(on).collect(), sites())
    }

    fn addresses(&self) -> Vec<SocketAddr> {
        self.processes.iter().map(HaProxyProcess::address).collect()
    }
}

struct Driven {
    fronts: Fronts,
    origins: Origins,
    switch: Arc<HaProxySwitch>,
}

struct TwoFronts;

/// Asks as a consumer does: where the request goes. `None` where nobody listens.
async fn ask(address: SocketAddr) -> Result<Option<Consumers>, Breach> {
    let Ok(mut client) = TcpStream::connect(address).await else { return Ok(None) };
    client.write_all(b"GET / HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n\r\n").await?;
    let mut answer = String::new();
    let Ok(read) = timeout(HELD, client.read_to_string(&mut answer)).await else { return Ok(Some(Consumers::Held)) };
    read?;
    Ok(Some(match answer.split(' ').nth(1) {
        Some("200") => to(answer.lines().last().unwrap_or_default()),
        _ => Consumers::Nowhere,
    }))
}

#[async_trait]
impl SiteSwitchFixture for TwoFronts {
    fn name(&self) -> String {
        "two HAProxys in front of two sites".into()
    }

    fn can(&self, ability: SiteSwitchAbility) -> bool {
        ability != SiteSwitchAbility::Fences
    }

    async fn fresh(&self) -> Result<Box<dyn SiteSwitchSubject>, Breach> {
        let origins = Origins::start(&sites()).await?;
        let port = |site: &Name| Ok::<_, Breach>(origins.address(site)?.port());
        let (north, south) = (port(&sites()[0])?, port(&sites()[1])?);
        let fronts = Fronts::start(Lab::open(Relaunch::test()?)?, north, south)?;
        let switch = Arc::new(fronts.switch());
        Ok(Box::new(Driven { fronts, origins, switch }))
    }
}

#[async_trait]
impl SiteSwitchSubject for Driven {
    fn switch(&self) -> Arc<dyn SiteSwitch> {
        self.switch.clone()
    }

    fn another(&self) -> Arc<dyn SiteSwitch> {
        Arc::new(self.fronts.switch())
    }

    async fn truth(&self) -> Result<Consumers, Breach> {
        let mut seen = Vec::new();
        for address in self.fronts.addresses() {
            seen.extend(ask(address).await?);
        }
        seen.dedup();
        let [led] = &seen[..] else { return Err(Breach::new(format!("the fronts lead apart: {seen:?}"))) };
        Ok(led.clone())
    }

    async fn begin(&self) -> Result<Box<dyn RequestInProgress>, Breach> {
        let Consumers::To(site) = self.truth().await? else { return Err(Breach::new("they are led to no site")) };
        let site = Name::new(&site).map_err(|error| Breach::new(error.to_string()))?;
        in_progress(&self.origins, self.fronts.addresses()[1], &site).await
    }

    async fn wait(&self) -> Result<Box<dyn HeldConsumer>, Breach> {
        held(&self.origins, &self.fronts.addresses()).await
    }

    async fn tear(&self) -> Result<(), Breach> {
        let map = self.fronts.map(0);
        self.fronts.processes[0].ask(&format!("set map {} site south", map.display()))?;
        Ok(())
    }

    async fn restart(&self) -> Result<(), Breach> {
        for process in &self.fronts.processes {
            process.restart()?;
        }
        Ok(())
    }

    async fn lose(&self) -> Result<(), Breach> {
        self.fronts.processes[1].kill();
        Ok(())
    }
}

mod maps_of_two_fronts {
    use super::TwoFronts;

    ha_testkit::conformance!(site_switch, TwoFronts, skips = ["fixture: fences"]);
}

/// Two fronts in front of two servers: the release of `north` is 1.1, that of `south` is 1.2.
struct UnderLoad {
    fronts: Fronts,
    homes: Vec<CarbonHome>,
}

impl UnderLoad {
    fn start() -> Self {
        let lab = Lab::open(Relaunch::test().unwrap()).unwrap();
        let install = |(name, release)| {
            let home = lab.carbon(name, CarbonConfig::fast(release)).unwrap();
            home.start().unwrap();
            home
        };
        let homes: Vec<CarbonHome> = [("north", "1.1"), ("south", "1.2")].map(install).into();
        let fronts = Fronts::start(lab, homes[0].port(), homes[1].port()).unwrap();
        Self { fronts, homes }
    }

    fn load(&self, per_second: u32) -> Load {
        let [first, second] = self.fronts.addresses()[..] else { panic!("two fronts") };
        Load::new(first, per_second)
            .with_address(second)
            .with_class(Class::new("/orders", "orders ", 10))
            .with_class(Class::new("/orders?ms=30", "orders ", 5).as_post("a=1"))
            .with_class(Class::new("/orders", "orders ", 5).closing())
            .with_class(Class::new("/stream?ms=150", "stream ", 2))
    }

    fn unfinished(&self) -> usize {
        self.homes.iter().map(|home| home.requests().unwrap().unfinished().len()).sum()
    }

    fn begun(&self, site: usize) -> usize {
        self.homes[site].requests().unwrap().begun.len()
    }
}

async fn until_sent(load: &RunningLoad, more: u64) {
    let (already, until) = (load.snapshot().ok, Instant::now() + Duration::from_secs(30));
    while load.snapshot().ok < already + more {
        assert!(Instant::now() < until, "waited in vain for answers");
        sleep(Duration::from_millis(5)).await;
    }
}

async fn lead(switch: &HaProxySwitch, to: Consumers) -> Result<Applied, StepError> {
    switch.lead(EPOCH, LeadConsumers::new(to).with_deadline(Duration::from_secs(20))).await
}

/// While they are held, no request begins or is in progress in any site: what is demoted meanwhile loses no write.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_planned_switch_under_load_loses_no_request_and_holds_them_all() {
    let driven = UnderLoad::start();
    let (switch, load) = (driven.fronts.switch(), driven.load(300).start().unwrap());
    let mut held = Vec::new();
    for site in ["south", "north", "south", "north", "south"] {
        until_sent(&load, 150).await;
        let began = Instant::now();
        lead(&switch, Consumers::Held).await.unwrap();
        assert_eq!(driven.unfinished(), 0, "held, and in progress");
        let before = [driven.begun(0), driven.begun(1)];
        sleep(Duration::from_millis(300)).await;
        assert_eq!([driven.begun(0), driven.begun(1)], before, "held, and a request has come through");
        lead(&switch, to(site)).await.unwrap();
        held.push(began.elapsed());
    }
    until_sent(&load, 150).await;
    let report = load.stop().await;
    assert_eq!(report.counts.failed, BTreeMap::new());
    assert_eq!(report.counts.by_release.keys().collect::<Vec<_>>(), ["1.1", "1.2"]);
    let logs: Vec<_> = driven.homes.iter().map(CarbonHome::request_log).collect();
    assert_eq!(double_executions(&logs).unwrap(), 0);
    ha_testkit::figures!("site switch over HAProxy: {} requests, 0 failed; held {held:?}", report.counts.sent);
}

/// A reload leaves workers behind that still have connections: they lead where the others do, and what they have in progress is
/// counted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_in_the_middle_leads_nobody_astray() {
    let driven = UnderLoad::start();
    let (switch, load) = (driven.fronts.switch(), driven.load(200).start().unwrap());
    until_sent(&load, 100).await;
    driven.fronts.processes[1].reload().unwrap();
    lead(&switch, Consumers::Held).await.unwrap();
    assert_eq!(driven.unfinished(), 0, "held, and in progress");
    driven.fronts.processes[1].reload().unwrap();
    assert_eq!(switch.consumers().await.unwrap(), Consumers::Held);
    let before = driven.begun(0);
    lead(&switch, to("south")).await.unwrap();
    until_sent(&load, 100).await;
    let report = load.stop().await;
    assert_eq!((report.counts.failed, driven.begun(0)), (BTreeMap::new(), before));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_front_that_is_not_made_to_hold_is_refused_before_anybody_waits() {
    let lab = Lab::open(Relaunch::test().unwrap()).unwrap();
    let map = lab.path().join("sites.map");
    fs::write(&map, "site north\n").unwrap();
    let site = |name: &str| {
        format!("backend site_{name}\n    http-request return status 200 content-type text/plain string {name}")
    };
    let spec = HaProxySpec::new("nowhere", vec![ServerSpec::new("none", lab.free_port().unwrap())])
        .without_checks()
        .with_frontend_line(format!("use_backend site_%[str(site),map({})]", map.display()));
    let two = || spec.clone().with_section(site("north")).with_section(site("south"));
    let on = |process: &HaProxyProcess| MapOn::new("front", HaProxyConfig::new(process.socket()), &map);

    let bare = lab.haproxy("bare", &two()).unwrap();
    let refused = lead(&HaProxySwitch::new(vec![on(&bare)], sites()), Consumers::Held).await.unwrap_err();
    assert_eq!((refused.kind(), refused.effect()), (ErrorKind::Unsupported, Effect::None), "{refused}");
    assert_eq!(ask(bare.address()).await.unwrap(), Some(to("north")));

    let script = lab.path().join("ha-hold.lua");
    fs::write(&script, HOLD_LUA).unwrap();
    let spec_unused = two()
        .with_global_line(format!("setenv HA_SITES_MAP {}", map.display()))
        .with_global_line(format!("lua-load {}", script.display()));
    let unused = lab.haproxy("unused", &spec_unused).unwrap();
    let mut front = on(&unused);
    front.config = front.config.with_config_file(unused.config_file());
    let refused = lead(&HaProxySwitch::new(vec![front], sites()), Consumers::Held).await.unwrap_err();
    assert_eq!((refused.kind(), refused.effect()), (ErrorKind::Unsupported, Effect::None), "{refused}");

    let one = lab.haproxy("one", &spec.clone().with_section(site("north"))).unwrap();
    let refused = lead(&HaProxySwitch::new(vec![on(&one)], sites()), to("south")).await.unwrap_err();
    assert_eq!((refused.kind(), refused.effect()), (ErrorKind::NotFound, Effect::None), "{refused}");
    assert_eq!(fs::read_to_string(&map).unwrap(), "site north\n");
}

/// A controller that dies while it waits for the last request leaves consumers held; the next one finds where they were led.
#[tokio::test(flavor = "multi_thread")]
async fn a_hold_that_was_broken_off_is_led_back_by_the_next_controller_that_gives_up() {
    let origins = Origins::start(&sites()).await.unwrap();
    let port = |site: usize| origins.address(&sites()[site]).unwrap().port();
    let fronts = Fronts::start(Lab::open(Relaunch::test().unwrap()).unwrap(), port(0), port(1)).unwrap();
    let request = origins.hold(fronts.addresses()[0], &sites()[0]).await.unwrap();
    let first = fronts.switch();
    assert!(timeout(Duration::from_millis(500), lead(&first, Consumers::Held)).await.is_err(), "it waits");
    let next = fronts.switch();
    let in_between = next.consumers().await.unwrap_err();
    assert_eq!((in_between.kind(), in_between.effect()), (ErrorKind::Conflict, Effect::None), "{in_between}");
    let short = LeadConsumers::new(Consumers::Held).with_deadline(Duration::from_millis(300));
    let gave_up = next.lead(EPOCH, short).await.unwrap_err();
    assert_eq!((gave_up.kind(), gave_up.effect()), (ErrorKind::Timeout, Effect::None), "{gave_up}");
    assert_eq!(next.consumers().await.unwrap(), to("north"));
    assert!(request.release().await.unwrap());
}

fn configured(settings: &[(&str, Setting)]) -> Result<HaProxySwitch, String> {
    let component = |backend: &str| Component::new(Name::new(backend).unwrap());
    let mut switch = component("haproxy");
    switch.settings = settings.iter().map(|(key, value)| ((*key).to_string(), value.clone())).collect();
    let node = |name: &str| NodeSpec::new(name, 1000, component("h"), component("p")).with_site("north");
    let topology = Topology::builder("orders")
        .site("north", SiteRole::Serving)
        .site("south", SiteRole::Warm)
        .balancer("lb1", component("haproxy"))
        .pool(PoolSpec::new("esb", 1, 1000))
        .node(node("esb1"))
        .node(node("esb2"))
        .switch(switch.clone())
        .build()
        .unwrap();
    HaProxySwitch::from_component(&switch, &topology).map_err(|error| error.to_string())
}

#[test]
fn every_wrong_setting_of_a_switch_is_named_with_what_to_give() {
    let text = |value: &str| Setting::Text(value.into());
    let list = |values: &[&str]| Setting::List(values.iter().map(|value| (*value).to_string()).collect());
    let map = ("map", text("/etc/sites.map"));
    for (settings, words) in [
        (vec![map.clone()], "sockets: is missing"),
        (vec![("sockets", text("/a.sock"))], "map: is missing"),
        (vec![("sockets", text("a.sock")), map.clone()], "sockets: give the absolute path"),
        (vec![("sockets", text("/run/../a")), map.clone()], "sockets: give the absolute path"),
        (vec![("sockets", list(&["/a", "/b"])), map.clone()], "map: give each front a map of its own"),
        (
            vec![("sockets", list(&["/a", "/b"])), ("map", text("/m{front}")), ("masters", text("/c"))],
            "masters: give one",
        ),
        (vec![("sockets", text("/a")), ("map", text("/m; del map"))], "map: give an absolute path"),
        (vec![("sockets", text("/a")), map.clone(), ("site_backend", text("sites"))], "site_backend: put {site}"),
        (vec![("sockets", text("/a")), map.clone(), ("socket", text("/b"))], "socket: is unknown"),
    ] {
        let error = configured(&settings).unwrap_err();
        assert!(error.contains(words), "{error}");
    }
    let two = [("sockets", list(&["/a", "10.0.0.1:9"])), ("map", text("/m{front}")), ("masters", list(&["/c", "/d"]))];
    assert!(configured(&two).is_ok());
}
