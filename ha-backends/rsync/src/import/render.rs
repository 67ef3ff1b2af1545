use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use ha_core::topology::Name;

use super::finding::{Place, Rule};
use super::model::{Edge, Imported};
use super::rules::is_unchecked;

/// The keys of the block, as [`RsyncConfig::from_component`](crate::RsyncConfig::from_component) reads them.
mod key {
    pub(super) const TABLE: &str = "files";
    pub(super) const BACKEND: &str = "backend";
    pub(super) const TREE: &str = "tree";
    pub(super) const WRITER: &str = "writer";
    pub(super) const RSH: &str = "rsh";
    pub(super) const DESTINATIONS: &str = "destinations";
    pub(super) const LOCAL_ONLY: &str = "local_only";
    pub(super) const DELETE_BUDGET: &str = "delete_budget";
    pub(super) const TIMEOUT: &str = "timeout";
}

/// What a block of a cluster file needs, and no script says.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Rendering {
    /// The node that the scripts run on.
    pub writer: Name,
    /// The nodes by the hosts that the scripts call them. Default: a node has the name of its host.
    pub nodes: BTreeMap<String, Name>,
    /// The folder that the tree is below, on the writer. Default: what is in front of `/repository/`.
    pub home: Option<String>,
    /// The one tree to share, below the home, where the scripts copy several. Default: the only one.
    pub tree: Option<String>,
    /// The paths that belong to each node alone, where the excludes do not say them. Default: the excludes.
    pub local_only: Option<Vec<String>>,
    /// Whether a person has looked at what was not understood. Default false: nothing is written then.
    pub is_reviewed: bool,
}

/// Why no block can be written.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the file sharing cannot be written as settings: {}", .reasons.join("; "))]
#[non_exhaustive]
pub struct NotRendered {
    /// Each reason.
    pub reasons: Vec<String>,
}

impl Rendering {
    /// Writes for scripts that run on the node `writer`.
    pub fn new(writer: Name) -> Self {
        Self { writer, nodes: BTreeMap::new(), home: None, tree: None, local_only: None, is_reviewed: false }
    }

    /// Names the node of a host.
    #[must_use]
    pub fn with_node(mut self, host: impl Into<String>, node: Name) -> Self {
        self.nodes.insert(host.into(), node);
        self
    }

    /// Sets the folder that the tree is below, on the writer.
    #[must_use]
    pub fn with_home(mut self, home: impl Into<String>) -> Self {
        self.home = Some(home.into());
        self
    }

    /// Chooses a tree, below the home.
    #[must_use]
    pub fn with_tree(mut self, tree: impl Into<String>) -> Self {
        self.tree = Some(tree.into());
        self
    }

    /// Sets the paths that belong to each node alone.
    #[must_use]
    pub fn with_local_only(mut self, paths: Vec<String>) -> Self {
        self.local_only = Some(paths);
        self
    }

    /// Says that a person has looked at what was not understood.
    #[must_use]
    pub fn with_reviewed(mut self, is_reviewed: bool) -> Self {
        self.is_reviewed = is_reviewed;
        self
    }
}

impl Imported {
    /// Writes the file sharing as the block `[files]` of a cluster file.
    ///
    /// Options of ssh that turn the check of host keys off are left out, and a comment says so. Scripts that delete nothing get
    /// a budget of no deletions.
    ///
    /// # Errors
    /// [`NotRendered`] with each reason: what the settings cannot say, or what is to be looked at first.
    pub fn files_block(&self, rendering: &Rendering) -> Result<String, NotRendered> {
        let mut reasons = Vec::new();
        self.open(rendering, &mut reasons);
        let block = block(self, rendering, &mut reasons);
        if reasons.is_empty() { Ok(block) } else { Err(NotRendered { reasons }) }
    }

    /// Lists what is to be looked at first.
    fn open(&self, rendering: &Rendering, reasons: &mut Vec<String>) {
        let hides = |rule| matches!(rule, Rule::NotUnderstood | Rule::ListNotGiven | Rule::ListLine);
        for finding in self.findings.iter().filter(|finding| hides(finding.rule) && !rendering.is_reviewed) {
            reasons.push(format!("{}: {}", Place::new(&finding.file, finding.line), finding.what));
        }
    }
}

fn block(imported: &Imported, rendering: &Rendering, reasons: &mut Vec<String>) -> String {
    let Some((tree, edges)) = tree(imported, rendering, reasons) else { return String::new() };
    let destinations = destinations(&edges, rendering, reasons);
    let (rsh, unchecked) = rsh(&edges, reasons);
    let local_only = local_paths(&edges, rendering, reasons);
    let budgets: BTreeSet<Option<u32>> =
        edges.iter().map(|edge| if edge.deletes { edge.max_delete } else { Some(0) }).collect();
    let timeout = edges.iter().filter_map(|edge| edge.timeout).max();

    let mut lines = vec![format!("[{}]", key::TABLE), format!("{} = {}", key::BACKEND, quoted(crate::NAME))];
    if unchecked {
        lines.insert(0, "# Host keys are checked from here on: enter those of the nodes into known_hosts.".into());
    }
    for job in imported.jobs.iter().filter(|job| job.is_held) {
        lines.insert(0, format!("# {} is held by a comment: find out why.", job.at));
    }
    for job in imported.jobs.iter().filter(|job| !job.is_held) {
        lines.insert(0, format!("# Instead of {}: remove that job, or two writers are at work.", job.at));
    }
    lines.push(format!("{} = {}", key::TREE, quoted(&tree)));
    lines.push(format!("{} = {}", key::WRITER, quoted(rendering.writer.as_str())));
    lines.push(format!("{} = {}", key::RSH, list(&rsh)));
    lines.push(format!("{} = {}", key::DESTINATIONS, list(&destinations)));
    if !local_only.is_empty() {
        lines.push(format!("{} = {}", key::LOCAL_ONLY, list(&local_only)));
    }
    if let Some(Some(budget)) = budgets.first().filter(|_| budgets.len() == 1) {
        lines.push(format!("{} = {budget}", key::DELETE_BUDGET));
    }
    if let Some(timeout) = timeout {
        lines.push(format!("{} = {}", key::TIMEOUT, quoted(&format!("{}s", timeout.as_secs()))));
    }
    lines.join("\n") + "\n"
}

/// Finds the tree that is shared, and what copies it.
fn tree<'i>(
    imported: &'i Imported,
    rendering: &Rendering,
    reasons: &mut Vec<String>,
) -> Option<(String, Vec<&'i Edge>)> {
    let mut trees: BTreeMap<String, Vec<&Edge>> = BTreeMap::new();
    for edge in &imported.edges {
        let at = &edge.at;
        if edge.is_pull() || edge.destination.host.is_none() {
            reasons.push(format!("{at}: the copy does not go from the writer to another host"));
            continue;
        }
        let folder = edge.source.folder();
        let home = rendering.home.as_deref().or_else(|| folder.find("/repository/").map(|at| &folder[..at]));
        let below = home.and_then(|home| folder.strip_prefix(home.trim_end_matches('/'))?.strip_prefix('/'));
        match below.filter(|below| !below.is_empty() && !below.contains(['*', '?', '['])) {
            Some(below) => trees.entry(below.into()).or_default().push(edge),
            None => reasons.push(format!("{at}: it is not known which part of {folder} is the home: name it")),
        }
    }
    if let Some(tree) = &rendering.tree {
        trees.retain(|known, _| known == tree);
    }
    if trees.len() > 1 {
        let names: Vec<&str> = trees.keys().map(String::as_str).collect();
        reasons.push(format!("several trees are copied, choose one: {}", names.join(", ")));
    }
    let (tree, edges) = trees.into_iter().next().or_else(|| {
        reasons.push("no copy from the writer to another host is known".into());
        None
    })?;
    for edge in edges.iter().filter(|edge| !edge.target().ends_with(&format!("/{tree}"))) {
        reasons.push(format!("{}: {} is no home with {tree} below it", super::edges::place(edge), edge.target()));
    }
    Some((tree, edges))
}

fn destinations(edges: &[&Edge], rendering: &Rendering, reasons: &mut Vec<String>) -> Vec<String> {
    let mut named: BTreeMap<Name, String> = BTreeMap::new();
    for edge in edges {
        let Some(host) = &edge.destination.host else { continue };
        let Some(node) = rendering.nodes.get(host).cloned().or_else(|| Name::new(host).ok()) else {
            reasons.push(format!("{}: it is not known which node {host} is", super::edges::place(edge)));
            continue;
        };
        let user = edge.destination.user.as_ref().map_or(String::new(), |user| format!("{user}@"));
        let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        let destination = format!("{user}{host}");
        let before = named.insert(node.clone(), destination.clone()).filter(|before| *before != destination);
        if let Some(before) = before {
            reasons.push(format!("{node} has two destinations: {before} and {destination}"));
        }
    }
    named.into_iter().map(|(node, destination)| format!("{node}={destination}")).collect()
}

/// Returns the remote shell without what turns the check of host keys off, and whether there was such.
fn rsh(edges: &[&Edge], reasons: &mut Vec<String>) -> (Vec<String>, bool) {
    let all: BTreeSet<&Vec<String>> = edges.iter().map(|edge| &edge.rsh).collect();
    if all.len() > 1 {
        reasons.push("the copies have different remote shells".into());
    }
    let mut words = all.first().into_iter().flat_map(|words| words.iter());
    let (mut kept, mut unchecked) = (Vec::new(), false);
    while let Some(word) = words.next() {
        let (option, value) = match word.strip_prefix("-o") {
            Some("") => (words.next().cloned().unwrap_or_default(), true),
            Some(option) => (option.to_string(), false),
            None => (String::new(), false),
        };
        if is_unchecked(&option) {
            unchecked = true;
            continue;
        }
        kept.push(word.clone());
        kept.extend(value.then_some(option));
    }
    if kept.is_empty() {
        kept.push("ssh".into());
    }
    (kept, unchecked)
}

fn local_paths(edges: &[&Edge], rendering: &Rendering, reasons: &mut Vec<String>) -> Vec<String> {
    if let Some(paths) = &rendering.local_only {
        return paths.clone();
    }
    let all: BTreeSet<&Vec<String>> = edges.iter().map(|edge| &edge.excludes).collect();
    if all.len() > 1 {
        reasons.push("the copies have different excludes: name the paths in local_only".into());
    }
    let mut paths = Vec::new();
    for pattern in all.first().into_iter().flat_map(|patterns| patterns.iter()) {
        match local_only(pattern) {
            Some(path) => paths.push(path),
            None => {
                reasons.push(format!("the exclude {pattern:?} is no path below the tree: name the paths in local_only"))
            }
        }
    }
    paths
}

/// Returns the path below the tree that a pattern leaves out; `None` where it is not one path.
pub(super) fn local_only(pattern: &str) -> Option<String> {
    let path = pattern.strip_prefix('/')?.trim_end_matches('/');
    let plain = |char: char| char.is_ascii_alphanumeric() || "_-./@:=,+% ".contains(char);
    let is_path = !path.is_empty() && !path.starts_with(['-', '/']) && path.chars().all(plain);
    (is_path && !path.split('/').any(|part| ["..", "."].contains(&part))).then(|| path.into())
}

fn list(texts: &[String]) -> String {
    let texts: Vec<String> = texts.iter().map(|text| quoted(text)).collect();
    format!("[{}]", texts.join(", "))
}

/// Writes a string as TOML has it.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for char in text.chars() {
        match char {
            '"' | '\\' => {
                out.push('\\');
                out.push(char);
            }
            char if char.is_control() => {
                // Writing to a string does not fail.
                let _ = write!(out, "\\u{:04X}", u32::from(char));
            }
            char => out.push(char),
        }
    }
    out + "\""
}
