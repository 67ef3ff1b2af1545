//! What the fuzz targets call: readers of configurations and scripts.

use crate::datasource::{NodeConfig, deployment_toml, lint_nodes, master_datasources, registry};
use crate::lint::{LintInput, Policy, lint};
use crate::script::Phase;
use crate::{Catalog, Dialect, classify};

const DIALECTS: [Dialect; 8] = [
    Dialect::Db2,
    Dialect::H2,
    Dialect::MariaDb,
    Dialect::MySql,
    Dialect::Oracle,
    Dialect::Postgres,
    Dialect::Sqlite,
    Dialect::SqlServer,
];

/// Reads bytes as `master-datasources.xml`.
pub fn fuzz_master(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(parsed) = master_datasources("master-datasources.xml", &text) {
        let _ = (format!("{parsed:?}"), lint_nodes(&[NodeConfig::new("a", &parsed.datasources)]));
    }
}

/// Reads bytes as `deployment.toml`.
pub fn fuzz_deployment(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(parsed) = deployment_toml("deployment.toml", &text, &|name| Some(format!("$env{{{name}}}"))) {
        let _ = (format!("{parsed:?}"), lint_nodes(&[NodeConfig::new("a", &parsed.datasources)]));
    }
}

/// Reads bytes as `registry.xml`.
pub fn fuzz_registry(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(parsed) = registry("registry.xml", &text) {
        let node = NodeConfig::new("a", &[]).with_registry(&parsed);
        let _ = (format!("{parsed:?}"), lint_nodes(&[node, node]));
    }
}

/// Classifies and lints bytes as a statement of each dialect; the first byte picks the dialect.
pub fn fuzz_classify(data: &[u8]) {
    let Some((first, rest)) = data.split_first() else { return };
    let dialect = DIALECTS.get(usize::from(*first) % DIALECTS.len()).copied().unwrap_or(Dialect::Postgres);
    let text = String::from_utf8_lossy(rest);
    let class = classify(dialect, &text);
    assert!(class.kind != crate::Kind::Opaque || class.objects.is_empty());
    let input = LintInput::new(dialect, "a.sql", Phase::Expand, &text, [(1, text.as_ref())]);
    let _ = lint(&[input], &Catalog::new(), &Policy::new());
}
