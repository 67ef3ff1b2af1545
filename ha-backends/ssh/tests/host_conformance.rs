//! The conformance suite for hosts over ssh, on machines of the lab. The truth is read past [`SshHost`]: from the machine's
//! folder and its processes, as this system sees them. Once with a server that its scripts start, once with one that a real
//! systemd does. Needs root.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::TcpStream;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use ha_core::backend::Host;
use ha_core::topology::{Component, Name, Setting};
use ha_lab::fake_carbon::Relaunch;
use ha_lab::{Direction, Lab, SYSTEMCTL, SshAccess, SshMachine, SshSpec};
use ha_ssh::{SshHost, SshHostConfig};
use ha_testkit::conformance::Breach;
use ha_testkit::conformance::host::{Ability, Condition, Fixture, Found, PidFile, RELEASE, Subject};

ha_lab::roles!();

const HOME: &str = "/srv/esb";
const IDENTITY: &str = "-Dcarbon.home=/srv/esb";
const PID_FILE: &str = "wso2carbon.pid";

/// A server that does as the scripts of real ones do: it starts in the background, and its pid file stays behind.
const SCRIPT: &str = r#"#!/bin/sh
cd "$(dirname "$0")/.."
case $1 in
start) setsid -f /bin/sh bin/server.sh serve -Dcarbon.home=/srv/esb >>log 2>&1 </dev/null ;;
serve)
    printf '%s\0\0\0\0' "$$" >wso2carbon.pid
    trap 'exit 0' TERM
    trap 'echo "thread dump" >>dump' QUIT
    while :; do sleep 0.05; done
    ;;
stop) kill -TERM "$(tr -d '\0' <wso2carbon.pid)" ;;
version) cat release ;;
esac
"#;

/// At most so many machines at once: the tests of one binary would start them all.
static MACHINES: Mutex<()> = Mutex::new(());

/// What starts the servers of a fixture.
#[derive(Clone, Copy)]
enum By {
    Scripts,
    Systemd,
}

/// A unit as administrators write it: it starts the server again when that dies.
const UNIT: &str = "[Service]\nWorkingDirectory=/srv/esb\n\
    ExecStart=/bin/sh bin/server.sh serve -Dcarbon.home=/srv/esb\n\
    Restart=on-failure\nRestartSec=100ms\nTimeoutStopSec=10\n";

#[async_trait]
impl Fixture for By {
    fn name(&self) -> String {
        match self {
            Self::Scripts => "the host over ssh".into(),
            Self::Systemd => "the host over ssh, with systemd".into(),
        }
    }

    fn can(&self, ability: Ability) -> bool {
        // systemd reads no pid file.
        matches!(self, Self::Scripts) || !matches!(ability, Ability::Be(Condition::PidFile(_)))
    }

    async fn fresh(&self) -> Result<Box<dyn Subject>, Breach> {
        let starting = MACHINES.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        Ok(Box::new(start(*self, starting)?))
    }
}

fn start(by: By, starting: MutexGuard<'_, ()>) -> io::Result<SshSubject> {
    let lab = Lab::open(Relaunch::test()?)?;
    let spec = SshSpec::new();
    let spec = if matches!(by, By::Systemd) { spec.with_systemd() } else { spec };
    let machine = lab.ssh_machine_with("esb1", &spec)?;
    drop(starting);
    let home = machine.outside("/srv")?.join("esb");
    fs::create_dir_all(home.join("bin"))?;
    fs::write(home.join("bin/server.sh"), SCRIPT)?;
    fs::set_permissions(home.join("bin/server.sh"), PermissionsExt::from_mode(0o755))?;
    fs::write(home.join("release"), format!("{RELEASE}\n"))?;
    if matches!(by, By::Systemd) {
        fs::write(machine.outside("/srv/units/esb.service")?, UNIT)?;
    }
    Ok(SshSubject { by, host: drive(by, machine.access()), machine, home, _lab: lab })
}

fn drive(by: By, access: &SshAccess) -> Arc<SshHost> {
    let text = |text: String| Setting::Text(text);
    let argv = |verb: &str| Setting::List(vec!["bin/server.sh".into(), verb.into()]);
    let mut component = Component::new(Name::new("ssh").unwrap());
    component.settings = BTreeMap::from([
        ("host".into(), text(format!("root@{}", access.address()))),
        ("port".into(), Setting::Integer(access.port().into())),
        ("identity_file".into(), text(access.identity_file().display().to_string())),
        ("known_hosts".into(), text(access.known_hosts().display().to_string())),
        ("home".into(), text(HOME.into())),
        ("version".into(), argv("version")),
        ("keepalive".into(), Setting::Text("1000ms".into())),
        ("connect_deadline".into(), Setting::Text("5000ms".into())),
    ]);
    match by {
        By::Scripts => component.settings.extend([
            ("start".into(), argv("start")),
            ("stop".into(), argv("stop")),
            ("pid_file".into(), text(PID_FILE.into())),
            ("identity".into(), text(IDENTITY.into())),
        ]),
        By::Systemd => component.settings.extend([
            ("unit".into(), text("esb.service".into())),
            ("systemctl".into(), Setting::List(SYSTEMCTL.map(String::from).to_vec())),
        ]),
    }
    Arc::new(SshHost::new(SshHostConfig::from_component(&component).unwrap()))
}

struct SshSubject {
    by: By,
    host: Arc<SshHost>,
    machine: SshMachine,
    home: PathBuf,
    _lab: Lab,
}

impl SshSubject {
    fn outside(&self, path: &str) -> Result<PathBuf, Breach> {
        let inner = Path::new(path).strip_prefix(HOME);
        Ok(self.home.join(inner.map_err(|_| Breach::new(format!("{path} is outside of the home")))?))
    }
}

/// Reads pid, parent and start time of a process that has the server's identity.
fn server(pid: i32) -> Option<(i32, i32, String)> {
    let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    line.split(|byte| *byte == 0).find(|argument| *argument == IDENTITY.as_bytes())?;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    (*fields.first()? != "Z").then_some(())?;
    Some((pid, fields.get(1)?.parse().ok()?, (*fields.get(19)?).into()))
}

#[async_trait]
impl Subject for SshSubject {
    fn host(&self) -> Arc<dyn Host> {
        self.host.clone()
    }

    fn another(&self) -> Arc<dyn Host> {
        drive(self.by, self.machine.access())
    }

    fn home(&self) -> String {
        HOME.into()
    }

    async fn lives(&self) -> Result<Vec<String>, Breach> {
        let found: Vec<_> = self.machine.pids().into_iter().filter_map(server).collect();
        // A child that is not yet another program looks as its parent, and so does the program that starts the server.
        let is_child = |parent: i32| found.iter().any(|(pid, ..)| *pid == parent);
        let own = found.iter().filter(|(_, parent, _)| !is_child(*parent));
        Ok(own.map(|(pid, _, began)| format!("{pid} {began}")).collect())
    }

    async fn look(&self, path: &str) -> Result<Option<Found>, Breach> {
        let path = self.outside(path)?;
        let Ok(metadata) = fs::symlink_metadata(&path) else { return Ok(None) };
        Ok(Some(if metadata.is_symlink() {
            Found::Link(fs::read_link(path)?.display().to_string())
        } else if metadata.is_dir() {
            Found::Directory
        } else {
            Found::File(fs::read(path)?, metadata.permissions().mode() & 0o7777)
        }))
    }

    async fn place(&self, path: &str, what: Found) -> Result<(), Breach> {
        let path = self.outside(path)?;
        match what {
            Found::File(bytes, mode) => {
                fs::write(&path, bytes)?;
                fs::set_permissions(path, PermissionsExt::from_mode(mode))?;
            }
            Found::Link(target) => {
                let _ = fs::remove_file(&path);
                symlink(target, path)?;
            }
            _ => fs::create_dir(path)?,
        }
        Ok(())
    }

    async fn be(&self, condition: Condition) -> Result<(), Breach> {
        match condition {
            Condition::Uninstalled => fs::rename(&self.home, self.home.with_extension("gone"))?,
            Condition::BrokenVersion => fs::write(self.home.join("bin/server.sh"), "#!/bin/sh\nexit 3\n")?,
            Condition::Unreachable => self.machine.cut_link()?,
            Condition::Hung => self.machine.blackhole(Direction::Both)?,
            // The first process of a machine is its sshd.
            Condition::PidFile(PidFile::Stranger) => fs::write(self.home.join(PID_FILE), "1\n")?,
            Condition::PidFile(PidFile::Padded) => {
                let mut bytes = fs::read(self.home.join(PID_FILE))?;
                bytes.extend_from_slice(&[0; 60]);
                fs::write(self.home.join(PID_FILE), bytes)?;
            }
            Condition::PidFile(_) => fs::write(self.home.join(PID_FILE), "999999\n")?,
            other => return Err(Breach::new(format!("a machine of the lab cannot be {other:?}"))),
        }
        Ok(())
    }

    async fn heal(&self) -> Result<(), Breach> {
        self.machine.heal()?;
        Ok(self.machine.restore_link()?)
    }

    async fn stranger_lives(&self) -> Result<bool, Breach> {
        let address = self.machine.access().socket_address().into();
        let tried = TcpStream::connect_timeout(&address, Duration::from_secs(2));
        Ok(tried.is_ok())
    }

    async fn cut_link(&self) -> Result<(), Breach> {
        // On a busy machine the login may still be under way.
        let until = Instant::now() + Duration::from_secs(20);
        while self.machine.kill_sessions() == 0 {
            if Instant::now() > until {
                return Err(Breach::new("no session was there to be cut"));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    async fn power_cycle(&self) -> Result<(), Breach> {
        Ok(self.machine.power_cycle()?)
    }
}

mod by_scripts {
    ha_testkit::conformance!(host, super::By::Scripts);
}

mod by_systemd {
    ha_testkit::conformance!(host, super::By::Systemd, skips = ["fixture: pid file"]);
}
