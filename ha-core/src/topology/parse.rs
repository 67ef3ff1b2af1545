use std::collections::BTreeMap;
use std::time::Duration;

use toml::de::DeTable;

use super::reader::{At, Findings, Reader};
use super::{
    Balancer, Component, DomainIx, Name, Node, OnDrainDeadline, Permille, Policy, Pool, SiteIx, SiteRole, SiteSpec,
    Topology, TopologyError,
};

impl Topology {
    /// Reads a topology from TOML and validates it.
    ///
    /// Tables: `[cluster]` (`name`), `[policy]` (see [`Policy`]; durations as `"500ms"`, `"30s"`, `"5m"`, `"1h"`; shares
    /// as `0.75`), `[pool]` (`name`, `serve`), `[[balancer]]` (`name`, `backend`, and the backend's own settings) and
    /// `[[node]]` (`name`, `member`, `capacity`, `warm_up`, `domain`, `site`, `spare`, with `[node.host]`, `[node.probe]`
    /// and, where it pulls work, `[node.work]`, each with `backend` and the backend's own settings). Where files are
    /// shared `[files]`, where a schema is shared `[database]`, both with `backend` and its settings; where there are
    /// several data centres `[[site]]` (`name`, `role`).
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
        let findings = Findings::new(text);
        let (root, errors) = DeTable::parse_recoverable(text);
        for error in &errors {
            let line = error.span().map_or(0, |span| findings.line(&span));
            findings.add(line, "", error.message(), "correct the TOML here");
        }
        if !errors.is_empty() {
            return Err(TopologyError::new(findings.into_diagnostics()));
        }
        let topology = read(&Reader::new(&findings, root.get_ref(), String::new(), 0));
        let diagnostics = findings.into_diagnostics();
        match topology {
            Some(topology) if diagnostics.is_empty() => Ok(topology),
            Some(_) | None => Err(TopologyError::new(diagnostics)),
        }
    }
}

/// What a later version will know: named, so that nobody believes it is in force.
const LATER_TABLES: [&str; 3] = ["sync", "service", "workload"];

fn read(root: &Reader<'_, '_>) -> Option<Topology> {
    for key in LATER_TABLES {
        refuse_for_now(root, key);
    }
    let name = root.required_table("cluster").and_then(|cluster| {
        cluster.require("name");
        let name = cluster.name("name");
        cluster.finish();
        name
    });
    let pool = root.required_table("pool").and_then(|pool| read_pool(&pool));
    let sites = read_sites(root);
    let nodes = read_nodes(root, &sites);
    let (files, database) = (read_optional(root, "files"), read_optional(root, "database"));
    let balancers = read_balancers(root);
    let members = nodes.iter().filter(|node| !node.value.spare).count();
    let serve = pool.as_ref().map(|pool| pool.value.serve);
    let all_serve = serve.is_some_and(|serve| usize::from(serve) >= members);
    let policy = root.required_table("policy").and_then(|policy| read_policy(&policy, all_serve));
    root.finish();
    let (name, pool, policy) = (name?, pool?, policy?);
    check_serve(root, &pool, members);
    let domains = resolve_domains(&nodes);
    let mut parsed = Vec::with_capacity(nodes.len());
    for node in nodes {
        let domain = domains.iter().position(|domain| *domain == node.value.domain).map(DomainIx::new)?;
        let NodeText { name, member, capacity, warm_up, work, site, spare, host, probe, .. } = node.value;
        parsed.push(Node { name, member, capacity, warm_up, work, site, domain, spare, host: host?, probe: probe? });
    }
    let (name, policy_line) = (name.value, policy.line);
    let (policy, pool, nodes) = (policy.value, pool.value, parsed);
    let topology = Topology { name, policy, pool, balancers, nodes, domains, files, database, sites };
    check_rest(root, &topology, policy_line);
    Some(topology)
}

fn refuse_for_now(reader: &Reader<'_, '_>, key: &'static str) {
    if reader.raw(key).is_some() {
        let message = "not supported by this version";
        reader.wrong(reader.line(), key, message, "remove it; nothing would watch over it");
    }
}

fn read_pool(pool: &Reader<'_, '_>) -> Option<At<Pool>> {
    pool.require("name");
    pool.require("serve");
    let (name, serve) = (pool.name("name"), pool.count("serve"));
    pool.finish();
    let (name, serve) = (name?, serve?);
    let line = serve.line;
    match u16::try_from(serve.value) {
        Ok(serve) => Some(At { value: Pool { name: name.value, serve }, line }),
        Err(_) => {
            pool.wrong(line, "serve", "more members than a topology can have", "give the number of members that serve");
            None
        }
    }
}

fn check_serve(root: &Reader<'_, '_>, pool: &At<Pool>, members: usize) {
    if usize::from(pool.value.serve) > members {
        let message = format!("{} members are to serve, {members} are declared", pool.value.serve);
        root.wrong(pool.line, "pool.serve", message, "lower serve, or add nodes that are no spares");
    }
}

fn read_policy(policy: &Reader<'_, '_>, all_serve: bool) -> Option<At<Policy>> {
    policy.require("peak_load");
    let peak = policy.count("peak_load");
    let duration = |key: &'static str, default: u64| {
        policy.duration(key).map_or(Duration::from_secs(default), |duration| duration.value)
    };
    let default_survive = if all_serve { Permille::THREE_QUARTERS } else { Permille::WHOLE };
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
    let lease_ttl = policy.duration("lease_ttl");
    if let Some(ttl) = lease_ttl.filter(|ttl| ttl.value < Duration::from_secs(3)) {
        let fix = "give at least \"3s\"; below 20 s a busy machine loses its lease";
        policy.wrong(ttl.line, "lease_ttl", "too short to be renewed in time", fix);
    }
    let drain_deadline = duration("drain_deadline", 60);
    let read = Policy {
        peak_load: peak.map_or(1, |peak| peak.value),
        serve_now: policy.share("serve_now").unwrap_or(Permille::WHOLE),
        survive_one: policy.share("survive_one").unwrap_or(default_survive),
        drain_deadline,
        longest_request: policy.duration("longest_request").map_or(drain_deadline, |longest| longest.value),
        persistence_grace: duration("persistence_grace", 2),
        canary: policy.share("canary"),
        canary_watch: duration("canary_watch", 10),
        on_drain_deadline: on_drain_deadline.unwrap_or(OnDrainDeadline::RollBack),
        ready_deadline: duration("ready_deadline", 300),
        stop_deadline: duration("stop_deadline", 300),
        command_deadline: duration("command_deadline", 600),
        soak: duration("soak", 10),
        lease_ttl: lease_ttl.map_or(Duration::from_secs(30), |ttl| ttl.value),
        lost_after: duration("lost_after", 2),
    };
    policy.finish();
    peak.map(|peak| At { value: read, line: peak.line })
}

fn read_balancers(root: &Reader<'_, '_>) -> Vec<Balancer> {
    root.require("balancer");
    let readers = root.tables("balancer");
    if let Some(extra) = readers.get(16) {
        root.wrong(extra.line(), "balancer", "more than 16 balancer instances", "a pool has at most 16 in front");
    }
    let mut seen: BTreeMap<Name, usize> = BTreeMap::new();
    let mut balancers = Vec::new();
    for reader in &readers {
        reader.require("name");
        let name = reader.name("name");
        let component = read_component(reader);
        if let Some(name) = &name {
            check_once(reader, "name", name, &mut seen);
        }
        if let (Some(name), Some(component)) = (name, component) {
            balancers.push(Balancer { name: name.value, component });
        }
    }
    balancers
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

/// A node as it is written, its domain still a name.
struct NodeText {
    name: Name,
    member: Name,
    capacity: u64,
    domain: Name,
    warm_up: Permille,
    work: Option<Component>,
    site: Option<SiteIx>,
    spare: bool,
    host: Option<Component>,
    probe: Option<Component>,
}

fn read_optional(reader: &Reader<'_, '_>, key: &'static str) -> Option<Component> {
    reader.table(key).and_then(|table| read_component(&table))
}

fn read_sites(root: &Reader<'_, '_>) -> Vec<SiteSpec> {
    let readers = root.tables("site");
    if let Some(extra) = readers.get(4) {
        root.wrong(extra.line(), "site", "more than 4 sites", "declare the serving site and those that can replace it");
    }
    let (mut seen, mut sites, mut serving) = (BTreeMap::new(), Vec::new(), 0);
    for reader in readers.iter().take(4) {
        reader.require("name");
        reader.require("role");
        let (name, role) = (reader.name("name"), reader.text("role"));
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
        if let (Some(name), Some(role)) = (name, role) {
            check_once(reader, "name", &name, &mut seen);
            serving += usize::from(role == SiteRole::Serving);
            sites.push(SiteSpec { name: name.value, role });
        }
    }
    if let Some(first) = readers.first().filter(|_| serving != 1) {
        let message = format!("{serving} sites serve; two that write part the data, none leaves nothing to change");
        root.wrong(first.line(), "site.role", message, "give exactly one site role = \"serving\"");
    }
    sites
}

/// Finds a node's site; where sites are declared every node has one.
fn read_site(reader: &Reader<'_, '_>, sites: &[SiteSpec]) -> Option<SiteIx> {
    let Some(site) = reader.name("site") else {
        if !sites.is_empty() {
            reader.wrong(reader.line(), "site", "is missing, and sites are declared", "name the node's site");
        }
        return None;
    };
    let found = sites.iter().zip(0..).find(|(spec, _)| spec.name == site.value).map(|(_, index)| SiteIx::new(index));
    if found.is_none() {
        reader.wrong(site.line, "site", format!("no site {} is declared", site.value), "declare it as [[site]]");
    }
    found
}

fn read_nodes(root: &Reader<'_, '_>, sites: &[SiteSpec]) -> Vec<At<NodeText>> {
    root.require("node");
    let readers = root.tables("node");
    if readers.len() > usize::from(u16::MAX) {
        root.wrong(0, "node", "more than 65535 nodes", "split the cluster");
        return Vec::new();
    }
    let (mut names, mut members) = (BTreeMap::new(), BTreeMap::new());
    let mut writers: Vec<(String, usize)> = Vec::new();
    let mut nodes = Vec::new();
    for reader in &readers {
        for key in ["name", "capacity"] {
            reader.require(key);
        }
        let (name, member) = (reader.name("name"), reader.name("member"));
        if let Some(writer) = reader.flag("writer") {
            let message = "which node writes is observed, not declared: procedures hand it over";
            reader.wrong(writer.line, "writer", message, "remove it");
            if writer.value {
                let name = name.as_ref().map_or_else(|| "?".into(), |name| name.value.to_string());
                writers.push((name, writer.line));
            }
        }
        let (capacity, domain) = (reader.count("capacity"), reader.name("domain"));
        let warm_up = reader.share("warm_up").unwrap_or(Permille::WHOLE);
        let (work, site) = (read_optional(reader, "work"), read_site(reader, sites));
        let spare = reader.flag("spare").is_some_and(|spare| spare.value);
        let component = |key: &'static str| reader.required_table(key).and_then(|table| read_component(&table));
        let (host, probe) = (component("host"), component("probe"));
        reader.finish();
        let Some(name) = name else { continue };
        check_once(reader, "name", &name, &mut names);
        let member = member.unwrap_or_else(|| At { value: name.value.clone(), line: name.line });
        check_once(reader, "member", &member, &mut members);
        let Some(capacity) = capacity else { continue };
        let domain = domain.map_or_else(|| name.value.clone(), |domain| domain.value);
        let (member, capacity) = (member.value, capacity.value);
        let value = NodeText { name: name.value, member, capacity, domain, warm_up, work, site, spare, host, probe };
        nodes.push(At { value, line: reader.line() });
    }
    if let [(first, line), (second, other), ..] = writers.as_slice() {
        let message = format!("two writers: {first} (line {line}) and {second} (line {other})");
        root.wrong(*other, "node.writer", message, "keep writer = true on one node; two overwrite each other's files");
    }
    nodes
}

fn check_once(reader: &Reader<'_, '_>, key: &'static str, name: &At<Name>, seen: &mut BTreeMap<Name, usize>) {
    if let Some(line) = seen.insert(name.value.clone(), name.line) {
        let message = format!("{} is used on line {line} already", name.value);
        reader.wrong(name.line, key, message, "give each its own");
    }
}

fn resolve_domains(nodes: &[At<NodeText>]) -> Vec<Name> {
    let mut domains: Vec<Name> = Vec::new();
    for node in nodes {
        if !domains.contains(&node.value.domain) {
            domains.push(node.value.domain.clone());
        }
    }
    domains
}

/// Refuses a cluster that cannot hold the law even while nothing happens to it.
fn check_rest(root: &Reader<'_, '_>, topology: &Topology, line: usize) {
    let carried = |without: Option<DomainIx>, smallest_first: bool| {
        let mut left: Vec<u64> = topology
            .members()
            .filter(|(_, node)| Some(node.domain) != without)
            .map(|(_, node)| node.capacity)
            .collect();
        left.sort_unstable();
        if !smallest_first {
            left.reverse();
        }
        left.iter().take(usize::from(topology.pool.serve)).fold(0_u64, |sum, one| sum.saturating_add(*one))
    };
    let fix = "add capacity, or lower policy.peak_load to what is true";
    let (has, owed) = (carried(None, true), topology.owed_now());
    if has < owed {
        let message = format!("at rest the law is broken: {has} can serve, {owed} is owed now");
        root.wrong(line, "policy.peak_load", message, fix);
    }
    let worst = topology.domains().map(|domain| (carried(Some(domain), false), domain)).min();
    if let Some((has, domain)) = worst.filter(|(has, _)| *has < topology.owed_after_loss()) {
        let (owed, name) = (topology.owed_after_loss(), &topology.domains[domain.index()]);
        let message = format!("at rest the law is broken: if {name} is lost {has} is left, {owed} is owed then");
        let fix = format!("add a member of capacity {} outside {name}, or lower policy.peak_load", owed - has);
        root.wrong(line, "policy.survive_one", message, fix);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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
        assert_eq!(topology.policy.survive_one, Permille::WHOLE, "some stand by");
        assert_eq!(topology.policy.soak, Duration::from_millis(500));
        let domains: Vec<&str> = topology.domains.iter().map(Name::as_str).collect();
        assert_eq!(domains, ["rack-a", "esb2", "spare1"]);
        assert_eq!(topology.spares().count(), 1);
    }

    #[test]
    fn each_bad_input_is_told_with_its_line_and_key() {
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
            let told = error.diagnostics().iter().any(|found| found.line == line && found.key == key);
            assert!(told, "{to}: {error}");
        }
    }

    #[test]
    fn two_writers_are_told_with_both_lines() {
        let text = GOOD.replace("capacity = 1000\n", "capacity = 1000\nwriter = true\n");
        let error = Topology::from_toml_str(&text).unwrap_err().to_string();
        assert!(error.contains("two writers: esb1 (line 16) and esb2 (line 23)"), "{error}");
    }

    #[test]
    fn all_that_is_wrong_is_told_at_once() {
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
        assert!(error.contains("if rack-a is lost 900 is left, 1000 is owed then"), "{error}");
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
