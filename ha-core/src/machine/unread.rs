use super::RunState;
use crate::plan::Plan;
use crate::state::{Process, Sync, Target, Traffic, Work};
use crate::topology::Topology;

/// Lists what cannot be read, and could be when the plan was made, for people. What an order in flight changes is its own to
/// read, and of a lost failure domain nothing is expected.
pub(crate) fn unread(topology: &Topology, plan: &Plan, run: &RunState) -> Vec<String> {
    let mut found = Vec::new();
    for (index, node) in topology.nodes().filter(|(_, node)| !run.cluster.is_lost(node.domain)) {
        let (before, now) = (plan.start.node(index), run.cluster.node(index));
        let changes = |target: Target| run.targets.is_changing(target);
        let mut note = |target: Target, unread: bool, what: String| {
            if unread && !changes(target) {
                found.push(what);
            }
        };
        let process = now.process == Process::Unknown && before.process != Process::Unknown;
        note(Target::Server(index), process, format!("the server of {}", node.name));
        let traffic = run.cluster.members(index).iter().zip(plan.start.members(index));
        let traffic = traffic
            .map(|(now, before)| (now.traffic, before.traffic))
            .any(|(now, before)| now == Traffic::Unknown && before != Traffic::Unknown);
        note(Target::Traffic(index), traffic, format!("{} on its balancers", node.name));
        let sync = now.sync == Sync::Unknown && before.sync != Sync::Unknown;
        note(Target::Files(index), sync, format!("the file sync of {}", node.name));
        let work = now.work == Work::Unknown && before.work != Work::Unknown;
        note(Target::Work(index), work, format!("the pulled work of {}", node.name));
    }
    found
}
