//! The cluster: its file, what drives it, and the changes that are asked of it.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use ha_backends::sqlite::SqliteStore;
use ha_core::engine::Engine;
use ha_core::procedure::ChangeRequest;
use ha_core::topology::Topology;

use crate::exit::Exit;
use crate::failure::Failure;

/// Longer files are no configuration.
const LONGEST: u64 = 4 * 1024 * 1024;

/// Reads a text file.
pub(crate) fn read(path: &Path, next: &str) -> Result<String, Failure> {
    let read = || {
        let (file, mut text) = (File::open(path)?, String::new());
        if file.metadata()?.is_dir() {
            return Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a folder"));
        }
        file.take(LONGEST + 1).read_to_string(&mut text)?;
        if text.len() as u64 > LONGEST {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is longer than 4 MiB"));
        }
        Ok(text)
    };
    read().map_err(|error| Failure::unreadable(path, &error, next))
}

/// Reads the cluster file.
pub(crate) fn load(path: &Path) -> Result<Topology, Failure> {
    let text = read(path, "name the file of the cluster with --cluster FILE, or write one with `hactl init`")?;
    let what = "the cluster is not as it has to be";
    Topology::from_toml_str(&text).map_err(|error| Failure::in_file(path, what, error.diagnostics()))
}

/// Says which lines of the cluster file `hactl init` has marked as to be changed, and are so still; `None` where none is.
pub(crate) fn marked(path: &Path) -> Option<String> {
    let text = read(path, "").ok()?;
    let is_marked = |line: &str| !line.starts_with('#') && line.contains("# CHANGE");
    let mut lines = text.lines().zip(1_u32..).filter(|(line, _)| is_marked(line)).map(|(_, number)| number);
    let first = lines.next()?;
    let others = lines.count();
    let more = if others == 0 { String::new() } else { format!(", and {others} more") };
    let file = path.display();
    Some(format!(
        "{file}: line {first} is still marked with CHANGE{more}: what is said there is believed; take the marks away"
    ))
}

/// Reads a change file.
pub(crate) fn load_change(path: &Path) -> Result<ChangeRequest, Failure> {
    let text = read(path, "name the file that describes the change; `hactl schema change` says what is in it")?;
    let what = "the change is not as it has to be";
    ChangeRequest::from_toml_str(&text).map_err(|error| Failure::in_file(path, what, error.diagnostics()))
}

/// Makes sure that the cluster has what a change names: its nodes, failure domains and sites.
pub(crate) fn check_names(topology: &Topology, change: &ChangeRequest, file: &Path) -> Result<(), Failure> {
    let nodes: Vec<&str> = topology.nodes().map(|(_, node)| node.name.as_str()).collect();
    let sites: Vec<&str> = topology.sites().iter().map(|site| site.name.as_str()).collect();
    let domains = topology.domains().map(|domain| topology.domain_name(domain).as_str());
    let domains = domains.filter(|domain| !nodes.contains(domain));
    let lost: Vec<&str> = nodes.iter().copied().chain(domains).collect();
    let one = |key: &'static str, name: &Option<String>| name.clone().map(|name| (key, name));
    let (named, what, known): (Vec<(&str, String)>, _, _) = match change {
        ChangeRequest::Outage(request) => {
            (request.lost.iter().map(|name| ("lost", name.clone())).collect(), "node or failure domain", lost)
        }
        ChangeRequest::Rejoin(request) => (vec![("node", request.node.clone())], "node", nodes),
        ChangeRequest::HandOver(request) => (vec![("to", request.to.clone())], "node", nodes),
        ChangeRequest::AddNode(request) => (vec![("node", request.node.clone())], "node", nodes),
        ChangeRequest::RetireNode(request) => {
            let others = [one("writer", &request.writer), one("work", &request.work)];
            let named = std::iter::once(("node", request.node.clone())).chain(others.into_iter().flatten());
            (named.collect(), "node", nodes)
        }
        ChangeRequest::SiteLoss(request) => {
            let named = std::iter::once(("lost", request.lost.clone())).chain(one("to", &request.to));
            (named.collect(), "site", sites)
        }
        ChangeRequest::FailBack(request) => (vec![("to", request.to.clone())], "site", sites),
        ChangeRequest::Drill(request) => (vec![("site", request.site.clone())], "site", sites),
        _ => return Ok(()),
    };
    let Some((key, name)) = named.iter().find(|(_, name)| !known.contains(&name.as_str())) else { return Ok(()) };
    let next = match known[..] {
        [] => format!("declare it in the cluster file: it has no {what}"),
        _ => format!("correct {key}; the cluster has {}", known.join(", ")),
    };
    Err(Failure::new(Exit::NotFound, format!("{}: {key}: the cluster has no {what} {name}", file.display()), next))
}

/// Builds what drives a cluster. Touches nothing.
pub(crate) fn engine(file: &Path, topology: Topology, store: Option<Arc<SqliteStore>>) -> Result<Engine, Failure> {
    let backends = ha_backends::connect(&topology).map_err(|errors| Failure::connecting(file, &errors))?;
    let mut builder = backends.engine(topology).with_owner(owner());
    if let Some(store) = store {
        builder = builder.with_store(store.clone(), store);
    }
    builder.build().map_err(|error| Failure::internal(error.to_string()))
}

/// Names this process for the lease and the journal: who, where, which.
fn owner() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = if host.trim().is_empty() { "this machine" } else { host.trim() };
    format!("{} on {host}, hactl {}", person(), std::process::id())
}

/// Names who calls.
pub(crate) fn person() -> String {
    let named = |key| std::env::var(key).ok().filter(|name| !name.trim().is_empty());
    ["SUDO_USER", "USER", "LOGNAME"].into_iter().find_map(named).unwrap_or_else(|| "somebody".into())
}
