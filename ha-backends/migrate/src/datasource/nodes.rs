//! What the nodes of one cluster must agree on: HA027, HA028.

use std::collections::BTreeMap;

use super::infer::Product;
use super::{Datasource, Location, Registry, RemoteInstance};
use crate::lint::{Finding, Rule, Severity};
use crate::secret::redact;

/// The configuration of one node.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct NodeConfig<'a> {
    /// The node's name, for the findings.
    pub node: &'a str,
    /// Its datasources.
    pub datasources: &'a [Datasource],
    /// Its registry, where it has one.
    pub registry: Option<&'a Registry>,
}

impl<'a> NodeConfig<'a> {
    /// A node without a registry.
    pub fn new(node: &'a str, datasources: &'a [Datasource]) -> Self {
        Self { node, datasources, registry: None }
    }

    /// Sets its registry.
    #[must_use]
    pub fn with_registry(mut self, registry: &'a Registry) -> Self {
        self.registry = Some(registry);
        self
    }

    fn datasource(&self, name: &str) -> Option<&'a Datasource> {
        self.datasources.iter().find(|one| one.jndi.as_deref() == Some(name) || one.name == name)
    }

    /// The datasource behind a database configuration of the registry.
    fn behind(&self, config: &str) -> Option<&'a Datasource> {
        let config = self.registry?.configs.iter().find(|one| one.name == config)?;
        self.datasource(config.datasource.as_deref()?)
    }
}

/// Holds the nodes of one cluster against each other: the same database behind the same name, the same cache id character for
/// character, one writer of a mounted registry, no mount of a local registry, no embedded database that is shared.
pub fn lint_nodes(nodes: &[NodeConfig<'_>]) -> Vec<Finding> {
    let mut found = Vec::new();
    for node in nodes {
        urls_of_one_node(node, &mut found);
        mounts(node, &mut found);
    }
    same_urls(nodes, &mut found);
    let mut instances: BTreeMap<&str, Vec<(&NodeConfig<'_>, &RemoteInstance)>> = BTreeMap::new();
    for node in nodes {
        for instance in node.registry.iter().flat_map(|registry| &registry.instances) {
            instances.entry(&instance.id).or_default().push((node, instance));
        }
    }
    for (id, nodes) in instances {
        cache_ids(id, &nodes, &mut found);
        writers(id, &nodes, &mut found);
    }
    found
}

fn finding(rule: Rule, severity: Severity, at: &Location, what: String) -> Finding {
    Finding::new(rule, severity, &at.file, at.line, what)
}

/// The local registry of Carbon: each node has one of its own.
fn is_local(datasource: &Datasource) -> bool {
    datasource.name == "WSO2_CARBON_DB" || datasource.jndi.as_deref() == Some("jdbc/WSO2CarbonDB")
}

fn is_embedded(url: &str) -> bool {
    Product::of_url(url) == Some(Product::H2)
        || ["jdbc:derby:", "jdbc:sqlite:", "jdbc:hsqldb:"].iter().any(|scheme| url.starts_with(scheme))
}

fn urls_of_one_node(node: &NodeConfig<'_>, found: &mut Vec<Finding>) {
    for datasource in node.datasources {
        if is_embedded(&datasource.url) && !is_local(datasource) {
            let what = format!(
                "{} of {} is an embedded database: one process opens it, so no second node serves from it and it is migrated only \
                 while its node is stopped; move it to a database server",
                datasource.name, node.node
            );
            found.push(finding(Rule::Embedded, Severity::Error, &datasource.at, what));
        }
        if datasource.url.contains("&amp;") {
            let what = format!(
                "the URL of {} of {} holds `&amp;`, and the driver reads a parameter `amp;...`: write & in TOML, and `&amp;` once in XML",
                datasource.name, node.node
            );
            found.push(finding(Rule::NodeMismatch, Severity::Error, &datasource.at, what));
        }
    }
}

/// The same name, the same URL.
fn same_urls(nodes: &[NodeConfig<'_>], found: &mut Vec<Finding>) {
    let Some((first, others)) = nodes.split_first() else { return };
    let mut known: BTreeMap<&str, (&str, &Datasource)> =
        first.datasources.iter().map(|one| (one.name.as_str(), (first.node, one))).collect();
    for node in others {
        for datasource in node.datasources {
            let (other, reference) = *known.entry(&datasource.name).or_insert((node.node, datasource));
            if reference.url == datasource.url || is_local(datasource) {
                continue;
            }
            let name = &datasource.name;
            let same_head = head(&reference.url) == head(&datasource.url);
            let what = if same_head {
                format!(
                    "{name} of {} has other URL parameters than that of {other} ({}): the caches of the nodes part, as the cache id \
                     holds the URL; write the same characters",
                    node.node, reference.at
                )
            } else {
                format!(
                    "{name} of {} is {}, that of {other} is {} ({}): the nodes use different databases; write the same URL",
                    node.node,
                    datasource.shown_url(),
                    reference.shown_url(),
                    reference.at
                )
            };
            found.push(finding(Rule::NodeMismatch, Severity::Error, &datasource.at, what));
        }
    }
}

/// The URL up to its parameters.
fn head(url: &str) -> &str {
    url.split(['?', ';']).next().unwrap_or(url)
}

/// What the server takes as the cache id: the one written, or `user@url`.
fn cache_id(node: &NodeConfig<'_>, instance: &RemoteInstance) -> Option<String> {
    if let Some(written) = &instance.cache_id {
        return Some(written.clone());
    }
    let datasource = node.behind(instance.db_config.as_deref()?)?;
    Some(format!("{}@{}", datasource.user.as_deref().unwrap_or_default(), datasource.url))
}

fn cache_ids(id: &str, nodes: &[(&NodeConfig<'_>, &RemoteInstance)], found: &mut Vec<Finding>) {
    let mut ids = nodes
        .iter()
        .filter(|(_, one)| one.enable_cache)
        .filter_map(|(node, one)| Some((node, one, cache_id(node, one)?)));
    let Some((first, reference, expected)) = ids.next() else { return };
    for (node, instance, is) in ids {
        if is == expected {
            continue;
        }
        let same = expected.chars().zip(is.chars()).take_while(|(a, b)| a == b).count();
        let what = format!(
            "the cache id of {id} on {} differs from that on {} ({}) at character {}: {} is not {}; the caches part, and one node serves \
             what the other has changed; write the same characters",
            node.node,
            first.node,
            reference.at,
            same + 1,
            redact(&is),
            redact(&expected)
        );
        found.push(finding(Rule::NodeMismatch, Severity::Error, &instance.at, what));
    }
}

fn writers(id: &str, nodes: &[(&NodeConfig<'_>, &RemoteInstance)], found: &mut Vec<Finding>) {
    let writers: Vec<_> = nodes.iter().filter(|(_, one)| !one.read_only).collect();
    match writers.as_slice() {
        [_] => {}
        [] => {
            let Some((_, instance)) = nodes.first() else { return };
            let what = format!("no node writes {id}: set readOnly to false on the manager");
            found.push(finding(Rule::NodeMismatch, Severity::Error, &instance.at, what));
        }
        [_, second, ..] => {
            let names: Vec<_> = writers.iter().map(|(node, _)| node.node).collect();
            let what = format!("{} all write {id}: set readOnly to true on all but the manager", names.join(", "));
            found.push(finding(Rule::NodeMismatch, Severity::Error, &second.1.at, what));
        }
    }
}

/// What is mounted must be there, and be no local registry.
fn mounts(node: &NodeConfig<'_>, found: &mut Vec<Finding>) {
    let Some(registry) = node.registry else { return };
    let mut error = |at: &Location, what: String| found.push(finding(Rule::NodeMismatch, Severity::Error, at, what));
    for instance in &registry.instances {
        let Some(config) = instance.db_config.as_deref() else {
            error(
                &instance.at,
                format!("{} of {} names no dbConfig: write <dbConfig>...</dbConfig>", instance.id, node.node),
            );
            continue;
        };
        match registry.configs.iter().find(|one| one.name == config) {
            None => {
                let what =
                    format!("{} of {} names the dbConfig {config}, which is not there: add it", instance.id, node.node);
                error(&instance.at, what);
            }
            Some(config) => {
                let name = config.datasource.as_deref().unwrap_or_default();
                if node.datasource(name).is_none() && !node.datasources.is_empty() {
                    let what = format!(
                        "the dbConfig {} of {} names the datasource {name:?}, which is not there: add it, or correct the JNDI name",
                        config.name, node.node
                    );
                    error(&config.at, what);
                }
            }
        }
    }
    for mount in &registry.mounts {
        let Some(instance) = registry.instances.iter().find(|one| one.id == mount.instance) else {
            let what = format!(
                "{} of {} mounts {}, which is no remoteInstance: add it",
                mount.path, node.node, mount.instance
            );
            error(&mount.at, what);
            continue;
        };
        let config = instance.db_config.as_deref().unwrap_or_default();
        let local_config = registry.current.as_deref().is_some_and(|current| current == config);
        let local_database = node.behind(config).is_some_and(|one| is_local(one) || is_embedded(&one.url));
        let same_database = registry.current.as_deref().is_some_and(|current| {
            matches!((node.behind(current), node.behind(config)), (Some(local), Some(shared)) if local.url == shared.url)
        });
        if local_config || local_database || same_database {
            let what = format!(
                "{} of {} is mounted from the local registry, which each node has of its own: mount it from the shared database",
                mount.path, node.node
            );
            error(&mount.at, what);
        }
    }
}
