//! What sites need, by commands and by embedded fronts: the suites, on scripts that keep their state as files and on two fronts whose
//! truth is what a consumer gets.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod site_scripts;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use ha_core::backend::{Applied, Consumers, Effect, ErrorKind, LeadConsumers, ObserveSiteSwitch, SiteSwitch};
use ha_core::state::{LeaseEpoch, MemberKind};
use ha_core::topology::{Component, Name, NodeSpec, PoolSpec, Setting, SiteRole, Topology};
use ha_local::{
    CommandFenceConfig, CommandReplicaConfig, CommandSwitch, CommandSwitchConfig, EmbeddedBalancer, LocalSwitch,
};
use ha_testkit::conformance::site_switch::{
    HeldConsumer, RequestInProgress, SiteSwitchAbility, SiteSwitchFixture, SiteSwitchSubject, held, in_progress,
};
use ha_testkit::conformance::{Breach, Origins};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, sleep, timeout};

mod a_fence_of_scripts {
    use super::site_scripts::Fences;

    ha_testkit::conformance!(fence, Fences, skips = ["fixture: loses sites", "fixture: restarts"]);
}

mod a_copy_of_scripts {
    use super::site_scripts::Copies;

    ha_testkit::conformance!(replica, Copies, skips = ["fixture: restarts"]);
}

mod a_switch_of_scripts {
    use super::site_scripts::Switches;

    ha_testkit::conformance!(site_switch, Switches { holds: true }, skips = ["fixture: restarts"]);
}

mod a_switch_of_scripts_that_cannot_hold {
    use super::site_scripts::Switches;

    ha_testkit::conformance!(site_switch, Switches { holds: false }, skips = ["fixture: holds", "fixture: restarts"]);
}

mod embedded_fronts {
    use super::TwoFronts;

    ha_testkit::conformance!(site_switch, TwoFronts);
}

/// A request that is not answered in this time is held.
const HELD: Duration = Duration::from_millis(300);

fn site(name: &str) -> Name {
    Name::new(name).unwrap()
}

fn to(site: &str) -> Consumers {
    Consumers::To(site.into())
}

struct TwoFronts;

struct Fronts {
    dir: TempDir,
    origins: Origins,
    fronts: Mutex<Vec<EmbeddedBalancer>>,
    switch: Arc<LocalSwitch>,
}

impl Fronts {
    fn socket(&self, front: usize) -> PathBuf {
        self.dir.path().join(format!("front{front}.sock"))
    }

    async fn start(&self, front: usize, listen: SocketAddr) -> Result<EmbeddedBalancer, Breach> {
        let mut builder = EmbeddedBalancer::builder(site("front"));
        for name in ["north", "south"] {
            let address = self.origins.address(&site(name))?;
            builder = builder.with_pool(site(name), ([127, 0, 0, 1], 0).into());
            builder = builder.with_member(site("lb"), address, MemberKind::Primary);
        }
        let builder = builder.with_sites(self.dir.path().join(format!("led{front}")));
        Ok(builder.start(listen, &self.socket(front)).await?)
    }

    fn value(&self) -> LocalSwitch {
        LocalSwitch::new(vec![self.socket(0), self.socket(1)], ["north", "south"].map(site).into())
    }

    fn addresses(&self) -> Vec<SocketAddr> {
        self.fronts.lock().unwrap().iter().map(EmbeddedBalancer::address).collect()
    }
}

#[async_trait]
impl SiteSwitchFixture for TwoFronts {
    fn name(&self) -> String {
        "two embedded balancers in front of two sites".into()
    }

    fn can(&self, _ability: SiteSwitchAbility) -> bool {
        true
    }

    async fn fresh(&self) -> Result<Box<dyn SiteSwitchSubject>, Breach> {
        let (dir, origins) = (tempfile::tempdir()?, Origins::start(&["north", "south"].map(site)).await?);
        let switch = Arc::new(LocalSwitch::new(Vec::new(), Vec::new()));
        let mut fronts = Fronts { dir, origins, fronts: Mutex::default(), switch };
        for front in 0..2 {
            let started = fronts.start(front, ([127, 0, 0, 1], 0).into()).await?;
            fronts.fronts.lock().unwrap().push(started);
        }
        fronts.switch = Arc::new(fronts.value());
        Ok(Box::new(fronts))
    }
}

/// Asks as a consumer does: where the request goes.
async fn ask(address: SocketAddr) -> Result<Consumers, Breach> {
    let mut client = TcpStream::connect(address).await?;
    client.write_all(b"GET / HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n\r\n").await?;
    let mut answer = String::new();
    let Ok(read) = timeout(HELD, client.read_to_string(&mut answer)).await else { return Ok(Consumers::Held) };
    read?;
    Ok(match answer.split(' ').nth(1) {
        Some("200") => to(answer.lines().last().unwrap_or_default()),
        _ => Consumers::Nowhere,
    })
}

#[async_trait]
impl SiteSwitchSubject for Fronts {
    fn switch(&self) -> Arc<dyn SiteSwitch> {
        self.switch.clone()
    }

    fn another(&self) -> Arc<dyn SiteSwitch> {
        Arc::new(self.value())
    }

    async fn truth(&self) -> Result<Consumers, Breach> {
        let (first, second) = (ask(self.addresses()[0]).await?, ask(self.addresses()[1]).await?);
        if first == second { Ok(first) } else { Err(Breach::new(format!("{first} and {second}"))) }
    }

    async fn begin(&self) -> Result<Box<dyn RequestInProgress>, Breach> {
        let Consumers::To(name) = self.truth().await? else { return Err(Breach::new("they are led to no site")) };
        in_progress(&self.origins, self.addresses()[1], &site(&name)).await
    }

    async fn wait(&self) -> Result<Box<dyn HeldConsumer>, Breach> {
        held(&self.origins, &self.addresses()).await
    }

    async fn tear(&self) -> Result<(), Breach> {
        let mut stream = UnixStream::connect(self.socket(0)).await?;
        stream.write_all(b"{\"op\":\"lead\",\"to\":{\"site\":\"south\"},\"epoch\":0}\n").await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        if answer.contains("applied") { Ok(()) } else { Err(Breach::new(answer)) }
    }

    async fn restart(&self) -> Result<(), Breach> {
        for front in 0..2 {
            let address = self.addresses()[front];
            self.fronts.lock().unwrap().remove(front);
            // The old one gives its address up when its tasks have ended.
            let until = Instant::now() + Duration::from_secs(10);
            let started = loop {
                match self.start(front, address).await {
                    Err(error) if Instant::now() >= until => return Err(error),
                    Err(_) => sleep(Duration::from_millis(5)).await,
                    Ok(started) => break started,
                }
            };
            self.fronts.lock().unwrap().insert(front, started);
        }
        Ok(())
    }

    async fn lose(&self) -> Result<(), Breach> {
        Ok(std::fs::remove_file(self.socket(1))?)
    }
}

const LEASE: LeaseEpoch = LeaseEpoch::new(1);

/// A DNS record that was changed is still cached: consumers go on to where they were led before.
#[tokio::test]
async fn a_lead_is_done_when_the_ttl_is_over_and_nobody_is_told_otherwise_before() {
    let dir = tempfile::tempdir().unwrap();
    site_scripts::write_switch(dir.path());
    let ttl = Duration::from_secs(2);
    let value = || {
        let config = site_scripts::switch_config(dir.path()).with_ttl(ttl);
        CommandSwitch::new(config)
    };
    let lead = || LeadConsumers::new(to("south")).with_deadline(Duration::from_secs(30));
    let short = value().lead(LEASE, lead().with_deadline(ttl)).await.unwrap_err();
    assert_eq!((short.kind(), short.effect()), (ErrorKind::Timeout, Effect::None), "{short}");
    let began = Instant::now();
    let first = value();
    // The controller that began is dropped in the middle; the next one waits for what is left.
    assert!(timeout(ttl / 4, first.lead(LEASE, lead())).await.is_err());
    let told = value().consumers().await.unwrap_err();
    assert_eq!((told.kind(), told.effect()), (ErrorKind::Conflict, Effect::None), "{told}");
    value().lead(LEASE, lead()).await.unwrap();
    assert!(began.elapsed() >= ttl);
    assert_eq!(value().consumers().await.unwrap(), to("south"));
    assert_eq!(value().lead(LEASE, lead()).await.unwrap(), Applied::AlreadySo);
}

/// A controller that died after its command had changed the record, and before it could note when.
#[tokio::test]
async fn a_ttl_is_counted_from_the_end_of_the_command_also_after_a_controller_that_died() {
    let dir = tempfile::tempdir().unwrap();
    site_scripts::write_switch(dir.path());
    for record in ["first", "second"] {
        std::fs::write(dir.path().join(record), "south\n").unwrap();
    }
    let leading = dir.path().join(".ha-leading");
    std::fs::write(&leading, "lead has begun\n").unwrap();
    let long_ago = std::time::SystemTime::now() - Duration::from_secs(60);
    std::fs::File::options().write(true).open(&leading).unwrap().set_modified(long_ago).unwrap();
    let value = CommandSwitch::new(site_scripts::switch_config(dir.path()).with_ttl(Duration::from_secs(1)));
    let told = value.consumers().await.unwrap_err();
    assert_eq!((told.kind(), told.effect()), (ErrorKind::Conflict, Effect::None), "{told}");
    let lead = || LeadConsumers::new(to("south")).with_deadline(Duration::from_secs(30));
    assert_eq!(value.lead(LEASE, lead()).await.unwrap(), Applied::Applied);
    assert_eq!(value.consumers().await.unwrap(), to("south"));
    assert_eq!(value.lead(LEASE, lead()).await.unwrap(), Applied::AlreadySo);
}

/// Who has the old record goes on for the TTL, and begins requests.
#[tokio::test(flavor = "multi_thread")]
async fn a_hold_waits_for_the_ttl_and_for_what_was_begun_meanwhile() {
    let dir = tempfile::tempdir().unwrap();
    site_scripts::write_switch(dir.path());
    let config = site_scripts::switch_config(dir.path()).holding().with_ttl(Duration::from_secs(2));
    let value = CommandSwitch::new(config);
    let (holding, leading) = (value.clone(), dir.path().join(".ha-leading"));
    let hold = LeadConsumers::new(Consumers::Held).with_deadline(Duration::from_secs(60));
    let holding = tokio::spawn(async move { holding.lead(LEASE, hold).await });
    let ended = || std::fs::read_to_string(&leading).is_ok_and(|text| text == "lead has ended\n");
    while !ended() {
        assert!(!holding.is_finished(), "held, and the TTL is not over");
        sleep(Duration::from_millis(10)).await;
    }
    let request = dir.path().join("requests/late");
    std::fs::write(&request, "").unwrap();
    while leading.exists() {
        sleep(Duration::from_millis(10)).await;
    }
    for _ in 0..30 {
        assert!(!holding.is_finished(), "held, and a request is in progress");
        sleep(Duration::from_millis(10)).await;
    }
    std::fs::remove_file(&request).unwrap();
    assert_eq!(holding.await.unwrap().unwrap(), Applied::Applied);
    assert_eq!(value.consumers().await.unwrap(), Consumers::Held);
}

/// It refuses to wait for what was begun meanwhile: by then it has held them.
#[tokio::test(flavor = "multi_thread")]
async fn a_hold_that_refuses_what_was_begun_meanwhile_has_changed_something_and_is_led_back() {
    let dir = tempfile::tempdir().unwrap();
    site_scripts::write_switch(dir.path());
    let lead = std::fs::read_to_string(dir.path().join("lead.sh")).unwrap();
    let once = "#!/bin/sh\nif [ $HA_CONSUMERS = held ] && ! mkdir held_once; then exit 3; fi\n";
    std::fs::write(dir.path().join("lead.sh"), format!("{once}{lead}")).unwrap();
    let config = site_scripts::switch_config(dir.path()).holding().with_ttl(Duration::from_secs(1));
    let value = CommandSwitch::new(config);
    let holding = value.clone();
    let hold = LeadConsumers::new(Consumers::Held).with_deadline(Duration::from_secs(60));
    let holding = tokio::spawn(async move { holding.lead(LEASE, hold).await });
    while !std::fs::read_to_string(dir.path().join(".ha-leading")).is_ok_and(|text| text == "lead has ended\n") {
        assert!(!holding.is_finished(), "held, and the TTL is not over");
        sleep(Duration::from_millis(10)).await;
    }
    std::fs::write(dir.path().join("requests/late"), "").unwrap();
    let failed = holding.await.unwrap().unwrap_err();
    assert_eq!((failed.kind(), failed.effect()), (ErrorKind::Conflict, Effect::Unknown), "{failed}");
    assert!(format!("{failed:#}").contains("read where consumers are led"), "{failed:#}");
    assert_eq!(std::fs::read_to_string(dir.path().join("first")).unwrap(), "north\n");
}

/// A front that is lost in a hold does not keep the other one's consumers waiting.
#[tokio::test(flavor = "multi_thread")]
async fn a_hold_that_fails_is_led_back_over_every_front_that_answers() {
    let (dir, origins) = (tempfile::tempdir().unwrap(), Origins::start(&["north", "south"].map(site)).await.unwrap());
    let switch = Arc::new(LocalSwitch::new(Vec::new(), Vec::new()));
    let fronts = Fronts { dir, origins, fronts: Mutex::default(), switch };
    for front in 0..2 {
        let started = fronts.start(front, ([127, 0, 0, 1], 0).into()).await.unwrap();
        fronts.fronts.lock().unwrap().push(started);
    }
    let address = fronts.addresses()[1];
    let request = fronts.origins.hold(address, &site("north")).await.unwrap();
    let (holding, second) = (fronts.value(), fronts.value());
    let hold = LeadConsumers::new(Consumers::Held).with_deadline(Duration::from_secs(60));
    let waiting = holding.clone();
    let waiting = tokio::spawn(async move { waiting.lead(LEASE, hold).await });
    while ask(address).await.unwrap() != Consumers::Held {
        sleep(Duration::from_millis(10)).await;
    }
    // It is waited for no longer than the call itself may take.
    let short = LeadConsumers::new(to("south")).with_deadline(Duration::from_millis(100));
    let late = timeout(Duration::from_secs(30), holding.lead(LEASE, short)).await.unwrap().unwrap_err();
    assert_eq!((late.kind(), late.effect()), (ErrorKind::Timeout, Effect::None), "{late}");
    // The one that is asked first.
    std::fs::remove_file(fronts.socket(0)).unwrap();
    let failed = waiting.await.unwrap().unwrap_err();
    assert_eq!(failed.effect(), Effect::Unknown, "{failed}");
    assert_eq!(ask(address).await.unwrap(), to("north"));
    let told = second.consumers().await.unwrap_err();
    assert_eq!((told.kind(), told.effect()), (ErrorKind::Unreachable, Effect::None), "{told}");
    assert!(request.release().await.unwrap());
}

#[tokio::test]
async fn what_a_status_prints_beyond_what_is_kept_is_not_read_and_of_a_change_it_does_not_matter() {
    let dir = tempfile::tempdir().unwrap();
    site_scripts::write_switch(dir.path());
    let chatty = ["/bin/sh", "-c", "seq 1 20000; exec ./lead.sh"].map(String::from).to_vec();
    let mut config = site_scripts::switch_config(dir.path());
    config.lead = chatty;
    let lead = LeadConsumers::new(to("south")).with_deadline(Duration::from_secs(30));
    assert_eq!(CommandSwitch::new(config.clone()).lead(LEASE, lead).await.unwrap(), Applied::Applied);
    config.status = ["/bin/sh", "-c", "seq 1 20000; echo north"].map(String::from).to_vec();
    let told = CommandSwitch::new(config).consumers().await.unwrap_err();
    assert_eq!((told.kind(), told.effect()), (ErrorKind::Protocol, Effect::None), "{told}");
    assert!(told.to_string().contains("status printed 65536 bytes or more"), "{told}");
}

/// Another controller's command that still runs is waited for no longer than the call may take.
#[tokio::test(flavor = "multi_thread")]
async fn the_deadline_of_a_command_begins_with_the_call_and_not_when_the_folder_is_free() {
    let dir = tempfile::tempdir().unwrap();
    site_scripts::write_switch(dir.path());
    let config = site_scripts::switch_config(dir.path()).holding();
    let request = dir.path().join("requests/1");
    std::fs::write(&request, "").unwrap();
    let value = CommandSwitch::new(config);
    let holding = value.clone();
    let hold = LeadConsumers::new(Consumers::Held).with_deadline(Duration::from_secs(60));
    let holding = tokio::spawn(async move { holding.lead(LEASE, hold).await });
    while !std::fs::read_to_string(dir.path().join("second")).unwrap().contains("held") {
        sleep(Duration::from_millis(10)).await;
    }
    let short = LeadConsumers::new(to("south")).with_deadline(Duration::from_millis(100));
    let late = timeout(Duration::from_secs(30), value.lead(LEASE, short)).await.unwrap().unwrap_err();
    assert_eq!((late.kind(), late.effect()), (ErrorKind::Busy, Effect::None), "{late}");
    assert!(!holding.is_finished());
    std::fs::remove_file(&request).unwrap();
    assert_eq!(holding.await.unwrap().unwrap(), Applied::Applied);
}

/// A script that ends well and has done nothing is not believed.
#[tokio::test]
async fn a_command_that_claims_what_is_not_so_is_a_conflict_with_an_unknown_effect() {
    let dir = tempfile::tempdir().unwrap();
    let words = |text: &str| text.split(' ').map(String::from).collect::<Vec<_>>();
    let sites = words("north south");
    let config = CommandSwitchConfig::new(dir.path(), sites, words("echo north"), words("true"));
    let believed = CommandSwitch::new(config).lead(LEASE, LeadConsumers::new(to("south"))).await.unwrap_err();
    assert_eq!((believed.kind(), believed.effect()), (ErrorKind::Conflict, Effect::Unknown), "{believed}");
}

fn topology(first: &str) -> Topology {
    let component = |backend: &str| Component::new(site(backend));
    let node = |name: &str| NodeSpec::new(name, 1000, component("h"), component("p")).with_site(first);
    let builder = Topology::builder("orders").site(first, SiteRole::Serving).site("south", SiteRole::Warm);
    let builder = builder.balancer("lb1", component("local")).pool(PoolSpec::new("esb", 1, 1000));
    builder.node(node("esb1")).node(node("esb2")).build().unwrap()
}

#[test]
fn every_wrong_setting_of_what_sites_need_is_named_with_what_to_give() {
    let text = |value: &str| Setting::Text(value.into());
    let argv = |value: &str| Setting::List(vec![value.into()]);
    let component = |settings: &[(&str, Setting)]| {
        let mut component = Component::new(site("command"));
        component.settings = settings.iter().map(|(key, value)| ((*key).to_string(), value.clone())).collect();
        component
    };
    let fence = |level: &str| {
        let settings = [("home", text("/h")), ("level", text(level)), ("status", argv("s")), ("fence", argv("f"))];
        CommandFenceConfig::from_component(&component(&[&settings[..], &[("lift", argv("l"))]].concat()))
    };
    assert!(fence("power").is_ok());
    assert!(fence("everything").unwrap_err().to_string().contains("level: give consumers, servers, database or power"));
    let missing = CommandFenceConfig::from_component(&component(&[])).unwrap_err().to_string();
    for key in ["home", "level", "status", "fence", "lift"] {
        assert!(missing.contains(&format!("{key}: is missing")), "{missing}");
    }
    let switch = |first: &str, settings: &[(&str, Setting)]| {
        let all = [("home", text("/h")), ("status", argv("s")), ("lead", argv("l"))];
        CommandSwitchConfig::from_component(&component(&[&all[..], settings].concat()), &topology(first))
    };
    let read = switch("north", &[("ttl", text("60s")), ("holds", Setting::Flag(true))]).unwrap();
    assert_eq!(
        (read.ttl, read.holds, read.sites),
        (Duration::from_secs(60), true, vec!["north".into(), "south".into()])
    );
    assert!(switch("held", &[]).unwrap_err().to_string().contains("a site is called held"));
    assert!(
        switch("north", &[("ttl", Setting::Integer(60))]).unwrap_err().to_string().contains("ttl: give a duration")
    );
    let replica = CommandReplicaConfig::from_component(&component(&[]), &topology("north"), "north").unwrap_err();
    for key in ["home", "status", "promote", "demote", "follow"] {
        assert!(replica.to_string().contains(&format!("{key}: is missing")), "{replica}");
    }
    let front = LocalSwitch::from_component(&component(&[("sockets", text("front.sock"))]), &topology("north"));
    assert!(front.unwrap_err().to_string().contains("sockets: give absolute paths"));
    let missing = LocalSwitch::from_component(&component(&[]), &topology("north")).unwrap_err().to_string();
    assert!(missing.contains("sockets: is missing"), "{missing}");
}
