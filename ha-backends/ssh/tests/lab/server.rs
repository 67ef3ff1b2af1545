//! Servers: H13, H14, stale pid files, servers that do not stop.

use std::collections::BTreeMap;
use std::time::Duration;

use ha_core::backend::{
    Applied, DetachedWork, Effect, ErrorKind, Host, Installed, ObserveHost, RunCommand, ServerProcess,
};
use ha_core::state::ServerDomain;
use ha_core::topology::Setting;
use ha_ssh::SshHost;
use tokio::time::sleep;

use crate::fixture::{FIRST, IDENTITY, build, drive, id, install, lab, lines, settings};

async fn until(host: &SshHost, running: bool) -> ServerProcess {
    for _ in 0..500 {
        let process = host.process().await.unwrap();
        if matches!(process, ServerProcess::Running(_)) == running {
            return process;
        }
        sleep(Duration::from_millis(20)).await;
    }
    panic!("the server never was {}", if running { "running" } else { "stopped" });
}

async fn start(host: &SshHost) -> Applied {
    Host::start(host, FIRST, ServerDomain::Production).await.unwrap()
}

#[tokio::test]
async fn a_server_is_started_and_stopped_and_each_life_is_another() {
    let lab = lab();
    let machine = lab.ssh_host("esb1").unwrap();
    let home = install(&machine.outside("/srv").unwrap());
    let host = drive(machine.access());
    assert!(matches!(host.installed().await.unwrap(), Installed::Release(release) if &*release == "4.2.0"));
    assert_eq!(host.process().await.unwrap(), ServerProcess::Stopped);
    assert_eq!(host.stop(FIRST).await.unwrap(), Applied::AlreadySo);
    assert_eq!(start(&host).await, Applied::Applied);
    let first = until(&host, true).await;
    assert_eq!(start(&host).await, Applied::AlreadySo);
    assert_eq!(host.stop(FIRST).await.unwrap(), Applied::Applied);
    until(&host, false).await;
    assert!(home.join("wso2carbon.pid").exists(), "it stays behind");
    assert_eq!(start(&host).await, Applied::Applied);
    assert_ne!(until(&host, true).await, first);
    let error = Host::start(&host, FIRST, ServerDomain::Test).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Unsupported, Effect::None), "{error}");
    // One that runs writes into its home.
    host.stop(FIRST).await.unwrap();
    until(&host, false).await;
    std::fs::remove_dir_all(&home).unwrap();
    assert_eq!(host.installed().await.unwrap(), Installed::Absent);
}

/// A typo in a path is found before anything is stopped.
#[tokio::test]
async fn what_a_host_misses_is_named_with_its_setting() {
    let lab = lab();
    let machine = lab.ssh_host("esb1").unwrap();
    let home = install(&machine.outside("/srv").unwrap());
    let with = |changes: &[(&str, Setting)]| {
        let mut settings = settings(machine.access());
        settings.extend(changes.iter().map(|(key, value)| (String::from(*key), value.clone())));
        build(settings)
    };
    let (text, argv) = (|text: &str| Setting::Text(text.into()), |argv: &str| Setting::List(vec![argv.into()]));
    let host = drive(machine.access());
    assert_eq!(host.missing(&["sh".into(), "bin/server.sh".into()]).await.unwrap(), Vec::<String>::new());
    let typos = with(&[("start", argv("bin/sever.sh")), ("pid_file", text("rnu/wso2carbon.pid"))]);
    let missing = typos.missing(&["no-such-program".into(), "release".into()]).await.unwrap();
    let named = [
        "setting start: there is no program bin/sever.sh below /srv/esb",
        "the change: there is no program \
                 no-such-program in the PATH",
        "the change: there is no program release in the PATH",
        "setting pid_file: \
                 rnu/wso2carbon.pid below /srv/esb: there is no such folder",
    ];
    assert_eq!(missing.len(), named.len(), "{missing:?}");
    missing.iter().zip(named).for_each(|(missing, named)| assert!(missing.starts_with(named), "{missing}"));
    let moved = with(&[("home", text("/srv/ebs"))]).missing(&[]).await.unwrap();
    assert!(moved.len() == 1 && moved[0].starts_with("setting home: there is no folder /srv/ebs"), "{moved:?}");
    assert_eq!(start(&host).await, Applied::Applied);
    until(&host, true).await;
    std::fs::remove_file(home.join("wso2carbon.pid")).unwrap();
    let missing = host.missing(&[]).await.unwrap();
    assert!(missing.len() == 1 && missing[0].contains("the server runs, and there is no such file"), "{missing:?}");
}

#[tokio::test]
async fn a_server_in_the_middle_of_its_exec_is_found_at_every_look() {
    let lab = lab();
    let machine = lab.ssh_host("esb1").unwrap();
    let home = install(&machine.outside("/srv").unwrap());
    let host = drive(machine.access());
    // It becomes itself again every few milliseconds, with the same arguments.
    std::fs::write(
        home.join("again.sh"),
        "n=0; while [ $n -lt 40000 ]; do n=$((n + 1)); done; exec /bin/sh \"$0\" \"$@\"\n",
    )
    .unwrap();
    // Its identity is in a file, so that nothing that waits for it is taken for it.
    std::fs::write(home.join("storm.sh"), format!("exec /bin/sh again.sh {IDENTITY}\n")).unwrap();
    let storm = RunCommand::new(["/bin/sh", "storm.sh"].map(String::from).to_vec(), Duration::from_secs(60));
    host.launch(FIRST, id("storm"), storm).await.unwrap();
    until(&host, true).await;
    for look in 0..400 {
        assert!(matches!(host.process().await.unwrap(), ServerProcess::Running(_)), "look {look}");
    }
    for _ in 0..20 {
        assert_eq!(host.start(FIRST, ServerDomain::Production).await.unwrap(), Applied::AlreadySo);
    }
    host.cancel(FIRST, &id("storm")).await.unwrap();
    until(&host, false).await;
}

/// The settings of a server whose starts are counted in the file `starts`.
fn counting_starts(machine: &ha_lab::SshHost) -> BTreeMap<String, Setting> {
    let mut settings = settings(machine.access());
    // It returns before the server is there, as the scripts of real servers do.
    let script = ["/bin/sh", "-c", "echo x >> starts; bin/server.sh start"].map(String::from).to_vec();
    settings.insert("start".into(), Setting::List(script));
    settings
}

#[tokio::test]
async fn starts_at_once_by_several_controllers_run_the_start_script_once() {
    let lab = lab();
    let machine = lab.ssh_host("esb1").unwrap();
    let home = install(&machine.outside("/srv").unwrap());
    let settings = counting_starts(&machine);
    let starts = (0..4).map(|_| {
        let host = build(settings.clone());
        tokio::spawn(async move { Host::start(&host, FIRST, ServerDomain::Production).await })
    });
    let mut applied = 0;
    for start in starts.collect::<Vec<_>>() {
        applied += u32::from(start.await.unwrap().unwrap() == Applied::Applied);
    }
    until(&drive(machine.access()), true).await;
    assert_eq!((lines(home.join("starts")), applied), (1, 1));
}

#[tokio::test]
async fn a_server_that_another_controller_started_since_the_last_look_is_not_started_twice() {
    let lab = lab();
    let machine = lab.ssh_host("esb1").unwrap();
    let home = install(&machine.outside("/srv").unwrap());
    let settings = counting_starts(&machine);
    let (host, other) = (build(settings.clone()), build(settings));
    // The start goes by this look.
    assert_eq!(host.process().await.unwrap(), ServerProcess::Stopped);
    assert_eq!(start(&other).await, Applied::Applied);
    assert_eq!(start(&host).await, Applied::AlreadySo);
    // And the next one by one of its own: it waits for nobody.
    other
        .launch(FIRST, id("long"), RunCommand::new(vec!["sleep".into(), "20".into()], Duration::from_secs(30)))
        .await
        .unwrap();
    assert_eq!(start(&host).await, Applied::AlreadySo);
    other.cancel(FIRST, &id("long")).await.unwrap();
    assert_eq!(lines(home.join("starts")), 1);
}

#[tokio::test]
async fn a_reused_pid_and_another_boot_never_read_as_alive() {
    let lab = lab();
    let machine = lab.ssh_machine("esb1").unwrap();
    let home = install(&machine.outside("/srv").unwrap());
    let host = drive(machine.access());
    // Pid 1 of the machine is its sshd; the pid file names a living stranger, the second one a shell of this call.
    for stranger in ["1", "2", "999999", "4711\0\0", "", "-1", "no number"] {
        std::fs::write(home.join("wso2carbon.pid"), stranger).unwrap();
        assert_eq!(host.process().await.unwrap(), ServerProcess::Stopped, "{stranger:?}");
    }
    start(&host).await;
    let before = until(&host, true).await;
    machine.power_cycle().unwrap();
    let after = loop {
        match host.process().await {
            Ok(after) => break after,
            Err(error) => assert_eq!(error.effect(), Effect::None, "{error}"),
        }
        sleep(Duration::from_millis(100)).await;
    };
    assert_eq!(after, ServerProcess::Stopped);
    start(&host).await;
    assert_ne!(until(&host, true).await, before);
}

#[tokio::test]
async fn a_pid_file_that_names_a_stranger_is_moved_aside_at_start_and_refused_at_stop() {
    let lab = lab();
    let machine = lab.ssh_host("esb1").unwrap();
    let home = install(&machine.outside("/srv").unwrap());
    let host = drive(machine.access());
    std::fs::write(home.join("wso2carbon.pid"), "1").unwrap();
    start(&host).await;
    until(&host, true).await;
    assert!(home.join("wso2carbon.pid.stale").exists());
    // It is seen before it has written its pid down.
    while !std::fs::read(home.join("wso2carbon.pid")).is_ok_and(|pid| pid.ends_with(b"\0\0\0\0")) {
        sleep(Duration::from_millis(5)).await;
    }
    std::fs::write(home.join("wso2carbon.pid"), "4242").unwrap();
    let error = host.stop(FIRST).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Conflict, Effect::None), "{error}");
    assert!(matches!(host.process().await.unwrap(), ServerProcess::Running(_)), "nobody was signalled");
}

#[tokio::test]
async fn a_server_that_dies_right_after_its_start_is_seen_to_be_gone() {
    let lab = lab();
    let machine = lab.ssh_host("esb1").unwrap();
    let home = install(&machine.outside("/srv").unwrap());
    std::fs::write(home.join("dies"), "").unwrap();
    let host = drive(machine.access());
    // The script says that all is well; what counts is the process.
    assert_eq!(start(&host).await, Applied::Applied);
    until(&host, false).await;
    sleep(Duration::from_millis(300)).await;
    assert_eq!(host.process().await.unwrap(), ServerProcess::Stopped);
}

#[tokio::test]
async fn a_server_that_does_not_stop_writes_its_threads_down_and_is_killed_and_no_other_life_is() {
    let lab = lab();
    let machine = lab.ssh_host("esb1").unwrap();
    let home = install(&machine.outside("/srv").unwrap());
    std::fs::write(home.join("deaf"), "").unwrap();
    let host = drive(machine.access());
    start(&host).await;
    let ServerProcess::Running(life) = until(&host, true).await else { panic!("it runs") };
    host.stop(FIRST).await.unwrap();
    sleep(Duration::from_millis(500)).await;
    assert!(matches!(host.process().await.unwrap(), ServerProcess::Running(_)), "it is deaf");
    let other = ha_core::backend::Incarnation::new(format!("{}0", life.as_str()));
    assert_eq!(host.kill(FIRST, other).await.unwrap(), Applied::AlreadySo);
    assert_eq!(lines(home.join("dump")), 0);
    assert_eq!(host.kill(FIRST, life.clone()).await.unwrap(), Applied::Applied);
    until(&host, false).await;
    assert_eq!(lines(home.join("dump")), 1);
    assert_eq!(host.kill(FIRST, life).await.unwrap(), Applied::AlreadySo);
}
