//! Reads, which one shell of the host answers one after another.

use std::time::Duration;

use ha_core::backend::{Ended, FileStat, Host, Installed, ObserveHost, ObserveHostFiles, ServerProcess};
use ha_core::topology::Setting;
use ha_lab::SshHost as Machine;
use ha_ssh::SshHost;
use tokio::time::{Instant, sleep, timeout};

use crate::fixture::{FIRST, build, drive, install, lab, lines, settings, sh};

fn with_version(machine: &Machine, script: &str) -> SshHost {
    let mut settings = settings(machine.access());
    settings.insert("version".into(), Setting::List(["/bin/sh", "-c", script].map(String::from).to_vec()));
    build(settings)
}

fn release(installed: Installed) -> String {
    match installed {
        Installed::Release(release) => release.into(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn reads_go_through_one_shell_and_a_killed_or_frozen_one_is_replaced() {
    let lab = lab();
    let machine = lab.ssh_machine("esb1").unwrap();
    install(&machine.outside("/srv").unwrap());
    let host = drive(machine.access());
    let line = |pid: &i32| std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let shells = || machine.pids().into_iter().filter(|pid| line(pid).starts_with("/bin/sh\0-s\0")).collect::<Vec<_>>();
    host.process().await.unwrap();
    sleep(Duration::from_millis(600)).await;
    let first = shells();
    // The later one waits for the first command.
    let [reader, starter] = first[..] else { panic!("{first:?}") };
    let starter = starter.max(reader);
    let reader = || shells().into_iter().find(|shell| *shell != starter);
    for _ in 0..20 {
        host.process().await.unwrap();
        host.installed().await.unwrap();
        host.identify().await.unwrap();
        host.stat("/srv").await.unwrap();
    }
    assert_eq!(shells(), first);
    for (signal, patience) in [("KILL", Duration::from_secs(1)), ("STOP", Duration::from_secs(4))] {
        let victim = reader().unwrap();
        let status = std::process::Command::new("kill").args([format!("-{signal}"), victim.to_string()]).status();
        assert!(status.unwrap().success());
        let began = Instant::now();
        assert_eq!(host.process().await.unwrap(), ServerProcess::Stopped, "{signal}");
        assert!(began.elapsed() < patience, "{signal}: {:?}", began.elapsed());
        let began = Instant::now();
        host.process().await.unwrap();
        assert!(began.elapsed() < Duration::from_secs(1), "{signal}: {:?}", began.elapsed());
        assert!(shells().iter().any(|shell| *shell != victim && *shell != starter), "{signal}");
    }
}

#[tokio::test]
async fn commands_are_started_over_one_shell_and_run_once_though_it_is_killed_or_frozen() {
    let lab = lab();
    let machine = lab.ssh_machine("esb1").unwrap();
    let home = install(&machine.outside("/srv").unwrap());
    let host = drive(machine.access());
    let line = |pid: &i32| std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let shells = || machine.pids().into_iter().filter(|pid| line(pid).starts_with("/bin/sh\0-s\0")).collect::<Vec<_>>();
    host.process().await.unwrap();
    let count = || sh("echo x >>ran", Duration::from_secs(30));
    // What a shell starts looks as itself until it is another program.
    let kept = async |wanted: usize| {
        for _ in 0..500 {
            let found = shells();
            if found.len() == wanted {
                return found;
            }
            sleep(Duration::from_millis(5)).await;
        }
        panic!("{wanted} shells are not kept: {:?}", shells());
    };
    // The first one answers reads, the other one has begun beside it.
    let both = kept(2).await;
    let reader: Vec<i32> = both.iter().min().into_iter().copied().collect();
    let starter = both.iter().max();
    for runs in 1..=20 {
        assert!(host.run(FIRST, count()).await.unwrap().is_success());
        assert_eq!(lines(home.join("ran")), runs);
        let now = kept(2).await.into_iter().find(|pid| !reader.contains(pid));
        assert_eq!(starter, now.as_ref(), "one shell starts them all");
    }
    let mut frozen = Vec::new();
    for (runs, signal) in [(21, "KILL"), (22, "STOP")] {
        let starter = kept(2 + frozen.len())
            .await
            .into_iter()
            .find(|pid| !reader.contains(pid) && !frozen.contains(pid))
            .unwrap();
        let status = std::process::Command::new("kill").args([format!("-{signal}"), starter.to_string()]).status();
        assert!(status.unwrap().success());
        let began = Instant::now();
        assert!(host.run(FIRST, count()).await.unwrap().is_success(), "{signal}");
        assert!(began.elapsed() < Duration::from_secs(5), "{signal}: {:?}", began.elapsed());
        assert_eq!(lines(home.join("ran")), runs, "{signal}");
        // The next one finds a new shell.
        assert!(host.run(FIRST, sh("true", Duration::from_secs(30))).await.unwrap().is_success());
        if signal == "STOP" {
            frozen.push(starter);
        }
    }
    // It wakes up with the script that it was sent before: that command has run already.
    for pid in frozen {
        let _ = std::process::Command::new("kill").args(["-CONT".to_string(), pid.to_string()]).status();
    }
    sleep(Duration::from_millis(500)).await;
    assert_eq!(lines(home.join("ran")), 22);
}

#[tokio::test]
async fn a_command_that_takes_longer_than_one_question_runs_once_and_its_end_is_learnt() {
    let lab = lab();
    let machine = lab.ssh_host("esb1").unwrap();
    let home = install(&machine.outside("/srv").unwrap());
    let host = drive(machine.access());
    // A question waits 15 s, and its answer may take 5 s more.
    let long = sh("echo x >>ran; sleep 22; echo late; exit 3", Duration::from_secs(60));
    let ran = host.run(FIRST, long).await.unwrap();
    assert_eq!((ran.ended, ran.stdout.as_str()), (Ended::Exited(3), "late\n"));
    assert_eq!(lines(home.join("ran")), 1);
    assert!(host.run(FIRST, sh("true", Duration::from_secs(30))).await.unwrap().is_success());
}

#[tokio::test]
async fn what_a_version_command_leaves_behind_does_not_write_into_other_answers() {
    let lab = lab();
    let machine = lab.ssh_host("esb1").unwrap();
    install(&machine.outside("/srv").unwrap());
    let noisy = "echo 4.2.0; (while :; do echo 9.9.9; echo 9.9.9 >&2; sleep 0.01; done) &";
    let host = with_version(&machine, noisy);
    for _ in 0..20 {
        let began = Instant::now();
        assert_eq!(release(host.installed().await.unwrap()), "4.2.0");
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
        assert_eq!(host.process().await.unwrap(), ServerProcess::Stopped);
        assert_eq!(host.stat("/srv").await.unwrap(), FileStat::Directory);
    }
}

#[tokio::test]
async fn a_read_that_is_dropped_half_way_does_not_answer_the_next_one() {
    let lab = lab();
    let machine = lab.ssh_host("esb1").unwrap();
    install(&machine.outside("/srv").unwrap());
    let host = with_version(&machine, "echo 4.2.0; sleep 0.03");
    host.installed().await.unwrap();
    for pause in 0..40 {
        let _ = timeout(Duration::from_millis(pause), host.installed()).await;
        assert_eq!(host.process().await.unwrap(), ServerProcess::Stopped);
        assert_eq!(release(host.installed().await.unwrap()), "4.2.0");
    }
}

#[tokio::test]
async fn slow_failing_and_endless_commands_are_asked_over_a_session_of_their_own() {
    let lab = lab();
    let machine = lab.ssh_host("esb1").unwrap();
    install(&machine.outside("/srv").unwrap());
    assert_eq!(release(with_version(&machine, "sleep 3; echo 4.2.0").installed().await.unwrap()), "4.2.0");
    assert_eq!(release(with_version(&machine, "echo 4.2.0; seq 1 300000").installed().await.unwrap()), "4.2.0");
    let error = with_version(&machine, "echo no such thing >&2; exit 9").installed().await.unwrap_err();
    assert!(error.to_string().contains("no such thing"), "{error}");
}

#[tokio::test]
async fn a_host_with_one_session_is_read_and_driven() {
    let lab = lab();
    let machine = lab.ssh_host("esb1").unwrap();
    install(&machine.outside("/srv").unwrap());
    let mut settings = settings(machine.access());
    settings.insert("sessions".into(), Setting::Integer(1));
    let host = build(settings);
    assert_eq!(host.process().await.unwrap(), ServerProcess::Stopped);
    let ran = host.run(FIRST, sh("echo x", Duration::from_secs(10))).await.unwrap();
    assert_eq!(ran.stdout, "x\n");
}
