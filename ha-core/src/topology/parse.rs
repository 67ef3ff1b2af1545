use std::time::Duration;

use super::component::Components;
use super::draft::{Draft, PolicyDraft};
use super::reader::{Findings, Reader, read_toml};
use super::spec::{BalancerDraft, NodeSpec, PoolSpec, PortSpec, SiteDraft};
use super::{
    AfterLoss, ApprovalPoint, Component, Expect, FileSharing, OnDrainDeadline, OnNoApproval, Owner, Policy, Role,
    SiteRole, Topology, TopologyError,
};

impl Topology {
    /// Reads a topology from TOML and validates it.
    ///
    /// Every key, with its unit, range and default: [`manual::cluster_toml`](crate::manual::cluster_toml).
    ///
    /// # Errors
    /// [`TopologyError`] with everything that is wrong at once: syntax, unknown and missing keys, values out of range,
    /// names used twice, and a cluster that would break the safety law already at rest.
    ///
    /// # Examples
    ///
    /// ```
    /// use ha_core::topology::Topology;
    ///
    /// let text = r#"
    /// [cluster]
    /// name = "orders"
    /// [policy]
    /// peak_load = 1000
    /// [pool]
    /// name = "esb"
    /// serve = 1
    /// [[balancer]]
    /// name = "lb1"
    /// backend = "haproxy"
    /// socket = "/run/haproxy/admin.sock"
    /// [[node]]
    /// name = "esb1"
    /// capacity = 1000
    /// host = { backend = "local", home = "/srv/esb1" }
    /// probe = { backend = "http", url = "http://10.0.0.1:8280/services/Version" }
    /// [[node]]
    /// name = "esb2"
    /// capacity = 400
    /// hosts = { backend = "local" }
    /// probe = { backend = "http" }
    /// "#;
    /// let error = Topology::from_toml_str(text).unwrap_err().to_string();
    /// assert!(error.contains("line 21: node[1].hosts: unknown key; did you mean host?"), "{error}");
    /// ```
    pub fn from_toml_str(text: &str) -> Result<Self, TopologyError> {
        let read = |root: &Reader<'_, '_>, findings: &Findings<'_>| read(root).validate(findings);
        read_toml(text, read).map_err(TopologyError::new)
    }
}

/// What a later version will know: named, so that nobody believes it is in force.
const LATER_TABLES: [&str; 3] = ["sync", "service", "workload"];

fn read(root: &Reader<'_, '_>) -> Draft {
    for key in LATER_TABLES {
        refuse_for_now(root, key);
    }
    let (name, profile) = root.required_table("cluster").map_or((None, None), |cluster| {
        cluster.require("name");
        let read = (cluster.text("name"), cluster.text("profile"));
        cluster.finish();
        read
    });
    root.require("pool");
    let (pools, sites) = (root.table_or_tables("pool"), root.tables("site"));
    root.require("node");
    let nodes = root.tables("node");
    let components = read_components(root, Owner::Cluster);
    root.require("balancer");
    let balancers = root.tables("balancer");
    let policy = root.required_table("policy");
    let expect = Expect::read(root, true);
    root.finish();
    Draft {
        name,
        policy: policy.as_ref().map(read_policy).unwrap_or_default(),
        pools: pools.iter().map(read_pool).collect(),
        balancers: balancers.iter().map(read_balancer).collect(),
        nodes: read_nodes(root, &nodes),
        components,
        sharing: FileSharing::declared(root),
        sites: sites.iter().map(read_site).collect(),
        expect,
        profile,
    }
}

fn refuse_for_now(reader: &Reader<'_, '_>, key: &'static str) {
    if reader.raw(key).is_some() {
        let message = "not supported by this version";
        reader.wrong(reader.line(), key, message, "remove it; nothing would watch over it");
    }
}

fn read_pool(pool: &Reader<'_, '_>) -> PoolSpec {
    pool.require("name");
    pool.require("serve");
    let read = PoolSpec {
        path: pool.path(),
        line: pool.line(),
        name: pool.text("name"),
        backend: pool.text("backend"),
        serve: pool.count("serve"),
        peak_load: pool.count("peak_load"),
        serve_now: pool.share("serve_now"),
        survive_one: pool.share("survive_one"),
        balancers: pool.texts("balancers"),
        site: pool.text("site"),
    };
    pool.finish();
    read
}

fn read_policy(policy: &Reader<'_, '_>) -> PolicyDraft {
    let defaults = Policy::default();
    let duration =
        |key: &'static str, default: Duration| policy.duration(key).map_or(default, |duration| duration.value);
    let on_drain_deadline = policy.text("on_drain_deadline").and_then(|text| match text.value.as_str() {
        "roll-back" => Some(OnDrainDeadline::RollBack),
        "hold" => Some(OnDrainDeadline::Hold),
        "cut" => Some(OnDrainDeadline::Cut),
        other => {
            policy.wrong(
                text.line,
                "on_drain_deadline",
                format!("{other:?} is unknown"),
                "give \"roll-back\", \"hold\" or \"cut\"",
            );
            None
        }
    });
    let after_loss = policy.text("after_loss").and_then(|text| match text.value.as_str() {
        "hold" => Some(AfterLoss::Hold),
        "finish" => Some(AfterLoss::Finish),
        other => {
            policy.wrong(text.line, "after_loss", format!("{other:?} is unknown"), "give \"hold\" or \"finish\"");
            None
        }
    });
    let on_no_approval = policy.text("on_no_approval").and_then(|text| match text.value.as_str() {
        "roll-back" => Some(OnNoApproval::RollBack),
        "hold" => Some(OnNoApproval::Hold),
        other => {
            let fix = "give \"roll-back\" or \"hold\"";
            policy.wrong(text.line, "on_no_approval", format!("{other:?} is unknown"), fix);
            None
        }
    });
    let lease_ttl = policy.duration("lease_ttl");
    let drain_deadline = duration("drain_deadline", defaults.drain_deadline);
    let read = PolicyDraft {
        line: policy.line(),
        peak_load: policy.count("peak_load"),
        serve_now: policy.share("serve_now"),
        survive_one: policy.share("survive_one"),
        given: ["ready_deadline", "stop_deadline"].into_iter().filter(|key| policy.raw(key).is_some()).collect(),
        lease_ttl_line: lease_ttl.as_ref().map_or(0, |ttl| ttl.line),
        policy: Policy {
            drain_deadline,
            longest_request: duration("longest_request", drain_deadline),
            persistence_grace: duration("persistence_grace", defaults.persistence_grace),
            canary: policy.share("canary").map(|share| share.value),
            canary_watch: duration("canary_watch", defaults.canary_watch),
            on_drain_deadline: on_drain_deadline.unwrap_or(defaults.on_drain_deadline),
            ready_deadline: duration("ready_deadline", defaults.ready_deadline),
            stop_deadline: duration("stop_deadline", defaults.stop_deadline),
            command_deadline: duration("command_deadline", defaults.command_deadline),
            migrate_deadline: duration("migrate_deadline", defaults.migrate_deadline),
            soak: duration("soak", defaults.soak),
            lease_ttl: lease_ttl.map_or(defaults.lease_ttl, |ttl| ttl.value),
            lost_after: duration("lost_after", defaults.lost_after),
            after_loss: after_loss.unwrap_or(defaults.after_loss),
            approve: read_approvals(policy),
            approvers: policy
                .texts("approvers")
                .map_or_else(Vec::new, |names| names.value.into_iter().map(|name| name.value).collect()),
            approve_within: duration("approve_within", defaults.approve_within),
            on_no_approval: on_no_approval.unwrap_or(defaults.on_no_approval),
        },
    };
    policy.finish();
    read
}

fn read_approvals(policy: &Reader<'_, '_>) -> Vec<ApprovalPoint> {
    let mut points = Vec::new();
    for name in policy.texts("approve").into_iter().flat_map(|names| names.value) {
        match ApprovalPoint::from_name(&name.value) {
            Some(point) if points.contains(&point) => {
                policy.wrong(name.line, "approve", format!("{point} is named twice"), "name it once");
            }
            Some(point) => points.push(point),
            None => {
                let known: Vec<String> = ApprovalPoint::ALL.iter().map(|point| format!("\"{point}\"")).collect();
                let fix = format!("give some of {}", known.join(", "));
                policy.wrong(name.line, "approve", format!("{:?} is unknown", name.value), fix);
            }
        }
    }
    points
}

fn read_balancer(reader: &Reader<'_, '_>) -> BalancerDraft {
    reader.require("name");
    let name = reader.text("name");
    let components = read_components(reader, Owner::Balancer);
    BalancerDraft { path: reader.path(), line: reader.line(), name, components }
}

fn read_component(reader: &Reader<'_, '_>) -> Option<Component> {
    reader.require("backend");
    let backend = reader.name("backend");
    let (settings, mut lines) = reader.settings();
    backend.map(|backend| {
        lines.settings.insert("backend".into(), backend.line);
        Component { backend: backend.value, settings, lines }
    })
}

/// Reads a component from its own table. Files that none copies have none.
fn read_own_table(role: Role, table: &Reader<'_, '_>) -> Option<Component> {
    let sharing = if role == Role::Files { FileSharing::read(table) } else { Some(FileSharing::Copied) };
    if sharing != Some(FileSharing::Copied) && table.raw("backend").is_none() {
        table.finish();
        return None;
    }
    read_component(table)
}

/// Reads the components of an owner. One that is the owner's table itself comes last: what nobody asked for is its settings.
fn read_components(reader: &Reader<'_, '_>, owner: Owner) -> Components {
    let mut components = Components::default();
    let (tables, itself): (Vec<Role>, Vec<Role>) = Role::of(owner).partition(|role| role.table().is_some());
    for role in tables.into_iter().chain(itself) {
        let read = match role.table() {
            Some(table) if role.is_required() => reader.required_table(table).and_then(|table| read_component(&table)),
            Some(table) => reader.table(table).and_then(|table| read_own_table(role, &table)),
            None => read_component(reader),
        };
        if let Some(component) = read {
            components.set(role, component);
        }
    }
    components
}

fn read_site(reader: &Reader<'_, '_>) -> SiteDraft {
    reader.require("name");
    reader.require("role");
    let (name, role) = (reader.text("name"), reader.text("role"));
    let components = read_components(reader, Owner::Site);
    reader.finish();
    let role = role.and_then(|text| match text.value.as_str() {
        "serving" => Some(SiteRole::Serving),
        "hot" => Some(SiteRole::Hot),
        "warm" => Some(SiteRole::Warm),
        "cold" => Some(SiteRole::Cold),
        other => {
            let fix = "give \"serving\", \"hot\", \"warm\" or \"cold\"";
            reader.wrong(text.line, "role", format!("{other:?} is unknown"), fix);
            None
        }
    });
    SiteDraft { path: reader.path(), line: reader.line(), name, role, components }
}

fn read_nodes(root: &Reader<'_, '_>, readers: &[Reader<'_, '_>]) -> Vec<NodeSpec> {
    let mut writers: Vec<(String, usize)> = Vec::new();
    let mut nodes = Vec::new();
    for reader in readers {
        let writer = reader.flag("writer");
        let node = read_node(reader);
        if let Some(writer) = writer {
            let message = "which node writes is observed, not declared: procedures hand it over";
            reader.wrong(writer.line, "writer", message, "remove it");
            if writer.value {
                let name = node.name.as_ref().map_or_else(|| "?".into(), |name| name.value.clone());
                writers.push((name, writer.line));
            }
        }
        nodes.push(node);
    }
    if let [(first, line), (second, other), ..] = writers.as_slice() {
        let message = format!("two writers: {first} (line {line}) and {second} (line {other})");
        root.wrong(*other, "node.writer", message, "keep writer = true on one node; two overwrite each other's files");
    }
    nodes
}

fn read_node(reader: &Reader<'_, '_>) -> NodeSpec {
    reader.require("name");
    let name = reader.text("name");
    let read = NodeSpec {
        path: reader.path(),
        line: reader.line(),
        name,
        member: reader.text("member"),
        capacity: reader.count("capacity"),
        pools: reader.texts("pools"),
        ports: reader.tables("port").iter().map(read_port).collect(),
        warm_up: reader.share("warm_up"),
        domain: reader.text("domain"),
        site: reader.text("site"),
        spare: reader.flag("spare").is_some_and(|spare| spare.value),
        expect: Expect::read(reader, false),
        profile: reader.text("profile"),
        address: reader.text("address").map(|address| address.value),
        offset: reader.port_offset("offset"),
        components: read_components(reader, Owner::Node),
    };
    reader.finish();
    read
}

fn read_port(reader: &Reader<'_, '_>) -> PortSpec {
    reader.require("pool");
    let (pool, member, capacity) = (reader.text("pool"), reader.text("member"), reader.count("capacity"));
    reader.finish();
    PortSpec { path: reader.path(), line: reader.line(), pool, member, capacity }
}
#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::topology::{Name, Permille, PoolIx};

    const GOOD: &str = r#"[cluster]
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
socket = "/run/haproxy/admin.sock"
[[node]]
name = "esb1"
capacity = 1000
domain = "rack-a"
host = { backend = "local", start = ["bin/server.sh", "start"] }
probe = { backend = "http" }
[[node]]
name = "esb2"
capacity = 1000
host = { backend = "local" }
probe = { backend = "http" }
[[node]]
name = "spare1"
spare = true
capacity = 1000
host = { backend = "local" }
probe = { backend = "http" }
"#;

    #[test]
    fn a_good_topology_has_its_defaults() {
        let topology = Topology::from_toml_str(GOOD).unwrap();
        assert_eq!(topology.pool(PoolIx::new(0)).survive_one, Permille::WHOLE, "some stand by");
        assert_eq!(topology.policy.soak, Duration::from_millis(500));
        let domains: Vec<&str> = topology.domains.iter().map(Name::as_str).collect();
        assert_eq!(domains, ["rack-a", "esb2", "spare1"]);
        assert_eq!(topology.spares().count(), 1);
    }

    #[test]
    fn each_bad_input_is_reported_with_its_line_and_key() {
        let cases = [
            ("name = \"lb1\"", "name = \"lb1", 10, ""),
            ("peak_load = 1000", "peak_load = 0", 4, "policy.peak_load"),
            ("peak_load = 1000", "peak_load = 1001", 4, "policy.peak_load"),
            ("peak_load = 1000", "peak_load = 99999999999999999999", 4, "policy.peak_load"),
            ("soak = \"500ms\"", "soak = \"soon\"", 5, "policy.soak"),
            ("soak = \"500ms\"", "soka = \"1s\"", 5, "policy.soka"),
            ("soak = \"500ms\"", "survive_one = 1.5", 5, "policy.survive_one"),
            ("soak = \"500ms\"", "lease_ttl = \"1s\"", 5, "policy.lease_ttl"),
            ("serve = 1", "serve = 3", 8, "pool.serve"),
            ("name = \"esb\"", "name = \"esb;disable server\"", 7, "pool.name"),
            ("name = \"esb2\"", "name = \"esb1\"", 20, "node[1].name"),
            ("domain = \"rack-a\"", "writer = true", 16, "node[0].writer"),
            ("domain = \"rack-a\"", "pulled_work = true", 16, "node[0].pulled_work"),
            ("domain = \"rack-a\"", "warm_up = 1.5", 16, "node[0].warm_up"),
            ("domain = \"rack-a\"", "site = \"north\"", 16, "node[0].site"),
            ("[cluster]", "[[site]]\nname = \"north\"\nrole = \"cold\"\n[cluster]", 1, "site.role"),
            ("[cluster]", "[files]\ndirectory = \"/srv\"\n[cluster]", 1, "files.backend"),
            ("[cluster]", "[[sync]]\nfrom = 1\n[cluster]", 0, "sync"),
            ("backend = \"haproxy\"", "", 9, "balancer[0].backend"),
        ];
        for (from, to, line, key) in cases {
            let error = Topology::from_toml_str(&GOOD.replacen(from, to, 1)).unwrap_err();
            let reported = error.diagnostics().iter().any(|found| found.line == line && found.key == key);
            assert!(reported, "{to}: {error}");
        }
    }

    #[test]
    fn two_writers_are_reported_with_both_lines() {
        let text = GOOD.replace("capacity = 1000\n", "capacity = 1000\nwriter = true\n");
        let error = Topology::from_toml_str(&text).unwrap_err().to_string();
        assert!(error.contains("two writers: esb1 (line 16) and esb2 (line 23)"), "{error}");
    }

    #[test]
    fn all_that_is_wrong_is_reported_at_once() {
        let text =
            GOOD.replace("serve = 1", "serve = \"one\"").replace("soak", "soka").replace("name = \"esb2\"\n", "");
        let error = Topology::from_toml_str(&text).unwrap_err();
        let keys: Vec<&str> = error.diagnostics().iter().map(|found| found.key.as_str()).collect();
        assert_eq!(keys, ["policy.soka", "pool.serve", "node[1].name"]);
    }

    #[test]
    fn a_cluster_that_breaks_the_law_at_rest_is_refused_with_figures() {
        let text = GOOD.replacen("capacity = 1000\nhost", "capacity = 900\nhost", 1);
        let error = Topology::from_toml_str(&text).unwrap_err().to_string();
        assert!(error.contains("if rack-a is lost 900 is left, 1000 is required then"), "{error}");
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "[\\[\\]a-z_=\"0-9.\n ]{0,200}") {
            let _ = Topology::from_toml_str(&text);
        }

        #[test]
        fn no_cut_makes_the_parser_panic(cut in 0_usize..GOOD.len()) {
            let _ = Topology::from_toml_str(&GOOD[..cut]);
        }
    }
}
