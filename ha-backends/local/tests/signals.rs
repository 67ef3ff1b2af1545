//! What a controller that ignores signals starts does not ignore them: under `nohup`, or as a job in the background of a
//! shell.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::process::Command;
use std::time::Duration;

use ha_core::backend::{Effect, ErrorKind, Host, ObserveHost, RunCommand, ServerProcess};
use ha_core::state::{LeaseEpoch, ServerDomain};
use ha_core::topology::{Component, Name, Setting};
use ha_local::{LocalHost, LocalHostConfig};

const EPOCH: LeaseEpoch = LeaseEpoch::new(1);
/// SIGHUP, SIGINT and SIGQUIT in a mask of `/proc/PID/status`.
const TERMINAL: u64 = 0b111;

fn ignored_of(pid: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    ignored_in(&status)
}

fn ignored_in(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap();
    u64::from_str_radix(line.trim(), 16).unwrap()
}

/// Runs this test once more, in a process that ignores the signals of a terminal.
fn once_more_ignoring(test: &str) {
    let script = "trap '' HUP INT QUIT; exec \"$@\"";
    let ran = Command::new("/bin/sh")
        .args(["-c", script, "sh"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success() && said.contains("1 passed"), "{said}{}", String::from_utf8_lossy(&ran.stderr));
}

#[tokio::test]
async fn a_server_and_a_command_do_not_inherit_that_signals_are_ignored() {
    if ignored_of("self") & TERMINAL != TERMINAL {
        return once_more_ignoring("a_server_and_a_command_do_not_inherit_that_signals_are_ignored");
    }
    let home = tempfile::tempdir().unwrap();
    let identity = format!("-Did={}", home.path().display());
    // A script that itself ignores nothing: what begins with "&" in a shell ignores some signals whatever started the shell.
    let start = format!("exec setsid -f /bin/sh -c 'echo $$ >server.pid; sleep 60; :' {identity}");
    let sh = |script: &str| Setting::List(["/bin/sh", "-c", script].map(String::from).to_vec());
    let mut component = Component::new(Name::new("local").unwrap());
    component.settings.extend([
        ("home".into(), Setting::Text(home.path().display().to_string())),
        ("start".into(), sh(&start)),
        ("stop".into(), sh("kill $(cat server.pid)")),
        ("version".into(), sh("echo 1.0")),
        ("pid_file".into(), Setting::Text("server.pid".into())),
        ("identity".into(), Setting::Text(identity)),
    ]);
    let host = LocalHost::new(LocalHostConfig::from_component(&component).unwrap());
    let run = |argv: &[&str]| {
        let argv = argv.iter().map(|word| (*word).to_string()).collect();
        host.run(EPOCH, RunCommand::new(argv, Duration::from_secs(10)))
    };

    let ran = run(&["cat", "/proc/self/status"]).await.unwrap();
    assert_eq!(ignored_in(&ran.stdout) & TERMINAL, 0, "of a command");
    host.start(EPOCH, ServerDomain::Production).await.unwrap();
    let ServerProcess::Running(life) = host.process().await.unwrap() else { panic!("it runs") };
    let pid_file = home.path().join("server.pid");
    let pid = loop {
        match std::fs::read_to_string(&pid_file).unwrap_or_default().trim() {
            "" => tokio::time::sleep(Duration::from_millis(5)).await,
            pid => break pid.to_string(),
        }
    };
    let ignored = ignored_of(&pid);
    host.kill(EPOCH, life).await.unwrap();
    assert_eq!(ignored & TERMINAL, 0, "of a server");

    // What cannot be run is told as elsewhere, and an equals sign in a path is no variable.
    for missing in ["no-such-program", "./no-such-program"] {
        let error = run(&[missing]).await.unwrap_err();
        assert_eq!((error.kind(), error.effect()), (ErrorKind::NotFound, Effect::None), "{error}");
    }
    let error = run(&["/etc/passwd"]).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Denied, Effect::None), "{error}");
    std::fs::copy("/bin/echo", home.path().join("say=it")).unwrap();
    assert_eq!(run(&["./say=it", "a b", "c"]).await.unwrap().stdout, "a b c\n");
}
