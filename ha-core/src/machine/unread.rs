use super::RunState;
use crate::plan::Plan;
use crate::state::{ClusterState, Observation, Process, Sync, Target, Traffic, Work};
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

/// Lists what belongs to no node, is spoken of by an approval, and was not read in a look at the cluster, for people. A site whose
/// database could not be read when the plan was made, or that is lost, is not expected to answer; nor is the one database of a cluster
/// that changes its site.
pub(crate) fn unread_whole(topology: &Topology, plan: &Plan, state: &ClusterState, seen: &Observation) -> Vec<String> {
    let facts = &plan.facts;
    let mut found = Vec::new();
    let mut note = |unread: bool, what: &str| found.extend(unread.then(|| what.to_owned()));
    let has_schema = topology.database().is_some() && plan.goal.site.is_none();
    note(has_schema && seen.schema.is_none(), "the schema of the database");
    note(facts.on_clone().is_some() && seen.copies.is_none(), "the copies of the database");
    note(facts.service.is_some() && seen.exposure.is_none(), "the route of the service");
    for (site, (known, seen)) in topology.site_indices().zip(facts.sites.iter().zip(&seen.sites)) {
        let is_expected = known.replica.is_some() && !topology.is_site_lost(site, state.lost());
        note(is_expected && seen.is_none(), &format!("site {}", topology.site(site).name));
    }
    found
}
