use super::{Order, Verb};
use crate::law::{self, Law};
use crate::state::{
    ClusterState, LoanKind, NodeState, Process, Progress, Row, Said, ServerDomain, Sync, Traffic, Work, WriterEpoch,
};
use crate::topology::{NodeIx, Permille};

/// Marks what holds from the moment the intent is recorded: the node is under change, and the loan is open.
pub fn begin(law: Law<'_>, state: &mut ClusterState, order: Order) {
    let spare = law.topology.node(order.node).spare;
    let exposed = law::is_exposed(state, order.node);
    let differs = law::writer(state).is_some_and(|writer| {
        writer != order.node && state.node(writer).generation != state.node(order.node).generation
    });
    let node = state.node_mut(order.node);
    node.moving |= order.verb.moves_traffic();
    if let Verb::Reassert { .. } = order.verb {
        return;
    }
    node.progress = Progress::InFlight;
    if order.verb.changes_node() {
        node.under_change = true;
    }
    match order.verb {
        Verb::TakeOut => {
            node.said = Said::Out;
            if !spare && exposed {
                node.loans.open(LoanKind::HeldOut);
            }
        }
        Verb::Admit => {
            node.said = Said::Admitted;
            if spare {
                node.loans.open(LoanKind::SpareAdmitted);
            }
        }
        Verb::Stop if !spare => node.loans.open(LoanKind::Stopped),
        Verb::Start if spare => node.loans.open(LoanKind::SpareRunning),
        Verb::StartInTest => node.loans.open(LoanKind::InTestDomain),
        Verb::Apply { .. } | Verb::Restore { .. } => node.half_changed = true,
        Verb::Hold => node.loans.open(LoanKind::SyncHeld),
        Verb::Release => node.under_change |= differs,
        Verb::Quiesce if node.work != Work::None => node.loans.open(LoanKind::WorkPaused),
        Verb::Stop
        | Verb::Start
        | Verb::Gate
        | Verb::StandBy
        | Verb::Soak
        | Verb::HandWriter { .. }
        | Verb::Deploy { .. }
        | Verb::Quiesce
        | Verb::Resume
        | Verb::Reassert { .. }
        | Verb::Migrate { .. } => {}
    }
}

/// Makes the order's full effect hold, and repays the loans that it takes back.
pub fn complete(law: Law<'_>, state: &mut ClusterState, order: Order) {
    let topology = law.topology;
    match order.verb {
        Verb::TakeOut | Verb::Reassert { admitted: false } => {
            state.set_traffic_everywhere(order.node, |_| Traffic::Out);
        }
        Verb::Admit | Verb::Reassert { admitted: true } => state.set_traffic_everywhere(order.node, Row::admitted),
        Verb::HandWriter { to } => hand_writer(state, to),
        Verb::Release => {
            if let Some(writer) = law::writer(state).filter(|writer| *writer != order.node) {
                state.node_mut(order.node).generation = state.node(writer).generation;
            }
        }
        Verb::Migrate { to } => state.schema = to,
        Verb::Stop
        | Verb::Apply { .. }
        | Verb::Restore { .. }
        | Verb::Start
        | Verb::StartInTest
        | Verb::Gate
        | Verb::StandBy
        | Verb::Soak
        | Verb::Hold
        | Verb::Deploy { .. }
        | Verb::Quiesce
        | Verb::Resume => {}
    }
    let (spare, warm_up) = (topology.node(order.node).spare, topology.node(order.node).warm_up);
    let node = state.node_mut(order.node);
    if let Verb::Reassert { .. } = order.verb {
        node.told_again = 0;
        return;
    }
    node.progress = Progress::Done;
    change_node(node, order.verb, spare, warm_up);
}

fn change_node(node: &mut NodeState, verb: Verb, spare: bool, warm_up: Permille) {
    match verb {
        Verb::TakeOut => node.loans.repay(LoanKind::SpareAdmitted),
        Verb::Stop => {
            node.process = Process::Stopped;
            node.server_domain = ServerDomain::Production;
            node.loans.repay(LoanKind::InTestDomain);
            if spare {
                node.loans.repay(LoanKind::SpareRunning);
            }
        }
        Verb::Apply { to } | Verb::Restore { to } => {
            node.release = Some(to);
            node.half_changed = false;
            // What passed before passed with other files.
            node.tested.clear();
        }
        Verb::Start => {
            node.process = Process::Ready { warm: false };
            node.server_domain = ServerDomain::Production;
            node.loans.repay(LoanKind::Stopped);
        }
        Verb::StartInTest => {
            node.process = Process::Ready { warm: false };
            node.server_domain = ServerDomain::Test;
        }
        Verb::Gate => {
            if let Some(release) = node.release {
                node.tested.insert(release);
                node.under_change = false;
            }
            // Where a cold server carries less, only traffic makes it warm.
            let warm = warm_up == Permille::WHOLE || node.process == (Process::Ready { warm: true });
            node.process = Process::Ready { warm };
        }
        Verb::Admit | Verb::StandBy => node.loans.repay(LoanKind::HeldOut),
        Verb::Soak => node.process = Process::Ready { warm: true },
        Verb::Hold => node.sync = Sync::Held,
        Verb::Release => {
            node.sync = Sync::Active;
            node.loans.repay(LoanKind::SyncHeld);
        }
        Verb::Deploy { to } => node.generation = Some(to),
        Verb::Quiesce if node.work != Work::None => node.work = Work::Off,
        Verb::Resume if node.work != Work::None => {
            node.work = Work::On;
            node.loans.repay(LoanKind::WorkPaused);
        }
        Verb::Quiesce | Verb::Resume | Verb::HandWriter { .. } | Verb::Migrate { .. } | Verb::Reassert { .. } => {}
    }
}

fn hand_writer(state: &mut ClusterState, to: NodeIx) {
    if state.node(to).writer > WriterEpoch::default() {
        return;
    }
    demote(state);
    state.writer_epoch = state.writer_epoch.next();
    let epoch = state.writer_epoch;
    let next = state.node_mut(to);
    (next.writer, next.sync) = (epoch, Sync::None);
    next.loans.repay(LoanKind::SyncHeld);
}

/// Takes the right to write away; the file sync into the old writer is there from now on, held.
pub(super) fn demote(state: &mut ClusterState) {
    while let Some(last) = law::writer(state) {
        let node = state.node_mut(last);
        (node.writer, node.sync) = (WriterEpoch::default(), Sync::Held);
        node.loans.open(LoanKind::SyncHeld);
    }
}

/// Tells whether the order's full effect holds already, its loans repaid.
pub fn holds(law: Law<'_>, state: &ClusterState, order: Order) -> bool {
    let spare = law.topology.node(order.node).spare;
    let node = state.node(order.node);
    let open = |kind: LoanKind| node.loans.contains(kind);
    let rows = state.rows(order.node);
    match order.verb {
        // What the run has not said, the guard does not watch: it holds only once it was said.
        Verb::TakeOut => {
            node.said == Said::Out
                && rows.iter().all(|row| row.traffic == Traffic::Out)
                && !open(LoanKind::SpareAdmitted)
        }
        Verb::Stop => {
            node.process == Process::Stopped
                && !(spare && open(LoanKind::SpareRunning))
                && !open(LoanKind::InTestDomain)
        }
        Verb::Apply { to } | Verb::Restore { to } => node.release == Some(to) && !node.half_changed,
        Verb::Start => {
            node.process.is_ready() && node.server_domain == ServerDomain::Production && !open(LoanKind::Stopped)
        }
        Verb::StartInTest => node.process.is_ready() && node.server_domain == ServerDomain::Test,
        Verb::Gate => node.process.is_ready() && node.is_tested(),
        Verb::Admit => rows.iter().all(|row| row.traffic == row.admitted()) && !open(LoanKind::HeldOut),
        Verb::Reassert { admitted } => {
            let wanted = |row: &Row| if admitted { row.admitted() } else { Traffic::Out };
            rows.iter().all(|row| row.traffic == wanted(row))
        }
        Verb::StandBy => rows.iter().all(|row| row.traffic == Traffic::Out) && !open(LoanKind::HeldOut),
        Verb::Soak => false,
        Verb::Hold => node.sync == Sync::Held,
        Verb::Release => {
            let from = law::writer(state).map(|writer| state.node(writer).generation);
            node.sync == Sync::Active && from.is_none_or(|from| from == node.generation) && !open(LoanKind::SyncHeld)
        }
        Verb::HandWriter { to } => state.node(to).writer > WriterEpoch::default(),
        Verb::Deploy { to } => node.generation == Some(to),
        Verb::Quiesce => !node.work.may_run(),
        Verb::Resume => matches!(node.work, Work::On | Work::None) && !open(LoanKind::WorkPaused),
        Verb::Migrate { to } => state.schema == to,
    }
}
