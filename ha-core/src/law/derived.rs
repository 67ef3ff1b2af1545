use crate::state::{ClusterState, Process, RowKind, Traffic};
use crate::topology::{BalancerIx, DomainIx, NodeIx, Topology};

/// Tells whether a request may reach the node over any balancer instance, or it cannot be excluded.
pub fn is_exposed(state: &ClusterState, node: NodeIx) -> bool {
    state.rows(node).iter().any(|row| row.traffic.is_exposed())
}

/// Tells whether the node serves over every balancer instance.
pub fn is_serving(state: &ClusterState, node: NodeIx) -> bool {
    can_serve(state, node) && state.rows(node).iter().all(|row| row.traffic == Traffic::In)
}

/// Tells whether the node could be admitted at once: ready, warm, tested, and not under change.
pub fn is_reserve(state: &ClusterState, node: NodeIx) -> bool {
    let node_state = state.node(node);
    let draining = |traffic: Traffic| matches!(traffic, Traffic::Draining { .. } | Traffic::Unknown);
    node_state.process == (Process::Ready { warm: true })
        && node_state.is_tested()
        && !is_serving(state, node)
        && !state.rows(node).iter().any(|row| draining(row.traffic))
}

/// Returns the capacity that serves: the least over the balancer instances.
///
/// On one instance the primary rows that are in count together. Where there are none, the backup rows count, and of
/// those the smallest alone: HAProxy gives all traffic to the first usable backup (unless `option allbackups`), and
/// which one is first is the configuration's to say.
pub fn capacity(topology: &Topology, state: &ClusterState) -> u64 {
    let on = |balancer: BalancerIx| {
        one_instance(topology, state, balancer, |node, row| {
            can_serve(state, node) && matches!(row, Traffic::In | Traffic::Backup)
        })
    };
    state.balancers().map(on).min().unwrap_or(0)
}

/// Returns the capacity that the serving and the reserve nodes could give together once `without` is lost.
pub fn potential_capacity(topology: &Topology, state: &ClusterState, without: DomainIx) -> u64 {
    let counts =
        |node: NodeIx| topology.node(node).domain != without && (is_serving(state, node) || is_reserve(state, node));
    let on = |balancer: BalancerIx| one_instance(topology, state, balancer, |node, _| counts(node));
    state.balancers().map(on).min().unwrap_or(0)
}

fn can_serve(state: &ClusterState, node: NodeIx) -> bool {
    let node = state.node(node);
    node.process.is_ready() && node.is_tested()
}

fn one_instance(
    topology: &Topology,
    state: &ClusterState,
    balancer: BalancerIx,
    counts: impl Fn(NodeIx, Traffic) -> bool,
) -> u64 {
    let (mut primary, mut backup) = (0_u64, None::<u64>);
    for (index, node) in topology.nodes() {
        let row = state.row(index, balancer);
        if !counts(index, row.traffic) {
            continue;
        }
        match row.kind {
            RowKind::Primary => primary = primary.saturating_add(node.capacity),
            RowKind::Backup => backup = Some(backup.map_or(node.capacity, |least| least.min(node.capacity))),
        }
    }
    if primary > 0 { primary } else { backup.unwrap_or(0) }
}
