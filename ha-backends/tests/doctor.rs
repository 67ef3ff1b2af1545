//! The doctor over a real HAProxy, real servers on this machine and its own `df`, clock and `sha256sum`.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use ha_backends::connect;
use ha_core::backend::{Admin, LeaseEpoch, MemberRef, SetAdmin};
use ha_core::engine::{Check, Diagnosis, Engine, Place, Severity};
use ha_core::topology::{Name, Topology};
use ha_lab::fake_carbon::{CarbonConfig, CarbonHome, Relaunch};
use ha_lab::{HaProxyProcess, HaProxySpec, Lab, ServerSpec};
use tokio::process::Command;
use tokio::time::{Instant, sleep};

ha_lab::roles!();

const NAMES: [&str; 2] = ["esb1", "esb2"];
const SECRET: &str = "repository/wso2carbon.jks";

struct Site {
    lab: Lab,
    homes: Vec<CarbonHome>,
    haproxy: HaProxyProcess,
}

impl Site {
    async fn start() -> Self {
        let lab = Lab::open(Relaunch::test().unwrap()).unwrap();
        let homes: Vec<CarbonHome> =
            NAMES.iter().map(|name| lab.carbon(name, CarbonConfig::fast("4.2.0")).unwrap()).collect();
        let servers = NAMES.iter().zip(&homes).map(|(name, home)| ServerSpec::new(*name, home.port())).collect();
        let spec = HaProxySpec::new("esb", servers).checking("/services/Version").with_master();
        let haproxy = lab.haproxy("lb1", &spec).unwrap();
        let site = Self { lab, homes, haproxy };
        for home in &site.homes {
            let started = Command::new("bin/wso2server.sh").arg("start").current_dir(home.path()).status().await;
            assert!(started.unwrap().success());
            std::fs::write(home.path().join(SECRET), "one and the same key").unwrap();
            let java = home.path().join("bin/java");
            std::fs::write(&java, "#!/bin/sh\necho 'openjdk version \"17.0.12\" 2024-07-16' >&2\n").unwrap();
            std::fs::set_permissions(&java, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        site
    }

    fn engine(&self, config_file: bool) -> Engine {
        let config = if config_file {
            format!("config_file = \"{}\"\n", self.haproxy.config_file().display())
        } else {
            String::new()
        };
        let (socket, master) = (self.haproxy.socket().display(), self.haproxy.master_socket().unwrap().display());
        let mut text = format!(
            "[cluster]\nname = \"orders\"\n[policy]\npeak_load = 1000\nstop_deadline = \"30s\"\n\
             [expect]\njava = \"11-21\"\njava_command = [\"bin/java\", \"-version\"]\nsecrets = [\"{SECRET}\"]\n\
             free_disk = 0.001\n\
             [pool]\nname = \"esb\"\nserve = 2\n\
             [[balancer]]\nname = \"lb1\"\nbackend = \"haproxy\"\nsocket = \"{socket}\"\nmaster = \"{master}\"\n{config}"
        );
        for (name, home) in NAMES.iter().zip(&self.homes) {
            let (path, identity, port) = (home.path().display(), home.identity(), home.port());
            text += &format!(
                "[[node]]\nname = \"{name}\"\ncapacity = 800\n[node.host]\nbackend = \"local\"\nhome = \"{path}\"\n\
                 start = [\"bin/wso2server.sh\", \"start\"]\nstop = [\"bin/wso2server.sh\", \"stop\"]\n\
                 version = [\"cat\", \"bin/version.txt\"]\npid_file = \"wso2carbon.pid\"\nidentity = \"{identity}\"\n\
                 [node.probe]\nbackend = \"http\"\nurl = \"http://127.0.0.1:{port}/services/Version\"\n\
                 test_url = \"http://127.0.0.1:{port}/selftest\"\ntest_expect = \"ok\"\n"
            );
        }
        let topology = Topology::from_toml_str(&text).unwrap();
        connect(&topology).unwrap().engine(topology).build().unwrap()
    }

    /// Looks until a check is well, or found, as it should be.
    async fn until(&self, engine: &Engine, as_wanted: impl Fn(&Diagnosis) -> bool) -> Diagnosis {
        let began = Instant::now();
        loop {
            let diagnosis = engine.doctor().await;
            if as_wanted(&diagnosis) || began.elapsed() > Duration::from_secs(20) {
                return diagnosis;
            }
            sleep(Duration::from_millis(200)).await;
        }
    }
}

fn node(name: &str) -> Place {
    Place::Node { node: name.into() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_cluster_is_looked_at_and_each_of_its_faults_is_found() {
    let site = Site::start().await;
    let engine = site.engine(true);
    let well = [
        Check::CapacityNow,
        Check::ServerDown,
        Check::ReleaseDrift,
        Check::RestartPending,
        Check::Drained,
        Check::WeightChanged,
        Check::BalancerDown,
        Check::ClockSkew,
        Check::DiskFull,
        Check::JavaRange,
        Check::SecretsDiffer,
        Check::StopBudget,
        Check::Missing,
        Check::CheckTarget,
        Check::LeftOut,
        Check::Unread,
        Check::RunOpen,
        Check::LeaseHeld,
    ];
    let is_well = |diagnosis: &Diagnosis| well.iter().all(|check| diagnosis.well.contains(check));
    let diagnosis = site.until(&engine, is_well).await;
    assert!(is_well(&diagnosis), "{diagnosis}");
    // The two are on one machine, and declared to fail apart.
    assert_eq!(diagnosis.of(Check::OneMachine).count(), 1, "{diagnosis}");

    // What people leave behind.
    std::fs::write(site.homes[1].path().join(SECRET), "another key").unwrap();
    std::fs::write(site.homes[0].path().join("bin/java"), "#!/bin/sh\necho 'java version \"1.8.0_402\"' >&2\n")
        .unwrap();
    std::fs::write(site.homes[0].path().join("bin/version.txt"), "4.2.1\n").unwrap();
    let topology = engine.topology().clone();
    let backends = connect(&topology).unwrap();
    let member = MemberRef::new(Name::new("esb").unwrap(), Name::new("esb2").unwrap());
    let (_, balancer) = backends.balancers.first().unwrap();
    balancer.set_admin(LeaseEpoch::new(1), SetAdmin::new(member, Admin::Drain)).await.unwrap();
    let diagnosis = engine.doctor().await;
    let drained = Place::Member { balancer: "lb1".into(), pool: "esb".into(), node: "esb2".into() };
    for (check, severity, place) in [
        (Check::SecretsDiffer, Severity::Danger, Place::Cluster),
        (Check::JavaRange, Severity::Danger, node("esb1")),
        (Check::RestartPending, Severity::Warning, node("esb1")),
        (Check::Drained, Severity::Warning, drained),
    ] {
        let found: Vec<_> = diagnosis.of(check).map(|found| (found.severity, found.place.clone())).collect();
        assert_eq!(found, [(severity, place)], "{diagnosis}");
    }
    drop(site.lab);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_haproxy_asks_is_read_from_its_file_and_without_one_is_not_checked() {
    let site = Site::start().await;
    let diagnosis = site.engine(false).doctor().await;
    let found: Vec<_> = diagnosis.of(Check::CheckTarget).collect();
    assert_eq!(found.len(), 1, "{diagnosis}");
    assert_eq!(found[0].severity, Severity::NotChecked);
    assert!(found[0].message.contains("name that as config_file"), "{}", found[0]);
    assert_eq!(diagnosis.of(Check::BalancerConfig).next().map(|found| found.severity), Some(Severity::NotChecked));

    let servers = || NAMES.iter().zip(&site.homes).map(|(name, home)| ServerSpec::new(*name, home.port())).collect();
    let (first, second) = (site.homes[0].port(), site.homes[1].port());
    let to_the_other = vec![
        ServerSpec::new("esb1", first).with_words(format!("port {second}")),
        ServerSpec::new("esb2", second).with_words(format!("port {second}")),
    ];
    let checking = |spec: HaProxySpec| spec.with_master();
    for (spec, severity, says) in [
        (HaProxySpec::new("esb", servers()).without_checks(), Severity::Danger, "does not check it"),
        (HaProxySpec::new("esb", servers()).with_tcp_checks_only(), Severity::Warning, "only connects to it"),
        (HaProxySpec::new("esb", servers()).checking("/healthz"), Severity::Advice, "asks for /healthz"),
        (HaProxySpec::new("esb", to_the_other), Severity::Warning, "checks port"),
    ] {
        site.haproxy.reload_with(&checking(spec)).unwrap();
        let diagnosis = site.engine(true).doctor().await;
        let found: Vec<_> = diagnosis.of(Check::CheckTarget).collect();
        assert!(!found.is_empty(), "{says}: {diagnosis}");
        assert!(found.iter().all(|found| found.severity == severity && found.message.contains(says)), "{diagnosis}");
    }
}
