//! What would make a refused change provable. Each remedy is tried before it is given: on the topology that would have it.

use super::change::{Change, Kind};
use crate::safety::prove;
use crate::state::{
    ClusterState, Facts, MemberKind, MemberState, NodeState, Process, ReleaseSet, Sync, Traffic, Work, WriterEpoch,
};
use crate::topology::{Name, NodeIx, Topology};

/// Finds the smallest addition that makes the change provable, and says it; says that there is none where none does. What is only
/// to be declared comes before what needs a host.
pub(super) fn remedy(change: &Change<'_>) -> String {
    let declared = change.topology.spares().count();
    let more = if declared == 0 { "" } else { " more" };
    let mut ways = vec![(change.facts.clone(), None)];
    if let Some((facts, missing)) = with_what_is_not_declared(change) {
        if change.sets_of_spares().iter().any(|set| is_provable(change, &facts, change.topology, change.start, set)) {
            return missing;
        }
        ways.push((facts, Some(missing)));
    }
    for (facts, missing) in ways {
        for (count, capacities) in [(1, smallest(change)), (1, largest(change)), (2, largest(change))] {
            if helps(change, &facts, count, &capacities) {
                let (number, s, each) = if count == 1 { ("one", "", "") } else { ("two", "s", "each ") };
                let capacity = in_each_pool(change.topology, &capacities);
                let first = missing.map_or_else(String::new, |missing| format!("{missing}; and "));
                return format!(
                    "{first}add {number}{more} spare{s} of capacity {capacity}, {each}in a failure domain of its own \
                     (node.spare = true), as the members are now"
                );
            }
        }
    }
    String::from(
        "none is known: no further spare makes it provable, whatever its capacity; what stands in the way is named above",
    )
}

/// Declares that the new release may serve beside those that serve now, where nothing does; and says what is to be declared.
fn with_what_is_not_declared(change: &Change<'_>) -> Option<(Facts, String)> {
    let Kind::Server { to, .. } = change.kind else { return None };
    let mut facts = change.facts.clone();
    let mut others: Vec<&str> = Vec::new();
    for release in change.start.nodes().filter_map(|(_, node)| node.release).filter(|release| *release != to) {
        if !facts.releases.may_serve_beside(release, to) {
            others.push(change.facts.releases.name(release));
            facts.releases.declare_beside(release, to);
        }
    }
    let calls: Vec<String> = others.iter().map(|other| format!(".with_beside({other:?})")).collect();
    let (to, others, calls) = (facts.releases.name(to).to_owned(), others.join(" and "), calls.concat());
    (!calls.is_empty()).then(|| {
        let missing = format!(
            "if {to} may serve beside {others} (they share sessions, messages and caches), declare it: {calls} on the request"
        );
        (facts, missing)
    })
}

/// The capacity of a spare that carries, in each pool, what is required after a loss, and no less than its smallest member.
fn smallest(change: &Change<'_>) -> Vec<u64> {
    let of = |(index, pool): (_, &crate::topology::Pool)| {
        let smallest = change.topology.members_of(index).map(|(.., port)| port.capacity).min().unwrap_or(1);
        pool.required_after_loss().max(smallest)
    };
    change.topology.pools().map(of).collect()
}

/// The capacity of a spare that carries the peak, and no less than the largest member of each pool.
fn largest(change: &Change<'_>) -> Vec<u64> {
    let of = |(index, pool): (_, &crate::topology::Pool)| {
        let largest = change.topology.members_of(index).map(|(.., port)| port.capacity).max().unwrap_or(1);
        pool.peak_load.max(largest)
    };
    change.topology.pools().map(of).collect()
}

fn in_each_pool(topology: &Topology, capacities: &[u64]) -> String {
    let each = topology.pools().zip(capacities);
    match capacities {
        [one] => one.to_string(),
        _ => {
            each.map(|((_, pool), capacity)| format!("{capacity} in pool {}", pool.name)).collect::<Vec<_>>().join(", ")
        }
    }
}

/// Tells whether the change is provable with so many spares more.
fn helps(change: &Change<'_>, facts: &Facts, count: usize, capacities: &[u64]) -> bool {
    let mut topology = change.topology.clone();
    let mut state = change.start.clone();
    let mut spares = Vec::new();
    for number in 1..=count {
        let Some(name) = free_name(&topology, number) else { return false };
        let Some((next, spare)) = topology.with_spare(name, capacities) else { return false };
        state = with_node(&next, &state, spare);
        (topology, spares) = (next, spares.into_iter().chain([spare]).collect::<Vec<NodeIx>>());
    }
    is_provable(change, facts, &topology, &state, &spares)
}

/// Tells whether the change is provable with these facts, on this topology in this state, with these of its spares.
fn is_provable(
    change: &Change<'_>,
    facts: &Facts,
    topology: &Topology,
    start: &ClusterState,
    spares: &[NodeIx],
) -> bool {
    let with_it = Change {
        procedure: change.procedure,
        topology,
        start,
        facts: facts.clone(),
        goal: change.goal,
        commands: change.commands.clone(),
        kind: change.kind,
        before: change.before.clone(),
        after: change.after.clone(),
        window: change.window,
    };
    with_it.check_start().is_ok() && prove(topology, &with_it.plan(spares)).is_ok()
}

fn free_name(topology: &Topology, number: usize) -> Option<Name> {
    let is_free = |name: &Name| topology.nodes().all(|(_, node)| node.name != *name);
    (0..64).filter_map(|turn| Name::new(&format!("new-spare{number}.{turn}")).ok()).find(is_free)
}

/// Adds a spare at rest: stopped, held out, and otherwise as the first member is.
fn with_node(topology: &Topology, state: &ClusterState, spare: NodeIx) -> ClusterState {
    let mut nodes: Vec<NodeState> = state.nodes().map(|(_, node)| *node).collect();
    let mut members: Vec<MemberState> = state.nodes().flat_map(|(index, _)| state.members(index).to_vec()).collect();
    let like = topology.members().map(|(index, _)| *state.node(index)).next();
    let mut own = like.unwrap_or_else(|| NodeState::new(Process::Stopped, None, ReleaseSet::default()));
    (own.process, own.work, own.writer) = (Process::Stopped, Work::None, WriterEpoch::default());
    // A reader, where files are shared.
    own.sync = state.nodes().map(|(_, node)| node.sync).find(|sync| *sync != Sync::None).unwrap_or(Sync::None);
    nodes.push(own);
    // A backup where the pool has backups: a primary would take all of the traffic from those.
    let is_backup = |pool| {
        let mut others = topology.members().flat_map(|(index, _)| topology.memberships(index));
        others.any(|(member, port, _)| port.pool == pool && state.member(member).kind == MemberKind::Backup)
    };
    let kind = |pool| if is_backup(pool) { MemberKind::Backup } else { MemberKind::Primary };
    members.extend(topology.memberships(spare).map(|(_, port, _)| MemberState::new(kind(port.pool), Traffic::Out)));
    let mut next = ClusterState::new(topology, nodes, members);
    (next.schema, next.exposure, next.writer_epoch) = (state.schema, state.exposure, state.writer_epoch);
    next.copies = state.copies;
    next.sites.clone_from(&state.sites);
    next.set_losses(state.lost());
    next
}
