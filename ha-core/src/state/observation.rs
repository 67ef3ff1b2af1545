use super::{ClusterState, Process, Progress, ReleaseId, Row};
use crate::topology::NodeIx;

/// How the cluster was seen to stand at one moment: facts only, no memory.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Observation {
    /// One entry a node.
    pub nodes: Vec<NodeSeen>,
    /// For each node its rows, in the order of the balancers.
    pub rows: Vec<Row>,
}

/// How one node was seen.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct NodeSeen {
    /// The process; `Ready` without a word about warmth.
    pub process: Process,
    /// The release that answers, or the installed one where nothing answers.
    pub release: Option<ReleaseId>,
}

impl Observation {
    /// Describes what was seen.
    pub fn new(nodes: Vec<NodeSeen>, rows: Vec<Row>) -> Self {
        Self { nodes, rows }
    }
}

impl NodeSeen {
    /// Describes how a node was seen.
    pub fn new(process: Process, release: Option<ReleaseId>) -> Self {
        Self { process, release }
    }
}

impl ClusterState {
    /// Takes over what was seen. What a run knows besides stays: gates passed, loans, progress. A node whose step is in
    /// flight is left to the step's own read-back.
    pub fn absorb(&mut self, seen: &Observation) {
        for (index, node) in seen.nodes.iter().enumerate().map(|(index, node)| (NodeIx::new(index), node)) {
            if index.index() >= self.nodes().count() || self.node(index).progress == Progress::InFlight {
                continue;
            }
            let known = self.node_mut(index);
            known.release = node.release;
            known.process = match (known.process, node.process) {
                (_, Process::Ready { .. }) => Process::Ready { warm: known.is_tested() },
                (Process::Ready { .. } | Process::Sick, Process::Starting) => Process::Sick,
                (_, process) => process,
            };
            let width = self.rows(index).len();
            let rows = seen.rows.get(index.index() * width..(index.index() + 1) * width).unwrap_or(&[]);
            self.set_rows(index, rows);
        }
    }
}
