//! A local host, its probe and the embedded balancer, over a real server process whose scripts lie.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod driven;

use std::net::SocketAddr;
use std::time::Duration;

use driven::{Server, until_ready, until_stopped};
use ha_core::backend::{
    Admin, Applied, Effect, Ended, ErrorKind, Health, Host, Installed, LoadBalancer, MemberRef, ObserveBalancer,
    ObserveHost, Probe, Ready, RunCommand, ServerProcess, SetAdmin,
};
use ha_core::state::{LeaseEpoch, MemberKind, ServerDomain};
use ha_core::topology::Name;
use ha_lab::Lab;
use ha_lab::fake_carbon::{CarbonConfig, CarbonHome, Relaunch};
use ha_local::{Check, EmbeddedBalancer, LocalBalancer, LocalHost};
use ha_probe::HttpProbe;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::sleep;

ha_lab::roles!();

const FIRST: LeaseEpoch = LeaseEpoch::new(1);
const SECOND: LeaseEpoch = LeaseEpoch::new(2);

fn lab() -> Lab {
    Lab::open(Relaunch::test().unwrap()).unwrap()
}

fn drive(home: &CarbonHome) -> (LocalHost, HttpProbe) {
    drive_with(home, &["bin/wso2server.sh", "start"])
}

fn drive_with(home: &CarbonHome, start: &[&str]) -> (LocalHost, HttpProbe) {
    let server = Server {
        home: home.path(),
        start,
        stop: &["bin/wso2server.sh", "stop"],
        version: &["bin/wso2server.sh", "version"],
        pid_file: "wso2carbon.pid",
        identity: home.identity(),
        port: home.port(),
    };
    server.drive()
}

#[tokio::test]
async fn a_restart_is_another_incarnation_and_start_and_stop_are_absolute() {
    let lab = lab();
    let home = lab.carbon("esb1", CarbonConfig::new(0, "1.0")).unwrap();
    let (host, probe) = drive(&home);
    assert_eq!(host.process().await.unwrap(), ServerProcess::Stopped);
    assert_eq!(host.stop(FIRST).await.unwrap(), Applied::AlreadySo);
    assert!(matches!(probe.ready().await.unwrap(), Ready::Closed));
    host.start(FIRST, ServerDomain::Production).await.unwrap();
    assert_eq!(&*until_ready(&probe).await, "1.0");
    assert_eq!(host.start(FIRST, ServerDomain::Production).await.unwrap(), Applied::AlreadySo);
    let ServerProcess::Running(first) = host.process().await.unwrap() else { panic!("it runs") };
    host.stop(FIRST).await.unwrap();
    until_stopped(&host).await;
    host.start(FIRST, ServerDomain::Production).await.unwrap();
    until_ready(&probe).await;
    let ServerProcess::Running(second) = host.process().await.unwrap() else { panic!("it runs") };
    assert_ne!(first, second);
}

/// A typo in a path is found before anything is stopped.
#[tokio::test]
async fn what_a_host_misses_is_named_with_its_setting() {
    let lab = lab();
    let home = lab.carbon("esb1", CarbonConfig::new(0, "1.0")).unwrap();
    let (host, probe) = drive(&home);
    assert_eq!(host.missing(&["sh".into(), "bin/wso2server.sh".into()]).await.unwrap(), Vec::<String>::new());
    let (typo, _) = drive_with(&home, &["bin/wso2srever.sh", "start"]);
    let missing = typo.missing(&["no-such-program".into()]).await.unwrap();
    assert_eq!(missing.len(), 2, "{missing:?}");
    assert!(missing[0].starts_with("setting start: there is no program bin/wso2srever.sh below "), "{missing:?}");
    assert!(missing[1].starts_with("the change: there is no program no-such-program in the PATH"), "{missing:?}");
    host.start(FIRST, ServerDomain::Production).await.unwrap();
    until_ready(&probe).await;
    assert_eq!(host.missing(&[]).await.unwrap(), Vec::<String>::new());
    std::fs::remove_file(home.path().join("wso2carbon.pid")).unwrap();
    let missing = host.missing(&[]).await.unwrap();
    assert!(missing.len() == 1 && missing[0].starts_with("setting pid_file: wso2carbon.pid below "), "{missing:?}");
}

#[tokio::test]
async fn a_pid_file_that_names_a_stranger_does_not_keep_the_server_from_starting() {
    let lab = lab();
    let home = lab.carbon("esb1", CarbonConfig::new(0, "1.0")).unwrap();
    let (host, probe) = drive(&home);
    // The script believes every living process to be the server: this test's own, here.
    std::fs::write(home.path().join("wso2carbon.pid"), std::process::id().to_string()).unwrap();
    assert_eq!(host.process().await.unwrap(), ServerProcess::Stopped);
    host.start(FIRST, ServerDomain::Production).await.unwrap();
    until_ready(&probe).await;
    std::fs::write(home.path().join("wso2carbon.pid"), std::process::id().to_string()).unwrap();
    let error = host.stop(FIRST).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Conflict, Effect::None), "{error}");
    assert!(matches!(host.process().await.unwrap(), ServerProcess::Running(_)), "nobody was signalled");
}

#[tokio::test]
async fn starts_at_once_by_several_callers_run_the_start_script_once() {
    let lab = lab();
    let home = lab.carbon("esb1", CarbonConfig::new(0, "1.0")).unwrap();
    // It returns before the server is there, as the scripts of real servers do.
    let (host, probe) = drive_with(&home, &["/bin/sh", "-c", "echo x >> starts; bin/wso2server.sh start"]);
    let starts = (0..5).map(|_| {
        let host = host.clone();
        tokio::spawn(async move { host.start(FIRST, ServerDomain::Production).await })
    });
    let mut applied = 0;
    for start in starts.collect::<Vec<_>>() {
        applied += u32::from(start.await.unwrap().unwrap() == Applied::Applied);
    }
    until_ready(&probe).await;
    let scripts = std::fs::read_to_string(home.path().join("starts")).unwrap().lines().count();
    assert_eq!((scripts, applied), (1, 1));
}

#[tokio::test]
async fn a_pid_file_that_names_no_process_is_given_to_no_script() {
    let lab = lab();
    let home = lab.carbon("esb1", CarbonConfig::new(0, "1.0")).unwrap();
    let (host, probe) = drive(&home);
    host.start(FIRST, ServerDomain::Production).await.unwrap();
    until_ready(&probe).await;
    // Such as -1, with which a script signals everybody.
    std::fs::write(home.path().join("wso2carbon.pid"), "no-number\n").unwrap();
    let error = host.stop(FIRST).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Conflict, Effect::None), "{error}");
}

#[tokio::test]
async fn a_failing_command_shows_its_code_and_words_and_a_slow_one_is_unknown() {
    let lab = lab();
    let home = lab.carbon("esb1", CarbonConfig::new(0, "1.0")).unwrap();
    let (host, _) = drive(&home);
    home.fail_patch().unwrap();
    let apply = |seconds| {
        let argv = vec!["bin/patch.sh".into(), "apply".into()];
        RunCommand::new(argv, Duration::from_secs(seconds)).with_env("HA_RELEASE", "1.1")
    };
    let ran = host.run(FIRST, apply(30)).await.unwrap();
    assert_eq!(ran.ended, Ended::Exited(1));
    assert!(ran.stderr.contains("no space left"), "{ran:?}");
    assert!(host.installed().await.is_err(), "half a patch is no release");
    let well = RunCommand::new(vec!["true".into()], Duration::from_secs(30));
    assert!(host.run(FIRST, well).await.unwrap().is_success());
    let slow = RunCommand::new(vec!["sleep".into(), "60".into()], Duration::from_millis(100));
    let error = host.run(FIRST, slow).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Timeout, Effect::Unknown), "{error}");
    let missing = RunCommand::new(vec!["no-such-program".into()], Duration::from_secs(5));
    let error = host.run(FIRST, missing).await.unwrap_err();
    assert_eq!(error.effect(), Effect::None, "{error}");
}

#[tokio::test]
async fn an_older_controller_is_fenced_on_the_host() {
    let lab = lab();
    let home = lab.carbon("esb1", CarbonConfig::new(0, "1.0")).unwrap();
    let (host, _) = drive(&home);
    let touch = || RunCommand::new(vec!["touch".into(), "touched".into()], Duration::from_secs(30));
    host.run(SECOND, RunCommand::new(vec!["true".into()], Duration::from_secs(30))).await.unwrap();
    let error = host.run(FIRST, touch()).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Fenced, Effect::None), "{error}");
    assert!(!home.path().join("touched").exists());
    host.run(SECOND, touch()).await.unwrap();
    assert!(home.path().join("touched").exists());
}

#[tokio::test]
async fn a_probe_tells_closed_from_starting_from_ready_and_runs_the_business_test() {
    let lab = lab();
    let mut config = CarbonConfig::new(0, "1.0");
    config.never_ready = true;
    let home = lab.carbon("esb1", config).unwrap();
    let (host, probe) = drive(&home);
    host.start(FIRST, ServerDomain::Production).await.unwrap();
    loop {
        match probe.ready().await.unwrap() {
            Ready::NotYet(message) => break assert!(message.contains("503"), "{message}"),
            _ => sleep(Duration::from_millis(20)).await,
        }
    }
    assert!(probe.test().await.is_err());
    let well = lab.carbon("esb2", CarbonConfig::new(0, "1.0")).unwrap();
    let (host, probe) = drive(&well);
    host.start(FIRST, ServerDomain::Production).await.unwrap();
    until_ready(&probe).await;
    assert_eq!(&*probe.test().await.unwrap(), "1.0");
    well.fail_test_of("1.0").unwrap();
    let error = probe.test().await.unwrap_err();
    assert!(error.to_string().contains("4711"), "{error}");
    assert!(matches!(host.installed().await.unwrap(), Installed::Release(release) if &*release == "1.0"));
}

fn member(name: &str) -> MemberRef {
    MemberRef::new(Name::new("esb").unwrap(), Name::new(name).unwrap())
}

fn set(name: &str, admin: Admin) -> SetAdmin {
    SetAdmin::new(member(name), admin)
}

async fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

/// Two running servers of releases 1.0 (primary) and 2.0 (backup) behind an embedded balancer.
async fn balanced(lab: &Lab) -> (EmbeddedBalancer, LocalBalancer) {
    let mut builder = EmbeddedBalancer::builder(Name::new("esb").unwrap()).with_check(Check::new("/services/Version"));
    for (name, release, kind) in [("esb1", "1.0", MemberKind::Primary), ("esb2", "2.0", MemberKind::Backup)] {
        let home = lab.carbon(name, CarbonConfig::new(0, release)).unwrap();
        let (host, probe) = drive(&home);
        host.start(FIRST, ServerDomain::Production).await.unwrap();
        until_ready(&probe).await;
        builder = builder.with_member(Name::new(name).unwrap(), SocketAddr::from(([127, 0, 0, 1], home.port())), kind);
    }
    let socket = lab.path().join("lb1.sock");
    let embedded = builder.start(SocketAddr::from(([127, 0, 0, 1], 0)), &socket).await.unwrap();
    (embedded, LocalBalancer::new(&socket))
}

#[tokio::test]
async fn the_embedded_balancer_drains_counts_and_admits() {
    let lab = lab();
    let (embedded, driver) = balanced(&lab).await;
    let address = embedded.address();
    assert!(get(address, "/orders").await.contains("1.0"), "the primary member serves");
    let long = tokio::spawn(async move { get(address, "/orders?ms=1000").await });
    while driver.quiescence(&member("esb1")).await.unwrap().in_flight() == 0 {
        sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(driver.set_admin(FIRST, set("esb1", Admin::Drain)).await.unwrap(), Applied::Applied);
    assert!(get(address, "/orders").await.contains("2.0"), "new requests go to the backup");
    assert_eq!(driver.quiescence(&member("esb1")).await.unwrap().in_flight(), 1);
    assert!(long.await.unwrap().contains("1.0"), "the running request ends where it began");
    driver.set_admin(FIRST, set("esb1", Admin::Maint)).await.unwrap();
    while !driver.quiescence(&member("esb1")).await.unwrap().is_closed() {
        sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(driver.member(&member("esb1")).await.unwrap().health, Health::Paused);
    driver.set_admin(FIRST, set("esb1", Admin::Drain)).await.unwrap();
    while driver.member(&member("esb1")).await.unwrap().health != Health::Up {
        sleep(Duration::from_millis(20)).await;
    }
    driver.set_admin(FIRST, set("esb1", Admin::Ready)).await.unwrap();
    assert!(get(address, "/orders").await.contains("1.0"));
}

#[tokio::test]
async fn the_embedded_balancer_hides_no_loss() {
    let lab = lab();
    let (embedded, driver) = balanced(&lab).await;
    for name in ["esb1", "esb2"] {
        driver.set_admin(FIRST, set(name, Admin::Maint)).await.unwrap();
    }
    let answer = get(embedded.address(), "/orders").await;
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
}

#[tokio::test]
async fn the_embedded_balancer_refuses_unknown_names_and_older_controllers() {
    let lab = lab();
    let (_embedded, driver) = balanced(&lab).await;
    let error = driver.set_admin(SECOND, set("esb9", Admin::Maint)).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::NotFound, Effect::None), "{error}");
    driver.set_admin(SECOND, set("esb2", Admin::Drain)).await.unwrap();
    let error = driver.set_admin(FIRST, set("esb1", Admin::Maint)).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Fenced, Effect::None), "{error}");
    assert_eq!(driver.member(&member("esb1")).await.unwrap().admin, Admin::Ready);
    let nowhere = LocalBalancer::new(lab.path().join("nowhere.sock"));
    let error = nowhere.set_admin(FIRST, set("esb1", Admin::Maint)).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Unreachable, Effect::None), "{error}");
}

#[tokio::test]
async fn the_embedded_balancer_holds_several_pools_each_with_its_own_members_and_address() {
    let lab = lab();
    let home = lab.carbon("esb1", CarbonConfig::new(0, "1.0").with_second_port(lab.free_port().unwrap())).unwrap();
    let (host, probe) = drive(&home);
    host.start(FIRST, ServerDomain::Production).await.unwrap();
    until_ready(&probe).await;
    let (esb, mgmt) = (Name::new("esb").unwrap(), Name::new("mgmt").unwrap());
    let (at, any) = (|port| SocketAddr::from(([127, 0, 0, 1], port)), SocketAddr::from(([127, 0, 0, 1], 0)));
    let builder = EmbeddedBalancer::builder(esb)
        .with_member(Name::new("esb1").unwrap(), at(home.port()), MemberKind::Primary)
        .with_pool(mgmt.clone(), any)
        .with_member(Name::new("esb1").unwrap(), at(home.second_port()), MemberKind::Primary);
    let socket = lab.path().join("lb1.sock");
    let embedded = builder.start(any, &socket).await.unwrap();
    let (driver, addresses) = (LocalBalancer::new(&socket), embedded.addresses().to_vec());
    for address in &addresses {
        assert!(get(*address, "/orders").await.contains("1.0"));
    }
    driver.set_admin(FIRST, set("esb1", Admin::Maint)).await.unwrap();
    assert!(get(addresses[0], "/orders").await.starts_with("HTTP/1.1 503"));
    assert!(get(addresses[1], "/orders").await.contains("1.0"), "the other pool has its own state");
    let members = driver.members(&mgmt).await.unwrap();
    assert_eq!(members.len(), 1);
    assert_eq!(members[0].1.address, Some(at(home.second_port())));
    let error = driver.members(&Name::new("crm").unwrap()).await.unwrap_err();
    assert!(error.kind() == ErrorKind::NotFound && error.to_string().contains("esb, mgmt"), "{error}");
}
