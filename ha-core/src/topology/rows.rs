use std::ops::Range;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{BalancerIx, DomainIx, Node, NodeIx, Permille, Pool, RowIx};

/// Where the rows of a topology are: by node, and by entrance.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Rows {
    pub(super) layout: RowLayout,
    /// For each pool its entrances.
    pub(super) entrances: Vec<Vec<Entrance>>,
}

/// Where each node's rows are among all rows. Cheap to clone.
#[derive(Clone, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[serde(from = "Vec<u32>", into = "Vec<u32>")]
pub struct RowLayout(Arc<[u32]>);

/// One balancer instance in front of a pool, with the pool's rows there.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Entrance {
    /// The balancer instance.
    pub balancer: BalancerIx,
    /// The rows, in the order of the nodes.
    pub seats: Vec<Seat>,
}

/// A node's row at an entrance, with what is declared of the node there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Seat {
    /// The node.
    pub node: NodeIx,
    /// Its row.
    pub row: RowIx,
    /// Its first row in the pool; it has one for each entrance.
    pub(crate) first: RowIx,
    /// What the node can carry in the pool.
    pub capacity: u64,
    /// The share of it that the node carries before it is warm.
    pub warm_up: Permille,
    /// What fails with the node.
    pub domain: DomainIx,
}

impl Rows {
    pub(super) fn new(pools: &[Pool], nodes: &[Node]) -> Self {
        let entrance = |balancer: &BalancerIx| Entrance { balancer: *balancer, seats: Vec::new() };
        let mut entrances: Vec<Vec<Entrance>> =
            pools.iter().map(|pool| pool.balancers.iter().map(entrance).collect()).collect();
        let (mut offsets, mut row) = (vec![0], 0);
        for (index, node) in nodes.iter().enumerate() {
            for port in &node.ports {
                let first = RowIx::new(row);
                for entrance in &mut entrances[port.pool.index()] {
                    let (capacity, warm_up, domain) = (port.capacity, node.warm_up, node.domain);
                    let (node, row_ix) = (NodeIx::new(index), RowIx::new(row));
                    entrance.seats.push(Seat { node, row: row_ix, first, capacity, warm_up, domain });
                    row += 1;
                }
            }
            offsets.push(u32::try_from(row).unwrap_or(u32::MAX));
        }
        Self { layout: RowLayout::from(offsets), entrances }
    }
}

impl RowLayout {
    /// Returns how many rows there are.
    pub fn count(&self) -> usize {
        self.at(self.0.len().saturating_sub(1))
    }

    /// Returns where the rows of the node at `index` are.
    pub(crate) fn rows(&self, index: usize) -> Range<usize> {
        self.at(index)..self.at(index + 1)
    }

    fn at(&self, index: usize) -> usize {
        self.0.get(index).map_or(0, |offset| usize::try_from(*offset).unwrap_or(usize::MAX))
    }
}

impl Default for RowLayout {
    fn default() -> Self {
        Self::from(vec![0])
    }
}

impl From<Vec<u32>> for RowLayout {
    fn from(offsets: Vec<u32>) -> Self {
        Self(offsets.into())
    }
}

impl From<RowLayout> for Vec<u32> {
    fn from(layout: RowLayout) -> Self {
        layout.0.to_vec()
    }
}
