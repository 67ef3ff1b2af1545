//! `init` and `validate`: the cluster's file, without the cluster.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::cli::Common;
use crate::cluster;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::init::{Draft, TEMPLATE, draft};
use crate::json;
use crate::out::Out;

pub(super) fn init(common: &Common, out: &Out, from: Option<&Path>, force: bool) -> Result<Exit, Failure> {
    let Draft { text, notes } = match from {
        None => Draft { text: TEMPLATE.into(), notes: vec!["change what is marked with CHANGE".into()] },
        Some(path) => {
            let config = cluster::read(path, "name HAProxy's configuration")?;
            draft(&config, &absolute(path)).map_err(|what| {
                let next = "name a configuration with a backend that has servers";
                Failure::new(Exit::BadFile, format!("{}: {what}", path.display()), next)
            })?
        }
    };
    let file = &common.cluster;
    write(file, &text, force).map_err(|error| Failure::unwritable(file, &error))?;
    let written = json::Init { file: file.display().to_string(), notes };
    if out.json {
        out.value(&written)?;
    } else {
        let notes: String = written.notes.iter().map(|note| format!("  {note}\n")).collect();
        let default = file.as_os_str() == "cluster.toml";
        let option = if default { String::new() } else { format!(" --cluster {}", written.file) };
        let next = format!("`hactl validate{option}`, then `hactl show{option}`");
        out.text(&format!("{} is written\n{notes}next: {next}\n", written.file))?;
    }
    // What is drafted from a configuration may be a cluster that cannot lose a node: that is for its owner to know at once.
    cluster::load(file).map(|_| Exit::Done)
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf())
}

/// Writes a file as a whole or not at all; one that is there is replaced only by `force`.
pub(super) fn write(path: &Path, text: &str, force: bool) -> io::Result<()> {
    if !force {
        let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
        // Half of a file would be taken for one.
        return file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).inspect_err(|_| {
            let _ = std::fs::remove_file(path);
        });
    }
    if path.exists() && !path.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no file"));
    }
    let beside = path.with_extension(format!("new-{}", std::process::id()));
    let written = std::fs::write(&beside, text).and_then(|()| std::fs::rename(&beside, path));
    if written.is_err() {
        let _ = std::fs::remove_file(&beside);
    }
    written
}

pub(super) fn validate(common: &Common, out: &Out, changes: &[PathBuf]) -> Result<Exit, Failure> {
    let topology = cluster::load(&common.cluster)?;
    ha_backends::connect(&topology).map_err(|errors| Failure::connecting(&common.cluster, &errors))?;
    let change = |file: &PathBuf| {
        let change = cluster::load_change(file)?;
        cluster::check_names(&topology, &change, file)?;
        Ok(json::ValidChange { file: file.display().to_string(), procedure: change.name().into() })
    };
    let changes = changes.iter().map(change).collect::<Result<Vec<_>, Failure>>()?;
    let valid = json::Validate {
        cluster: topology.name().to_string(),
        nodes: topology.nodes().count(),
        spares: topology.spares().count(),
        pools: topology.pools().count(),
        balancers: topology.balancers().count(),
        changes,
        marked: cluster::marked(&common.cluster),
    };
    if out.json {
        out.value(&valid)?;
        return Ok(Exit::Done);
    }
    let several = |count: usize, what: &str| if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") };
    out.line(&format!(
        "{}: cluster {} is valid: {}, {} of them spare, {}, {}",
        common.cluster.display(),
        valid.cluster,
        several(valid.nodes, "node"),
        valid.spares,
        several(valid.pools, "pool"),
        several(valid.balancers, "balancer")
    ))?;
    for change in &valid.changes {
        out.line(&format!("{}: the change is valid: {}", change.file, change.procedure))?;
    }
    if let Some(marked) = &valid.marked {
        out.line(&format!("note: {marked}"))?;
    }
    Ok(Exit::Done)
}
