//! A host more: what is declared of it, and how it would be found.

use crate::law;
use crate::state::{
    ClusterState, MemberKind, MemberState, NodeState, Process, ReleaseSet, Sync, Traffic, Work, WriterEpoch,
};
use crate::topology::{Name, NodeIx, Topology};

/// Returns a name that no node has.
pub(super) fn free_name(topology: &Topology, what: &str) -> Option<Name> {
    let is_free = |name: &Name| topology.nodes().all(|(_, node)| node.name != *name);
    (1..=64).filter_map(|number| Name::new(&format!("{what}{number}")).ok()).find(is_free)
}

/// Returns the capacities, one a pool, of a host that carries the peak and no less than the largest member; 0 in the pools of other
/// sites.
pub(super) fn largest(topology: &Topology) -> Vec<u64> {
    let site = topology.members().map(|(_, node)| node.site).next().flatten();
    let of = |(index, pool): (_, &crate::topology::Pool)| {
        let largest = topology.members_of(index).map(|(.., port)| port.capacity).max().unwrap_or(1);
        if pool.site == site { pool.peak_load.max(largest) } else { 0 }
    };
    topology.pools().map(of).collect()
}

/// Adds a host: a spare at rest, stopped and held out; or a member that serves, or stands by, as the last of the others does.
pub(super) fn with_host(
    topology: &Topology,
    state: &ClusterState,
    (name, capacities, spare): (Name, &[u64], bool),
) -> Option<(Topology, ClusterState)> {
    let able = |node: &NodeIx| state.node(*node).process.is_ready() && state.node(*node).is_tested();
    let members = || topology.members().map(|(index, _)| index);
    // A spare is like one that lives: what is lost tells no release.
    let like = if spare { members().find(able).or_else(|| members().next()) } else { members().filter(able).last() };
    let (next, added) = topology.with_host(name, capacities, spare)?;
    let mut nodes: Vec<NodeState> = state.nodes().map(|(_, node)| *node).collect();
    let mut each: Vec<MemberState> = state.nodes().flat_map(|(index, _)| state.members(index).to_vec()).collect();
    let mut own =
        like.map_or_else(|| NodeState::new(Process::Stopped, None, ReleaseSet::default()), |like| *state.node(like));
    own.writer = WriterEpoch::default();
    own.work = if own.work == Work::None { Work::None } else { Work::Off };
    if spare {
        (own.process, own.work) = (Process::Stopped, Work::None);
    }
    // A reader, where files are shared.
    own.sync = state.nodes().map(|(_, node)| node.sync).find(|sync| *sync != Sync::None).unwrap_or(Sync::None);
    nodes.push(own);
    for (_, port, balancer) in next.memberships(added) {
        // A backup where the pool has backups: a primary would take all of the traffic from those.
        let others = members().flat_map(|node| topology.memberships(node));
        let mut others = others.filter(|(_, other, _)| other.pool == port.pool);
        let is_backup = others.any(|(member, ..)| state.member(member).kind == MemberKind::Backup);
        let kind = if is_backup { MemberKind::Backup } else { MemberKind::Primary };
        let as_found = like.filter(|_| !spare).and_then(|like| {
            let mut found = topology.memberships(like);
            found.find(|(_, other, there)| other.pool == port.pool && *there == balancer)
        });
        each.push(match as_found {
            Some((member, ..)) => state.member(member),
            None => MemberState::new(kind, Traffic::Out),
        });
    }
    let mut found = ClusterState::new(&next, nodes, each);
    (found.schema, found.exposure, found.writer_epoch) = (state.schema, state.exposure, state.writer_epoch);
    found.copies = state.copies;
    found.sites.clone_from(&state.sites);
    found.set_losses(state.lost());
    // One that writes, or that nobody knows of, is no pattern for another.
    (spare || law::writer(&found) == law::writer(state)).then_some((next, found))
}
