use super::{Order, Verb};
use crate::law;
use crate::state::{ClusterState, LoanKind, NodeState, Process, Progress, Row, Traffic};
use crate::topology::Topology;

/// Checks that an order may be given as the cluster stands.
///
/// # Errors
/// What stands in the way, in words.
pub fn precondition(topology: &Topology, state: &ClusterState, order: Order) -> Result<(), String> {
    let node = state.node(order.node);
    let name = &topology.node(order.node).name;
    let demand = |holds: bool, what: &str| {
        if holds { Ok(()) } else { Err(format!("{name} {what}; it is {:?}", node.process)) }
    };
    if state.lost() == Some(topology.node(order.node).domain) {
        return Err(format!("{name} is lost"));
    }
    match order.verb {
        Verb::TakeOut => Ok(()),
        Verb::Stop => law::drained(topology, state, order.node).map_err(|violation| violation.to_string()),
        Verb::Apply { .. } | Verb::Restore { .. } => demand(node.process == Process::Stopped, "must be stopped first"),
        Verb::Start => {
            demand(node.release.is_some() && !node.half_changed, "has no release installed that can be trusted")
        }
        Verb::Gate => demand(node.process.is_ready(), "must be ready before it can be tested"),
        Verb::Admit => {
            demand(node.process.is_ready() && node.is_tested(), "must be ready and have passed its gate before traffic")
        }
        Verb::StandBy => demand(
            node.process.is_ready() && node.is_tested() && !law::is_exposed(state, order.node),
            "must be ready, tested and out of traffic to stand by",
        ),
        Verb::Soak => demand(
            node.process.is_ready() && law::is_exposed(state, order.node),
            "must be ready and in traffic to be watched there",
        ),
    }
}

/// Marks what holds from the moment the intent is recorded: the node is under change, and the loan is open.
pub fn begin(topology: &Topology, state: &mut ClusterState, order: Order) {
    let spare = topology.node(order.node).spare;
    let exposed = law::is_exposed(state, order.node);
    let node = state.node_mut(order.node);
    node.progress = Progress::InFlight;
    if order.verb.changes_node() {
        node.under_change = true;
    }
    match order.verb {
        Verb::TakeOut if !spare && exposed => node.loans.open(LoanKind::HeldOut),
        Verb::Stop if !spare => node.loans.open(LoanKind::Stopped),
        Verb::Start if spare => node.loans.open(LoanKind::SpareRunning),
        Verb::Admit if spare => node.loans.open(LoanKind::SpareAdmitted),
        Verb::Apply { .. } | Verb::Restore { .. } => node.half_changed = true,
        Verb::TakeOut | Verb::Stop | Verb::Start | Verb::Admit | Verb::Gate | Verb::StandBy | Verb::Soak => {}
    }
}

/// Makes the order's full effect hold, and repays the loans that it takes back.
pub fn complete(topology: &Topology, state: &mut ClusterState, order: Order) {
    let spare = topology.node(order.node).spare;
    match order.verb {
        Verb::TakeOut => state.set_traffic_everywhere(order.node, |_| Traffic::Out),
        Verb::Admit => state.set_traffic_everywhere(order.node, Row::admitted),
        Verb::Stop
        | Verb::Apply { .. }
        | Verb::Restore { .. }
        | Verb::Start
        | Verb::Gate
        | Verb::StandBy
        | Verb::Soak => {}
    }
    let node = state.node_mut(order.node);
    node.progress = Progress::Done;
    match order.verb {
        Verb::TakeOut => node.loans.repay(LoanKind::SpareAdmitted),
        Verb::Stop => {
            node.process = Process::Stopped;
            if spare {
                node.loans.repay(LoanKind::SpareRunning);
            }
        }
        Verb::Apply { to } | Verb::Restore { to } => {
            node.release = Some(to);
            node.half_changed = false;
            node.tested.remove(to);
        }
        Verb::Start => {
            node.process = Process::Ready { warm: false };
            node.loans.repay(LoanKind::Stopped);
        }
        Verb::Gate => {
            if let Some(release) = node.release {
                node.tested.insert(release);
                node.under_change = false;
            }
            node.process = Process::Ready { warm: true };
        }
        Verb::Admit | Verb::StandBy => node.loans.repay(LoanKind::HeldOut),
        Verb::Soak => {}
    }
}

/// Tells whether the order's full effect holds already, its loans repaid.
pub fn holds(topology: &Topology, state: &ClusterState, order: Order) -> bool {
    let spare = topology.node(order.node).spare;
    let node = state.node(order.node);
    let open = |kind: LoanKind| node.loans.iter().any(|loan| loan == kind);
    let rows = state.rows(order.node);
    match order.verb {
        Verb::TakeOut => rows.iter().all(|row| row.traffic == Traffic::Out) && !open(LoanKind::SpareAdmitted),
        Verb::Stop => node.process == Process::Stopped && !(spare && open(LoanKind::SpareRunning)),
        Verb::Apply { to } | Verb::Restore { to } => node.release == Some(to) && !node.half_changed,
        Verb::Start => node.process.is_ready() && !open(LoanKind::Stopped),
        Verb::Gate => node.process.is_ready() && node.is_tested(),
        Verb::Admit => rows.iter().all(|row| row.traffic == row.admitted()) && !open(LoanKind::HeldOut),
        Verb::StandBy => rows.iter().all(|row| row.traffic == Traffic::Out) && !open(LoanKind::HeldOut),
        Verb::Soak => false,
    }
}

/// Lists the states that the order can leave behind when it happens in part. The intent is marked already.
pub fn partial_effects(state: &ClusterState, order: Order) -> Vec<ClusterState> {
    let node_changed = |change: &dyn Fn(&mut NodeState)| {
        let mut next = state.clone();
        change(next.node_mut(order.node));
        next
    };
    let first_row_only = |traffic: &dyn Fn(Row) -> Traffic| {
        let mut next = state.clone();
        if let Some(balancer) = state.balancers().next() {
            next.set_traffic(order.node, balancer, traffic(state.row(order.node, balancer)));
        }
        next
    };
    match order.verb {
        Verb::TakeOut => {
            let mut draining = state.clone();
            draining.set_traffic_everywhere(order.node, |row| match row.traffic {
                Traffic::Out => Traffic::Out,
                Traffic::Backup | Traffic::In | Traffic::Draining { .. } | Traffic::Unknown => {
                    Traffic::Draining { in_flight: true }
                }
            });
            vec![draining, first_row_only(&|_| Traffic::Out)]
        }
        Verb::Stop => vec![node_changed(&|node| node.process = Process::Sick)],
        Verb::Apply { .. } | Verb::Restore { .. } => vec![node_changed(&|node| node.release = None)],
        Verb::Start => vec![
            node_changed(&|node| node.process = Process::Starting),
            node_changed(&|node| node.process = Process::Sick),
        ],
        Verb::Admit => vec![first_row_only(&Row::admitted)],
        Verb::Gate | Verb::StandBy | Verb::Soak => Vec::new(),
    }
}
