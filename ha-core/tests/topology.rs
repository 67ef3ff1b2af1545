//! What a declaration of several pools means, and how a wrong one is refused.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::time::Duration;

use ha_core::plan::Plan;
use ha_core::topology::{
    ApprovalPoint, Component, Name, Node, NodeSpec, OnNoApproval, Permille, PoolSpec, PortSpec, SiteRole, Topology,
    TopologyBuilder, TopologyError,
};

const TWO_POOLS: &str = r#"[cluster]
name = "orders"
[policy]
soak = "500ms"
[[pool]]
name = "esb"
serve = 2
peak_load = 1000
[[pool]]
name = "mgmt"
backend = "carbon"
serve = 1
peak_load = 20
survive_one = 0.5
balancers = ["lb2"]
[[balancer]]
name = "lb1"
backend = "haproxy"
[[balancer]]
name = "lb2"
backend = "haproxy"
[[node]]
name = "esb1"
capacity = 1000
host = { backend = "local" }
probe = { backend = "http" }
[[node.port]]
pool = "mgmt"
member = "console1"
capacity = 20
[[node]]
name = "esb2"
capacity = 1000
host = { backend = "local" }
probe = { backend = "http" }
[[node]]
name = "esb3"
capacity = 1000
pools = ["esb"]
host = { backend = "local" }
probe = { backend = "http" }
"#;

const ONE_POOL: &str = r#"[cluster]
name = "orders"
[policy]
peak_load = 1000
soak = "500ms"
[pool]
name = "esb"
serve = 1
[[balancer]]
name = "lb1"
backend = "haproxy"
[[node]]
name = "esb1"
capacity = 1000
host = { backend = "local" }
probe = { backend = "http" }
[[node]]
name = "esb2"
capacity = 1000
host = { backend = "local" }
probe = { backend = "http" }
"#;

/// What is wrong, each as `line key`.
fn reported(error: &TopologyError) -> Vec<String> {
    error.diagnostics().iter().map(|found| format!("{} {}", found.line, found.key)).collect()
}

fn members(topology: &Topology, node: &str) -> Vec<String> {
    let members = topology.memberships(topology.find(node).unwrap());
    members
        .map(|(member, port, balancer)| {
            let (pool, balancer) = (topology.pool(port.pool), topology.balancer(balancer));
            format!("{} {} {}/{} {}", member.index(), balancer.name, pool.backend, port.member, port.capacity)
        })
        .collect()
}

#[test]
fn a_node_has_a_member_for_each_of_its_pools_on_each_balancer_of_the_pool() {
    let topology = Topology::from_toml_str(TWO_POOLS).unwrap();
    assert_eq!(members(&topology, "esb1"), ["0 lb1 esb/esb1 1000", "1 lb2 esb/esb1 1000", "2 lb2 carbon/console1 20"]);
    assert_eq!(members(&topology, "esb2"), ["3 lb1 esb/esb2 1000", "4 lb2 esb/esb2 1000", "5 lb2 carbon/esb2 1000"]);
    assert_eq!(members(&topology, "esb3"), ["6 lb1 esb/esb3 1000", "7 lb2 esb/esb3 1000"]);
    assert_eq!(topology.member_layout().count(), 8);
    let required: Vec<(u64, u64)> =
        topology.pools().map(|(_, pool)| (pool.required_now(), pool.required_after_loss())).collect();
    assert_eq!(required, [(1000, 1000), (20, 10)], "in each pool some stand by");
}

#[test]
fn each_wrong_declaration_of_pools_is_reported_once_with_its_line_and_key() {
    let cases: [(&str, &str, &[&str]); 22] = [
        ("serve = 2", "serve = 4", &["7 pool[0].serve"]),
        ("peak_load = 1000\n", "", &["5 pool[0].peak_load"]),
        ("serve = 2\n", "", &["5 pool[0].serve"]),
        ("soak = \"500ms\"", "peak_load = 5", &["4 policy.peak_load"]),
        ("peak_load = 20", "peak_load = 0", &["13 pool[1].peak_load"]),
        ("survive_one = 0.5", "survive_one = 2", &["14 pool[1].survive_one"]),
        ("name = \"mgmt\"", "name = \"esb\"", &["10 pool[1].name"]),
        ("backend = \"carbon\"", "backend = \"esb\"", &["11 pool[1].backend"]),
        ("backend = \"carbon\"", "backend = \"a b\"", &["11 pool[1].backend"]),
        ("[\"lb2\"]", "[\"lb3\"]", &["15 pool[1].balancers"]),
        ("[\"lb2\"]", "[\"lb2\", \"lb2\"]", &["15 pool[1].balancers"]),
        ("[\"lb2\"]", "[]", &["15 pool[1].balancers"]),
        ("[\"lb2\"]", "\"lb2\"", &["15 pool[1].balancers"]),
        ("pools = [\"esb\"]", "pools = [\"esb\", \"ws\"]", &["39 node[2].pools"]),
        ("pools = [\"esb\"]", "pools = [\"esb\", \"esb\"]", &["39 node[2].pools"]),
        ("pools = [\"esb\"]", "pools = []", &["39 node[2].pools"]),
        ("pools = [\"esb\"]", "pools = [\"mgmt\"]\nport = [{ pool = \"esb\" }]", &["40 node[2].port[0].pool"]),
        ("pool = \"mgmt\"\n", "", &["27 node[0].port[0].pool"]),
        ("member = \"console1\"", "member = \"esb2\"", &["32 node[1].member"]),
        ("capacity = 20\n", "capacity = -5\n", &["30 node[0].port[0].capacity"]),
        ("capacity = 20\n", "capacity = 20\n[[node.port]]\npool = \"mgmt\"\n", &["32 node[0].port[1].pool"]),
        ("capacity = 20\n", "capacty = 20\n", &["30 node[0].port[0].capacty"]),
    ];
    for (from, to, expected) in cases {
        assert!(TWO_POOLS.contains(from), "{from}");
        let error = Topology::from_toml_str(&TWO_POOLS.replacen(from, to, 1)).unwrap_err();
        assert_eq!(reported(&error), expected, "{to}: {error}");
    }
}

#[test]
fn what_follows_from_an_error_is_not_reported() {
    let bad = ["\"x\"", "-5", "1.5", "0", "true", "99999999999999999999"];
    for value in bad {
        let text = ONE_POOL.replacen("capacity = 1000", &format!("capacity = {value}"), 1);
        assert_eq!(reported(&Topology::from_toml_str(&text).unwrap_err()), ["14 node[0].capacity"], "{value}");
        let text = ONE_POOL.replacen("peak_load = 1000", &format!("peak_load = {value}"), 1);
        assert_eq!(reported(&Topology::from_toml_str(&text).unwrap_err()), ["4 policy.peak_load"], "{value}");
        let text = ONE_POOL.replacen("serve = 1", &format!("serve = {value}"), 1);
        assert_eq!(reported(&Topology::from_toml_str(&text).unwrap_err()), ["8 pool.serve"], "{value}");
    }
    let cases = [
        ("name = \"esb1\"", "name = \"esb 1\"", "13 node[0].name"),
        ("name = \"esb1\"", "name = 5", "13 node[0].name"),
        ("name = \"esb\"", "name = \"e/b\"", "7 pool.name"),
        ("name = \"lb1\"", "name = \"\"", "10 balancer[0].name"),
        ("capacity = 1000", "capacity = 1000\nspare = \"yes\"", "15 node[0].spare"),
        ("capacity = 1000", "capacity = 1000\nmember = \"a;b\"", "15 node[0].member"),
        ("capacity = 1000", "capacity = 1000\nwarm_up = 0", "15 node[0].warm_up"),
        ("[pool]", "[[site]]\nname = \"north\"\nrole = \"cool\"\n[pool]", "8 site[0].role"),
        ("serve = 1", "serve = 1\nsurvive_one = 0.0001", "9 pool.survive_one"),
    ];
    for (from, to, expected) in cases {
        let error = Topology::from_toml_str(&ONE_POOL.replacen(from, to, 1)).unwrap_err();
        assert_eq!(reported(&error), [expected], "{to}: {error}");
    }
}

#[test]
fn a_law_that_is_broken_at_rest_names_the_pool() {
    let text = TWO_POOLS.replace("capacity = 1000", "capacity = 400");
    let error = Topology::from_toml_str(&text).unwrap_err();
    assert_eq!(reported(&error), ["8 pool[0].peak_load", "8 pool[0].survive_one"]);
    let message = "pool esb: at rest the law is broken: if esb1 is lost 800 is left, 1000 is required then";
    assert!(error.to_string().contains(message), "{error}");
}

fn component(name: &str) -> Component {
    Component::new(Name::new(name).unwrap())
}

fn node(name: &str, capacity: u64) -> NodeSpec {
    NodeSpec::new(name, capacity, component("local"), component("http"))
}

fn two_pools() -> TopologyBuilder {
    let policy = ha_core::topology::Policy::default().with_soak(std::time::Duration::from_millis(500));
    Topology::builder("orders")
        .policy(policy)
        .balancer("lb1", component("haproxy"))
        .balancer("lb2", component("haproxy"))
        .pool(PoolSpec::new("esb", 2, 1000))
        .pool(
            PoolSpec::new("mgmt", 1, 20)
                .with_backend("carbon")
                .with_survive_one(Permille::new(500))
                .with_balancers(["lb2"]),
        )
        .node(node("esb1", 1000).with_port(PortSpec::new("mgmt").with_member("console1").with_capacity(20)))
        .node(node("esb2", 1000))
}

#[test]
fn code_and_toml_declare_the_same_topology() {
    let built = two_pools().node(node("esb3", 1000).with_pools(["esb"])).build().unwrap();
    assert_eq!(built, Topology::from_toml_str(TWO_POOLS).unwrap());
}

#[test]
fn code_is_refused_by_the_same_rules_as_toml() {
    let zero = Permille::new(0);
    let cases = [
        (two_pools().node(node("esb1", 1000)), "node[2].name"),
        (two_pools().node(node("esb 3", 1000)), "node[2].name"),
        (two_pools().node(node("esb3", 0)), "node[2].capacity"),
        (two_pools().node(node("esb3", 1000).with_warm_up(zero)), "node[2].warm_up"),
        (two_pools().node(node("esb3", 1000).with_pools(["ws"])), "node[2].pools"),
        (two_pools().node(node("esb3", 1000).with_port(PortSpec::new("ws"))), "node[2].port[0].pool"),
        (two_pools().pool(PoolSpec::new("ws", 0, 1)), "pool[2].serve"),
        (two_pools().pool(PoolSpec::new("ws", 1, 0)), "pool[2].peak_load"),
        (two_pools().pool(PoolSpec::new("ws", 1, 1).with_serve_now(zero)), "pool[2].serve_now"),
        (two_pools().pool(PoolSpec::new("ws", 1, 1).with_backend("esb")), "pool[2].backend"),
        (two_pools().balancer("lb1", component("haproxy")), "balancer[2].name"),
        (two_pools().site("north", SiteRole::Cold), "site.role"),
        (Topology::builder("orders"), "balancer"),
    ];
    for (builder, key) in cases {
        let error = builder.build().unwrap_err();
        assert_eq!(error.diagnostics().first().unwrap().key, key, "{error}");
    }
}

#[test]
fn a_backend_may_have_the_same_name_on_different_balancers() {
    let elsewhere = PoolSpec::new("inner", 1, 10).with_backend("carbon").with_balancers(["lb1"]);
    let topology = two_pools().pool(elsewhere).build().unwrap();
    let names: Vec<&str> = topology.pools().map(|(_, pool)| pool.backend.as_str()).collect();
    assert_eq!(names, ["esb", "carbon", "carbon"]);
    let capacities = |node: &Node| node.ports.iter().map(|port| port.capacity).collect::<Vec<_>>();
    assert_eq!(capacities(topology.node(topology.find("esb1").unwrap())), [1000, 20, 1000]);
}

#[test]
fn a_component_that_is_missing_or_misspelt_is_reported_with_its_line_and_key() {
    let work = "work = { backend = \"esb\" }\n";
    let cases = [
        ("host = { backend = \"local\" }\n", "", "line 12: node[0].host: is missing; add host"),
        ("probe = { backend = \"http\" }\n", "", "line 12: node[0].probe: is missing; add probe"),
        ("{ backend = \"local\" }", "{ backnd = \"local\" }", "line 15: node[0].host.backend: is missing; add backend"),
        (
            "{ backend = \"local\" }",
            "\"local\"",
            "line 15: node[0].host: this is a string; write a table [node[0].host]",
        ),
        ("host =", "hosts =", "line 15: node[0].hosts: unknown key; did you mean host?"),
        (
            "name = \"lb1\"\nbackend = \"haproxy\"\n",
            "name = \"lb1\"\n",
            "line 9: balancer[0].backend: is missing; add backend",
        ),
        ("[pool]\n", "files = \"rsync\"\n[pool]\n", "line 6: policy.files: unknown key"),
        ("[pool]\n", "[files]\n[pool]\n", "line 6: files.backend: is missing; add backend"),
        ("[pool]\n", "[database]\nbackend = 5\n[pool]\n", "line 7: database.backend: 5 cannot be used here"),
        ("[pool]\n", "[work]\nbackend = \"esb\"\n[pool]\n", "line 6: work: unknown key"),
        ("serve = 1\n", &format!("serve = 1\n{work}"), "line 9: pool.work: unknown key"),
    ];
    for (from, to, expected) in cases {
        assert!(ONE_POOL.contains(from), "{from}");
        let error = Topology::from_toml_str(&ONE_POOL.replacen(from, to, 1)).unwrap_err().to_string();
        assert!(error.contains(expected), "{to}: {error}");
    }
}

#[test]
fn what_is_to_be_approved_is_read_and_what_nobody_could_approve_is_refused() {
    let policy = |lines: &str| ONE_POOL.replacen("[pool]\n", &format!("{lines}\n[pool]\n"), 1);
    let text = policy(
        "approve = [\"site-change\", \"start\"]\napprovers = [\"anna\"]\napprove_within = \"10m\"\non_no_approval = \"hold\"",
    );
    let read = Topology::from_toml_str(&text).unwrap();
    let policy_read = read.policy();
    assert_eq!(policy_read.approve, [ApprovalPoint::SiteChange, ApprovalPoint::Start]);
    assert_eq!(
        (policy_read.approvers.as_slice(), policy_read.on_no_approval),
        (&["anna".to_string()][..], OnNoApproval::Hold)
    );
    assert_eq!(policy_read.approve_within, Duration::from_secs(600));
    // A journal of a run that began without it is still one of this topology.
    let before = Topology::from_toml_str(ONE_POOL).unwrap();
    assert_eq!(Plan::digest_of(&read), Plan::digest_of(&before));
    let cases = [
        (
            "approve = [\"sometimes\"]",
            "policy.approve: \"sometimes\" is unknown; give some of \"start\", \"site-change\"",
        ),
        ("approve = [\"start\", \"start\"]", "policy.approve: start is named twice"),
        ("approve = \"start\"", "policy.approve"),
        ("approvers = [\"anna\"]", "policy.approvers: nothing is to be approved"),
        ("approve = [\"start\"]\napprovers = [\" \"]", "policy.approvers: a name is empty"),
        ("approve = [\"start\"]\napprove_within = \"0s\"", "policy.approve_within: at 0 nobody could approve"),
        ("on_no_approval = \"wait\"", "policy.on_no_approval: \"wait\" is unknown"),
    ];
    for (lines, expected) in cases {
        let error = Topology::from_toml_str(&policy(lines)).unwrap_err().to_string();
        assert!(error.contains(expected), "{lines}: {error}");
    }
}
