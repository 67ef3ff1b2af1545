//! What an execution costs: memory for endless streams (H12), time beside plain `ssh -S`. A program of its own, since the
//! peak of its memory is measured.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use ha_core::backend::{Content, HostFiles, ObserveHost, ObserveHostFiles, PutFile};
use ha_core::state::LeaseEpoch;
use ha_core::topology::Setting;
use ha_lab::SshHost;

#[path = "lab/fixture.rs"]
#[allow(dead_code, reason = "shared with the other tests")]
mod fixture;

ha_lab::roles!();

/// The bytes of an endless stream: 500 MB in the long form.
fn endless() -> u64 {
    if std::env::var_os("HA_SSH_TRIALS").is_some() { 500_000_000 } else { 100_000_000 }
}

fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn endless_output_and_input_take_little_memory() {
    let lab = fixture::lab();
    let machine = lab.ssh_host("esb1").unwrap();
    let srv = machine.outside("/srv").unwrap();
    fixture::install(&srv);
    let mut settings = fixture::settings(machine.access());
    let argv = ["/bin/sh", "-c", &format!("echo 4.2.0; head -c {} /dev/zero", endless())].map(String::from).to_vec();
    settings.insert("version".into(), Setting::List(argv));
    settings.insert("command_deadline".into(), Setting::Text("120000ms".into()));
    let host = fixture::build(settings);
    host.process().await.unwrap();
    let before = peak_kib();
    host.installed().await.unwrap();
    let source = lab.path().join("endless");
    std::fs::File::create(&source).unwrap().set_len(endless()).unwrap();
    host.put(LeaseEpoch::new(1), PutFile::new("/srv/big", Content::Local(source))).await.unwrap();
    assert_eq!(std::fs::metadata(srv.join("big")).unwrap().len(), endless());
    assert!(peak_kib() - before < 20_000, "{} KiB more than {before}", peak_kib() - before);
}

/// Runs `ssh -S` once, as a script over a multiplexed connection does.
fn plain(machine: &SshHost, socket: &str) -> Duration {
    let began = Instant::now();
    let mut command = Command::new("ssh");
    command.arg("-F").arg(machine.ssh_config()).args(["-S", socket, machine.name(), "true"]);
    assert!(command.stdin(Stdio::null()).output().unwrap().status.success());
    began.elapsed()
}

#[tokio::test]
async fn an_execution_takes_about_as_long_as_plain_ssh_over_an_open_connection() {
    let lab = fixture::lab();
    let machine = lab.ssh_host("esb1").unwrap();
    fixture::install(&machine.outside("/srv").unwrap());
    let dir = tempfile::Builder::new().prefix("ha-").tempdir_in("/tmp").unwrap();
    let socket = dir.path().join("s").display().to_string();
    let mut master = Command::new("ssh")
        .arg("-F")
        .arg(machine.ssh_config())
        .args(["-M", "-N", "-o", "ControlPath=none", "-S", &socket, machine.name()])
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    while !std::path::Path::new(&socket).exists() {
        std::thread::sleep(Duration::from_millis(5));
    }
    let host = fixture::drive(machine.access());
    host.stat("/srv").await.unwrap();
    let (mut theirs, mut ours, mut runs) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..100 {
        theirs.push(plain(&machine, &socket));
        let began = Instant::now();
        host.stat("/srv").await.unwrap();
        ours.push(began.elapsed());
        let began = Instant::now();
        let command = ha_core::backend::RunCommand::new(vec!["true".into()], Duration::from_secs(10));
        ha_core::backend::Host::run(&host, LeaseEpoch::new(1), command).await.unwrap();
        runs.push(began.elapsed());
    }
    master.kill().unwrap();
    master.wait().unwrap();
    let median = |times: &mut Vec<Duration>| {
        times.sort();
        times[times.len() / 2]
    };
    let (theirs, ours, runs) = (median(&mut theirs), median(&mut ours), median(&mut runs));
    println!("plain ssh -S {theirs:?}, a look {ours:?}, a guarded detached run {runs:?}, medians of 100");
    assert!(ours < theirs * 2, "a look takes {ours:?}, plain ssh {theirs:?}");
}
