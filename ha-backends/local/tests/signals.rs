//! What a controller that ignores signals starts does not ignore them: under `nohup`, or as a job in the background of a
//! shell.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::process::Command;
use std::time::Duration;

use ha_core::backend::{Effect, ErrorKind, Host, RunCommand};
use ha_core::state::{LeaseEpoch, ServerDomain};
use ha_core::topology::{Component, Name, Setting};
use ha_lab::Lab;
use ha_lab::fake_carbon::{CarbonConfig, Relaunch};
use ha_local::{LocalHost, LocalHostConfig};

ha_lab::roles!();

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

/// Runs the test of this name once more, in a process that ignores the signals of a terminal.
fn ignoring(test: &str) {
    let script = "trap '' HUP INT QUIT; exec \"$@\"";
    let ran = Command::new("/bin/sh")
        .args(["-c", script, "sh"])
        .arg(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", test])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success() && said.contains("1 passed"), "{said}{}", String::from_utf8_lossy(&ran.stderr));
}

#[test]
fn a_server_and_a_command_do_not_inherit_that_signals_are_ignored() {
    ignoring("in_a_process_that_ignores_signals");
}

#[tokio::test]
#[ignore = "run by the test above in a process that ignores signals"]
async fn in_a_process_that_ignores_signals() {
    assert_eq!(ignored_of("self") & TERMINAL, TERMINAL, "this process ignores them");
    let lab = Lab::open(Relaunch::test().unwrap()).unwrap();
    let home = lab.carbon("esb1", CarbonConfig::fast("1.0")).unwrap();
    let script = |verb: &str| Setting::List(vec!["bin/wso2server.sh".into(), verb.into()]);
    let mut component = Component::new(Name::new("local").unwrap());
    component.settings.extend([
        ("home".into(), Setting::Text(home.path().display().to_string())),
        ("start".into(), script("start")),
        ("stop".into(), script("stop")),
        ("version".into(), script("version")),
        ("pid_file".into(), Setting::Text("wso2carbon.pid".into())),
        ("identity".into(), Setting::Text(home.identity())),
    ]);
    let host = LocalHost::new(LocalHostConfig::from_component(&component).unwrap());
    let run = |argv: &[&str]| {
        let argv = argv.iter().map(|word| (*word).to_string()).collect();
        host.run(EPOCH, RunCommand::new(argv, Duration::from_secs(10)))
    };

    let ran = run(&["cat", "/proc/self/status"]).await.unwrap();
    assert_eq!(ignored_in(&ran.stdout) & TERMINAL, 0, "of a command");
    host.start(EPOCH, ServerDomain::Production).await.unwrap();
    let pid = std::fs::read_to_string(home.path().join("wso2carbon.pid")).unwrap();
    let pid = pid.trim_matches(|letter: char| !letter.is_ascii_digit());
    assert_eq!(ignored_of(pid) & TERMINAL, 0, "of a server");

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
