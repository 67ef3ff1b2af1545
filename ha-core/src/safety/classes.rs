//! Nodes that nothing tells apart, counted instead of explored one by one.
//!
//! In a wave of many such nodes the states between the first and the last of them differ in a count only: so many have the
//! step behind them, so many have not. Capacity is linear in that count, so that it is lowest at one of its ends; what else
//! the law asks for, it asks of a node or of two, whatever the count. So of each class the first and the last node are
//! explored as ever, every fault included, and one node stands for all between them: it takes each step as a whole, and fails
//! as its neighbours do, of which one is always in the state that it is in. That this gives the verdict and the margins of
//! visiting every state is a test of `ha-testkit` (`by_class`), over random clusters and plans with one thing wrong.

use crate::action::KnownGood;
use crate::plan::{Draft, Plan};
use crate::state::{ClusterState, MemberKind, MemberState, NodeState};
use crate::topology::{NodeIx, Permille, PoolIx, SiteIx, Topology};

/// How many nodes at each end of a class are explored one by one.
const EDGE: usize = 1;
/// How large a class is at least that is counted: two nodes less are explored.
const LEAST: usize = 2 * EDGE + 2;

/// All that the explorer and the law know of a node.
#[derive(Eq, PartialEq)]
struct Class<'a> {
    ports: Vec<(PoolIx, u64)>,
    warm_up: Permille,
    site: Option<SiteIx>,
    spare: bool,
    state: &'a NodeState,
    members: &'a [MemberState],
    known_good: Option<KnownGood>,
    /// The stages that it is a target of.
    stages: Vec<usize>,
}

/// Returns the plan with one node for the inner ones of each class, and the topology that it is for; `None` where nothing is
/// gained, or counting would not be right: with a failure domain lost, or with backup members, which carry in turn.
pub(super) fn by_class(topology: &Topology, plan: &Plan) -> Option<(Topology, Plan)> {
    let start = &plan.start;
    let backups = topology.nodes().flat_map(|(node, _)| start.members(node)).any(|it| it.kind == MemberKind::Backup);
    if backups || !start.lost().is_empty() || start.nodes().count() < LEAST {
        return None;
    }
    let stands_for = stands_for(topology, plan);
    let kept: Vec<(NodeIx, u16)> =
        topology.nodes().map(|(node, _)| node).zip(stands_for).filter(|(_, count)| *count > 0).collect();
    if kept.len() == start.nodes().count() {
        return None;
    }
    let of_some = topology.of_some(&kept);
    let place = |node: NodeIx| kept.binary_search_by_key(&node, |(known, _)| *known).ok().map(NodeIx::new);
    let mut draft = Draft::from(plan.clone());
    let nodes = kept.iter().map(|(node, _)| *start.node(*node)).collect();
    let members = kept.iter().flat_map(|(node, _)| start.members(*node)).copied().collect();
    draft.start = ClusterState::new(&of_some, nodes, members);
    (draft.start.schema, draft.start.exposure, draft.start.copies) = (start.schema, start.exposure, start.copies);
    draft.start.writer_epoch = start.writer_epoch;
    draft.start.sites.clone_from(&start.sites);
    let known_good = |node: NodeIx| plan.known_good.get(node.index()).copied().flatten();
    draft.known_good = kept
        .iter()
        .map(|(node, _)| known_good(*node).map(|known| KnownGood { writer: known.writer.and_then(place), ..known }))
        .collect();
    for stage in &mut draft.stages {
        stage.nodes = stage.nodes.iter().filter_map(|node| place(*node)).collect();
    }
    Some((of_some, draft.into()))
}

/// Says for how many nodes each one stands: 0 for one that another stands for.
fn stands_for(topology: &Topology, plan: &Plan) -> Vec<u16> {
    let mut classes: Vec<(Class<'_>, Vec<NodeIx>)> = Vec::new();
    let mut crowds = vec![0_usize; topology.domains().count()];
    topology.nodes().for_each(|(_, node)| crowds[node.domain.index()] += 1);
    let stages = stages_of(topology, plan);
    for (index, node) in topology.nodes() {
        if crowds[node.domain.index()] > 1 {
            continue;
        }
        let class = Class {
            ports: node.ports.iter().map(|port| (port.pool, port.capacity)).collect(),
            warm_up: node.warm_up,
            site: node.site,
            spare: node.spare,
            state: plan.start.node(index),
            members: plan.start.members(index),
            known_good: plan.known_good.get(index.index()).copied().flatten(),
            stages: stages[index.index()].clone(),
        };
        match classes.iter_mut().find(|(known, _)| *known == class) {
            Some((_, nodes)) => nodes.push(index),
            None => classes.push((class, vec![index])),
        }
    }
    let mut stands_for = vec![1; topology.nodes().count()];
    for (class, nodes) in &classes {
        if nodes.len() < LEAST || !class.stages.iter().all(|stage| is_a_run(&plan.stages[*stage].nodes, nodes)) {
            continue;
        }
        let inner = &nodes[EDGE..nodes.len() - EDGE];
        inner.iter().for_each(|node| stands_for[node.index()] = 0);
        stands_for[inner[0].index()] = u16::try_from(inner.len()).unwrap_or(u16::MAX);
    }
    stands_for
}

fn stages_of(topology: &Topology, plan: &Plan) -> Vec<Vec<usize>> {
    let mut of = vec![Vec::new(); topology.nodes().count()];
    for (number, stage) in plan.stages.iter().enumerate() {
        stage.nodes.iter().for_each(|node| of[node.index()].push(number));
    }
    of
}

/// Tells whether nodes follow one another among the targets of a stage, in this order.
fn is_a_run(targets: &[NodeIx], nodes: &[NodeIx]) -> bool {
    let first = targets.iter().position(|target| Some(target) == nodes.first());
    first.is_some_and(|first| targets[first..].starts_with(nodes))
}
