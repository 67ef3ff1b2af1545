use serde::{Deserialize, Serialize};

use super::{NodeState, Row, Schema, SiteState, Traffic, WriterEpoch};
use crate::topology::{DomainIx, NodeIx, RowIx, RowLayout, Topology};

/// How the whole cluster stands: the product of its resources' states.
#[derive(Clone, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
pub struct ClusterState {
    nodes: Vec<NodeState>,
    rows: Vec<Row>,
    layout: RowLayout,
    lost: Vec<DomainIx>,
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
        Self { nodes, rows, layout, lost: Vec::new(), schema, writer_epoch, sites }
    }

    /// Tells whether every index of a topology leads somewhere here; a damaged journal may hold another state.
    pub(crate) fn fits(&self, topology: &Topology) -> bool {
        self.nodes.len() == topology.nodes.len()
            && self.layout == *topology.row_layout()
            && self.rows.len() == self.layout.count()
            && self.sites.len() == topology.sites.len()
            && self.lost.iter().all(|domain| domain.index() < topology.domains.len())
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

    /// Changes what goes over all rows of a node; at the first refusal it leaves off.
    pub(crate) fn try_each_row<E>(
        &mut self,
        node: NodeIx,
        mut traffic: impl FnMut(Row) -> Result<Traffic, E>,
    ) -> Result<(), E> {
        for row in &mut self.rows[self.layout.rows(node.index())] {
            row.traffic = traffic(*row)?;
        }
        Ok(())
    }

    /// Returns where each node's rows are among all rows.
    pub(crate) fn layout(&self) -> &RowLayout {
        &self.layout
    }

    /// Lists the failure domains that are lost, in the order of the topology.
    pub fn lost(&self) -> &[DomainIx] {
        &self.lost
    }

    /// Tells whether a failure domain is lost.
    pub fn is_lost(&self, domain: DomainIx) -> bool {
        self.lost.contains(&domain)
    }

    /// Sets which failure domains are lost, when a person has brought others back.
    pub fn set_losses(&mut self, domains: &[DomainIx]) {
        self.lost = domains.to_vec();
    }

    /// Marks a failure domain as lost; its nodes are the caller's to change.
    pub fn set_lost(&mut self, domain: DomainIx) {
        if let Err(place) = self.lost.binary_search(&domain) {
            self.lost.insert(place, domain);
        }
    }

    /// Packs every field into numbers: two states of one topology are equal exactly when these are. A field that is not named
    /// here does not compile.
    pub(crate) fn pack(&self, words: &mut Vec<u64>) {
        // The layout is the topology's own.
        let Self { nodes, rows, layout: _, lost, schema, writer_epoch, sites } = self;
        words.extend(nodes.iter().flat_map(NodeState::packed));
        for chunk in rows.chunks(8) {
            words.push(chunk.iter().fold(0, |packed, row| packed << 8 | u64::from(row.packed())));
        }
        words.push((lost.len() as u64) << 8 | *schema as u64);
        words.extend(lost.iter().map(|domain| domain.index() as u64));
        words.push(writer_epoch.number());
        words.extend(sites.iter().map(SiteState::packed));
    }
}
