//! Servers that are units of a real systemd.

use std::time::Duration;

use ha_core::backend::{Applied, Effect, ErrorKind, Fencing, Host, Incarnation, ObserveHost, ServerProcess};
use ha_core::state::ServerDomain;
use ha_core::topology::Setting;
use ha_lab::{Lab, SYSTEMCTL, SshMachine, SshSpec};
use ha_ssh::SshHost;
use tokio::time::sleep;

use crate::fixture::{FIRST, SECOND, build, install, lab, lines, settings};

/// A machine with systemd, on which the unit's section `[Service]` is this.
struct Unit {
    host: SshHost,
    machine: SshMachine,
    _lab: Lab,
}

fn unit(service: &str) -> Unit {
    unit_with(service, &[])
}

/// A unit that `start_test` starts in a test domain; an empty one is none.
fn unit_with(service: &str, start_test: &[&str]) -> Unit {
    let lab = lab();
    let machine = lab.ssh_machine_with("esb1", &SshSpec::new().with_systemd()).unwrap();
    install(&machine.outside("/srv").unwrap());
    let text = format!("[Service]\nWorkingDirectory=/srv/esb\n{service}\n");
    std::fs::write(machine.outside("/srv/units/esb.service").unwrap(), text).unwrap();
    Unit { host: drive_with(&machine, "esb.service", &SYSTEMCTL, start_test), machine, _lab: lab }
}

fn drive(machine: &SshMachine, unit: &str, systemctl: &[&str]) -> SshHost {
    drive_with(machine, unit, systemctl, &[])
}

fn drive_with(machine: &SshMachine, unit: &str, systemctl: &[&str], start_test: &[&str]) -> SshHost {
    let mut settings = settings(machine.access());
    for key in ["start", "stop", "pid_file", "identity"] {
        settings.remove(key);
    }
    let argv = |argv: &[&str]| Setting::List(argv.iter().map(|word| String::from(*word)).collect());
    settings.insert("unit".into(), Setting::Text(unit.into()));
    settings.insert("systemctl".into(), argv(systemctl));
    if !start_test.is_empty() {
        settings.insert("start_test".into(), argv(start_test));
    }
    settings.insert("read_deadline".into(), Setting::Text("2000ms".into()));
    build(settings)
}

impl Unit {
    async fn start(&self) -> Result<Applied, ha_core::backend::StepError> {
        Host::start(&self.host, FIRST, ServerDomain::Production).await
    }

    async fn life(&self) -> Option<Incarnation> {
        match self.host.process().await.unwrap() {
            ServerProcess::Running(life) => Some(life),
            ServerProcess::Stopped => None,
        }
    }

    async fn running(&self) -> Incarnation {
        self.until(|life| life.is_some()).await.unwrap()
    }

    async fn until(&self, wanted: impl Fn(&Option<Incarnation>) -> bool) -> Option<Incarnation> {
        for _ in 0..500 {
            let life = self.life().await;
            if wanted(&life) {
                return life;
            }
            sleep(Duration::from_millis(20)).await;
        }
        panic!("the unit never was as wanted: {:?}", self.life().await);
    }

    /// The processes of the machine whose command line has this word.
    fn pids(&self, word: &str) -> Vec<i32> {
        let has =
            |pid: &i32| std::fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.contains(word));
        self.machine.pids().into_iter().filter(has).collect()
    }
}

const SERVE: &str = "ExecStart=/bin/sh bin/server.sh serve -Dcarbon.home=/srv/esb";

#[tokio::test]
async fn a_server_that_crashes_is_another_life_when_systemd_has_started_it_again() {
    let unit = unit(&format!("{SERVE}\nRestart=on-failure\nRestartSec=300ms"));
    assert_eq!(unit.start().await.unwrap(), Applied::Applied);
    let first = unit.running().await;
    for pid in unit.pids("serve") {
        let killed = std::process::Command::new("kill").args(["-KILL".into(), pid.to_string()]).status();
        assert!(killed.unwrap().success());
    }
    // While it waits to be started again it is not stopped: nothing may be changed under it.
    for _ in 0..10 {
        assert!(unit.life().await.is_some());
    }
    let second = unit.until(|life| life.as_ref().is_some_and(|life| *life != first)).await.unwrap();
    assert_eq!(unit.host.kill(FIRST, first).await.unwrap(), Applied::AlreadySo);
    assert_eq!(unit.life().await, Some(second));
    assert_eq!(unit.host.stop(FIRST).await.unwrap(), Applied::Applied);
    unit.until(Option::is_none).await;
    assert_eq!(unit.host.stop(FIRST).await.unwrap(), Applied::AlreadySo);
}

#[tokio::test]
async fn a_server_that_is_killed_is_not_started_again_and_writes_down_what_it_does_before() {
    let unit = unit(&format!("{SERVE}\nRestart=always\nRestartSec=0\nTimeoutStopSec=60"));
    let home = unit.machine.outside("/srv/esb").unwrap();
    std::fs::write(home.join("deaf"), "").unwrap();
    unit.start().await.unwrap();
    let life = unit.running().await;
    sleep_until(|| home.join("running").exists()).await;
    assert_eq!(unit.host.stop(FIRST).await.unwrap(), Applied::Applied);
    assert_eq!(unit.life().await, Some(life.clone()), "it does not stop");
    assert_eq!(unit.host.kill(FIRST, life.clone()).await.unwrap(), Applied::Applied);
    unit.until(Option::is_none).await;
    assert_eq!(std::fs::read_to_string(home.join("dump")).unwrap(), "thread dump\n");
    assert_eq!(unit.pids("serve"), Vec::<i32>::new());
    assert_eq!(unit.host.kill(FIRST, life).await.unwrap(), Applied::AlreadySo);
    assert_eq!(unit.life().await, None);
}

#[tokio::test]
async fn a_killed_server_stays_down_though_its_unit_restarts_always() {
    let unit = unit(&format!("{SERVE}\nRestart=always\nRestartSec=0"));
    unit.start().await.unwrap();
    let life = unit.running().await;
    assert_eq!(unit.host.kill(FIRST, life).await.unwrap(), Applied::Applied);
    unit.until(Option::is_none).await;
    for _ in 0..10 {
        assert_eq!(unit.life().await, None);
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_unit_is_started_in_a_test_domain_by_a_command_of_its_own_and_is_the_same_unit() {
    let systemctl = SYSTEMCTL.join(" ");
    let script = format!("echo DOMAIN=test >domain; echo x >>starts; {systemctl} start --no-block esb.service");
    let unit = unit_with(&format!("{SERVE}\nEnvironmentFile=-/srv/esb/domain"), &["/bin/sh", "-c", &script]);
    let home = unit.machine.outside("/srv/esb").unwrap();
    let start_test = || Host::start(&unit.host, FIRST, ServerDomain::Test);
    assert_eq!(unit.life().await, None);
    assert_eq!(start_test().await.unwrap(), Applied::Applied);
    let life = unit.running().await;
    sleep_until(|| home.join("running").exists()).await;
    let environment = std::fs::read_to_string(format!("/proc/{}/environ", unit.pids("serve")[0])).unwrap();
    assert!(environment.split('\0').any(|line| line == "DOMAIN=test"), "{environment:?}");
    // A server that runs is left alone, whatever domain it is asked into: the engine stops it first.
    assert_eq!(start_test().await.unwrap(), Applied::AlreadySo);
    assert_eq!(unit.start().await.unwrap(), Applied::AlreadySo);
    assert_eq!((unit.life().await, lines(home.join("starts"))), (Some(life), 1));
    assert_eq!(unit.host.stop(FIRST).await.unwrap(), Applied::Applied);
    unit.until(Option::is_none).await;
}

async fn sleep_until(happened: impl Fn() -> bool) {
    for _ in 0..500 {
        if happened() {
            return;
        }
        sleep(Duration::from_millis(20)).await;
    }
    panic!("it never happened");
}

#[tokio::test]
async fn what_a_stopped_unit_leaves_behind_still_runs_until_it_is_killed() {
    // The wrapper script dies of the signal, and what it has started stays.
    let unit = unit("ExecStart=/bin/sh -c 'sleep 1000 & sleep 2000; :'\nKillMode=process");
    unit.start().await.unwrap();
    unit.running().await;
    sleep_until(|| unit.pids("sleep").len() >= 3).await;
    unit.host.stop(FIRST).await.unwrap();
    sleep_until(|| unit.pids("sleep 2000; :").is_empty()).await;
    let left = unit.running().await;
    assert_eq!(unit.host.kill(FIRST, left).await.unwrap(), Applied::Applied);
    unit.until(Option::is_none).await;
    assert_eq!(unit.pids("sleep"), Vec::<i32>::new());
}

#[tokio::test]
async fn a_unit_that_cannot_start_says_why() {
    let unit = unit("ExecStart=/bin/no-such-program\nRestart=no");
    // On a stopped machine it may look as if it had begun.
    for _ in 0..20 {
        let started = unit.start().await;
        unit.until(Option::is_none).await;
        if let Err(error) = started {
            assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
            assert!(error.to_string().contains("203/EXEC"), "{error}");
            return;
        }
    }
    panic!("it never said why");
}

#[tokio::test]
async fn a_unit_that_has_failed_too_often_is_started_all_the_same() {
    let unit = unit(&format!(
        "{SERVE}\nRestart=on-failure\nRestartSec=0\n[Unit]\nStartLimitBurst=2\nStartLimitIntervalSec=600"
    ));
    let home = unit.machine.outside("/srv/esb").unwrap();
    std::fs::write(home.join("dies"), "").unwrap();
    unit.start().await.unwrap();
    unit.until(Option::is_none).await;
    std::fs::remove_file(home.join("dies")).unwrap();
    assert_eq!(unit.start().await.unwrap(), Applied::Applied);
    unit.running().await;
}

#[tokio::test]
async fn a_server_dies_right_after_its_start_and_is_seen_to_be_gone() {
    let unit = unit(&format!("{SERVE}\nRestart=no"));
    std::fs::write(unit.machine.outside("/srv/esb/dies").unwrap(), "").unwrap();
    assert_eq!(unit.start().await.unwrap(), Applied::Applied);
    unit.until(Option::is_none).await;
}

#[tokio::test]
async fn a_unit_that_is_not_there_is_not_found_and_no_stopped_server() {
    let unit = unit(SERVE);
    let other = drive(&unit.machine, "ebs.service", &SYSTEMCTL);
    for error in [
        other.process().await.unwrap_err(),
        Host::start(&other, FIRST, ServerDomain::Production).await.unwrap_err(),
        other.stop(FIRST).await.unwrap_err(),
    ] {
        assert_eq!((error.kind(), error.effect()), (ErrorKind::NotFound, Effect::None), "{error}");
        assert!(error.to_string().contains("ebs.service"), "{error}");
    }
}

#[tokio::test]
async fn a_systemd_that_cannot_be_asked_is_no_stopped_server() {
    let unit = unit(SERVE);
    for (systemctl, said) in [
        (&["systemctl"][..], "systemctl does not answer"),
        (&["/no/systemctl"], "/no/systemctl does not answer (127)"),
        (&["echo"], "not understood"),
        (&["sudo", "-n", "systemctl"], "sudo -n systemctl does not answer"),
    ] {
        let error = drive(&unit.machine, "esb.service", systemctl).process().await.unwrap_err();
        assert_eq!((error.kind(), error.effect()), (ErrorKind::Protocol, Effect::None), "{error}");
        assert!(error.to_string().contains(said), "{error}");
    }
    let error = drive(&unit.machine, "esb.service", &["sleep", "1000"]).process().await.unwrap_err();
    assert_eq!(error.effect(), Effect::None, "{error}");
}

#[tokio::test]
async fn a_stale_controller_neither_starts_nor_stops_nor_kills_a_unit() {
    let unit = unit(SERVE);
    assert_eq!(unit.host.capabilities().fencing, Fencing::Guarded);
    Host::start(&unit.host, SECOND, ServerDomain::Production).await.unwrap();
    let life = unit.running().await;
    for error in [unit.host.stop(FIRST).await.unwrap_err(), unit.host.kill(FIRST, life.clone()).await.unwrap_err()] {
        assert_eq!((error.kind(), error.effect()), (ErrorKind::Fenced, Effect::None), "{error}");
    }
    assert_eq!(unit.life().await, Some(life));
    unit.host.stop(SECOND).await.unwrap();
    unit.until(Option::is_none).await;
    assert_eq!(unit.start().await.unwrap_err().kind(), ErrorKind::Fenced);
    assert_eq!(unit.life().await, None);
}

#[tokio::test]
async fn the_time_that_systemd_gives_a_stop_is_read() {
    for (setting, budget) in [
        ("TimeoutStopSec=7", Some(Duration::from_secs(7))),
        ("", Some(Duration::from_secs(90))),
        ("TimeoutStopSec=infinity", None),
    ] {
        assert_eq!(unit(&format!("{SERVE}\n{setting}")).host.stop_budget().await.unwrap(), budget, "{setting}");
    }
}

#[tokio::test]
async fn what_cannot_be_looked_at_after_an_order_is_not_called_without_effect() {
    let unit = unit(SERVE);
    // It prints a file, until it is commanded to stop; then it cannot be asked.
    let script = "case $1 in show) cat /srv/says ;; stop) rm /srv/says ;; esac\n";
    std::fs::write(unit.machine.outside("/srv/mute.sh").unwrap(), script).unwrap();
    let says = "LoadState=loaded\nActiveState=active\nInvocationID=1\nControlGroup=\nTimeoutStopUSec=7s\n";
    std::fs::write(unit.machine.outside("/srv/says").unwrap(), says).unwrap();
    let host = drive(&unit.machine, "esb.service", &["sh", "/srv/mute.sh"]);
    let ServerProcess::Running(life) = host.process().await.unwrap() else { panic!("it runs") };
    let error = host.kill(FIRST, life).await.unwrap_err();
    assert_eq!(error.effect(), Effect::Unknown, "it was told to stop: {error}");
}
