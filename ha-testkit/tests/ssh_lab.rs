//! The hosts of the ssh lab answer to the real ssh, fail as real machines fail, and leave nothing behind.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::Path;
use std::process::{Command, Output, Stdio};

use ha_testkit::fake_carbon::Relaunch;
use ha_testkit::lab::{Lab, SshSpec};

ha_testkit::roles!();

fn lab() -> Lab {
    Lab::open(Relaunch::test().unwrap()).unwrap()
}

/// The real ssh, with a line to run there.
fn ssh(config: &Path, host: &str, line: &str) -> Command {
    let mut command = Command::new("ssh");
    command.arg("-F").arg(config).args(["-o", "ConnectTimeout=20", host, line]).stdin(Stdio::null());
    command
}

fn printed(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).trim().to_string()
}

fn complaint(output: &Output) -> String {
    assert!(!output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_host_answers_in_strict_mode() {
    let lab = lab();
    let host = lab.ssh_host("esb1").unwrap();
    let run = |line| printed(&ssh(&host.ssh_config(), "esb1", line).output().unwrap());
    assert_eq!(run("true"), "");
    assert_eq!(run("hostname; pwd; ls -A"), "esb1\n/root", "a name and an empty home of its own");
    assert_eq!(run("cat /proc/sys/kernel/random/boot_id"), host.boot_id().unwrap());
    run("echo here >/tmp/mark; echo kept >/srv/mark");
    assert_eq!(std::fs::read_to_string(host.outside("/srv/mark").unwrap()).unwrap(), "kept\n");
    assert!(!Path::new("/tmp/mark").exists(), "a /tmp of its own");
    host.stop().unwrap();
    assert!(complaint(&ssh(&host.ssh_config(), "esb1", "true").output().unwrap()).contains("refused"));
    host.start().unwrap();
    assert_eq!(run("cat /srv/mark"), "kept");
}

#[test]
fn the_channels_of_a_connection_are_limited_as_told() {
    let lab = lab();
    let host = lab.ssh_host_with("esb1", &SshSpec::new().with_max_sessions(10)).unwrap();
    let config = std::fs::read_to_string(lab.path().join("esb1/sshd_config")).unwrap();
    assert!(config.contains("MaxSessions 10\n"));
    assert_eq!(printed(&ssh(&host.ssh_config(), host.name(), "echo up").output().unwrap()), "up");
}
