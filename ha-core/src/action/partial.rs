use super::{Order, Verb, effect};
use crate::state::{ClusterState, NodeState, Process, Row, ServerDomain, Sync, Traffic, Work};

/// Lists the states that the order can leave behind when it happens in part. The intent is marked already.
pub fn partial_effects(state: &ClusterState, order: Order) -> Vec<ClusterState> {
    let node_changed = |change: &dyn Fn(&mut NodeState)| {
        let mut next = state.clone();
        change(next.node_mut(order.node));
        next
    };
    let first_row_only =
        |traffic: &dyn Fn(Row) -> Traffic| {
            let mut next = state.clone();
            let mut first = true;
            next.set_traffic_everywhere(order.node, |row| {
                if std::mem::take(&mut first) { traffic(row) } else { row.traffic }
            });
            next
        };
    match order.verb {
        Verb::TakeOut | Verb::Reassert { admitted: false } => {
            let mut draining = state.clone();
            draining.set_traffic_everywhere(order.node, |row| match row.traffic {
                Traffic::Out => Traffic::Out,
                Traffic::Backup | Traffic::In | Traffic::Draining { .. } | Traffic::Unknown | Traffic::Down => {
                    Traffic::Draining { in_flight: true }
                }
            });
            vec![draining, first_row_only(&|_| Traffic::Out)]
        }
        Verb::Stop => vec![node_changed(&|node| node.process = Process::Sick)],
        Verb::Apply { .. } | Verb::Restore { .. } => vec![node_changed(&|node| node.release = None)],
        Verb::Start | Verb::StartInTest => {
            let domain = if order.verb == Verb::Start { ServerDomain::Production } else { ServerDomain::Test };
            let became =
                |process: Process| node_changed(&|node| (node.process, node.server_domain) = (process, domain));
            vec![became(Process::Starting), became(Process::Sick)]
        }
        Verb::Admit | Verb::Reassert { admitted: true } => vec![first_row_only(&Row::admitted)],
        Verb::Release => vec![node_changed(&|node| {
            node.sync = Sync::Active;
            if node.under_change {
                node.generation = None;
            }
        })],
        Verb::HandWriter { .. } => {
            let mut nobody = state.clone();
            effect::demote(&mut nobody);
            vec![nobody]
        }
        Verb::Deploy { .. } => vec![node_changed(&|node| node.generation = None)],
        Verb::Quiesce | Verb::Resume if state.node(order.node).work != Work::None => {
            vec![node_changed(&|node| node.work = Work::Unknown)]
        }
        Verb::Migrate { to } => {
            let mut half = state.clone();
            half.schema = to.half_way().max(state.schema);
            vec![half]
        }
        Verb::Gate | Verb::StandBy | Verb::Soak | Verb::Hold | Verb::Quiesce | Verb::Resume => Vec::new(),
    }
}
