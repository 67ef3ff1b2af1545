//! The checker's own small model of a cluster: what is declared, read once from a topology and a plan, and how it stands.

use ha_core::plan::Plan;
use ha_core::state::{
    ClusterState, Facts, GenerationId, MemberKind, Process, ReleaseId, Schema, ServerDomain, Sync, Traffic, WriterEpoch,
};
use ha_core::topology::{Permille, Topology};

/// What does not change in a run.
#[derive(Debug)]
pub(crate) struct Cluster<'a> {
    pub(crate) nodes: Vec<Declared>,
    pub(crate) pools: Vec<Pool>,
    pub(crate) seats: Vec<Seat>,
    pub(crate) balancers: usize,
    pub(crate) domains: usize,
    pub(crate) database: bool,
    pub(crate) facts: &'a Facts,
}

#[derive(Debug)]
pub(crate) struct Declared {
    pub(crate) name: String,
    pub(crate) domain: usize,
    pub(crate) spare: bool,
    pub(crate) member: bool,
    /// Thousandths of its capacity that it carries while it is cold.
    pub(crate) cold: u64,
    pub(crate) seats: Vec<usize>,
}

#[derive(Debug)]
pub(crate) struct Pool {
    pub(crate) now: u64,
    pub(crate) after_loss: u64,
    pub(crate) balancers: Vec<usize>,
}

/// A node in a pool on a balancer instance.
#[derive(Debug)]
pub(crate) struct Seat {
    pub(crate) node: usize,
    pub(crate) pool: usize,
    pub(crate) balancer: usize,
    pub(crate) capacity: u64,
    pub(crate) backup: bool,
    /// What a balancer that has lost its runtime state has again: how the run found it.
    pub(crate) configured: At,
}

/// How a cluster stands.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) struct State {
    pub(crate) nodes: Vec<Node>,
    pub(crate) seats: Vec<At>,
    pub(crate) schema: Schema,
    pub(crate) two: super::clone::Two,
    pub(crate) lost: Option<usize>,
    /// The highest epoch with which anybody may have written shared files.
    pub(crate) epoch: u64,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Node {
    pub(crate) runs: Runs,
    pub(crate) warm: bool,
    pub(crate) release: Option<ReleaseId>,
    /// An installation has begun and not ended.
    pub(crate) half: bool,
    /// What is installed has passed its gate on this node.
    pub(crate) passed: bool,
    /// From the first changing intent until the gate.
    pub(crate) changing: bool,
    pub(crate) files: Option<GenerationId>,
    pub(crate) in_test: bool,
    pub(crate) work: Work,
    pub(crate) edge: Edge,
    /// The epoch with which it may write shared files; 0 where it may not.
    pub(crate) writer: u64,
    pub(crate) loans: Loans,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Runs {
    Gone,
    Stopped,
    Starting,
    Ready,
    Hung,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum At {
    Out,
    Draining,
    /// In, or on a backup seat Backup.
    Admitted,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Work {
    None,
    On,
    Off,
    Unknown,
}

/// The file sync into a node.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Edge {
    None,
    Open,
    Held,
}

/// The ledger of one node.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub(crate) struct Loans {
    pub(crate) out: bool,
    pub(crate) stopped: bool,
    pub(crate) spare_runs: bool,
    pub(crate) spare_in: bool,
    pub(crate) held: bool,
    pub(crate) paused: bool,
    pub(crate) in_test: bool,
}

/// Returns the smallest number that is no less than so many thousandths of a load.
fn share(load: u64, thousandths: Permille) -> u64 {
    (load * u64::from(thousandths.thousandths())).div_ceil(1000)
}

impl<'a> Cluster<'a> {
    pub(crate) fn read(topology: &Topology, plan: &'a Plan) -> Self {
        let pools = topology.pools().map(|(_, pool)| Pool {
            now: share(pool.peak_load, pool.serve_now),
            after_loss: share(pool.peak_load, pool.survive_one),
            balancers: pool.balancers.iter().map(|balancer| balancer.index()).collect(),
        });
        let mut seats = Vec::new();
        let mut nodes = Vec::new();
        for (index, node) in topology.nodes() {
            let own =
                topology.memberships(index).zip(plan.start().members(index)).map(|((_, port, balancer), seen)| Seat {
                    node: index.index(),
                    pool: port.pool.index(),
                    balancer: balancer.index(),
                    capacity: port.capacity,
                    backup: seen.kind == MemberKind::Backup,
                    configured: At::read(seen.traffic),
                });
            let first = seats.len();
            seats.extend(own);
            nodes.push(Declared {
                name: node.name.to_string(),
                domain: node.domain.index(),
                spare: node.spare,
                member: topology.members().any(|(member, _)| member == index),
                cold: u64::from(node.warm_up.thousandths()),
                seats: (first..seats.len()).collect(),
            });
        }
        Self {
            nodes,
            pools: pools.collect(),
            seats,
            balancers: topology.balancers().count(),
            domains: topology.domains().count(),
            database: topology.database().is_some(),
            facts: plan.facts(),
        }
    }

    /// Reads how the cluster stands, loans apart.
    pub(crate) fn seen(seen: &ClusterState) -> State {
        let nodes = seen.nodes().map(|(_, node)| Node {
            runs: match node.process {
                Process::Absent => Runs::Gone,
                Process::Stopped => Runs::Stopped,
                Process::Starting => Runs::Starting,
                Process::Ready { .. } => Runs::Ready,
                Process::Sick | Process::Unknown => Runs::Hung,
            },
            warm: node.process == Process::Ready { warm: true },
            release: node.release,
            half: node.half_changed,
            passed: node.release.is_some_and(|release| node.tested.contains(release)),
            changing: node.under_change,
            files: node.generation,
            in_test: node.server_domain == ServerDomain::Test,
            work: match node.work {
                ha_core::state::Work::None => Work::None,
                ha_core::state::Work::On => Work::On,
                ha_core::state::Work::Off => Work::Off,
                ha_core::state::Work::Unknown => Work::Unknown,
            },
            edge: match node.sync {
                Sync::None => Edge::None,
                Sync::Active | Sync::Running | Sync::Unknown => Edge::Open,
                Sync::Held => Edge::Held,
            },
            writer: node.writer.number(),
            loans: Loans::default(),
        });
        let epoch = seen.nodes().map(|(_, node)| node.writer).max().unwrap_or_default().max(seen.writer_epoch);
        let seats =
            seen.nodes().flat_map(|(index, _)| seen.members(index)).map(|member| At::read(member.traffic)).collect();
        State {
            nodes: nodes.collect(),
            seats,
            schema: seen.schema,
            two: super::clone::Two::read(seen.copies),
            lost: seen.lost().first().map(|domain| domain.index()),
            epoch: WriterEpoch::number(epoch),
        }
    }
}

impl At {
    fn read(traffic: Traffic) -> Self {
        match traffic {
            Traffic::Out => Self::Out,
            Traffic::Backup | Traffic::In => Self::Admitted,
            Traffic::Draining { .. } | Traffic::Unknown | Traffic::Down => Self::Draining,
            // Nothing reaches it over a balancer that is gone.
            Traffic::Gone => Self::Out,
        }
    }
}
