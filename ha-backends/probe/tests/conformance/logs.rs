use std::fs::OpenOptions;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ha_core::backend::Probe;
use ha_testkit::conformance::Breach;
use ha_testkit::conformance::probe::{Ability, FAILED, ProbeFixture, ProbeSubject, Stance};
use tempfile::TempDir;

use crate::commands::replace;
use crate::server::Door;
use crate::{DEADLINE, component, list, text};

/// Servers that write a log.
pub(crate) struct Logs;

#[async_trait]
impl ProbeFixture for Logs {
    fn name(&self) -> String {
        "log".into()
    }

    fn can(&self, ability: Ability) -> bool {
        let ways = [Stance::Unreachable, Stance::Hung, Stance::Endless, Stance::Dribbled];
        match ability {
            Ability::Stance(stance) => !ways.contains(&stance),
            _ => false,
        }
    }

    async fn fresh(&self, release: &str) -> Result<Box<dyn ProbeSubject>, Breach> {
        let (dir, door) = (tempfile::tempdir()?, Door::silent().await?);
        let test = dir.path().join("test.sh").display().to_string();
        let settings = vec![
            ("log", text(dir.path().join("carbon.log").display())),
            ("line", text("Server started")),
            ("start_line", text("Server boots")),
            ("release_prefix", text("release ")),
            ("test", list(&["/bin/sh", &test])),
            ("ports", text(door.address)),
        ];
        let probe = ha_probe::from_component(&component("log", settings));
        let probe = probe.map_err(|error| Breach::new(error.to_string()))?;
        let subject = LogSubject { probe, dir, door };
        subject.set_stance(Stance::Serving, release).await?;
        Ok(Box::new(subject))
    }
}

struct LogSubject {
    probe: Arc<dyn Probe>,
    dir: TempDir,
    door: Door,
}

#[async_trait]
impl ProbeSubject for LogSubject {
    fn probe(&self) -> Arc<dyn Probe> {
        self.probe.clone()
    }

    fn deadline(&self) -> Duration {
        DEADLINE
    }

    async fn set_stance(&self, stance: Stance, release: &str) -> Result<(), Breach> {
        let test = match stance {
            Stance::FailingTest => format!("echo '{FAILED}'\nexit 3"),
            Stance::HungTest => "sleep 60".into(),
            _ => "exit 0".into(),
        };
        replace(self.dir.path(), "test.sh", &test)?;
        let mut bytes = b"\nServer boots\nsome noise\n".to_vec();
        match stance {
            Stance::Closed | Stance::NotReady => {}
            Stance::Garbage => bytes.extend(b"Server started, release \xff\xfe\x1b[31m\n"),
            Stance::Broken => bytes.extend(b"Server started, release 1."),
            Stance::Nameless => bytes.extend(b"Server started, release \n"),
            _ => bytes.extend(format!("INFO Server started, release {release} in 4 s\n").bytes()),
        }
        self.door.set(stance != Stance::Closed).await?;
        let log = self.dir.path().join("carbon.log");
        Ok(OpenOptions::new().create(true).append(true).open(log)?.write_all(&bytes)?)
    }

    async fn open(&self) -> Result<usize, Breach> {
        Err(Breach::new("a log has no open questions"))
    }
}
