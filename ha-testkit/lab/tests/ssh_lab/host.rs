//! Plain hosts and tarpits.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use ha_lab::{SshHost, SshSpec, Tarpit, TarpitKind};

use super::{complaint, lab, output, run, ssh};

#[test]
fn a_host_answers_in_strict_mode() {
    let lab = lab();
    let host = lab.ssh_host("esb1").unwrap();
    assert_eq!(run(host.access(), "true"), "");
    assert_eq!(run(host.access(), "hostname; pwd; ls -A"), "esb1\n/root", "a name and an empty home of its own");
    assert_eq!(run(host.access(), "cat /proc/sys/kernel/random/boot_id"), host.boot_id().unwrap());
    assert_eq!(run(host.access(), "cat /proc/1/comm"), "sshd", "processes of its own");
}

#[test]
fn a_host_has_folders_of_its_own_which_outlive_a_restart() {
    let lab = lab();
    let host = lab.ssh_host("esb1").unwrap();
    run(host.access(), "echo here >/tmp/ha-lab-mark; echo kept >/srv/mark; echo lost >/run/mark");
    assert_eq!(std::fs::read_to_string(host.outside("/srv/mark").unwrap()).unwrap(), "kept\n");
    assert!(!Path::new("/tmp/ha-lab-mark").exists());
    let (port, boot) = (host.port(), host.boot_id().unwrap());
    host.stop().unwrap();
    assert!(host.pids().is_empty());
    assert!(complaint(host.access(), "true").contains("refused"));
    host.start().unwrap();
    assert_eq!(run(host.access(), "cat /srv/mark; ls /run/mark 2>/dev/null || echo none"), "kept\nnone");
    assert_eq!(host.port(), port);
    assert_ne!(host.boot_id().unwrap(), boot);
}

#[test]
fn ten_hosts_answer_at_once_each_with_a_key_of_its_own() {
    let lab = lab();
    let hosts: Vec<SshHost> = std::thread::scope(|scope| {
        let lab = &lab;
        let start = |n| scope.spawn(move || lab.ssh_host(&format!("esb{n}")).unwrap());
        let started: Vec<_> = (0..10).map(start).collect();
        started.into_iter().map(|host| host.join().unwrap()).collect()
    });
    let config = lab.ssh_config(hosts.iter().map(SshHost::access)).unwrap();
    std::thread::scope(|scope| {
        for host in &hosts {
            let command = move |config: &Path| ssh(config, host.name(), "hostname").output().unwrap();
            let config = &config;
            scope.spawn(move || {
                let output = command(config);
                assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), host.name(), "{output:?}");
            });
        }
    });
    let keys: BTreeSet<String> = hosts.iter().map(|host| host.access().host_public_key().unwrap()).collect();
    let addresses: BTreeSet<_> = hosts.iter().map(SshHost::address).collect();
    assert_eq!((keys.len(), addresses.len()), (10, 10));
    let stranger = Command::new("ssh")
        .arg("-F")
        .arg(&config)
        .args(["-o", &format!("IdentityFile={}", hosts[1].identity_file().display()), "-o"])
        .args([&format!("HostKeyAlias=[{}]:{}", hosts[1].address(), hosts[1].port()), hosts[0].name(), "true"])
        .output()
        .unwrap();
    assert!(!stranger.status.success(), "a host answers to neither the key nor the name of another: {stranger:?}");
}

#[test]
fn ssh_refuses_a_changed_an_unknown_and_a_revoked_host_key() {
    let lab = lab();
    let host = lab.ssh_host("esb1").unwrap();
    host.change_host_key().unwrap();
    assert!(complaint(host.access(), "touch /srv/ran").contains("IDENTIFICATION HAS CHANGED"));
    host.access().forget().unwrap();
    assert!(complaint(host.access(), "touch /srv/ran").contains("host key is known"));
    host.access().revoke().unwrap();
    assert!(complaint(host.access(), "touch /srv/ran").contains("REVOKED"));
    assert!(!host.outside("/srv/ran").unwrap().exists(), "nothing was run");
    host.access().trust().unwrap();
    assert_eq!(run(host.access(), "echo trusted"), "trusted");
}

#[test]
fn a_host_without_the_clients_key_refuses_the_login() {
    let lab = lab();
    let host = lab.ssh_host("esb1").unwrap();
    host.access().deny_logins().unwrap();
    assert!(complaint(host.access(), "true").contains("Permission denied"));
    host.access().admit_logins().unwrap();
    assert_eq!(run(host.access(), "echo in"), "in");
}

#[test]
fn a_host_has_the_login_shell_and_the_home_files_it_was_given() {
    let lab = lab();
    for shell in ["/bin/sh", "/bin/bash", "/usr/bin/zsh", "/usr/bin/fish", "/usr/bin/tcsh"] {
        let name = shell.rsplit('/').next().unwrap();
        let spec = SshSpec::new().with_login_shell(shell).with_home_file(".bashrc", "echo noise; echo noise >&2");
        let host = lab.ssh_host_with(name, &spec).unwrap();
        let printed = run(host.access(), "sh -c 'readlink /proc/$PPID/exe; true'; true");
        let program = std::fs::canonicalize(shell).unwrap();
        let noise = if name == "bash" { "noise\n" } else { "" };
        assert_eq!(printed, format!("{noise}{}", program.display()), "only bash reads that file");
    }
    let error = lab.ssh_host_with("none", &SshSpec::new().with_login_shell("/usr/bin/nosuchshell")).unwrap_err();
    assert!(error.to_string().contains("apt-get install nosuchshell"), "{error}");
}

#[test]
fn a_connection_has_as_many_channels_as_the_host_allows() {
    let lab = lab();
    let host = lab.ssh_host_with("esb1", &SshSpec::new().with_max_sessions(1)).unwrap();
    let socket = lab.path().join("control");
    let through = |mode: &str, line: &str| {
        let mut command = Command::new("ssh");
        command.arg("-S").arg(&socket).args(["-o", &format!("ControlMaster={mode}"), "-F"]).arg(host.ssh_config());
        command.args([host.name(), line]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    };
    let mut master = through("yes", "echo up; cat");
    assert_eq!(BufReader::new(master.stdout.take().unwrap()).lines().next().unwrap().unwrap(), "up");
    let second = through("no", "true").wait_with_output().unwrap();
    master.kill().unwrap();
    master.wait().unwrap();
    assert!(
        String::from_utf8_lossy(&second.stderr).contains("open"),
        "refused, or on a connection of its own: {second:?}"
    );
}

#[test]
fn a_name_that_is_taken_or_no_host_name_is_refused() {
    let lab = lab();
    let _host = lab.ssh_host("esb1").unwrap();
    assert!(lab.ssh_host("esb1").is_err());
    for name in ["", "../x", "a b", "$(x)"] {
        assert_eq!(lab.ssh_host(name).unwrap_err().kind(), std::io::ErrorKind::InvalidInput, "{name}");
    }
}

#[test]
fn a_tarpit_never_lets_ssh_in() {
    let lab = lab();
    let host = lab.ssh_host("esb1").unwrap();
    for kind in [TarpitKind::NoBanner, TarpitKind::BannerThenSilence, TarpitKind::Drip, TarpitKind::Refused] {
        let tarpit = Tarpit::open(kind).unwrap();
        let to = format!("HostName={}", tarpit.address().ip());
        let port = format!("Port={}", tarpit.address().port());
        let tried = Command::new("timeout")
            .args(["--signal=KILL", "8", "ssh", "-o", "ConnectTimeout=1", "-o", "ServerAliveInterval=1"])
            .args(["-o", "ServerAliveCountMax=1", "-o", &to, "-o", &port, "-F"])
            .arg(host.ssh_config())
            .args([host.name(), "true"])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&tried.stderr).into_owned();
        let gave_up = tried.status.code() == Some(255);
        assert!(gave_up || kind == TarpitKind::Drip, "{kind:?}: {said}");
        assert!(!tried.status.success(), "{kind:?}: {said}");
        assert_eq!(said.contains("refused"), kind == TarpitKind::Refused, "{kind:?}: {said}");
        assert_eq!(tarpit.connections(), usize::from(kind != TarpitKind::Refused), "{kind:?}");
    }
    assert!(output(host.access(), "true").status.success());
}
