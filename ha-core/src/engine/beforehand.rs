//! What is found before a plan is made, so that it is not found in the middle of a run: what a change would miss on a host, and
//! hosts that are one.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::Instrument;

use super::build::Shared;
use super::on::{READ_LIMIT, is_passing, unkept};
use crate::backend::{Installed, ServerProcess};
use crate::plan::Plan;
use crate::topology::NodeIx;

/// What one node says.
struct Found {
    node: NodeIx,
    missing: Vec<String>,
    process: Option<ServerProcess>,
}

/// Lists what is missing on the nodes of the serving site before anything is planned, one line each, and nodes that are one server.
/// What does not answer is the observation's to tell.
pub(super) async fn missing(shared: &Arc<Shared>) -> Vec<String> {
    let topology = &shared.topology;
    let home = topology.nodes().filter(|(_, node)| topology.is_home(node)).map(|(index, _)| index);
    let mut found = ask_all(shared, home, &[], true).await;
    found.sort_by_key(|one| one.node);
    let name = |node: NodeIx| &topology.node(node).name;
    let mut lines: Vec<String> = Vec::new();
    let mut lives: BTreeMap<String, NodeIx> = BTreeMap::new();
    for one in found {
        lines.extend(one.missing.into_iter().map(|line| format!("{}: {line}", name(one.node))));
        let Some(ServerProcess::Running(life)) = one.process else { continue };
        match lives.get(life.as_str()) {
            Some(other) => lines.push(format!(
                "{} and {} are one server, the process {life}: give each its own home, pid file, identity and unit",
                name(*other),
                name(one.node)
            )),
            None => drop(lives.insert(life.as_str().into(), one.node)),
        }
    }
    lines
}

/// Lists the programs of a plan's commands that are missing on its nodes, and the sets that the artifact store lacks, one line each.
pub(super) async fn missing_for(shared: &Arc<Shared>, plan: &Plan) -> Vec<String> {
    let commands = [&plan.commands.apply, &plan.commands.restore, &plan.commands.deploy];
    let mut programs: Vec<String> = commands.into_iter().filter_map(|argv| argv.first().cloned()).collect();
    programs.sort();
    programs.dedup();
    let is_command = |stage: &&crate::plan::Stage| {
        let mut orders = stage.steps.iter().flat_map(|step| stage.orders(step.action));
        orders.any(|order| order.is_command())
    };
    let mut nodes: Vec<NodeIx> = plan.stages.iter().filter(is_command).flat_map(|stage| stage.nodes.clone()).collect();
    nodes.sort_unstable();
    nodes.dedup();
    let unkept = unkept(shared, plan).await;
    if programs.is_empty() {
        return unkept;
    }
    let mut found = ask_all(shared, nodes.into_iter(), &programs, false).await;
    found.sort_by_key(|one| one.node);
    let name = |node: NodeIx| &shared.topology.node(node).name;
    found
        .into_iter()
        .flat_map(|one| one.missing.into_iter().map(move |line| format!("{}: {line}", name(one.node))))
        .chain(unkept)
        .collect()
}

async fn ask_all(
    shared: &Arc<Shared>,
    nodes: impl Iterator<Item = NodeIx>,
    programs: &[String],
    all: bool,
) -> Vec<Found> {
    let mut asked = JoinSet::new();
    for node in nodes {
        let (shared, programs) = (shared.clone(), programs.to_vec());
        asked.spawn(async move { ask(&shared, node, &programs, all).await }.in_current_span());
    }
    let mut found = Vec::new();
    while let Some(joined) = asked.join_next().await {
        match joined {
            Ok(one) => found.push(one),
            Err(error) => tracing::warn!(%error, "a look at a node ended unexpectedly"),
        }
    }
    found
}

/// Asks one node; with `all` also its probe, its release and its process.
async fn ask(shared: &Shared, node: NodeIx, programs: &[String], all: bool) -> Found {
    let (host, probe) = (&shared.hosts[node.index()], &shared.probes[node.index()]);
    let provisioner = shared.provision[node.index()].as_ref();
    if all && let Some(provisioner) = provisioner {
        let (missing, installed) =
            tokio::join!(timeout(READ_LIMIT, provisioner.missing()), timeout(READ_LIMIT, provisioner.installation()));
        // On a node that is to be installed nothing else can be there yet.
        if let Ok(Ok(None)) = installed {
            let missing = missing.ok().and_then(Result::ok).unwrap_or_default();
            return Found { node, missing, process: None };
        }
    }
    let mut missing = timeout(READ_LIMIT, host.missing(programs)).await.ok().and_then(Result::ok).unwrap_or_default();
    if !all {
        return Found { node, missing, process: None };
    }
    missing.extend(timeout(READ_LIMIT, probe.missing()).await.ok().and_then(Result::ok).unwrap_or_default());
    if let Some(files) = &shared.files {
        let name = &shared.topology.node(node).name;
        missing.extend(timeout(READ_LIMIT, files.missing(name)).await.ok().and_then(Result::ok).unwrap_or_default());
    }
    if let Some(store) = &shared.artifacts {
        let name = &shared.topology.node(node).name;
        missing.extend(timeout(READ_LIMIT, store.missing(name)).await.ok().and_then(Result::ok).unwrap_or_default());
    }
    if let Some(provisioner) = provisioner {
        missing.extend(timeout(READ_LIMIT, provisioner.missing()).await.ok().and_then(Result::ok).unwrap_or_default());
    }
    // What it follows from is told above; a spare whose release cannot be read is not used, and what can be installed may be absent.
    if missing.is_empty() && !shared.topology.node(node).spare {
        match timeout(READ_LIMIT, host.installed()).await {
            Ok(Ok(Installed::Absent)) if provisioner.is_none() => {
                missing.push("no release is installed: correct its home, or install one".into())
            }
            Ok(Err(error)) if !is_passing(&error) => missing.push(format!("its release cannot be read: {error}")),
            Ok(Ok(Installed::Absent | Installed::Release(_)) | Err(_)) | Err(_) => {}
        }
    }
    let process = timeout(READ_LIMIT, host.process()).await.ok().and_then(Result::ok);
    Found { node, missing, process }
}
