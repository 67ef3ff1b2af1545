use crate::state::{ClusterState, Observation, Process};
use crate::topology::Topology;

/// Says in which facts the cluster differs from the state that a plan starts from.
pub(super) fn differences(topology: &Topology, start: &ClusterState, seen: &Observation) -> Option<String> {
    let mut found = Vec::new();
    for (index, node) in topology.nodes() {
        let (before, now) = (start.node(index), &seen.nodes[index.index()]);
        let same_process = match (before.process, now.process) {
            (Process::Ready { .. }, Process::Ready { .. }) => true,
            (before, now) => before == now,
        };
        if !same_process {
            found.push(format!("{} is {:?}, it was {:?}", node.name, now.process, before.process));
        }
        if before.release != now.release {
            found.push(format!("{} has another release", node.name));
        }
        let shared = now.shared.map(|now| (now.sync, now.generation, now.writer));
        if shared.is_some_and(|now| now != (before.sync, before.generation, before.writer)) {
            found.push(format!("{} takes part in file sharing differently", node.name));
        }
        if before.work != now.work {
            found.push(format!("{} pulls work differently", node.name));
        }
        if seen.members.get(topology.member_layout().members_of(index.index())) != Some(start.members(index)) {
            found.push(format!("{} is in another state on the balancers", node.name));
        }
    }
    if seen.schema.is_some_and(|schema| schema != start.schema) {
        found.push(format!("the schema is not {} any more", start.schema));
    }
    if found.is_empty() { None } else { Some(found.join(", ")) }
}
