use super::{Order, Verb};
use crate::law::{self, Law};
use crate::state::{ClusterState, Process, Sync};

/// Checks that an order may be given as the cluster stands.
///
/// # Errors
/// What stands in the way, in words.
pub fn precondition(law: Law<'_>, state: &ClusterState, order: Order) -> Result<(), String> {
    let node = state.node(order.node);
    let name = &law.topology.node(order.node).name;
    let demand = |holds: bool, what: &str| {
        if holds { Ok(()) } else { Err(format!("{name} {what}; it is {:?}", node.process)) }
    };
    if state.lost() == Some(law.topology.node(order.node).domain) {
        return Err(format!("{name} is lost"));
    }
    match order.verb {
        Verb::TakeOut | Verb::Quiesce | Verb::Reassert { admitted: false } => Ok(()),
        Verb::Stop => law.drained(state, order.node).map_err(|violation| violation.facts),
        Verb::Apply { .. } | Verb::Restore { .. } => demand(node.process == Process::Stopped, "must be stopped first"),
        Verb::Start | Verb::StartInTest => {
            demand(node.release.is_some() && !node.half_changed, "has no release installed that can be trusted")
        }
        Verb::Gate => demand(node.process.is_ready(), "must be ready before it can be tested"),
        Verb::Admit | Verb::Reassert { admitted: true } => {
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
        Verb::Resume => demand(node.process.is_ready() && node.is_tested(), "must be ready and tested to pull work"),
        Verb::Hold => demand(node.sync != Sync::None, "has no file sync into it"),
        Verb::Release => {
            demand(node.sync != Sync::None && law::writer(state).is_some(), "has no file sync from a writer")?;
            let mut opened = state.clone();
            opened.node_mut(order.node).sync = Sync::Active;
            law.sync(&opened).map_err(|violation| violation.facts)
        }
        Verb::Deploy { .. } => demand(
            !law::is_exposed(state, order.node) && !node.sync.is_open(),
            "must be out of traffic, and the file sync into it held, before files are put there",
        ),
        Verb::HandWriter { to } => may_write(law, state, order, to),
        Verb::Migrate { to } => {
            let standing = state.schema;
            if standing <= to { Ok(()) } else { Err(format!("the schema is {standing}, nothing leads back to {to}")) }
        }
    }
}

/// The next writer is ready and tested and has what the last one has, and nothing is being copied.
fn may_write(law: Law<'_>, state: &ClusterState, order: Order, to: crate::topology::NodeIx) -> Result<(), String> {
    let name = &law.topology.node(to).name;
    if let Some((open, _)) = state.nodes().find(|(index, node)| *index != to && node.sync.is_open()) {
        return Err(format!("the file sync into {} must be held first", law.topology.node(open).name));
    }
    let next = state.node(to);
    if next.sync.is_open() {
        return Err(format!("the file sync into {name} must be held first"));
    }
    if order.node != to && state.lost() == Some(law.topology.node(to).domain) {
        return Err(format!("{name} is lost"));
    }
    if !(next.process.is_ready() && next.is_tested()) {
        return Err(format!("{name} must be ready and tested to write shared files; it is {:?}", next.process));
    }
    match law::writer(state) {
        Some(last) if state.node(last).generation != next.generation => {
            Err(format!("{} and {name} do not have the same files", law.topology.node(last).name))
        }
        Some(_) | None => Ok(()),
    }
}
