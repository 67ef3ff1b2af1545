//! Bad input through the facade, over real HAProxy and real server processes: a clear error, and the cluster serves on.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use ha_backends::connect;
use ha_backends::sqlite::SqliteStore;
use ha_core::engine::{Engine, RunError};
use ha_core::journal::{Journal, JournalError, LeaseError};
use ha_core::procedure::PatchRequest;
use ha_core::record::{End, Entry, Record};
use ha_core::state::LeaseEpoch;
use ha_core::topology::Topology;
use ha_lab::fake_carbon::{CarbonConfig, CarbonHome, Relaunch};
use ha_lab::load::{Class, Load, RunningLoad};
use ha_lab::{HaProxyProcess, HaProxySpec, Lab, ServerSpec};
use tokio::time::sleep;

ha_lab::roles!();

struct Cluster {
    lab: Lab,
    homes: Vec<CarbonHome>,
    balancer: HaProxyProcess,
}

const NAMES: [&str; 3] = ["esb1", "esb2", "spare1"];

impl Cluster {
    /// Starts two serving members and an installed spare behind HAProxy.
    async fn start(level: &str) -> Self {
        let lab = Lab::open(Relaunch::test().unwrap()).unwrap();
        let homes = NAMES.map(|name| lab.carbon(name, CarbonConfig::new(0, "1.0")).unwrap()).to_vec();
        for home in &homes[..2] {
            Command::new(home.path().join("bin/wso2server.sh")).arg("start").status().unwrap();
        }
        let mut spec = HaProxySpec::new(
            "esb",
            vec![
                ServerSpec::new("esb1", homes[0].port()),
                ServerSpec::new("esb2", homes[1].port()).as_backup(),
                ServerSpec::new("spare1", homes[2].port()).as_backup().held_out(),
            ],
        );
        spec = spec.with_level(level).with_master();
        let balancer = lab.haproxy("lb1", &spec).unwrap();
        let cluster = Self { lab, homes, balancer };
        let until = std::time::Instant::now() + Duration::from_secs(30);
        let up = || cluster.balancer.ask("show stat esb 4 -1").unwrap().matches(",UP,").count() >= 2;
        while !up() {
            assert!(std::time::Instant::now() < until, "the servers are not up");
            sleep(Duration::from_millis(50)).await;
        }
        cluster
    }

    fn topology(&self) -> String {
        let mut text = format!(
            "[cluster]\nname = \"orders\"\n[policy]\npeak_load = 100\nsoak = \"500ms\"\nready_deadline = \"3s\"\n\
             lease_ttl = \"4s\"\n[pool]\nname = \"esb\"\nserve = 1\n\
             [[balancer]]\nname = \"lb1\"\nbackend = \"haproxy\"\nsocket = \"{}\"\nmaster = \"{}\"\n",
            self.balancer.socket().display(),
            self.balancer.master_socket().unwrap().display()
        );
        for (name, home) in NAMES.iter().zip(&self.homes) {
            text.push_str(&format!(
                r#"
[[node]]
name = "{name}"
capacity = 100
spare = {spare}
[node.host]
backend = "local"
home = "{home}"
start = ["bin/wso2server.sh", "start"]
stop = ["bin/wso2server.sh", "stop"]
version = ["bin/wso2server.sh", "version"]
pid_file = "wso2carbon.pid"
identity = "{identity}"
[node.probe]
backend = "http"
url = "http://127.0.0.1:{port}/services/Version"
test_url = "http://127.0.0.1:{port}/selftest"
"#,
                spare = *name == "spare1",
                home = home.path().display(),
                identity = home.identity(),
                port = home.port(),
            ));
        }
        text
    }

    fn store(&self) -> Arc<SqliteStore> {
        Arc::new(SqliteStore::open(self.lab.path().join("journal.db")).unwrap())
    }

    fn engine(&self, topology: &str) -> Engine {
        let topology = Topology::from_toml_str(topology).unwrap();
        let store = self.store();
        connect(&topology).unwrap().engine(topology).with_store(store.clone(), store).build().unwrap()
    }

    fn load(&self) -> RunningLoad {
        let address = ([127, 0, 0, 1], self.balancer.port()).into();
        Load::new(address, 100).with_class(Class::new("/orders", "orders ", 1)).start().unwrap()
    }
}

fn request() -> PatchRequest {
    PatchRequest::new("1.1", vec!["bin/patch.sh".into(), "apply".into()], vec!["bin/patch.sh".into(), "restore".into()])
        .with_beside("1.0")
}

/// Plans on a cluster that cannot be planned for; no request may fail meanwhile.
async fn refusal(cluster: &Cluster, topology: &str) -> String {
    let load = cluster.load();
    let error = cluster.engine(topology).plan(&request()).await.unwrap_err();
    let report = load.stop().await;
    assert_eq!(report.counts.failures(), 0, "{report:?}");
    error.to_string()
}

/// Seen: the partner was patched, then the run failed, the rollback failed, and the mended file was refused.
#[tokio::test(flavor = "multi_thread")]
async fn a_typo_in_a_nodes_block_is_found_before_the_plan_and_costs_nothing() {
    let cluster = Cluster::start("admin").await;
    let (good, esb2) = (cluster.topology(), cluster.homes[1].path().display().to_string());
    let node = good.find("name = \"esb2\"\ncapacity").unwrap();
    for (from, to, named) in [
        (esb2.as_str(), format!("{esb2}x"), "esb2: setting home: there is no folder"),
        ("[\"bin/wso2server.sh\", \"start\"]", "[\"bin/wso2srever.sh\", \"start\"]".into(), "esb2: setting start: "),
        ("[\"bin/wso2server.sh\", \"stop\"]", "[\"sbin/wso2server.sh\", \"stop\"]".into(), "esb2: setting stop: "),
        ("[\"bin/wso2server.sh\", \"version\"]", "[\"bin/version.sh\"]".into(), "esb2: setting version: "),
        ("[\"bin/wso2server.sh\", \"version\"]", "[\"false\"]".into(), "esb2: its release cannot be read: "),
        ("\"wso2carbon.pid\"", "\"wso2cabron.pid\"".into(), "esb2: setting pid_file: wso2cabron.pid"),
    ] {
        let typo = format!("{}{}", &good[..node], good[node..].replacen(from, &to, 1));
        let told = refusal(&cluster, &typo).await;
        assert!(told.contains(named), "{named}: {told}");
        assert_eq!(told.matches("\n  ").count(), 1, "nothing that follows from it is told: {told}");
    }
    let mut request = request();
    request.apply[0] = "bin/ptach.sh".into();
    let told = cluster.engine(&good).plan(&request).await.unwrap_err().to_string();
    assert!(told.contains("esb1: the change: there is no program bin/ptach.sh below"), "{told}");
}

#[tokio::test]
async fn an_unknown_pool_or_member_is_named_as_haproxy_names_it() {
    let cluster = Cluster::start("admin").await;
    let message = refusal(&cluster, &cluster.topology().replace("name = \"esb\"", "name = \"crm\"")).await;
    assert!(message.contains("lb1") && message.contains("crm/esb1") && message.contains("backend"), "{message}");
    let message = refusal(
        &cluster,
        &cluster.topology().replace("capacity = 100\nspare = true", "member = \"esb9\"\ncapacity = 100\nspare = true"),
    )
    .await;
    assert!(message.contains("esb/esb9") && message.contains("no server esb9"), "{message}");
}

#[tokio::test]
async fn a_configuration_that_would_lose_requests_is_refused_at_plan_time_with_its_lines() {
    let cluster = Cluster::start("admin").await;
    let with_config = |text: &str, accept: &str| {
        let path = cluster.lab.path().join("declared.cfg");
        std::fs::write(&path, text).unwrap();
        let lines = format!("backend = \"haproxy\"\nconfig_file = \"{}\"\naccept = [{accept}]\n", path.display());
        cluster.topology().replacen("backend = \"haproxy\"\n", &lines, 1)
    };
    let good = "global\n  master-worker\n  stats socket /run/admin.sock level admin expose-fd listeners\n  stats maxconn 20\n\
                defaults\n  mode http\n  retries 2\n  option redispatch 1\n  option idle-close-on-response\n  \
                timeout server 90s\n  timeout client 90s\n  timeout connect 2s\n  option httpchk GET /health\n\
                backend esb\n  server esb1 127.0.0.1:1 check\n  server esb2 127.0.0.1:2 check backup\n";
    // A check that only connects does not see a frozen server.
    let tcp_only = good.replace("  option httpchk GET /health\n", "");
    let message = refusal(&cluster, &with_config(&tcp_only, "")).await;
    assert!(message.contains("lb1: ") && message.contains("line ") && message.contains("[tcp-check]"), "{message}");
    let message = refusal(&cluster, &with_config(&tcp_only.replace("esb\n", "crm\n"), "\"tcp-check\"")).await;
    assert!(message.contains("[pool-missing]") && !message.contains("[tcp-check]"), "{message}");
    for (text, accept) in [(good, ""), (&tcp_only, "\"tcp-check\"")] {
        let planned = cluster.engine(&with_config(text, accept)).plan(&request()).await;
        assert!(planned.is_ok(), "{planned:?}");
    }
    let absent = cluster.topology().replacen(
        "backend = \"haproxy\"\n",
        "backend = \"haproxy\"\nconfig_file = \"/nowhere/haproxy.cfg\"\n",
        1,
    );
    assert!(refusal(&cluster, &absent).await.contains("/nowhere/haproxy.cfg"));
}

#[tokio::test]
async fn a_missing_socket_is_named() {
    let cluster = Cluster::start("admin").await;
    let message = refusal(&cluster, &cluster.topology().replace("admin.sock", "nowhere.sock")).await;
    assert!(message.contains("nowhere.sock") || message.contains("is HAProxy running"), "{message}");
}

#[tokio::test]
async fn a_socket_below_level_admin_ends_before_the_first_change_of_a_server() {
    let cluster = Cluster::start("operator").await;
    let load = cluster.load();
    let engine = cluster.engine(&cluster.topology());
    let planned = engine.plan(&request()).await.unwrap();
    let report = engine.run("patch-1".into(), planned).await.unwrap().wait().await.unwrap();
    assert_eq!(report.end, End::AllOld, "{report}");
    assert!(report.to_string().contains("ermission denied"), "{report}");
    assert_eq!(load.stop().await.counts.failures(), 0);
    assert!(cluster.homes.iter().all(|home| home.release() == "1.0"));
}

#[tokio::test]
async fn a_patch_that_fails_in_half_and_a_server_that_never_gets_ready_end_all_old() {
    for trouble in ["half", "never ready"] {
        let cluster = Cluster::start("admin").await;
        let engine = cluster.engine(&cluster.topology());
        let planned = engine.plan(&request()).await.unwrap();
        let passive = &cluster.homes[1];
        if trouble == "half" {
            passive.fail_patch().unwrap();
        } else {
            passive.never_ready_with("1.1").unwrap();
        }
        let load = cluster.load();
        let report = engine.run("patch-1".into(), planned).await.unwrap().wait().await.unwrap();
        assert_eq!((report.end, report.open.len()), (End::AllOld, 0), "{trouble}: {report}");
        let message = report.to_string();
        assert!(message.contains(if trouble == "half" { "no space left" } else { "503" }), "{message}");
        assert_eq!(load.stop().await.counts.failures(), 0, "{trouble}");
        assert!(cluster.homes.iter().all(|home| home.release() == "1.0"), "{trouble}");
    }
}

#[tokio::test]
async fn a_second_controller_is_refused_while_the_first_runs() {
    let cluster = Cluster::start("admin").await;
    let engine = cluster.engine(&cluster.topology());
    let planned = engine.plan(&request()).await.unwrap();
    let run = engine.run("patch-1".into(), planned.clone()).await.unwrap();
    let other = cluster.engine(&cluster.topology());
    let refused = other.run("patch-2".into(), planned).await.unwrap_err();
    assert!(matches!(refused, RunError::Lease(LeaseError::Held { .. })), "{refused}");
    let refused = other.resume("patch-1".into()).await.unwrap_err();
    assert!(matches!(refused, RunError::Lease(LeaseError::Held { .. })), "{refused}");
    assert_eq!(run.wait().await.unwrap().end, End::AllNew);
}

#[tokio::test]
async fn a_journal_of_a_newer_version_is_refused_and_left_alone() {
    let cluster = Cluster::start("admin").await;
    let engine = cluster.engine(&cluster.topology());
    let planned = engine.plan(&request()).await.unwrap();
    let mut newer = Entry::new(0, LeaseEpoch::new(1), 0, Record::Opened { plan: Box::new(planned.plan().clone()) });
    newer.format = 99;
    cluster.store().append(&"patch-0".into(), vec![newer]).await.unwrap();
    let load = cluster.load();
    let refused = cluster.engine(&cluster.topology()).resume("patch-0".into()).await.unwrap_err();
    assert!(matches!(&refused, RunError::Journal(JournalError::Newer { format: 99, .. })), "{refused}");
    let refused = cluster.engine(&cluster.topology()).run("patch-1".into(), planned).await.unwrap_err();
    assert!(matches!(&refused, RunError::Journal(JournalError::Newer { .. })), "{refused}");
    assert_eq!(load.stop().await.counts.failures(), 0);
}
