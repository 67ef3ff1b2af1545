use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ha_core::backend::Probe;
use ha_testkit::conformance::Breach;
use ha_testkit::conformance::probe::{Ability, FAILED, ProbeFixture, ProbeSubject, STARTING, Stance};
use tempfile::TempDir;

use crate::server::Door;
use crate::{DEADLINE, component, list, text};

/// Scripts beside a port.
pub(crate) struct Commands {
    kind: &'static str,
    key: &'static str,
}

impl Commands {
    pub(crate) fn tcp() -> Self {
        Self { kind: "tcp", key: "release_command" }
    }

    pub(crate) fn command() -> Self {
        Self { kind: "command", key: "command" }
    }
}

#[async_trait]
impl ProbeFixture for Commands {
    fn name(&self) -> String {
        self.kind.into()
    }

    fn can(&self, ability: Ability) -> bool {
        ability != Ability::Stance(Stance::Unreachable)
    }

    async fn fresh(&self, release: &str) -> Result<Box<dyn ProbeSubject>, Breach> {
        let (dir, door) = (tempfile::tempdir()?, Door::silent().await?);
        let script = |name: &str| dir.path().join(name).display().to_string();
        let (ready, test) = (script("ready.sh"), script("test.sh"));
        let settings = vec![
            (self.key, list(&["/bin/sh", &ready])),
            ("test", list(&["/bin/sh", &test])),
            ("ports", text(door.address)),
        ];
        let probe = ha_probe::from_component(&component(self.kind, settings));
        let probe = probe.map_err(|error| Breach::new(error.to_string()))?;
        let subject = CommandSubject { probe, dir, door };
        subject.set_stance(Stance::Serving, release).await?;
        Ok(Box::new(subject))
    }
}

struct CommandSubject {
    probe: Arc<dyn Probe>,
    dir: TempDir,
    door: Door,
}

#[async_trait]
impl ProbeSubject for CommandSubject {
    fn probe(&self) -> Arc<dyn Probe> {
        self.probe.clone()
    }

    fn deadline(&self) -> Duration {
        DEADLINE
    }

    async fn set_stance(&self, stance: Stance, release: &str) -> Result<(), Breach> {
        let well = format!("echo '{release}'\necho more");
        let ready = match stance {
            Stance::NotReady => format!("echo noise\necho {STARTING} >&2\nexit 1"),
            Stance::Hung => "sleep 60 &\nsleep 60".into(),
            Stance::Endless => "exec yes".into(),
            Stance::Dribbled => format!("printf '{release}'\nwhile :; do printf .; sleep 0.05; done"),
            Stance::Garbage => "printf '\\377\\376\\033[31m\\n'".into(),
            Stance::Broken => format!("echo '{release}'\nkill -9 $$"),
            Stance::Nameless => "echo\necho more".into(),
            _ => well,
        };
        let test = match stance {
            Stance::FailingTest => format!("echo '{FAILED}'\nexit 3"),
            Stance::HungTest => "sleep 60 &\nsleep 60".into(),
            _ => "exit 0".into(),
        };
        replace(self.dir.path(), "ready.sh", &ready)?;
        replace(self.dir.path(), "test.sh", &test)?;
        self.door.set(stance != Stance::Closed).await
    }

    async fn open(&self) -> Result<usize, Breach> {
        Ok(processes_of(self.dir.path()))
    }
}

/// Replaces a script in one step. It marks its children by their environment.
pub(crate) fn replace(dir: &Path, name: &str, script: &str) -> Result<(), Breach> {
    let draft = dir.join("draft");
    fs::write(&draft, format!("export HA_MARK='{}'\n{script}\n", dir.display()))?;
    Ok(fs::rename(draft, dir.join(name))?)
}

/// Counts the processes that were started for this folder and live.
fn processes_of(dir: &Path) -> usize {
    let mark = dir.display().to_string();
    let lives = |process: &Path| {
        let told = ["cmdline", "environ"].map(|file| fs::read(process.join(file)).unwrap_or_default());
        told.iter().any(|bytes| String::from_utf8_lossy(bytes).contains(&mark))
    };
    fs::read_dir("/proc").unwrap().flatten().filter(|entry| lives(&entry.path())).count()
}
