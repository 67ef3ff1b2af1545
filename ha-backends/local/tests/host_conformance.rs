//! The conformance suite for hosts on servers of this machine. The truth is read past [`LocalHost`]: from `/proc` and from
//! the server's home. What believes its pid file is caught.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod believer;

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use believer::{Belief, Believer};
use ha_core::backend::Host;
use ha_core::topology::{Component, Name, Setting};
use ha_lab::Lab;
use ha_lab::fake_carbon::{CarbonConfig, CarbonHome, Relaunch};
use ha_local::{LocalHost, LocalHostConfig};
use ha_testkit::conformance::Breach;
use ha_testkit::conformance::host::{Ability, CASES, Condition, Fixture, Found, PidFile, RELEASE, Subject};

ha_lab::roles!();

/// The local host, or what believes the pid file over it.
struct Local(Option<Belief>);

#[async_trait]
impl Fixture for Local {
    fn name(&self) -> String {
        "the local host".into()
    }

    fn can(&self, ability: Ability) -> bool {
        // There is no way to it that could be cut, and it has no files of its own.
        matches!(
            ability,
            Ability::Commands
                | Ability::Fences
                | Ability::Be(Condition::Uninstalled | Condition::BrokenVersion | Condition::PidFile(_))
        )
    }

    async fn fresh(&self) -> Result<Box<dyn Subject>, Breach> {
        let lab = Lab::open(Relaunch::test()?)?;
        let home = lab.carbon("esb1", CarbonConfig::fast(RELEASE))?;
        let host = drive(&home, self.0);
        Ok(Box::new(LocalSubject { belief: self.0, host, home, stranger: Mutex::default(), _lab: lab }))
    }
}

fn drive(home: &CarbonHome, belief: Option<Belief>) -> Arc<dyn Host> {
    let text = |text: String| Setting::Text(text);
    let script = |verb: &str| Setting::List(vec!["bin/wso2server.sh".into(), verb.into()]);
    let mut host = Component::new(Name::new("local").unwrap());
    host.settings.extend([
        ("home".into(), text(home.path().display().to_string())),
        ("start".into(), script("start")),
        ("stop".into(), script("stop")),
        ("version".into(), script("version")),
        ("pid_file".into(), text(PID_FILE.into())),
        ("identity".into(), text(home.identity())),
    ]);
    let inner = Arc::new(LocalHost::new(LocalHostConfig::from_component(&host).unwrap()));
    match belief {
        None => inner,
        Some(belief) => Arc::new(Believer { belief, pid_file: home.path().join(PID_FILE), inner }),
    }
}

const PID_FILE: &str = "wso2carbon.pid";

struct LocalSubject {
    belief: Option<Belief>,
    host: Arc<dyn Host>,
    home: CarbonHome,
    stranger: Mutex<Option<Child>>,
    _lab: Lab,
}

impl Drop for LocalSubject {
    fn drop(&mut self) {
        if let Some(mut stranger) = self.stranger.lock().unwrap().take() {
            let _ = stranger.kill();
            let _ = stranger.wait();
        }
    }
}

impl LocalSubject {
    /// Waits until a server that runs has written its pid file: a moment after its start, over whatever is there. At most
    /// a second: a case may have written over it already.
    async fn pid_file_is_written(&self) -> io::Result<()> {
        for _ in 0..200 {
            let written = fs::read_to_string(self.home.path().join(PID_FILE)).unwrap_or_default();
            let written = written.trim_matches(['\n', '\0']);
            if self.processes()?.iter().all(|(pid, _)| pid == written) {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        Ok(())
    }

    /// Reads the processes that have the server's identity as an argument, with their start times.
    fn processes(&self) -> io::Result<Vec<(String, String)>> {
        let identity = self.home.identity();
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc")?.flatten() {
            let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            if !line.split(|byte| *byte == 0).any(|argument| argument == identity.as_bytes()) {
                continue;
            }
            let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
            let after = stat.rsplit_once(')').map_or("", |(_, after)| after);
            let began = after.split_whitespace().nth(19).unwrap_or_default();
            if !after.trim_start().starts_with('Z') {
                found.push((entry.file_name().to_string_lossy().into_owned(), began.into()));
            }
        }
        Ok(found)
    }
}

#[async_trait]
impl Subject for LocalSubject {
    fn host(&self) -> Arc<dyn Host> {
        self.host.clone()
    }

    fn another(&self) -> Arc<dyn Host> {
        drive(&self.home, self.belief)
    }

    fn home(&self) -> String {
        self.home.path().display().to_string()
    }

    async fn lives(&self) -> Result<Vec<String>, Breach> {
        Ok(self.processes()?.into_iter().map(|(pid, began)| format!("{pid} {began}")).collect())
    }

    async fn look(&self, path: &str) -> Result<Option<Found>, Breach> {
        let Ok(metadata) = fs::symlink_metadata(path) else { return Ok(None) };
        Ok(Some(if metadata.is_symlink() {
            Found::Link(fs::read_link(path)?.display().to_string())
        } else if metadata.is_dir() {
            Found::Directory
        } else {
            Found::File(fs::read(path)?, metadata.permissions().mode() & 0o7777)
        }))
    }

    async fn place(&self, path: &str, what: Found) -> Result<(), Breach> {
        match what {
            Found::File(bytes, mode) => {
                fs::write(path, bytes)?;
                fs::set_permissions(path, PermissionsExt::from_mode(mode))?;
            }
            Found::Link(target) => symlink(target, path)?,
            _ => fs::create_dir(path)?,
        }
        Ok(())
    }

    async fn be(&self, condition: Condition) -> Result<(), Breach> {
        let home = self.home.path();
        match condition {
            Condition::Uninstalled => fs::rename(home, home.with_extension("gone"))?,
            Condition::BrokenVersion => fs::write(home.join("bin/wso2server.sh"), "#!/bin/sh\nexit 3\n")?,
            Condition::PidFile(says) => {
                self.pid_file_is_written().await?;
                let text = match says {
                    PidFile::Stale => {
                        let mut ended = Command::new("true").spawn()?;
                        ended.wait()?;
                        ended.id().to_string()
                    }
                    PidFile::Stranger => {
                        let mut stranger = self.stranger.lock().unwrap();
                        if stranger.is_none() {
                            *stranger = Some(Command::new("sleep").arg("1000").spawn()?);
                        }
                        stranger.as_ref().map(|child| child.id().to_string()).unwrap_or_default()
                    }
                    _ => {
                        let pids: Vec<String> = self.processes()?.into_iter().map(|(pid, _)| pid).collect();
                        format!("{}\0\0\0\0", pids.join(" "))
                    }
                };
                fs::write(home.join(PID_FILE), text)?;
            }
            other => return Err(Breach::new(format!("a local host cannot be {other:?}"))),
        }
        Ok(())
    }

    async fn heal(&self) -> Result<(), Breach> {
        Ok(())
    }

    async fn stranger_lives(&self) -> Result<bool, Breach> {
        let mut stranger = self.stranger.lock().unwrap();
        let child = stranger.as_mut().ok_or_else(|| Breach::new("there is no stranger"))?;
        Ok(child.try_wait()?.is_none())
    }

    async fn cut_link(&self) -> Result<(), Breach> {
        Err(Breach::new("a local host has no link"))
    }

    async fn power_cycle(&self) -> Result<(), Breach> {
        Err(Breach::new("the power stays on here"))
    }
}

ha_testkit::conformance!(
    host,
    Local(None),
    skips = [
        "capability: work",
        "fixture: cut link",
        "fixture: files",
        "fixture: hung",
        "fixture: power cycle",
        "fixture: unreachable"
    ]
);

/// The cases of pid files have no other proof: hosts in memory have none.
#[tokio::test]
async fn a_host_that_believes_its_pid_file_is_caught() {
    for (belief, case, message) in [
        (Belief::FileIsLife, "a_stale_pid_file_is_not_read_as_running", "a server with a stale pid file"),
        (Belief::NamedIsServer, "a_stranger_in_the_pid_file_is_not_read_as_running", "a server with a reused pid"),
        (Belief::LineOrNothing, "a_pid_file_padded_with_nul_bytes_is_understood", "is read as stopped"),
        (Belief::NamedMayEnd, "a_stranger_in_the_pid_file_is_not_read_as_running", "whether the stranger lives"),
    ] {
        let case = CASES.iter().find(|known| known.name().starts_with(case)).unwrap();
        let breach = case.run(&Local(Some(belief))).await.unwrap_err();
        assert!(breach.to_string().contains(message), "{belief:?}: {breach}");
    }
}
