//! What commands of a host say of the work that a node pulls: the suite on scripts that keep it as two files, whose truth is in the
//! files; and what each exit code and each word means.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod scripted_host;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ha_core::backend::{Applied, Effect, ErrorKind, ObserveWorkload, StepError, Workload};
use ha_core::state::{LeaseEpoch, Work};
use ha_core::topology::{Component, Name};
use ha_local::{CommandWorkload, CommandWorkloadConfig};
use ha_testkit::conformance::Breach;
use ha_testkit::conformance::workload::{Pulling, WorkloadAbility, WorkloadFixture, WorkloadSubject};
use scripted_host::{host, script};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

const STATUS: &str = "#!/bin/sh\nif [ -e pulling ]; then echo on; else echo off; fi\n";
const LEFT: &str = "#!/bin/sh\ncat in_progress\n";
/// What counts by itself.
const STATUS_THAT_COUNTS: &str = "#!/bin/sh\nif [ -e pulling ]; then echo on; \
                                  elif [ \"$(cat in_progress)\" = 0 ]; then echo off; else echo ending; fi\n";

struct Scripted {
    counts: bool,
}

struct Server {
    dir: TempDir,
    counts: bool,
    workload: Arc<CommandWorkload>,
}

fn value(dir: &Path, counts: bool) -> CommandWorkload {
    let program = |name: &str| vec![dir.join(name).display().to_string()];
    let config = CommandWorkloadConfig::new(program("status.sh"), program("quiesce.sh"), program("resume.sh"));
    let config = if counts { config } else { config.with_left(program("left.sh")) };
    CommandWorkload::new("esb1", Arc::new(host(dir)), config)
}

impl Server {
    fn new(counts: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("home")).unwrap();
        script(dir.path(), "status.sh", if counts { STATUS_THAT_COUNTS } else { STATUS });
        script(dir.path(), "left.sh", LEFT);
        script(dir.path(), "quiesce.sh", "#!/bin/sh\n[ \"$HA_NODE\" = esb1 ] && rm -f pulling\n");
        script(dir.path(), "resume.sh", "#!/bin/sh\n[ \"$HA_NODE\" = esb1 ] && touch pulling\n");
        let server = Self { workload: Arc::new(value(dir.path(), counts)), dir, counts };
        fs::write(server.file("pulling"), "").unwrap();
        fs::write(server.file("in_progress"), "0").unwrap();
        server
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join("home").join(name)
    }
}

#[async_trait]
impl WorkloadFixture for Scripted {
    fn name(&self) -> String {
        "commands of a local host".into()
    }

    fn can(&self, ability: WorkloadAbility) -> bool {
        match ability {
            WorkloadAbility::LosesNodes | WorkloadAbility::Restarts => false,
            WorkloadAbility::LosesCounts => !self.counts,
            _ => true,
        }
    }

    async fn fresh(&self) -> Result<Box<dyn WorkloadSubject>, Breach> {
        Ok(Box::new(Server::new(self.counts)))
    }
}

#[async_trait]
impl WorkloadSubject for Server {
    fn workload(&self) -> Arc<dyn Workload> {
        self.workload.clone()
    }

    fn another(&self) -> Arc<dyn Workload> {
        Arc::new(value(self.dir.path(), self.counts))
    }

    async fn truth(&self) -> Result<Pulling, Breach> {
        let count = fs::read_to_string(self.file("in_progress"))?.trim().parse::<u64>();
        let count = count.map_err(|error| Breach::new(error.to_string()))?;
        Ok(Pulling::new(self.file("pulling").exists(), count))
    }

    async fn begin(&self) -> Result<(), Breach> {
        Ok(fs::write(self.file("in_progress"), "1")?)
    }

    async fn finish(&self) -> Result<(), Breach> {
        Ok(fs::write(self.file("in_progress"), "0")?)
    }

    async fn restart(&self) -> Result<(), Breach> {
        Err(Breach::new("there is no server that reads the files"))
    }

    async fn lose(&self) -> Result<(), Breach> {
        Err(Breach::new("a local host cannot be lost"))
    }

    async fn lose_count(&self) -> Result<(), Breach> {
        script(self.dir.path(), "left.sh", "#!/bin/sh\nexit 0\n");
        Ok(())
    }
}

mod commands_with_a_count {
    use super::Scripted;

    ha_testkit::conformance!(
        workload,
        Scripted { counts: false },
        skips = ["fixture: loses nodes", "fixture: restarts"]
    );
}

mod a_status_that_counts {
    use super::Scripted;

    ha_testkit::conformance!(
        workload,
        Scripted { counts: true },
        skips = ["fixture: loses nodes", "fixture: loses counts", "fixture: restarts"]
    );
}

#[tokio::test]
async fn each_exit_code_says_what_became_of_the_change() {
    for (quiesce, effect) in [
        ("exit 3", Effect::None),
        ("exit 1", Effect::Unknown),
        ("kill -9 $$", Effect::Unknown),
        // It ended well, and the node pulls on.
        ("exit 0", Effect::Unknown),
    ] {
        let server = Server::new(false);
        script(server.dir.path(), "quiesce.sh", &format!("#!/bin/sh\n{quiesce}\n"));
        let error = server.workload.quiesce(LeaseEpoch::new(1)).await.unwrap_err();
        assert_eq!((error.kind(), error.effect()), (ErrorKind::Conflict, effect), "{quiesce}: {error}");
        assert_eq!(server.workload.resume(LeaseEpoch::new(1)).await.unwrap(), Applied::AlreadySo, "{quiesce}");
    }
}

/// Lets a node be quiesced by a script that waits until the test lets it go on, and waits until it has begun.
async fn quiesce_slowly(server: &Server) -> JoinHandle<Result<Applied, StepError>> {
    let slow = "#!/bin/sh\ntouch begun; while ! [ -e go ]; do sleep 0.02; done; rm -f pulling\n";
    script(server.dir.path(), "quiesce.sh", slow);
    let workload = server.workload.clone();
    let quiesce = tokio::spawn(async move { workload.quiesce(LeaseEpoch::new(1)).await });
    while !server.file("begun").exists() {
        sleep(Duration::from_millis(10)).await;
    }
    quiesce
}

#[tokio::test]
async fn a_quiesce_that_was_dropped_does_not_end_behind_a_later_resume() {
    let server = Server::new(false);
    quiesce_slowly(&server).await.abort();
    let workload = server.workload.clone();
    let resume = tokio::spawn(async move { workload.resume(LeaseEpoch::new(1)).await });
    sleep(Duration::from_millis(200)).await;
    assert!(!resume.is_finished(), "resumed, and the quiesce still runs");
    fs::write(server.file("go"), "").unwrap();
    assert_eq!(resume.await.unwrap().unwrap(), Applied::Applied);
    assert_eq!(server.truth().await.unwrap(), Pulling::new(true, 0));
}

#[tokio::test]
async fn a_change_that_is_dropped_while_it_waits_for_another_one_is_never_begun() {
    let server = Server::new(false);
    let quiesce = quiesce_slowly(&server).await;
    let resume = server.workload.resume(LeaseEpoch::new(1));
    assert!(timeout(Duration::from_millis(200), resume).await.is_err(), "it did not wait");
    fs::write(server.file("go"), "").unwrap();
    assert_eq!(quiesce.await.unwrap().unwrap(), Applied::Applied);
    assert_eq!(server.workload.quiesce(LeaseEpoch::new(1)).await.unwrap(), Applied::AlreadySo);
}

#[tokio::test]
async fn what_cannot_be_read_is_an_error_and_never_off() {
    let server = Server::new(false);
    server.workload.quiesce(LeaseEpoch::new(1)).await.unwrap();
    assert_eq!(server.workload.work().await.unwrap(), Work::Off);
    for left in ["", "echo", "echo -1", "echo none", "echo 0; echo 1", "echo 0; exit 1", "echo 0 0"] {
        script(server.dir.path(), "left.sh", &format!("#!/bin/sh\n{left}\n"));
        let error = server.workload.work().await.unwrap_err();
        assert_eq!((error.kind(), error.effect()), (ErrorKind::Protocol, Effect::None), "{left}: {error}");
    }
    for status in ["echo stopped", "echo off; exit 1", "true"] {
        script(server.dir.path(), "status.sh", &format!("#!/bin/sh\n{status}\n"));
        let error = server.workload.work().await.unwrap_err();
        assert_eq!((error.kind(), error.effect()), (ErrorKind::Protocol, Effect::None), "{status}: {error}");
        let error = server.workload.resume(LeaseEpoch::new(1)).await.unwrap_err();
        assert_eq!(error.effect(), Effect::None, "{status}: {error}");
    }
}

#[test]
fn what_is_wrong_in_its_settings_is_told_at_once() {
    let wrong = CommandWorkloadConfig::from_component(&Component::new(Name::new("command").unwrap())).unwrap_err();
    let keys: Vec<&str> = wrong.errors().iter().map(|error| error.key()).collect();
    assert_eq!(keys, ["status", "quiesce", "resume"]);
}
