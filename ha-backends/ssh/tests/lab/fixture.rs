use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ha_core::backend::{DetachedWork, ObserveDetachedWork, RunCommand, WorkId, WorkState};
use ha_core::state::LeaseEpoch;
use ha_core::topology::{Component, Name, Setting};
use ha_lab::fake_carbon::Relaunch;
use ha_lab::{Lab, SshAccess};
use ha_ssh::{SshHost, SshHostConfig};
use tokio::time::sleep;

pub(crate) const FIRST: LeaseEpoch = LeaseEpoch::new(1);
pub(crate) const SECOND: LeaseEpoch = LeaseEpoch::new(2);
pub(crate) const HOME: &str = "/srv/esb";
pub(crate) const IDENTITY: &str = "-Dcarbon.home=/srv/esb";

/// A server that does as the scripts of real ones do: it starts in the background, and its pid file stays behind.
const SCRIPT: &str = r#"#!/bin/sh
cd "$(dirname "$0")/.."
case $1 in
start)
    setsid -f /bin/sh bin/server.sh serve -Dcarbon.home=/srv/esb >>log 2>&1 </dev/null
    ;;
serve)
    printf '%s\0\0\0\0' "$$" >wso2carbon.pid
    [ ! -e deaf ] && trap 'rm -f running; exit 0' TERM || trap '' TERM
    trap 'echo "thread dump" >>dump' QUIT
    [ ! -e dies ] || { sleep 0.2; exit 1; }
    cat release >running
    while :; do sleep 0.05; done
    ;;
stop) kill -TERM "$(tr -d '\0' <wso2carbon.pid)" ;;
version) cat release ;;
patch)
    echo x >>begun
    sleep 6
    echo "$HA_RELEASE" >release
    echo x >>patched
    ;;
esac
"#;

pub(crate) fn lab() -> Lab {
    Lab::open(Relaunch::test().unwrap()).unwrap()
}

/// Installs a server; `srv` is where the host's `/srv` is on this system.
pub(crate) fn install(srv: &Path) -> PathBuf {
    let home = srv.join("esb");
    std::fs::create_dir_all(home.join("bin")).unwrap();
    let script = home.join("bin/server.sh");
    std::fs::write(&script, SCRIPT).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(script, mode).unwrap();
    std::fs::write(home.join("release"), "4.2.0\n").unwrap();
    home
}

/// The settings of a server on a host of the lab.
pub(crate) fn settings(access: &SshAccess) -> BTreeMap<String, Setting> {
    let text = |text: String| Setting::Text(text);
    let argv = |verb: &str| Setting::List(vec!["bin/server.sh".into(), verb.into()]);
    BTreeMap::from([
        ("host".into(), text(format!("root@{}", access.address()))),
        ("port".into(), Setting::Integer(access.port().into())),
        ("identity_file".into(), text(access.identity_file().display().to_string())),
        ("known_hosts".into(), text(access.known_hosts().display().to_string())),
        ("home".into(), text(HOME.into())),
        ("start".into(), argv("start")),
        ("stop".into(), argv("stop")),
        ("version".into(), argv("version")),
        ("pid_file".into(), text("wso2carbon.pid".into())),
        ("identity".into(), text(IDENTITY.into())),
        ("keepalive".into(), Setting::Text("1000ms".into())),
    ])
}

pub(crate) fn build(settings: BTreeMap<String, Setting>) -> SshHost {
    let mut component = Component::new(Name::new("ssh").unwrap());
    component.settings = settings;
    SshHost::new(SshHostConfig::from_component(&component).unwrap())
}

pub(crate) fn drive(access: &SshAccess) -> SshHost {
    build(settings(access))
}

/// A command for a shell of the host, in the server's home.
pub(crate) fn sh(script: &str, deadline: Duration) -> RunCommand {
    RunCommand::new(["/bin/sh", "-c", script].map(String::from).to_vec(), deadline)
}

pub(crate) fn id(text: &str) -> WorkId {
    WorkId::new(text).unwrap()
}

/// How often a trial with random faults is made.
pub(crate) fn trials(default: u32) -> u32 {
    std::env::var("HA_SSH_TRIALS").ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Numbers that look random and are the same in every run.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// Waits until work has ended.
pub(crate) async fn ended(host: &SshHost, id: &WorkId) -> WorkState {
    for _ in 0..600 {
        if let Ok(state) = host.state(id).await
            && state.is_final()
        {
            return state;
        }
        sleep(Duration::from_millis(50)).await;
    }
    panic!("{id} never ended: {:?}", host.state(id).await);
}

/// Starts work until it is known to be started.
pub(crate) async fn start_surely(host: &SshHost, id: &WorkId, command: &RunCommand) {
    for _ in 0..100 {
        match host.state(id).await {
            Ok(WorkState::Absent) => drop(host.launch(FIRST, id.clone(), command.clone()).await),
            Ok(_) => return,
            Err(_) => sleep(Duration::from_millis(100)).await,
        }
    }
    panic!("{id} cannot be started");
}

/// Counts the lines of a file that may be missing.
pub(crate) fn lines(path: impl AsRef<Path>) -> usize {
    std::fs::read_to_string(path).map_or(0, |text| text.lines().count())
}
