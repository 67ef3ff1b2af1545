//! A server that a real systemd runs: the one of a machine of the lab, asked over ssh. Needs root.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::Path;
use std::time::Duration;

use ha_core::backend::{Applied, Effect, ErrorKind, Host, Incarnation, ObserveHost, ServerProcess};
use ha_core::state::{LeaseEpoch, ServerDomain};
use ha_core::topology::{Component, Name, Setting};
use ha_lab::fake_carbon::Relaunch;
use ha_lab::{Lab, SYSTEMCTL, SshMachine, SshSpec};
use ha_local::{LocalHost, LocalHostConfig};
use tokio::time::sleep;

ha_lab::roles!();

const FIRST: LeaseEpoch = LeaseEpoch::new(1);
const SECOND: LeaseEpoch = LeaseEpoch::new(2);
const SERVE: &str = "ExecStart=/bin/sh -c 'trap \"\" QUIT; while :; do sleep 0.05; done'";

struct Unit {
    host: LocalHost,
    _machine: SshMachine,
    home: tempfile::TempDir,
    _lab: Lab,
}

/// A machine whose unit `esb.service` has this section `[Service]`, and a host for the unit of that name.
fn unit(service: &str, name: &str) -> Unit {
    let lab = Lab::open(Relaunch::test().unwrap()).unwrap();
    let machine = lab.ssh_machine_with("esb1", &SshSpec::new().with_systemd()).unwrap();
    std::fs::write(machine.outside("/srv/units/esb.service").unwrap(), format!("[Service]\n{service}\n")).unwrap();
    let home = tempfile::tempdir().unwrap();
    let config = lab.ssh_config([machine.access()]).unwrap();
    let over_ssh = ["ssh", "-F", config.to_str().unwrap(), machine.access().name()];
    let words: Vec<&str> = over_ssh.into_iter().chain(SYSTEMCTL).collect();
    let host = drive(home.path(), name, &words);
    Unit { host, _machine: machine, home, _lab: lab }
}

fn drive(home: &Path, unit: &str, systemctl: &[&str]) -> LocalHost {
    let words = systemctl.iter().map(|word| String::from(*word)).collect();
    let text = |text: &str| Setting::Text(text.into());
    let mut component = Component::new(Name::new("local").unwrap());
    component.settings.extend([
        ("home".into(), text(home.to_str().unwrap())),
        ("version".into(), Setting::List(vec!["true".into()])),
        ("unit".into(), text(unit)),
        ("systemctl".into(), Setting::List(words)),
    ]);
    LocalHost::new(LocalHostConfig::from_component(&component).unwrap())
}

impl Unit {
    async fn start(&self, epoch: LeaseEpoch) -> Result<Applied, ha_core::backend::StepError> {
        self.host.start(epoch, ServerDomain::Production).await
    }

    async fn life(&self) -> Option<Incarnation> {
        match self.host.process().await.unwrap() {
            ServerProcess::Running(life) => Some(life),
            ServerProcess::Stopped => None,
        }
    }

    async fn stopped(&self) {
        for _ in 0..500 {
            if self.life().await.is_none() {
                return;
            }
            sleep(Duration::from_millis(20)).await;
        }
        panic!("the unit never stopped");
    }
}

#[tokio::test]
async fn a_unit_is_started_and_stopped_and_each_run_is_another_life() {
    let unit = unit(&format!("{SERVE}\nTimeoutStopSec=7"), "esb.service");
    assert_eq!(unit.host.stop_budget().await.unwrap(), Some(Duration::from_secs(7)));
    assert_eq!((unit.life().await, unit.host.stop(FIRST).await.unwrap()), (None, Applied::AlreadySo));
    assert_eq!(unit.start(SECOND).await.unwrap(), Applied::Applied);
    let first = unit.life().await.unwrap();
    assert_eq!((unit.start(SECOND).await.unwrap(), unit.life().await), (Applied::AlreadySo, Some(first.clone())));
    assert_eq!(unit.host.stop(FIRST).await.unwrap_err().kind(), ErrorKind::Fenced);
    assert_eq!(unit.host.stop(SECOND).await.unwrap(), Applied::Applied);
    unit.stopped().await;
    unit.start(SECOND).await.unwrap();
    assert_ne!(unit.life().await, Some(first));
}

#[tokio::test]
async fn one_run_is_killed_and_stays_down_and_a_past_one_is_not_touched() {
    let unit = unit(&format!("{SERVE}\nRestart=always\nRestartSec=0"), "esb.service");
    unit.start(FIRST).await.unwrap();
    let life = unit.life().await.unwrap();
    assert_eq!(unit.host.kill(FIRST, Incarnation::new("b:1")).await.unwrap(), Applied::AlreadySo);
    assert_eq!(unit.life().await, Some(life.clone()));
    assert_eq!(unit.host.kill(FIRST, life.clone()).await.unwrap(), Applied::Applied);
    unit.stopped().await;
    for _ in 0..10 {
        assert_eq!(unit.life().await, None);
        sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(unit.host.kill(FIRST, life).await.unwrap(), Applied::AlreadySo);
}

#[tokio::test]
async fn a_unit_that_cannot_start_says_why_every_time() {
    let unit = unit("ExecStart=/bin/no-such-program\nRestart=no", "esb.service");
    // More often than the limit of starts that systemd has. On a stopped machine it may look as if it had begun.
    let mut said = 0;
    for _ in 0..14 {
        let started = unit.start(FIRST).await;
        unit.stopped().await;
        if let Err(error) = started {
            assert!(error.to_string().contains("203/EXEC"), "{error}");
            said += 1;
        }
    }
    assert!(said > 5, "{said}");
}

#[tokio::test]
async fn what_systemd_does_not_know_is_no_stopped_server() {
    let unit = unit(SERVE, "ebs.service");
    for error in [unit.host.process().await.unwrap_err(), unit.start(FIRST).await.unwrap_err()] {
        assert_eq!((error.kind(), error.effect()), (ErrorKind::NotFound, Effect::None), "{error}");
    }
    let error = drive(unit.home.path(), "esb.service", &["systemctl", "--user"]).process().await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Protocol, Effect::None), "{error}");
}

/// A systemd of one file: it prints the file `says`, until it is commanded to start or to stop; then it cannot be asked.
const MUTE: &str = r#"#!/bin/sh
case $1 in
show) cat says ;;
start | stop) rm says ;;
esac
"#;

fn mute(active: &str) -> (tempfile::TempDir, LocalHost) {
    let home = tempfile::tempdir().unwrap();
    let script = home.path().join("systemctl.sh");
    std::fs::write(&script, MUTE).unwrap();
    let says = format!("LoadState=loaded\nActiveState={active}\nInvocationID=1\nControlGroup=\nTimeoutStopUSec=7s\n");
    std::fs::write(home.path().join("says"), says).unwrap();
    let host = drive(home.path(), "esb.service", &["sh", script.to_str().unwrap()]);
    (home, host)
}

#[tokio::test]
async fn what_cannot_be_looked_at_after_an_order_is_not_called_without_effect() {
    let (_home, host) = mute("active");
    let ServerProcess::Running(life) = host.process().await.unwrap() else { panic!("it runs") };
    let error = host.kill(FIRST, life).await.unwrap_err();
    assert_eq!(error.effect(), Effect::Unknown, "it was told to stop: {error}");
    // A start is a request: it was taken.
    let (_home, host) = mute("inactive");
    assert_eq!(host.start(FIRST, ServerDomain::Production).await.unwrap(), Applied::Applied);
}
