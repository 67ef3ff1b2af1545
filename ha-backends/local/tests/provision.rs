//! What commands of a host install: the suite on scripts that keep a server as two files, whose truth is in the files; and what each
//! exit code means.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod scripted_host;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ha_core::backend::{
    Applied, Deprovision, Effect, ErrorKind, Installation, ObserveProvisioner, Provision, Provisioner,
};
use ha_core::state::LeaseEpoch;
use ha_core::topology::{Component, Name};
use ha_local::{CommandProvisioner, CommandProvisionerConfig};
use ha_testkit::conformance::Breach;
use ha_testkit::conformance::provisioner::{ProvisionerAbility, ProvisionerFixture, ProvisionerSubject};
use scripted_host::{host, script};
use tempfile::TempDir;
use tokio::time::sleep;

const SHOW: &str = r#"#!/bin/sh
if [ -s server/release ] && [ -s server/conf ]; then echo "$(cat server/release) $(cat server/conf)"; else echo -; fi
"#;

const INSTALL: &str = r#"#!/bin/sh
set -e
rm -rf server.new
mkdir server.new
printf '%s' "$HA_RELEASE" >server.new/release
printf '%s' "$HA_CONFIGURATION" >server.new/conf
rm -rf server
mv server.new server
"#;

struct Scripted;

struct Server {
    dir: TempDir,
    provisioner: Arc<CommandProvisioner>,
}

fn value(dir: &Path) -> CommandProvisioner {
    let program = |name: &str| vec![dir.join(name).display().to_string()];
    let config = CommandProvisionerConfig::new(program("show.sh"), program("install.sh"), program("remove.sh"));
    CommandProvisioner::new("esb3", Arc::new(host(dir)), config)
}

impl Server {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("home")).unwrap();
        script(dir.path(), "show.sh", SHOW);
        script(dir.path(), "install.sh", INSTALL);
        script(dir.path(), "remove.sh", "#!/bin/sh\nrm -rf server\n");
        let provisioner = Arc::new(value(dir.path()));
        Self { dir, provisioner }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join("home/server").join(name)
    }
}

#[async_trait]
impl ProvisionerFixture for Scripted {
    fn name(&self) -> String {
        "commands of a local host".into()
    }

    fn can(&self, ability: ProvisionerAbility) -> bool {
        ability != ProvisionerAbility::LosesNodes
    }

    async fn fresh(&self) -> Result<Box<dyn ProvisionerSubject>, Breach> {
        Ok(Box::new(Server::new()))
    }
}

#[async_trait]
impl ProvisionerSubject for Server {
    fn provisioner(&self) -> Arc<dyn Provisioner> {
        self.provisioner.clone()
    }

    fn another(&self) -> Arc<dyn Provisioner> {
        Arc::new(value(self.dir.path()))
    }

    fn offers(&self) -> [Installation; 3] {
        [
            Installation::new("4.2.0", "9f86d081"),
            Installation::new("4.2.0", "60303ae2"),
            Installation::new("4.2.1", "9f86d081"),
        ]
    }

    async fn truth(&self) -> Result<Option<Installation>, Breach> {
        let read = |name: &str| fs::read_to_string(self.file(name)).ok();
        Ok(read("release").zip(read("conf")).map(|(release, conf)| Installation::new(release, conf)))
    }

    async fn is_empty(&self) -> Result<bool, Breach> {
        Ok(["release", "conf"].iter().all(|name| !self.file(name).exists()))
    }

    async fn install(&self, installation: &Installation) -> Result<(), Breach> {
        fs::create_dir_all(self.dir.path().join("home/server"))?;
        fs::write(self.file("release"), &*installation.release)?;
        Ok(fs::write(self.file("conf"), &*installation.configuration)?)
    }

    async fn tear(&self) -> Result<(), Breach> {
        Ok(fs::remove_file(self.file("conf"))?)
    }

    async fn lose(&self) -> Result<(), Breach> {
        Err(Breach::new("a local host cannot be lost"))
    }
}

mod commands_of_a_local_host {
    use super::Scripted;

    ha_testkit::conformance!(provisioner, Scripted, skips = ["fixture: loses nodes"]);
}

fn request() -> Provision {
    Provision::new(Installation::new("4.2.0", "9f86d081"))
}

#[tokio::test]
async fn each_exit_code_says_what_became_of_the_installation() {
    for (install, effect) in [
        ("exit 3", Effect::None),
        ("exit 1", Effect::Unknown),
        ("kill -9 $$", Effect::Unknown),
        // It ended well, and has installed nothing.
        ("exit 0", Effect::Unknown),
    ] {
        let server = Server::new();
        script(server.dir.path(), "install.sh", &format!("#!/bin/sh\n{install}\n"));
        let error = server.provisioner.provision(LeaseEpoch::new(1), request()).await.unwrap_err();
        assert_eq!((error.kind(), error.effect()), (ErrorKind::Conflict, effect), "{install}: {error}");
    }
}

#[tokio::test]
async fn an_installation_that_was_dropped_does_not_end_behind_a_later_removal() {
    let server = Server::new();
    let slow = "#!/bin/sh\ntouch begun; while ! [ -e go ]; do sleep 0.02; done\n";
    script(server.dir.path(), "install.sh", &format!("{slow}{INSTALL}"));
    let install = |deadline| {
        let provisioner = server.provisioner.clone();
        let request = request().with_deadline(deadline);
        tokio::spawn(async move { provisioner.provision(LeaseEpoch::new(1), request).await })
    };
    let first = install(Duration::from_secs(60));
    while !server.dir.path().join("home/begun").exists() {
        sleep(Duration::from_millis(10)).await;
    }
    first.abort();
    let late = install(Duration::from_millis(100)).await.unwrap().unwrap_err();
    assert_eq!((late.kind(), late.effect()), (ErrorKind::Timeout, Effect::None), "{late}");
    let provisioner = server.provisioner.clone();
    let removal = tokio::spawn(async move { provisioner.deprovision(LeaseEpoch::new(1), Deprovision::new()).await });
    sleep(Duration::from_millis(200)).await;
    assert!(!removal.is_finished(), "removed, and the installation still runs");
    fs::write(server.dir.path().join("home/go"), "").unwrap();
    assert_eq!(removal.await.unwrap().unwrap(), Applied::Applied);
    assert!(server.is_empty().await.unwrap());
}

#[tokio::test]
async fn a_program_that_is_not_there_is_told_beforehand_and_changes_nothing() {
    let server = Server::new();
    fs::remove_file(server.dir.path().join("show.sh")).unwrap();
    let missing = server.provisioner.missing().await.unwrap();
    assert!(missing.len() == 1 && missing[0].contains("show.sh"), "{missing:?}");
    let error = server.provisioner.provision(LeaseEpoch::new(1), request()).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::NotFound, Effect::None), "{error}");
}

#[test]
fn what_is_wrong_in_its_settings_is_told_at_once() {
    let wrong = CommandProvisionerConfig::from_component(&Component::new(Name::new("command").unwrap())).unwrap_err();
    let keys: Vec<&str> = wrong.errors().iter().map(|error| error.key()).collect();
    assert_eq!(keys, ["show", "install", "remove"]);
}
