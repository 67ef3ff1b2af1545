//! The hosts of the ssh lab answer to the real ssh, fail as real machines fail, and leave nothing behind.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod cleanup;
mod host;
mod machine;
mod session;

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use ha_lab::fake_carbon::Relaunch;
use ha_lab::{Lab, SshAccess};

ha_lab::roles!();

fn lab() -> Lab {
    Lab::open(Relaunch::test().unwrap()).unwrap()
}

/// The real ssh, with a line to run there.
fn ssh(config: &Path, host: &str, line: &str) -> Command {
    let mut command = Command::new("ssh");
    command.arg("-F").arg(config).args(["-o", "ConnectTimeout=20", host, line]).stdin(Stdio::null());
    command
}

fn output(access: &SshAccess, line: &str) -> Output {
    ssh(&access.ssh_config(), access.name(), line).output().unwrap()
}

/// What a line prints that goes well.
fn run(access: &SshAccess, line: &str) -> String {
    let output = output(access, line);
    assert!(output.status.success(), "{line}: {output:?}");
    String::from_utf8_lossy(&output.stdout).trim().to_string()
}

/// What ssh or a line complains of when it fails.
fn complaint(access: &SshAccess, line: &str) -> String {
    let output = output(access, line);
    assert!(!output.status.success(), "{line}: {output:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < until, "waited in vain for: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
