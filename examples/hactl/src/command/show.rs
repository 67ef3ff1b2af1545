//! `show`: the cluster as it is declared, and as it is seen.

use ha_core::engine::Observed;
use ha_core::law::Law;
use ha_core::state::{Process, Sync, Traffic, Work};
use ha_core::topology::{Node, NodeIx, Pool, PoolIx, Role, Topology};

use crate::cli::Common;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::json::{SeenNode, SeenTraffic, Show, ShowNode, ShowPool, ShowSite};
use crate::out::{Out, Tone};
use crate::{clock, cluster};

pub(super) fn declared(common: &Common, out: &Out) -> Result<Exit, Failure> {
    let topology = cluster::load(&common.cluster)?;
    tell(out, &describe(&topology, None))?;
    Ok(Exit::Done)
}

pub(super) async fn seen(common: &Common, out: &Out) -> Result<Exit, Failure> {
    let engine = cluster::engine(&common.cluster, cluster::load(&common.cluster)?, None)?;
    let observed = engine.observe().await.map_err(Failure::of_run)?;
    tell(out, &describe(engine.topology(), Some(&observed)))?;
    Ok(if is_part_unseen(engine.topology(), &observed) { Exit::Unreachable } else { Exit::Done })
}

/// Tells whether part of the cluster could not be seen.
pub(super) fn is_part_unseen(topology: &Topology, seen: &Observed) -> bool {
    let state = &seen.state;
    let mut nodes = state.nodes().map(|(node, known)| {
        let mut members = state.members(node).iter();
        known.process == Process::Unknown
            || known.sync == Sync::Unknown
            || known.work == Work::Unknown
            || members.any(|member| member.traffic == Traffic::Unknown)
    });
    let mut sites = topology.sites().iter().zip(&seen.facts.sites);
    // A schema that cannot be read is taken for the first one, and a clone for none: only the notes tell it.
    let mut notes = seen.notes.iter();
    nodes.any(|is_unseen| is_unseen)
        || sites.any(|(declared, site)| declared.component(Role::Replica).is_some() && site.replica.is_none())
        || notes.any(|note| UNSEEN.iter().any(|begin| note.starts_with(begin)))
}

/// How the engine begins its note that it cannot see the schema, or the clone of the database.
const UNSEEN: [&str; 4] = [
    "the schema cannot be read: ",
    "the database did not answer in ",
    "the clone of the database cannot be read: ",
    "the clone of the database did not answer in ",
];

fn describe(topology: &Topology, seen: Option<&Observed>) -> Show {
    let law = seen.map(|seen| Law::new(topology, &seen.facts));
    let pool = |(index, pool): (PoolIx, &Pool)| {
        let measured = law.as_ref().zip(seen);
        let worst = measured.as_ref().and_then(|(law, seen)| law.worst_loss(&seen.state, index));
        ShowPool {
            pool: pool.name.to_string(),
            peak_load: pool.peak_load,
            serve: pool.serve,
            required_now: pool.required_now(),
            required_after_loss: pool.required_after_loss(),
            serves: measured.map(|(law, seen)| law.capacity(&seen.state, index)),
            after_loss: worst.map(|(left, _)| left),
            worst_loss: worst.map(|(_, domain)| topology.domain_name(domain).to_string()),
        }
    };
    let node = |(index, node): (NodeIx, &Node)| ShowNode {
        node: node.name.to_string(),
        spare: node.spare,
        domain: topology.domain_name(node.domain).to_string(),
        site: node.site.map(|site| topology.site(site).name.to_string()),
        seen: seen.map(|seen| seen_node(topology, seen, index)),
    };
    let site = |(place, site): (usize, &ha_core::topology::SiteSpec)| {
        let known = seen.and_then(|seen| seen.state.sites.get(place));
        ShowSite {
            site: site.name.to_string(),
            state: known.map(|known| known.site.to_string()),
            epoch: known.map(|known| known.epoch.number()),
        }
    };
    let schema = topology.database().and(seen).map(|seen| seen.state.schema.to_string());
    let broken = law.zip(seen).map_or_else(Vec::new, |(law, seen)| law.broken(&seen.state));
    Show {
        cluster: topology.name().to_string(),
        at_unix_ms: seen.map(|_| clock::now()),
        pools: topology.pools().map(pool).collect(),
        nodes: topology.nodes().map(node).collect(),
        sites: topology.sites().iter().enumerate().map(site).collect(),
        schema,
        broken: broken.iter().map(ToString::to_string).collect(),
        notes: seen.map_or_else(Vec::new, |seen| seen.notes.clone()),
        dangers: seen.map_or_else(Vec::new, |seen| seen.dangers.clone()),
    }
}

fn seen_node(topology: &Topology, seen: &Observed, node: NodeIx) -> SeenNode {
    let known = seen.state.node(node);
    let generation = known.generation.and_then(|id| seen.facts.generations.get(id));
    let traffic = |(member, port, balancer): (_, &ha_core::topology::Port, _)| SeenTraffic {
        balancer: topology.balancer(balancer).name.to_string(),
        pool: topology.pool(port.pool).name.to_string(),
        state: traffic_word(seen.state.member(member).traffic).into(),
    };
    SeenNode {
        process: process_word(known.process).into(),
        release: known.release.map(|id| seen.facts.releases.name(id).to_string()),
        tested: known.is_tested(),
        traffic: topology.memberships(node).map(traffic).collect(),
        sync: sync_word(known.sync).into(),
        generation: generation.map(|generation| generation.sequence),
        digest: generation.map(|generation| generation.digest.to_string()),
        writer: known.writer.number() > 0,
        work: work_word(known.work).into(),
    }
}

fn tell(out: &Out, shown: &Show) -> Result<(), Failure> {
    if out.json { out.value(shown) } else { out.text(&text(out, shown)) }
}

fn text(out: &Out, shown: &Show) -> String {
    let mut lines = vec![out.toned(Tone::Strong, &format!("cluster {}", shown.cluster))];
    if let Some(at) = shown.at_unix_ms {
        lines.push(format!("  seen at {}", clock::utc(at)));
    }
    for pool in &shown.pools {
        lines.push(out.toned(Tone::Strong, &format!("pool {}", pool.pool)));
        lines.push(format!("  peak load {}, {} serve at rest", pool.peak_load, pool.serve));
        match (pool.serves, pool.after_loss) {
            (Some(serves), Some(left)) => {
                lines.push(format!("  serves {serves} of {} required", pool.required_now));
                let worst = pool.worst_loss.as_deref().unwrap_or("a failure domain");
                lines.push(format!("  {left} if {worst} is lost, of {} required", pool.required_after_loss));
            }
            (_, _) => lines
                .push(format!("  {} required, {} after one more loss", pool.required_now, pool.required_after_loss)),
        }
    }
    for site in &shown.sites {
        let state = site.state.as_deref().unwrap_or("not looked at");
        let epoch = site.epoch.map_or_else(String::new, |epoch| format!(", epoch {epoch}"));
        lines.push(format!("site {}: {state}{epoch}", site.site));
    }
    for node in &shown.nodes {
        let kind = if node.spare { "spare" } else { "node" };
        let site = node.site.as_ref().map_or_else(String::new, |site| format!(", site {site}"));
        lines.push(out.toned(Tone::Strong, &format!("{kind} {}", node.node)));
        lines.push(format!("  failure domain {}{site}", node.domain));
        let Some(seen) = &node.seen else { continue };
        let tested = if seen.tested { ", tested" } else { "" };
        let release = seen.release.as_deref().unwrap_or("not known");
        lines.push(format!("  server {}, release {release}{tested}", seen.process));
        lines.extend(seen.traffic.iter().map(|on| format!("  {} on {} (pool {})", on.state, on.balancer, on.pool)));
        if let Some(generation) = seen.generation {
            let digest = seen.digest.as_deref().unwrap_or("");
            let writer = if seen.writer { ", writes" } else { "" };
            lines.push(format!("  files: set {generation} {digest}, sync {}{writer}", seen.sync));
        }
        if seen.work != work_word(Work::None) {
            lines.push(format!("  pulled work {}", seen.work));
        }
    }
    if let Some(schema) = &shown.schema {
        lines.push(format!("schema {schema}"));
    }
    let told = [("law broken", &shown.broken), ("danger", &shown.dangers), ("note", &shown.notes)];
    for (word, found) in told {
        lines.extend(found.iter().map(|line| format!("{}: {line}", out.toned(Tone::Bad, word))));
        if word == "law broken" && !found.is_empty() {
            lines.push(
                "  what could not be seen counts for nothing there, and a run may have declared it: hactl status"
                    .into(),
            );
        }
    }
    lines.join("\n") + "\n"
}

fn process_word(process: Process) -> &'static str {
    match process {
        Process::Absent => "absent",
        Process::Stopped => "stopped",
        Process::Starting => "starting",
        Process::Ready { .. } => "ready",
        Process::Sick => "sick",
        Process::Unknown => "unknown",
    }
}

fn traffic_word(traffic: Traffic) -> &'static str {
    match traffic {
        Traffic::Out => "out",
        Traffic::Backup => "backup",
        Traffic::In => "in",
        Traffic::Draining { .. } => "draining",
        Traffic::Unknown => "unknown",
        Traffic::Down => "down",
        Traffic::Gone => "balancer gone",
    }
}

fn sync_word(sync: Sync) -> &'static str {
    match sync {
        Sync::None => "none",
        Sync::Active => "active",
        Sync::Running => "running",
        Sync::Held => "held",
        Sync::Unknown => "unknown",
    }
}

fn work_word(work: Work) -> &'static str {
    match work {
        Work::None => "none",
        Work::On => "on",
        Work::Off => "off",
        Work::Unknown => "unknown",
    }
}
