use std::ops::Range;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{BalancerIx, DomainIx, MemberIx, Node, NodeIx, Permille, Pool};

/// Where the members of a topology are: by node, and by entrance.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Members {
    pub(super) layout: MemberLayout,
    /// For each pool its entrances.
    pub(super) entrances: Vec<Vec<Entrance>>,
}

/// Where each node's members are among all members. Cheap to clone.
#[derive(Clone, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(from = "Vec<u32>", into = "Vec<u32>")]
pub struct MemberLayout(Arc<[u32]>);

/// One balancer instance in front of a pool, with the pool's members there.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Entrance {
    /// The balancer instance.
    pub balancer: BalancerIx,
    /// The members, in the order of the nodes.
    pub seats: Vec<Seat>,
}

/// A node's member at an entrance, with what is declared of the node there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Seat {
    /// The node.
    pub node: NodeIx,
    /// Its member.
    pub member: MemberIx,
    /// Its first member in the pool; it has one for each entrance.
    pub(crate) first: MemberIx,
    /// What the node can carry in the pool.
    pub capacity: u64,
    /// The share of it that the node carries before it is warm.
    pub warm_up: Permille,
    /// What fails with the node.
    pub domain: DomainIx,
    /// How many nodes it stands for.
    pub(crate) stands_for: u64,
}

impl Members {
    pub(super) fn new(pools: &[Pool], nodes: &[Node]) -> Self {
        let entrance = |balancer: &BalancerIx| Entrance { balancer: *balancer, seats: Vec::new() };
        let mut entrances: Vec<Vec<Entrance>> =
            pools.iter().map(|pool| pool.balancers.iter().map(entrance).collect()).collect();
        let (mut offsets, mut member) = (vec![0], 0);
        for (index, node) in nodes.iter().enumerate() {
            for port in &node.ports {
                let first = MemberIx::new(member);
                for entrance in &mut entrances[port.pool.index()] {
                    let (capacity, warm_up, domain) = (port.capacity, node.warm_up, node.domain);
                    let stands_for = u64::from(node.stands_for);
                    let (node, member_ix) = (NodeIx::new(index), MemberIx::new(member));
                    entrance.seats.push(Seat { node, member: member_ix, first, capacity, warm_up, domain, stands_for });
                    member += 1;
                }
            }
            offsets.push(u32::try_from(member).unwrap_or(u32::MAX));
        }
        Self { layout: MemberLayout::from(offsets), entrances }
    }
}

impl MemberLayout {
    /// Returns how many members there are.
    pub fn count(&self) -> usize {
        self.at(self.0.len().saturating_sub(1))
    }

    /// Returns where the members of the node at `index` are.
    pub(crate) fn members_of(&self, index: usize) -> Range<usize> {
        self.at(index)..self.at(index + 1)
    }

    fn at(&self, index: usize) -> usize {
        self.0.get(index).map_or(0, |offset| usize::try_from(*offset).unwrap_or(usize::MAX))
    }
}

impl Default for MemberLayout {
    fn default() -> Self {
        Self::from(vec![0])
    }
}

impl From<Vec<u32>> for MemberLayout {
    fn from(offsets: Vec<u32>) -> Self {
        Self(offsets.into())
    }
}

impl From<MemberLayout> for Vec<u32> {
    fn from(layout: MemberLayout) -> Self {
        layout.0.to_vec()
    }
}
