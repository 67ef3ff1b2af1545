//! Connections: H5, H6, H10, H11.

use std::process::{Command, Stdio};
use std::time::Duration;

use ha_core::backend::{Effect, ErrorKind, Host, ObserveHost, ObserveHostFiles, Retry, StepError};
use ha_core::topology::Setting;
use ha_lab::{SshHost, SshSpec, Tarpit, TarpitKind};
use ha_ssh::SshFailure;
use tokio::time::{Instant, sleep};

use crate::fixture::{FIRST, build, drive, install, lab, lines, settings, sh};

const LONG: Duration = Duration::from_secs(30);

fn failure(error: &StepError) -> &SshFailure {
    std::error::Error::source(error).and_then(|source| source.downcast_ref()).expect("an SshFailure")
}

#[tokio::test]
async fn a_server_that_does_not_greet_is_an_error_inside_the_deadline() {
    let lab = lab();
    let machine = lab.ssh_host("esb1").unwrap();
    for kind in [TarpitKind::NoBanner, TarpitKind::BannerThenSilence, TarpitKind::Drip, TarpitKind::Refused] {
        let tarpit = Tarpit::open(kind).unwrap();
        let mut settings = settings(machine.access());
        settings.insert("host".into(), Setting::Text(format!("root@{}", tarpit.address().ip())));
        settings.insert("port".into(), Setting::Integer(tarpit.address().port().into()));
        settings.insert("connect_deadline".into(), Setting::Text("1000ms".into()));
        let host = build(settings);
        let began = Instant::now();
        let error = host.run(FIRST, sh("true", LONG)).await.unwrap_err();
        assert!(began.elapsed() < Duration::from_millis(1_800), "{kind:?}: {:?}", began.elapsed());
        assert!(matches!(error.kind(), ErrorKind::Timeout | ErrorKind::Unreachable), "{kind:?}: {error}");
        assert_eq!(error.effect(), Effect::None, "{kind:?}: {error}");
        assert_ne!(error.retry(), Retry::Never, "{kind:?}: {error}");
    }
}

/// Runs a command on a host that must refuse it for good, and shows why it did.
async fn refused(machine: &SshHost) -> SshFailure {
    let host = drive(machine.access());
    let error = host.run(FIRST, sh("echo x >>ran", LONG)).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.effect(), error.retry()),
        (ErrorKind::Denied, Effect::None, Retry::Never),
        "{error}"
    );
    assert_eq!(lines(machine.outside("/srv/esb/ran").unwrap()), 0);
    failure(&error).clone()
}

#[tokio::test]
async fn an_unknown_a_changed_and_a_revoked_host_key_are_three_permanent_errors_and_nothing_is_executed() {
    let lab = lab();
    let machine = lab.ssh_host("esb1").unwrap();
    install(&machine.outside("/srv").unwrap());
    machine.access().forget().unwrap();
    assert!(matches!(refused(&machine).await, SshFailure::HostKeyUnknown(_)));
    machine.access().revoke().unwrap();
    assert!(matches!(refused(&machine).await, SshFailure::HostKeyRevoked(_)));
    machine.access().trust().unwrap();
    machine.change_host_key().unwrap();
    assert!(matches!(refused(&machine).await, SshFailure::HostKeyChanged(_)));
    machine.access().trust().unwrap();
    drive(machine.access()).run(FIRST, sh("true", LONG)).await.unwrap();
}

#[tokio::test]
async fn a_refused_login_is_permanent_and_not_tried_again() {
    let lab = lab();
    let machine = lab.ssh_host("esb1").unwrap();
    install(&machine.outside("/srv").unwrap());
    machine.access().deny_logins().unwrap();
    assert!(matches!(refused(&machine).await, SshFailure::LoginRefused(_)));
    let host = drive(machine.access());
    let tries = || std::fs::read_to_string(machine.log()).unwrap().matches("Connection from").count();
    let before = tries();
    for _ in 0..20 {
        assert!(host.process().await.is_err());
    }
    assert_eq!(tries() - before, 1);
}

#[tokio::test]
async fn a_hundred_executions_at_once_share_a_connection_that_allows_as_many_as_are_made() {
    let lab = lab();
    // One that has ended still counts for a moment, and the next one is refused until then.
    let machine = lab.ssh_host_with("esb1", &SshSpec::new().with_max_sessions(8)).unwrap();
    install(&machine.outside("/srv").unwrap());
    let host = drive(machine.access());
    let mut all = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let host = host.clone();
        all.spawn(async move { host.read("/srv/esb/release", 100).await });
    }
    while let Some(read) = all.join_next().await {
        assert_eq!(read.unwrap().unwrap(), b"4.2.0\n");
    }
    let logins = std::fs::read_to_string(machine.log()).unwrap().matches("Accepted publickey").count();
    assert_eq!(logins, 1);
}

#[tokio::test]
async fn a_connection_that_was_lost_is_made_again_and_a_machine_says_who_it_is() {
    let lab = lab();
    let machine = lab.ssh_machine("esb1").unwrap();
    install(&machine.outside("/srv").unwrap());
    let host = drive(machine.access());
    let before = host.identify().await.unwrap();
    assert_eq!(*before.boot, *machine.boot_id().unwrap().trim());
    assert!(["flock", "setsid", "sh", "sha256sum", "timeout"].into_iter().all(|tool| before.has(tool)), "{before:?}");
    assert!(before.clock_ahead_ms.unwrap().abs() < 1_000, "{before:?}");
    machine.power_cycle().unwrap();
    let after = loop {
        match host.identify().await {
            Ok(after) => break after,
            Err(error) => assert_eq!(error.effect(), Effect::None, "{error}"),
        }
        sleep(Duration::from_millis(200)).await;
    };
    assert_eq!(before.machine, after.machine);
    assert_ne!(before.boot, after.boot);
}

#[tokio::test]
async fn jump_hosts_and_names_of_the_configuration_file_are_ssh_s_own_business() {
    let lab = lab();
    let (jump, machine) = (lab.ssh_host("jump").unwrap(), lab.ssh_host("esb1").unwrap());
    install(&machine.outside("/srv").unwrap());
    let config = lab.ssh_config([jump.access(), machine.access()]).unwrap();
    let mut settings = settings(machine.access());
    for own in ["port", "identity_file", "known_hosts"] {
        settings.remove(own);
    }
    settings.insert("host".into(), Setting::Text("esb1".into()));
    settings.insert("jump".into(), Setting::Text("jump".into()));
    settings.insert("ssh_config".into(), Setting::Text(config.display().to_string()));
    let host = build(settings);
    assert_eq!(host.run(FIRST, sh("hostname", LONG)).await.unwrap().stdout, "esb1\n");
    let log = std::fs::read_to_string(jump.log()).unwrap();
    assert!(log.contains("Accepted publickey"), "{log}");
}

const CHILD: &str = "HA_SSH_CHILD";

/// Plays a controller that holds a connection and a running command; the test below kills it.
#[tokio::test]
#[ignore = "a part of another test, started by it"]
async fn child_holds_a_connection() {
    let Ok(told) = std::env::var(CHILD) else { return };
    let mut told = told.split('|');
    let mut part = || told.next().unwrap().to_string();
    let mut component = ha_core::topology::Component::new(ha_core::topology::Name::new("ssh").unwrap());
    for key in ["host", "identity_file", "known_hosts", "home", "pid_file", "identity"] {
        component.settings.insert(key.into(), Setting::Text(part()));
    }
    component.settings.insert("port".into(), Setting::Integer(part().parse().unwrap()));
    for key in ["start", "stop", "version"] {
        component.settings.insert(key.into(), Setting::List(vec!["true".into()]));
    }
    let host = build(component.settings);
    host.run(FIRST, sh("echo x >>begun; sleep 60", Duration::from_secs(60))).await.unwrap();
}

#[tokio::test]
async fn a_controller_killed_with_9_leaves_no_ssh_and_no_socket_behind() {
    let lab = lab();
    let machine = lab.ssh_host("esb1").unwrap();
    let home = install(&machine.outside("/srv").unwrap());
    let access = machine.access();
    let temporary = tempfile::Builder::new().prefix("t").tempdir_in("/tmp").unwrap();
    let told = [
        format!("root@{}", access.address()),
        access.identity_file().display().to_string(),
        access.known_hosts().display().to_string(),
        "/srv/esb".into(),
        "wso2carbon.pid".into(),
        "x".into(),
        access.port().to_string(),
    ];
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "connection::child_holds_a_connection"])
        .env(CHILD, told.join("|"))
        .env("TMPDIR", temporary.path())
        .env_remove("XDG_RUNTIME_DIR")
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let sockets = || std::fs::read_dir(temporary.path()).unwrap().count();
    for _ in 0..1_000 {
        if lines(home.join("begun")) > 0 {
            break;
        }
        sleep(Duration::from_millis(20)).await;
    }
    let mark = temporary.path().display().to_string();
    assert!(processes_with(&mark) >= 2 && sockets() == 1, "a master and a client run");
    child.kill().unwrap();
    child.wait().unwrap();
    let killed = Instant::now();
    while processes_with(&mark) > 0 || sockets() > 0 {
        assert!(
            killed.elapsed() < Duration::from_secs(5),
            "{} processes, {} sockets",
            processes_with(&mark),
            sockets()
        );
        sleep(Duration::from_millis(50)).await;
    }
}

/// Counts the living processes with a text in their command line.
fn processes_with(mark: &str) -> usize {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = processes.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    lines.filter(|line| String::from_utf8_lossy(line).contains(mark)).count()
}

#[tokio::test]
async fn another_machine_at_the_same_address_is_refused_before_anything_is_asked_of_it() {
    let lab = lab();
    // From the moment on that the file is there, every script reads it as the machine's id.
    let other = "if [ -e /srv/other ]; then sed -u s#/etc/machine-id#/srv/other# | /bin/sh -s; exit; fi\n";
    let spec = SshSpec::new().with_login_shell("/usr/bin/bash").with_home_file(".bashrc", other);
    let machine = lab.ssh_host_with("esb1", &spec).unwrap();
    install(&machine.outside("/srv").unwrap());
    let host = drive(machine.access());
    let was = host.identify().await.unwrap().machine;
    std::fs::write(machine.outside("/srv/other").unwrap(), "two\n").unwrap();
    let logins = || std::fs::read_to_string(machine.log()).unwrap().matches("Accepted publickey").count();
    assert_eq!((logins(), machine.kill_sessions() > 0), (1, true));
    // That the connection is gone is noticed a moment after it is: what was given to it then may have run.
    let mut looks = 0;
    while !matches!(host.identify().await.as_ref().map_err(failure), Err(SshFailure::OtherMachine { .. })) {
        looks += 1;
        assert!(looks < 1_000, "the other machine is not noticed");
        sleep(Duration::from_millis(5)).await;
    }
    for _ in 0..3 {
        let error = host.run(FIRST, sh("echo x >>ran", LONG)).await.unwrap_err();
        assert_eq!(error.effect(), Effect::None, "{error}");
        let SshFailure::OtherMachine { was: told, is } = failure(&error) else { panic!("{error}") };
        assert_eq!((told.as_str(), is.as_str(), error.retry()), (&*was, "two", Retry::Never), "{error}");
    }
    assert_eq!((lines(machine.outside("/srv/esb/ran").unwrap()), logins()), (0, 2));
}
