use std::hash::{Hash, Hasher};

use serde::{Deserialize, Serialize};

use super::{
    GenerationId, LoanSet, Process, Progress, ReleaseId, ReleaseSet, RowKind, Schema, ServerDomain, Site, SiteEpoch,
    Sync, Traffic, Work, WriterEpoch,
};
use crate::topology::{DomainIx, NodeIx, RowIx, RowLayout, Topology};

/// How one node stands, its rows on the balancers apart.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct NodeState {
    /// The server process.
    pub process: Process,
    /// The installed release; `None` while it is not known, or half changed.
    pub release: Option<ReleaseId>,
    /// The releases whose gate has passed on this node.
    pub tested: ReleaseSet,
    /// Whether a change or its restore has begun and was not seen to end: the installed release cannot be trusted.
    pub half_changed: bool,
    /// From the first changing intent until its gate has passed.
    pub under_change: bool,
    /// The set of shared files it has; `None` while that is not known, or half changed.
    pub generation: Option<GenerationId>,
    /// Which of the servers' own cluster domains it has joined.
    pub server_domain: ServerDomain,
    /// The work that it pulls by itself.
    pub work: Work,
    /// The file sync into it, from whoever may write.
    pub sync: Sync,
    /// The epoch with which it may write shared files; 0 when it may not.
    pub writer: WriterEpoch,
    /// Temporary changes still to be taken back.
    pub loans: LoanSet,
    /// How far the current step has come here.
    pub progress: Progress,
    /// What this run has last said about its traffic, on every balancer instance.
    pub said: Said,
    /// Whether its traffic is being changed by an order in flight.
    pub moving: bool,
    /// How often a forgetful balancer had to be told again, without success so far.
    pub told_again: u8,
}

/// Written by hand, since the explorer hashes millions of nodes: the small fields go in as one number.
impl Hash for NodeState {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        for word in self.packed() {
            hasher.write_u64(word);
        }
    }
}

impl NodeState {
    /// Packs every field into three numbers: two nodes stand alike exactly when these are equal.
    pub(crate) fn packed(&self) -> [u64; 3] {
        let process = match self.process {
            Process::Absent => 0,
            Process::Stopped => 1,
            Process::Starting => 2,
            Process::Ready { warm: false } => 3,
            Process::Ready { warm: true } => 4,
            Process::Sick => 5,
            Process::Unknown => 6,
        };
        let progress = match self.progress {
            Progress::Idle => 0,
            Progress::InFlight => 1,
            Progress::Done => 2,
            Progress::NotDone { looked } => 3 + u64::from(looked),
            Progress::Unknown { looks } => 5 + u64::from(looks),
        };
        let flags = [self.half_changed, self.under_change, self.moving].map(u64::from);
        let fields: [(u64, u32); 11] = [
            (process, 3),
            (flags[0] | flags[1] << 1 | flags[2] << 2, 3),
            (self.release.map_or(0, |release| 1 + release.number()), 7),
            (self.generation.map_or(0, |generation| 1 + generation.number()), 7),
            (self.server_domain as u64, 1),
            (self.work as u64, 2),
            (self.sync as u64, 3),
            (self.loans.bits(), 8),
            (self.said as u64, 2),
            (u64::from(self.told_again), 4),
            (progress, 9),
        ];
        let packed = fields.iter().fold(0_u64, |packed, (value, width)| packed << width | value);
        [packed, self.tested.bits(), self.writer.number()]
    }
}

/// What a run has last said about a node's traffic. A balancer that stands differently has forgotten it.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Said {
    /// Nothing: the node stands as it did when the run began.
    #[default]
    Nothing,
    /// It is to be out of traffic.
    Out,
    /// It is to be admitted.
    Admitted,
}

/// How one site stands.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SiteState {
    /// Its state.
    pub site: Site,
    /// The epoch with which it may write.
    pub epoch: SiteEpoch,
}

impl SiteState {
    /// Describes a site.
    pub fn new(site: Site, epoch: SiteEpoch) -> Self {
        Self { site, epoch }
    }
}

impl NodeState {
    /// Describes a node with no change under way.
    pub fn new(process: Process, release: Option<ReleaseId>, tested: ReleaseSet) -> Self {
        Self {
            process,
            release,
            tested,
            half_changed: false,
            under_change: false,
            generation: Some(GenerationId::FIRST),
            server_domain: ServerDomain::Production,
            work: Work::None,
            sync: Sync::None,
            writer: WriterEpoch::default(),
            said: Said::Nothing,
            moving: false,
            told_again: 0,
            loans: LoanSet::default(),
            progress: Progress::Idle,
        }
    }

    /// Tells whether the installed release has passed its gate here after its last change.
    pub fn is_tested(&self) -> bool {
        !self.under_change && self.release.is_some_and(|release| self.tested.contains(release))
    }
}

/// How one node stands in one pool on one balancer instance.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Row {
    /// How the row is configured.
    pub kind: RowKind,
    /// What goes over it.
    pub traffic: Traffic,
}

impl Hash for Row {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        hasher.write_u8(self.packed());
    }

    fn hash_slice<H: Hasher>(rows: &[Self], hasher: &mut H) {
        for chunk in rows.chunks(16) {
            hasher.write_u128(chunk.iter().fold(0, |packed, row| packed << 8 | u128::from(row.packed())));
        }
    }
}

impl Row {
    fn packed(self) -> u8 {
        let traffic = match self.traffic {
            Traffic::Out => 0,
            Traffic::Backup => 1,
            Traffic::In => 2,
            Traffic::Draining { in_flight: false } => 3,
            Traffic::Draining { in_flight: true } => 4,
            Traffic::Unknown => 5,
            Traffic::Down => 6,
        };
        traffic << 1 | u8::from(self.kind == RowKind::Backup)
    }

    /// Describes a row.
    pub fn new(kind: RowKind, traffic: Traffic) -> Self {
        Self { kind, traffic }
    }

    /// Returns what goes over this row once it is admitted.
    pub fn admitted(self) -> Traffic {
        match self.kind {
            RowKind::Primary => Traffic::In,
            RowKind::Backup => Traffic::Backup,
        }
    }
}

/// How the whole cluster stands: the product of its resources' states.
#[derive(Clone, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
pub struct ClusterState {
    nodes: Vec<NodeState>,
    rows: Vec<Row>,
    layout: RowLayout,
    lost: Option<DomainIx>,
    /// How the shared database's schema stands; `Base` where no database is declared.
    pub schema: Schema,
    /// The highest epoch that any host has seen for the writing of shared files.
    pub writer_epoch: WriterEpoch,
    /// The declared sites, in the order of the topology; empty where none is declared.
    pub sites: Vec<SiteState>,
}

impl ClusterState {
    /// Puts a state together: one entry a node, and the rows as the topology lays them out, node after node.
    ///
    /// # Panics
    /// When there is not one entry a node and one row for each that is declared: a programming error of the caller.
    pub fn new(topology: &Topology, nodes: Vec<NodeState>, rows: Vec<Row>) -> Self {
        let layout = topology.row_layout().clone();
        assert_eq!(nodes.len(), topology.nodes.len(), "one entry a node");
        assert_eq!(rows.len(), layout.count(), "one row a node, pool and balancer");
        let writer_epoch = nodes.iter().map(|node| node.writer).max().unwrap_or_default();
        let (schema, sites) = (Schema::default(), Vec::new());
        Self { nodes, rows, layout, lost: None, schema, writer_epoch, sites }
    }

    /// Tells whether every index of a topology leads somewhere here; a damaged journal may hold another state.
    pub(crate) fn fits(&self, topology: &Topology) -> bool {
        self.nodes.len() == topology.nodes.len()
            && self.layout == *topology.row_layout()
            && self.rows.len() == self.layout.count()
            && self.sites.len() == topology.sites.len()
            && self.lost.is_none_or(|domain| domain.index() < topology.domains.len())
    }

    /// Returns a node.
    pub fn node(&self, node: NodeIx) -> &NodeState {
        &self.nodes[node.index()]
    }

    /// Returns a node, to change it.
    pub fn node_mut(&mut self, node: NodeIx) -> &mut NodeState {
        &mut self.nodes[node.index()]
    }

    /// Lists the nodes.
    pub fn nodes(&self) -> impl Iterator<Item = (NodeIx, &NodeState)> {
        self.nodes.iter().enumerate().map(|(index, node)| (NodeIx::new(index), node))
    }

    /// Lists the nodes that an order is in flight on.
    pub fn in_flight(&self) -> Vec<NodeIx> {
        self.nodes().filter(|(_, node)| node.progress == Progress::InFlight).map(|(index, _)| index).collect()
    }

    /// Returns one row.
    pub fn row(&self, row: RowIx) -> Row {
        self.rows[row.index()]
    }

    /// Lists a node's rows: one for each of its pools on each balancer instance of the pool.
    pub fn rows(&self, node: NodeIx) -> &[Row] {
        &self.rows[self.layout.rows(node.index())]
    }

    /// Lists `count` rows from one on.
    pub(crate) fn rows_from(&self, first: RowIx, count: usize) -> &[Row] {
        &self.rows[first.index()..first.index() + count]
    }

    /// Sets what goes over one row.
    pub fn set_traffic(&mut self, row: RowIx, traffic: Traffic) {
        self.rows[row.index()].traffic = traffic;
    }

    /// Sets a node's rows, as they were seen.
    pub fn set_rows(&mut self, node: NodeIx, rows: &[Row]) {
        for (known, seen) in self.rows[self.layout.rows(node.index())].iter_mut().zip(rows) {
            *known = *seen;
        }
    }

    /// Changes what goes over all rows of a node.
    pub fn set_traffic_everywhere(&mut self, node: NodeIx, mut traffic: impl FnMut(Row) -> Traffic) {
        for row in &mut self.rows[self.layout.rows(node.index())] {
            row.traffic = traffic(*row);
        }
    }

    /// Returns where each node's rows are among all rows.
    pub(crate) fn layout(&self) -> &RowLayout {
        &self.layout
    }

    /// Returns the failure domain that is lost, if one is.
    pub fn lost(&self) -> Option<DomainIx> {
        self.lost
    }

    /// Forgets a loss, when a person has brought the domain back.
    pub fn clear_lost(&mut self) {
        self.lost = None;
    }

    /// Marks a failure domain as lost; its nodes are the caller's to change.
    pub fn set_lost(&mut self, domain: DomainIx) {
        self.lost = Some(domain);
    }

    /// Begins another step: no target has come anywhere with it yet.
    pub fn reset_progress(&mut self) {
        for node in &mut self.nodes {
            node.progress = Progress::Idle;
        }
    }

    /// Forgets the progress of every target but those in flight.
    pub fn reset_progress_at_rest(&mut self) {
        for node in self.nodes.iter_mut().filter(|node| node.progress != Progress::InFlight) {
            node.progress = Progress::Idle;
        }
    }

    /// Packs every field into numbers: two states of one topology are equal exactly when these are.
    pub(crate) fn pack(&self, words: &mut Vec<u64>) {
        words.extend(self.nodes.iter().flat_map(NodeState::packed));
        for chunk in self.rows.chunks(8) {
            words.push(chunk.iter().fold(0, |packed, row| packed << 8 | u64::from(row.packed())));
        }
        let lost = self.lost.map_or(0, |domain| 1 + domain.index() as u64);
        words.extend([lost << 8 | self.schema as u64, self.writer_epoch.number()]);
        words.extend(self.sites.iter().map(|site| site.epoch.number() << 8 | site.site as u64));
    }

    /// Tells whether a balancer instance has forgotten what this run said about a node. What cannot be seen, or is being
    /// changed, has not been forgotten.
    pub fn is_forgotten(&self, node: NodeIx) -> bool {
        // A node that is on its way out again after it was told again is not out yet.
        let again = self.node(node).told_again > 0;
        let admitted = |row: &Row| match row.traffic {
            Traffic::In | Traffic::Backup | Traffic::Down => true,
            Traffic::Draining { .. } => again,
            Traffic::Out | Traffic::Unknown => false,
        };
        match self.node(node).said {
            _ if self.node(node).moving => false,
            Said::Nothing => false,
            Said::Out => self.rows(node).iter().any(admitted),
            Said::Admitted => {
                self.rows(node).iter().any(|row| matches!(row.traffic, Traffic::Out | Traffic::Draining { .. }))
            }
        }
    }

    /// Lists the nodes of which a balancer instance has forgotten what this run said, those of a lost domain apart.
    pub fn forgotten(&self) -> impl Iterator<Item = NodeIx> + '_ {
        self.nodes().map(|(index, _)| index).filter(|index| self.is_forgotten(*index))
    }
}
