//! A topology's backends: those of this workspace and of anybody else, named in TOML, and all that is wrong told at once.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::sync::Arc;

use ha_backends::{ConnectError, Registry, connect};
use ha_core::backend::{Database, FileSync, Host, LoadBalancer, Probe, Workload};
use ha_core::plan::Plan;
use ha_core::topology::{Role, Settings, Topology};
use ha_testkit::world::{Controller, FakeBalancer, FakeDatabase, FakeFiles, FakeHost, FakeProbe, FakeWorkload, World};

const GOOD: &str = r#"[cluster]
name = "orders"
[policy]
peak_load = 100
[pool]
name = "esb"
serve = 1
[[balancer]]
name = "lb1"
backend = "haproxy"
socket = "/run/lb1.sock"
[[balancer]]
name = "lb2"
backend = "local"
socket = "/run/lb2.sock"
[[node]]
name = "esb1"
capacity = 100
[node.host]
backend = "local"
home = "/opt/esb1"
start = ["bin/esb", "start"]
stop = ["bin/esb", "stop"]
version = ["bin/esb", "version"]
pid_file = "esb.pid"
identity = "-Desb1"
[node.probe]
backend = "http"
url = "http://127.0.0.1:8280/version"
[[node]]
name = "esb2"
capacity = 100
[node.host]
backend = "ssh"
host = "esb2"
home = "/opt/esb"
unit = "esb.service"
version = ["bin/esb", "version"]
[node.probe]
backend = "command"
command = ["esb-release"]
"#;

fn topology(text: &str) -> Topology {
    Topology::from_toml_str(text).unwrap()
}

/// What is wrong with the good topology after these replacements.
fn wrong(changes: &[(&str, &str)]) -> Vec<String> {
    let mut text = GOOD.to_string();
    for (from, to) in changes {
        assert!(text.contains(from), "{from}");
        text = text.replacen(from, to, 1);
    }
    connect(&topology(&text)).unwrap_err().errors().iter().map(ToString::to_string).collect()
}

#[test]
fn a_good_topology_connects_and_touches_nothing() {
    let backends = connect(&topology(GOOD)).unwrap();
    assert_eq!((backends.balancers.len(), backends.hosts.len(), backends.probes.len()), (2, 2, 2));
    assert!(backends.engine(topology(GOOD)).build().is_ok());
}

#[test]
fn all_wrong_components_are_told_at_once_with_line_key_and_fix() {
    let found = wrong(&[
        ("backend = \"haproxy\"", "backend = \"f5\""),
        ("socket = \"/run/lb2.sock\"", "socket = \"lb2.sock\"\ndeadline = 2000"),
        ("pid_file = ", "pidfile = "),
        ("url = \"http://127.0.0.1:8280/version\"", "url = \"8280\""),
        ("host = \"esb2\"\n", ""),
    ]);
    assert_eq!(
        found,
        [
            "line 10: balancer lb1.backend: no backend \"f5\" is known here; give one of haproxy, local, or add it to the \
             registry",
            "line 15: balancer lb2.socket: give an absolute path",
            "line 16: balancer lb2.deadline: give a duration as \"500ms\", \"2s\" or \"5m\", from \"1ms\" to \"24h\"",
            "line 26: node esb1.host.pidfile: is unknown: did you mean pid_file?",
            "line 30: node esb1.probe.url: is no URL: give http://host:port/path, or https://",
            "line 34: node esb2.host.host: is missing: add it",
        ]
    );
}

#[test]
fn a_backend_whose_feature_is_off_is_named_with_the_feature() {
    let refused = Registry::empty().connect(&topology(GOOD)).unwrap_err();
    let feature = |error: &ConnectError| match error {
        ConnectError::FeatureOff { feature, .. } => *feature,
        _ => "",
    };
    let features: Vec<&str> = refused.errors().iter().map(feature).collect();
    assert_eq!(features, ["haproxy", "local", "local", "probe", "ssh", "probe"]);
    let first = refused.errors()[0].to_string();
    assert!(
        first.contains("line 10: balancer lb1.backend: the backend \"haproxy\" is not compiled in; turn on"),
        "{first}"
    );
}

#[test]
fn two_balancers_with_one_socket_and_two_nodes_with_one_home_are_refused_with_both_lines() {
    let found = wrong(&[("/run/lb2.sock", "/run//lb1.sock")]);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].starts_with("line 15: balancer lb2.socket: /run//lb1.sock is that of line 11: balancer lb1.socket")
    );
    let found = wrong(&[("socket = \"/run/lb2.sock\"", "socket = \"/run/lb2.sock\"\n"), ("/run/lb2", "/run/lb1")]);
    assert_eq!(found.len(), 1, "{found:?}");

    let second = GOOD.replacen(
        "backend = \"ssh\"\nhost = \"esb2\"\nhome = \"/opt/esb\"",
        "backend = \"local\"\nhome = \"/opt/esb1/\"",
        1,
    );
    let found = connect(&topology(&second)).unwrap_err().to_string();
    assert!(
        found.contains("line 35: node esb2.host.home: /opt/esb1/ is that of line 21: node esb1.host.home"),
        "{found}"
    );
    // One home on each of two machines is two.
    assert!(connect(&topology(&GOOD.replacen("/opt/esb1", "/opt/esb", 1))).is_ok());
}

/// Fakes of one world, under names of their own.
fn fakes(world: &World) -> Registry {
    let of = |world: &World| (world.clone(), Controller::new());
    let (balancer, host, probe) = (of(world), of(world), of(world));
    let (files, database, work) = (of(world), of(world), of(world));
    Registry::builtin()
        .with_balancer("my-balancer", move |part| {
            let mut settings = Settings::of(part.component);
            let address = settings.required_text("address");
            settings.finish(address)?;
            let (world, controller) = balancer.clone();
            Ok(Arc::new(FakeBalancer::new(world, controller, part.name.into())) as Arc<dyn LoadBalancer>)
        })
        .with_host("my-host", move |part| {
            let (world, controller) = host.clone();
            Ok(Arc::new(FakeHost::new(world, controller, part.name.into())) as Arc<dyn Host>)
        })
        .with_probe("my-probe", move |part| {
            let (world, controller) = probe.clone();
            Ok(Arc::new(FakeProbe::new(world, controller, part.name.into())) as Arc<dyn Probe>)
        })
        .with_files("my-files", move |_| {
            let (world, controller) = files.clone();
            Ok(Arc::new(FakeFiles::new(world, controller)) as Arc<dyn FileSync>)
        })
        .with_database("my-database", move |_| {
            let (world, controller) = database.clone();
            Ok(Arc::new(FakeDatabase::new(world, controller)) as Arc<dyn Database>)
        })
        .with_work("my-work", move |part| {
            let (world, controller) = work.clone();
            Ok(Arc::new(FakeWorkload::new(world, controller, part.name.into())) as Arc<dyn Workload>)
        })
}

const OF_OTHERS: &str = r#"[cluster]
name = "orders"
[policy]
peak_load = 100
[pool]
name = "esb"
serve = 1
[files]
backend = "my-files"
[database]
backend = "my-database"
[[balancer]]
name = "lb1"
backend = "my-balancer"
address = "10.0.0.1"
[[node]]
name = "esb1"
capacity = 100
host = { backend = "my-host" }
probe = { backend = "my-probe" }
work = { backend = "my-work" }
[[node]]
name = "esb2"
capacity = 100
host = { backend = "my-host" }
probe = { backend = "my-probe" }
"#;

#[tokio::test]
async fn backends_of_others_are_named_in_toml_and_connected_like_ours() {
    let world = World::from_toml_str(OF_OTHERS).unwrap();
    let backends = fakes(&world).connect(world.topology()).unwrap();
    assert!(backends.files.is_some() && backends.database.is_some());
    assert_eq!(backends.work.iter().map(|(node, _)| node.as_str()).collect::<Vec<_>>(), ["esb1"]);
    let engine = backends.engine(topology(OF_OTHERS)).build().unwrap();
    assert!(engine.observe().await.is_ok());

    let misspelt = OF_OTHERS.replace("address =", "adress =").replace("my-work", "my-works");
    let found = fakes(&world).connect(&topology(&misspelt)).unwrap_err().to_string();
    assert!(found.contains("line 15: balancer lb1.adress: is unknown: did you mean address?"), "{found}");
    assert!(found.contains(
        "line 21: node esb1.work.backend: no backend \"my-works\" is known here; give one of command, my-work"
    ));
}

const SHARED: &str = r#"[files]
backend = "rsync"
tree = "repository/deployment"
destinations = ["esb2=wso2@10.0.0.2"]
publish = "switch"
[artifacts]
backend = "rsync"
"#;

#[test]
fn releases_of_rsync_are_an_artifact_store_only_where_they_are_kept() {
    let good = format!("{GOOD}{SHARED}");
    let backends = connect(&topology(&good)).unwrap();
    assert!(backends.artifacts.is_some());
    assert!(backends.engine(topology(&good)).build().is_ok());
    let refused = |text: &str| {
        let errors = connect(&topology(text)).unwrap_err();
        errors.errors().iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let in_place = refused(&good.replace("publish = \"switch\"", "publish = \"in-place\""));
    assert!(in_place.len() == 1 && in_place[0].contains("artifacts.backend: the releases of rsync"), "{in_place:?}");
    let by_default = refused(&good.replace("publish = \"switch\"\n", ""));
    assert_eq!(by_default.len(), 1, "{by_default:?}");
    let alone = refused(&format!("{GOOD}[artifacts]\nbackend = \"rsync\"\n"));
    assert!(alone.len() == 1 && alone[0].contains("[files] is not shared by rsync"), "{alone:?}");
    let with_settings = refused(&format!("{good}folder = \"/srv\"\n"));
    assert!(with_settings.len() == 1 && with_settings[0].contains("artifacts.folder: is unknown"), "{with_settings:?}");
}

#[test]
fn a_local_artifact_store_has_a_folder_of_this_machine() {
    let store = |settings: &str| format!("{GOOD}[artifacts]\nbackend = \"local\"\n{settings}");
    let good = store("folder = \"/srv/artifacts\"\nkeep = 5\n");
    assert!(connect(&topology(&good)).unwrap().artifacts.is_some());
    let refused = connect(&topology(&store("folder = \"artifacts\"\nkeep = -1\n"))).unwrap_err().to_string();
    assert!(refused.contains("artifacts.folder: give the absolute path"), "{refused}");
    assert!(refused.contains("artifacts.keep: give a whole number from 0 to 1000"), "{refused}");
    let refused = connect(&topology(&store(""))).unwrap_err().to_string();
    assert!(refused.contains("artifacts.folder: is missing"), "{refused}");
}

const SITES: &str = r#"[switch]
backend = "command"
home = "/var/lib/ha/dns"
status = ["dns", "status"]
lead = ["dns", "lead"]
ttl = "60s"
[[site]]
name = "north"
role = "serving"
[site.fence]
backend = "command"
home = "/var/lib/ha/north/fence"
level = "power"
status = ["pdu", "status"]
fence = ["pdu", "off"]
lift = ["pdu", "on"]
[site.replica]
backend = "command"
home = "/var/lib/ha/north/copy"
status = ["copy", "status"]
promote = ["copy", "promote"]
demote = ["copy", "demote"]
follow = ["copy", "follow"]
[[site]]
name = "south"
role = "cold"
"#;

#[test]
fn what_sites_need_is_connected_and_what_is_wrong_with_it_is_told_with_the_site() {
    let good = format!("{}{SITES}", GOOD.replace("[[node]]\n", "[[node]]\nsite = \"north\"\n"));
    let backends = connect(&topology(&good)).unwrap();
    assert!(backends.switch.is_some());
    assert_eq!((backends.fences[0].0.as_str(), backends.replicas[0].0.as_str()), ("north", "north"));
    assert!(backends.engine(topology(&good)).build().is_ok());
    for (from, to, says) in [
        ("level = \"power\"", "level = \"plug\"", "site north.fence.level: give consumers, servers, database or power"),
        ("promote = [\"copy\", \"promote\"]\n", "", "site north.replica.promote: is missing"),
        ("ttl = \"60s\"", "ttl = 60", "switch.ttl: give a duration"),
        ("backend = \"command\"\nhome = \"/var/lib/ha/dns\"", "backend = \"haproxy\"", "switch.sockets: is missing"),
    ] {
        let refused = connect(&topology(&good.replacen(from, to, 1))).unwrap_err().to_string();
        assert!(refused.contains(says), "{refused}");
    }
}

#[test]
fn where_a_topology_is_written_is_no_part_of_what_it_is() {
    let (here, below) = (topology(GOOD), topology(&format!("\n\n# moved\n{GOOD}")));
    let line =
        |topology: &Topology| topology.components(Role::Balancer).first().map(|declared| declared.component.line());
    assert_eq!(line(&here).map(|line| line + 3), line(&below));
    assert_eq!(here, below);
    assert_eq!(Plan::digest_of(&here), Plan::digest_of(&below));
}

/// The good topology with pulled work on its first node.
fn pulling(work: &str) -> Topology {
    topology(&GOOD.replacen("[[node]]\nname = \"esb2\"", &format!("[node.work]\n{work}\n[[node]]\nname = \"esb2\""), 1))
}

const COMMANDS: &str =
    "status = [\"bin/work\", \"status\"]\nquiesce = [\"bin/work\", \"pause\"]\nresume = [\"bin/work\", \"go-on\"]";

#[test]
fn pulled_work_is_driven_by_commands_of_the_node_s_host() {
    let backends = connect(&pulling(&format!("backend = \"command\"\n{COMMANDS}"))).unwrap();
    assert_eq!(backends.work.iter().map(|(node, _)| node.as_str()).collect::<Vec<_>>(), ["esb1"]);
    let wrong = connect(&pulling(&format!("backend = \"command\"\n{COMMANDS}\nlefts = [\"x\"]"))).unwrap_err();
    let wrong: Vec<String> = wrong.errors().iter().map(ToString::to_string).collect();
    assert!(wrong.len() == 1 && wrong[0].contains("node esb1.work.lefts: is unknown: did you mean left?"), "{wrong:?}");
}

#[cfg(feature = "migrate-sqlite")]
#[test]
fn what_is_left_of_pulled_work_is_counted_by_a_query_beside_the_commands() {
    let query = "url = \"jdbc:sqlite:/var/lib/work.db\"\nquery = \"SELECT count(*) FROM work\"";
    let backends = connect(&pulling(&format!("backend = \"query\"\n{COMMANDS}\n{query}"))).unwrap();
    assert_eq!(backends.work.len(), 1);
    let wrong = connect(&pulling(
        "backend = \"query\"\nurl = \"jdbc:sqlite:/x\"\nquery = \"DELETE FROM work\"\ncolour = \"blue\"",
    ));
    let wrong: Vec<String> = wrong.unwrap_err().errors().iter().map(ToString::to_string).collect();
    for part in
        ["esb1.work.status: is missing", "esb1.work.quiesce: is missing", "esb1.work.query: give", "esb1.work.colour"]
    {
        assert!(wrong.iter().any(|line| line.contains(part)), "{part}: {wrong:?}");
    }
}
