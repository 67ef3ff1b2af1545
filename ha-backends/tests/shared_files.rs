//! An update of shared files on real servers behind HAProxy, with the sync of this machine running all through.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use ha_backends::connect;
use ha_backends::sqlite::SqliteStore;
use ha_core::backend::{Applied, ArtifactStore, PutArtifact};
use ha_core::procedure::UpdateRequest;
use ha_core::record::End;
use ha_core::state::{Generation, LeaseEpoch};
use ha_core::topology::Topology;
use ha_lab::fake_carbon::{CarbonConfig, CarbonHome, Relaunch};
use ha_lab::load::{Class, Load};
use ha_lab::{HaProxySpec, Lab, ServerSpec};
use ha_local::{LocalArtifacts, LocalArtifactsConfig, LocalFiles, LocalFilesConfig, generation_of};
use tokio::time::sleep;

ha_lab::roles!();

const NAMES: [&str; 3] = ["esb1", "esb2", "spare1"];
const TREE: &str = "repository/shared";

/// Puts the set with the number in `HA_GENERATION` where the server finds it, staged and swapped; an old set just as well. It makes a
/// set only for the test itself: in a run all that it deploys is in the artifact store.
const DEPLOY: &str = r#"#!/bin/sh
set -e
cd "$(dirname "$0")/.."
rm -rf staged old
mkdir -p staged/services repository
if [ -n "${HA_MAKE:-}" ]; then
    for service in 1 2 3; do
        echo "service $service of set $HA_GENERATION" >"staged/services/$service.xml"
    done
    echo "$HA_GENERATION" >staged/.ha-generation
else
    cp -a "${HA_ARTIFACT:?is not set}/." staged
fi
[ ! -e repository/shared ] || mv repository/shared old
mv staged repository/shared
rm -rf old
"#;

fn deploy(home: &CarbonHome, number: u64) {
    let mut script = Command::new(home.path().join("bin/deploy.sh"));
    assert!(script.env("HA_MAKE", "1").env("HA_GENERATION", number.to_string()).status().unwrap().success());
}

fn set_of(home: &Path) -> u64 {
    generation_of(&home.join(TREE)).unwrap().unwrap().sequence
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_of_shared_files_reaches_each_node_tested_and_loses_no_request() {
    let lab = Lab::open(Relaunch::test().unwrap()).unwrap();
    let homes = NAMES.map(|name| lab.carbon(name, CarbonConfig::new(0, "1.0")).unwrap());
    for home in &homes {
        let script = home.path().join("bin/deploy.sh");
        std::fs::write(&script, DEPLOY).unwrap();
        std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    // What set 2 will be, kept beforehand; then set 1 everywhere.
    let folder = lab.path().join("artifacts");
    std::fs::create_dir(&folder).unwrap();
    let artifacts = LocalArtifacts::new(LocalArtifactsConfig::new(&folder, Vec::new()));
    let live = homes[0].path().join(TREE);
    let keep = async |set: &Generation| {
        let put = PutArtifact::new(set.clone(), live.display().to_string());
        artifacts.put(LeaseEpoch::new(1), put).await.unwrap()
    };
    deploy(&homes[0], 2);
    let second = generation_of(&live).unwrap().unwrap();
    assert_eq!(keep(&second).await, Applied::Applied);
    homes.iter().for_each(|home| deploy(home, 1));
    for home in &homes[..2] {
        Command::new(home.path().join("bin/wso2server.sh")).arg("start").status().unwrap();
    }
    let servers = vec![
        ServerSpec::new("esb1", homes[0].port()),
        ServerSpec::new("esb2", homes[1].port()).as_backup(),
        ServerSpec::new("spare1", homes[2].port()).as_backup().held_out(),
    ];
    let balancer = lab.haproxy("lb1", &HaProxySpec::new("esb", servers).with_level("admin").with_master()).unwrap();
    let until = std::time::Instant::now() + Duration::from_secs(30);
    while balancer.ask("show stat esb 4 -1").unwrap().matches(",UP,").count() < 2 {
        assert!(std::time::Instant::now() < until, "the servers are not up");
        sleep(Duration::from_millis(50)).await;
    }
    let topology =
        Topology::from_toml_str(&toml(&homes, balancer.socket(), balancer.master_socket().unwrap(), &folder)).unwrap();
    let config = LocalFilesConfig::from_component(topology.files().unwrap(), &topology).unwrap();
    let sync = tokio::spawn(async move { LocalFiles::new(config).keep_in_step(Duration::from_millis(50)).await });
    let store = Arc::new(SqliteStore::open(lab.path().join("journal.db")).unwrap());
    let engine = connect(&topology).unwrap().engine(topology).with_store(store.clone(), store).build().unwrap();
    let address = ([127, 0, 0, 1], balancer.port()).into();
    let load = Load::new(address, 100).with_class(Class::new("/orders", "orders ", 1)).start().unwrap();

    let update = UpdateRequest::new(second.clone(), vec!["bin/deploy.sh".into()]);
    let refused = engine.plan(&update).await.unwrap_err().to_string();
    assert!(refused.contains("which a rollback deploys, is not in the store"), "{refused}");
    keep(&generation_of(&live).unwrap().unwrap()).await;
    let planned = engine.plan(&update).await.unwrap();
    let report = engine.run("update-1".into(), planned).await.unwrap().wait().await.unwrap();
    let served = load.stop().await;
    sync.abort();
    assert_eq!((report.end, report.open.len()), (End::AllNew, 0), "{report}");
    assert_eq!(served.counts.failures(), 0, "{served:?}");
    let sets: Vec<u64> = homes.iter().map(|home| set_of(home.path())).collect();
    assert_eq!(sets, [2, 2, 2], "{report}");
    for home in &homes {
        assert_eq!(generation_of(&home.path().join(TREE)).unwrap(), Some(second.clone()));
        assert!(!home.path().join(".ha-files/held").exists(), "the ledger is empty");
    }
}

fn toml(homes: &[CarbonHome], socket: &Path, master: &Path, artifacts: &Path) -> String {
    let mut text = format!(
        "[cluster]\nname = \"orders\"\n[policy]\npeak_load = 100\nsoak = \"500ms\"\nlease_ttl = \"4s\"\n[files]\nbackend = \
         \"local\"\ntree = \"{TREE}\"\n[artifacts]\nbackend = \"local\"\nfolder = \"{}\"\n[pool]\nname = \"esb\"\nserve = 1\n[[balancer]]\nname = \"lb1\"\nbackend = \
         \"haproxy\"\nsocket = \"{}\"\nmaster = \"{}\"\n",
        artifacts.display(),
        socket.display(),
        master.display()
    );
    for (name, home) in NAMES.iter().zip(homes) {
        text.push_str(&format!(
            "[[node]]\nname = \"{name}\"\ncapacity = 100\nspare = {spare}\n[node.host]\nbackend = \"local\"\nhome = \
             \"{home}\"\nstart = [\"bin/wso2server.sh\", \"start\"]\nstop = [\"bin/wso2server.sh\", \"stop\"]\nversion = \
             [\"bin/wso2server.sh\", \"version\"]\npid_file = \"wso2carbon.pid\"\nidentity = \"{identity}\"\n[node.probe]\nbackend = \
             \"http\"\nurl = \"http://127.0.0.1:{port}/services/Version\"\ntest_url = \"http://127.0.0.1:{port}/selftest\"\n",
            spare = *name == "spare1",
            home = home.path().display(),
            identity = home.identity(),
            port = home.port(),
        ));
    }
    text
}
