//! A local host and its probe over a real Java server: Debian's tomcat10, by its own scripts.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod driven;

use std::process::{Command, Stdio};
use std::time::Duration;

use driven::{Server, until_ready, until_stopped};
use ha_core::backend::{Applied, Host, Installed, ObserveHost, Probe, Ready, RunCommand, ServerProcess};
use ha_core::state::{LeaseEpoch, ServerDomain};
use ha_lab::fake_carbon::Relaunch;
use ha_lab::{Lab, TomcatHome, TomcatRelease, write_war};
use ha_local::LocalHost;
use ha_probe::HttpProbe;

ha_lab::roles!();

const EPOCH: LeaseEpoch = LeaseEpoch::new(1);

fn drive(home: &TomcatHome) -> (LocalHost, HttpProbe) {
    let server = Server {
        home: home.path(),
        start: &["bin/startup.sh"],
        stop: &["bin/shutdown.sh"],
        version: &["cat", "version.txt"],
        pid_file: "tomcat.pid",
        identity: home.identity(),
        port: home.port(),
    };
    server.drive()
}

async fn life(host: &LocalHost) -> String {
    let ServerProcess::Running(life) = host.process().await.unwrap() else { panic!("no server runs") };
    life.to_string()
}

/// Starts the server by its own script alone; returns the exit code.
fn startup(home: &TomcatHome) -> Option<i32> {
    let mut script = Command::new(home.path().join("bin/startup.sh"));
    script.stdin(Stdio::null()).stdout(Stdio::null()).status().unwrap().code()
}

#[tokio::test]
async fn a_tomcat_is_known_by_its_process_and_not_by_what_its_scripts_and_its_pid_file_say() {
    let lab = Lab::open(Relaunch::test().unwrap()).unwrap();
    let home = lab.tomcat("esb1", &TomcatRelease::new("4.2.0")).unwrap();
    let (host, probe) = drive(&home);
    assert_eq!(host.process().await.unwrap(), ServerProcess::Stopped);
    assert_eq!(host.start(EPOCH, ServerDomain::Production).await.unwrap(), Applied::Applied);
    assert_eq!(&*until_ready(&probe).await, "4.2.0");
    let first = life(&host).await;

    // Without its pid file a second one would be started beside it, fail on the port, and be taken for a restart that went well.
    let (pid_file, aside) = (home.path().join("tomcat.pid"), home.path().join("tomcat.pid.aside"));
    std::fs::rename(&pid_file, &aside).unwrap();
    assert_eq!(host.start(EPOCH, ServerDomain::Production).await.unwrap(), Applied::AlreadySo);
    assert_eq!(life(&host).await, first);
    std::fs::rename(&aside, &pid_file).unwrap();
    // Two of a war are served side by side; what is in the folder is not yet served, and the test waits for it.
    for version in ["001", "002"] {
        let war = home.path().join(format!("webapps/stock##{version}.war"));
        write_war(&war, &[("version.txt", version)]).unwrap();
    }
    assert_eq!(&*probe.test().await.unwrap(), "4.2.0");
    assert_eq!(host.stop(EPOCH).await.unwrap(), Applied::Applied);
    until_stopped(&host).await;
    assert!(matches!(probe.ready().await, Ok(Ready::Closed)));

    // Its release is that of its start, whatever is installed under it.
    host.start(EPOCH, ServerDomain::Production).await.unwrap();
    until_ready(&probe).await;
    lab.tomcat_release(&TomcatRelease::new("4.2.1")).unwrap();
    let patch = RunCommand::new(vec!["bin/patch.sh".into(), "apply".into()], Duration::from_secs(10));
    assert!(host.run(EPOCH, patch.with_env("HA_RELEASE", "4.2.1")).await.unwrap().is_success());
    assert_eq!(host.installed().await.unwrap(), Installed::Release("4.2.1".into()));
    assert!(matches!(probe.ready().await, Ok(Ready::Yes { release }) if &*release == "4.2.0"));

    // Debian's script says 0 and starts nothing where a killed server has left its pid file behind; the host moves it aside.
    assert!(home.kill().unwrap());
    assert!(home.path().join("tomcat.pid").exists());
    assert_eq!((startup(&home), host.process().await.unwrap()), (Some(0), ServerProcess::Stopped));
    assert_eq!(host.start(EPOCH, ServerDomain::Production).await.unwrap(), Applied::Applied);
    assert_eq!(&*until_ready(&probe).await, "4.2.1");
    assert_ne!(life(&host).await, first);
}
