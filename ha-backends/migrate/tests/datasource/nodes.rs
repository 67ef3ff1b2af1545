use ha_migrate::datasource::{NodeConfig, lint_nodes};
use ha_migrate::lint::Finding;

use super::{body, mounted, shared, toml};

const URL: &str = "jdbc:postgresql://db:5432/shared";

fn told(findings: &[Finding]) -> Vec<String> {
    findings
        .iter()
        .map(|finding| format!("{}:{} {} {}", finding.file, finding.line, finding.rule, finding.what))
        .collect()
}

/// Whether exactly one finding is there, of a rule and with a text.
fn only(findings: &[Finding], rule: &str, part: &str) {
    let told = told(findings);
    assert!(told.len() == 1 && told[0].contains(rule) && told[0].contains(part), "{part:?} alone is due, is {told:#?}");
}

#[test]
fn a_manager_and_a_worker_that_agree_have_no_finding() {
    let datasources = shared(URL);
    let (manager, worker) = (mounted(false, None, "jdbc/SHARED_DB"), mounted(true, None, "jdbc/SHARED_DB"));
    let nodes = [
        NodeConfig::new("manager", &datasources.datasources).with_registry(&manager),
        NodeConfig::new("worker", &datasources.datasources).with_registry(&worker),
    ];
    assert_eq!(told(&lint_nodes(&nodes)), Vec::<String>::new());
}

#[test]
fn urls_that_differ_are_found_and_told_apart() {
    let parameter = shared("jdbc:postgresql://db:5432/shared?ssl=true");
    let other = shared("jdbc:postgresql://wso2:hunter2@db2:5432/shared");
    let one = shared(URL);
    let two = |second| lint_nodes(&[NodeConfig::new("a", &one.datasources), NodeConfig::new("b", second)]);
    only(&two(&parameter.datasources), "HA028", "has other URL parameters");
    let findings = two(&other.datasources);
    only(&findings, "HA028", "different databases");
    assert!(!findings[0].what.contains("hunter2"), "{}", findings[0]);
}

#[test]
fn cache_ids_are_compared_character_for_character() {
    let datasources = shared(URL);
    let manager = mounted(false, Some("wso2@jdbc:postgresql://db:5432/shared"), "jdbc/SHARED_DB");
    let worker = mounted(true, Some("wso2@jdbc:postgresql://DB:5432/shared"), "jdbc/SHARED_DB");
    let nodes = [
        NodeConfig::new("manager", &datasources.datasources).with_registry(&manager),
        NodeConfig::new("worker", &datasources.datasources).with_registry(&worker),
    ];
    only(&lint_nodes(&nodes), "HA028", "at character 24");
    // without one the server takes user@url: equal to the manager's here
    let worker = mounted(true, None, "jdbc/SHARED_DB");
    let nodes = [nodes[0], NodeConfig::new("worker", &datasources.datasources).with_registry(&worker)];
    assert_eq!(told(&lint_nodes(&nodes)), Vec::<String>::new());
}

#[test]
fn exactly_one_node_writes() {
    let datasources = shared(URL);
    let (writer, reader) = (mounted(false, None, "jdbc/SHARED_DB"), mounted(true, None, "jdbc/SHARED_DB"));
    let of = |first, second| {
        lint_nodes(&[
            NodeConfig::new("a", &datasources.datasources).with_registry(first),
            NodeConfig::new("b", &datasources.datasources).with_registry(second),
        ])
    };
    only(&of(&writer, &writer), "HA028", "a, b all write gov");
    only(&of(&reader, &reader), "HA028", "no node writes gov");
    assert_eq!(of(&reader, &writer), []);
}

#[test]
fn the_local_registry_is_never_mounted() {
    let datasources = shared(URL);
    let registry = mounted(false, None, "jdbc/WSO2CarbonDB");
    let node = NodeConfig::new("a", &datasources.datasources).with_registry(&registry);
    only(&lint_nodes(&[node]), "HA028", "mounted from the local registry");
}

#[test]
fn what_a_registry_names_must_be_there() {
    let datasources = shared(URL);
    let registry = mounted(false, None, "jdbc/NOT_THERE");
    only(
        &lint_nodes(&[NodeConfig::new("a", &datasources.datasources).with_registry(&registry)]),
        "HA028",
        "\"jdbc/NOT_THERE\", which is not there",
    );
    let mut registry = mounted(false, None, "jdbc/SHARED_DB");
    registry.mounts[0].instance = "other".into();
    only(
        &lint_nodes(&[NodeConfig::new("a", &datasources.datasources).with_registry(&registry)]),
        "HA028",
        "mounts other, which is no remoteInstance",
    );
}

#[test]
fn an_embedded_database_is_found_by_its_scheme_and_not_by_its_host() {
    only(&lint_nodes(&[NodeConfig::new("a", &shared("jdbc:h2:./x").datasources)]), "HA027", "embedded database");
    let host = shared("jdbc:postgresql://h2-prod/oracle");
    assert_eq!(lint_nodes(&[NodeConfig::new("a", &host.datasources)]), []);
}

#[test]
fn an_ampersand_that_is_escaped_twice_is_found() {
    let parsed = toml("[database.shared_db]\nurl = 'jdbc:mysql://h/d?a=b&amp;c=d'").unwrap();
    only(&lint_nodes(&[NodeConfig::new("a", &parsed.datasources)]), "HA028", "&amp;");
    let twice = super::master_file(&[&body("X", "x", "jdbc:mysql://h/d?a=b&amp;amp;c=d")]);
    let parsed = ha_migrate::datasource::master_datasources("m.xml", &twice).unwrap();
    only(&lint_nodes(&[NodeConfig::new("a", &parsed.datasources)]), "HA028", "&amp;");
}
