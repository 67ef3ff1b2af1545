use std::collections::BTreeSet;

use crate::plan::Plan;
use crate::state::{ClusterState, Process, ServerDomain, Sync, Traffic, Work};
use crate::topology::Topology;

/// Lists what was seen of a cluster, one line each, as an approval is bound to it. What changes by itself while nothing is done
/// is left out: how warm a server is, and how many requests a node still has.
pub(super) fn facts(topology: &Topology, plan: &Plan, state: &ClusterState) -> Vec<String> {
    let mut lines = Vec::new();
    for (index, node) in topology.nodes() {
        let (name, seen) = (&node.name, state.node(index));
        if state.is_lost(node.domain) {
            lines.push(format!("{name}: lost"));
            continue;
        }
        let process = match seen.process {
            Process::Absent => "absent",
            Process::Stopped => "stopped",
            Process::Starting => "starting",
            Process::Ready { .. } => "ready",
            Process::Sick => "sick",
            Process::Unknown => "unknown",
        };
        lines.push(format!("{name}: the server is {process}"));
        let release = seen.release.map_or("unknown", |release| plan.facts.releases.name(release));
        let half = if seen.half_changed { ", half changed" } else { "" };
        lines.push(format!("{name}: release {release}{half}"));
        if seen.server_domain == ServerDomain::Test {
            lines.push(format!("{name}: in its test domain"));
        }
        if seen.work != Work::None {
            lines.push(format!("{name}: pulled work is {:?}", seen.work));
        }
        if seen.sync != Sync::None || seen.writer.number() > 0 {
            let set =
                seen.generation.map_or_else(|| "unknown".into(), |id| plan.facts.generations.sequence(id).to_string());
            lines.push(format!(
                "{name}: files {:?}, generation {set}, writer epoch {}",
                seen.sync,
                seen.writer.number()
            ));
        }
        for (member, port, balancer) in topology.memberships(index) {
            let traffic = match state.member(member).traffic {
                Traffic::Draining { .. } => "Draining".into(),
                traffic @ (Traffic::Out
                | Traffic::Backup
                | Traffic::In
                | Traffic::Unknown
                | Traffic::Down
                | Traffic::Gone) => {
                    format!("{traffic:?}")
                }
            };
            let (balancer, pool) = (&topology.balancer(balancer).name, &topology.pool(port.pool).name);
            lines.push(format!("{name}: {traffic} on {balancer} in pool {pool}"));
        }
    }
    if topology.database().is_some() {
        lines.push(format!("the schema is {}", state.schema));
        lines.push(format!("the copies of the database: {}", state.copies));
    }
    if let Some(service) = &plan.facts.service {
        lines.push(format!("the route {} is {}", service.route, state.exposure));
    }
    for (site, seen) in topology.sites().iter().zip(&state.sites) {
        lines.push(format!("site {} is {} with epoch {}", site.name, seen.site, seen.epoch.number()));
    }
    lines
}

/// Says what differs between two lists of facts, one line each.
pub(super) fn differences(before: &[String], now: &[String]) -> Vec<String> {
    if before == now {
        return Vec::new();
    }
    let (before, now): (BTreeSet<_>, BTreeSet<_>) = (before.iter().collect(), now.iter().collect());
    let gone = before.difference(&now).map(|line| format!("no more: {line}"));
    let new = now.difference(&before).map(|line| format!("now: {line}"));
    gone.chain(new).collect()
}
