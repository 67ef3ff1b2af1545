//! What the fuzz targets call: readers of configurations and scripts. Each answers how much it has read, so that a test can tell
//! whether the seeds reach what lies behind the parsers.

use crate::datasource::{
    Datasources, Location, NodeConfig, Password, deployment_toml, lint_nodes, master_datasources, registry,
};
use crate::lint::{LintInput, Policy, lint};
use crate::script::Phase;
use crate::{Catalog, Dialect, Kind, classify};

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

/// Reads bytes as `master-datasources.xml`: how many datasources.
pub fn fuzz_master(data: &[u8]) -> usize {
    let text = String::from_utf8_lossy(data);
    master_datasources("master-datasources.xml", &text).map_or(0, |parsed| datasources(&text, &parsed))
}

/// Reads bytes as `deployment.toml`: how many datasources.
pub fn fuzz_deployment(data: &[u8]) -> usize {
    let text = String::from_utf8_lossy(data);
    // Some lead to each other without end, most do not.
    let env = |name: &str| Some(if name.len() > 2 { format!("$env{{{name}}}") } else { format!("of {name}") });
    let parsed = deployment_toml("deployment.toml", &text, &env);
    parsed.map_or(0, |parsed| datasources(&text, &parsed))
}

/// Each is somewhere in the file, and its password nowhere in what is printed.
fn datasources(text: &str, parsed: &Datasources) -> usize {
    let mut printed = format!("{parsed:?}");
    for finding in lint_nodes(&[NodeConfig::new("a", &parsed.datasources)]) {
        printed.push_str(&format!("{finding:?} {finding}"));
    }
    for one in &parsed.datasources {
        located(text, &one.at);
        let Password::Inline(secret) = &one.password else { continue };
        let secret = secret.expose();
        // A word that stands nowhere else: the name of a field may be anybody's password.
        let letters = secret.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let digits =
            secret.bytes().any(|byte| byte.is_ascii_digit()) && !secret.bytes().all(|byte| byte.is_ascii_digit());
        if secret.len() >= 8 && letters && digits && text.matches(secret).count() == 1 {
            assert!(!printed.contains(secret), "{secret} is printed: {printed}");
        }
    }
    parsed.notes.iter().for_each(|note| located(text, &note.at));
    parsed.datasources.len()
}

fn located(text: &str, at: &Location) {
    let last = text.split('\n').count();
    assert!((1..=last).contains(&at.line), "line {} of {last}", at.line);
}

/// Reads bytes as `registry.xml`: how many databases, instances and mounts.
pub fn fuzz_registry(data: &[u8]) -> usize {
    let text = String::from_utf8_lossy(data);
    let Ok(parsed) = registry("registry.xml", &text) else { return 0 };
    let node = NodeConfig::new("a", &[]).with_registry(&parsed);
    let _ = (format!("{parsed:?}"), lint_nodes(&[node, node]));
    parsed.configs.iter().for_each(|one| located(&text, &one.at));
    parsed.instances.iter().for_each(|one| located(&text, &one.at));
    parsed.configs.len() + parsed.instances.len() + parsed.mounts.len()
}

/// Classifies and lints bytes as a statement of each dialect; the first byte picks the dialect. Tells whether it was understood.
pub fn fuzz_classify(data: &[u8]) -> bool {
    let Some((first, rest)) = data.split_first() else { return false };
    let dialect = DIALECTS.get(usize::from(*first) % DIALECTS.len()).copied().unwrap_or(Dialect::Postgres);
    let text = String::from_utf8_lossy(rest);
    let class = classify(dialect, &text);
    assert!(class.kind != Kind::Opaque || class.objects.is_empty());
    let reads = class.objects.is_empty() && class.writes.is_empty();
    assert!(class.kind != Kind::Query || reads, "a query that writes: {class:?}");
    // Not the words that a setting was given: of what is no SQL, the tokenizer takes a line end for a part.
    let ended = classify(dialect, &format!("{text}\n"));
    let same = (ended.kind, &ended.objects, &ended.writes) == (class.kind, &class.objects, &class.writes);
    assert!(same, "a line end changes what it does: {ended:?}, {class:?}");
    let input = LintInput::new(dialect, "a.sql", Phase::Expand, &text, [(1, text.as_ref())]);
    let report = lint(&[input], &Catalog::new(), &Policy::new());
    assert_eq!(report.statements.len(), 1);
    class.kind != Kind::Opaque
}
