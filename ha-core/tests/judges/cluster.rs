//! Clusters at rest, built by hand: no procedure and no fake stands between a test and the law.

use ha_core::law::Law;
use ha_core::state::{
    ClusterState, Facts, Generation, GenerationId, Generations, MemberKind, MemberState, NodeState, Process, ReleaseId,
    ReleaseSet, Releases, SchemaRange, Site, SiteEpoch, SiteState, Sync, Traffic, Work, WriterEpoch,
};
use ha_core::topology::{
    Component, DomainIx, Name, NodeIx, NodeSpec, PoolIx, PoolSpec, Role, SiteRole, Topology, TopologyBuilder,
};

pub(crate) const READY: Process = Process::Ready { warm: true };

pub(crate) fn fake() -> Component {
    Component::new(Name::new("fake").unwrap())
}

pub(crate) fn node(name: &str, capacity: u64) -> NodeSpec {
    NodeSpec::new(name, capacity, fake(), fake())
}

/// A cluster of one pool with the load 1000 behind one balancer, or more.
pub(crate) fn builder(serve: u16, balancers: usize, nodes: Vec<NodeSpec>) -> TopologyBuilder {
    loaded(1000, serve, balancers, nodes)
}

/// A cluster of one pool with so much load.
pub(crate) fn loaded(load: u64, serve: u16, balancers: usize, nodes: Vec<NodeSpec>) -> TopologyBuilder {
    let builder = Topology::builder("orders").pool(PoolSpec::new("esb", serve, load));
    let builder = (1..=balancers).fold(builder, |builder, number| builder.balancer(format!("lb{number}"), fake()));
    nodes.into_iter().fold(builder, TopologyBuilder::node)
}

/// A declared cluster, what is known of its releases, and its state.
#[derive(Clone, Debug)]
pub(crate) struct Cluster {
    pub(crate) topology: Topology,
    pub(crate) facts: Facts,
    pub(crate) state: ClusterState,
    pub(crate) old: ReleaseId,
    pub(crate) new: ReleaseId,
    pub(crate) first: GenerationId,
    pub(crate) second: GenerationId,
}

impl Cluster {
    /// At rest: as many nodes serve as are to, the others stand by, spares are stopped, and the first node writes.
    pub(crate) fn at_rest(builder: TopologyBuilder) -> Self {
        let topology = builder.build().unwrap();
        let (mut releases, mut generations) = (Releases::default(), Generations::default());
        let (old, new) = (releases.enter("1.0").unwrap(), releases.enter("2.0").unwrap());
        releases.declare_beside(old, new);
        releases.declare_schema(old, SchemaRange::OLD);
        releases.declare_schema(new, SchemaRange::NEW);
        let first = generations.enter(Generation::new(1, "one")).unwrap();
        let second = generations.enter(Generation::new(2, "two")).unwrap();
        let mut tested = ReleaseSet::default();
        tested.insert(old);
        let serve = topology.pools().map(|(_, pool)| usize::from(pool.serve)).min().unwrap();
        let (mut nodes, mut members) = (Vec::new(), Vec::new());
        for (index, declared) in topology.nodes() {
            let runs = !declared.spare && topology.is_home(declared);
            let mut node = NodeState::new(if runs { READY } else { Process::Stopped }, Some(old), tested);
            if declared.component(Role::Work).is_some() {
                node.work = Work::On;
            }
            if topology.files().is_some() {
                (node.writer, node.sync) = match index.index() {
                    0 => (WriterEpoch::new(1), Sync::None),
                    _ => (WriterEpoch::default(), Sync::Active),
                };
            }
            nodes.push(node);
            let traffic = if runs && index.index() < serve { Traffic::In } else { Traffic::Out };
            members.extend(topology.memberships(index).map(|_| MemberState::new(MemberKind::Primary, traffic)));
        }
        let mut state = ClusterState::new(&topology, nodes, members);
        let site = |role| match role {
            SiteRole::Serving => SiteState::new(Site::Serving, SiteEpoch::new(1)),
            SiteRole::Hot => SiteState::new(Site::Hot, SiteEpoch::new(0)),
            SiteRole::Warm => SiteState::new(Site::Warm, SiteEpoch::new(0)),
            SiteRole::Cold => SiteState::new(Site::Cold, SiteEpoch::new(0)),
        };
        state.sites = topology.sites().iter().map(|declared| site(declared.role)).collect();
        Self { topology, facts: Facts::new(releases, generations), state, old, new, first, second }
    }

    pub(crate) fn law(&self) -> Law<'_> {
        Law::new(&self.topology, &self.facts)
    }

    pub(crate) fn node(&self, name: &str) -> NodeIx {
        self.topology.find(name).unwrap()
    }

    pub(crate) fn domain(&self, name: &str) -> DomainIx {
        self.topology.node(self.node(name)).domain
    }

    pub(crate) fn pool(&self) -> PoolIx {
        self.topology.pools().next().unwrap().0
    }

    /// The same cluster with one node changed.
    pub(crate) fn with(mut self, name: &str, change: impl FnOnce(&mut NodeState)) -> Self {
        change(self.state.node_mut(self.node(name)));
        self
    }

    /// The same cluster with one node's traffic changed everywhere.
    pub(crate) fn with_traffic(mut self, name: &str, traffic: Traffic) -> Self {
        self.state.set_traffic_everywhere(self.node(name), |_| traffic);
        self
    }

    /// The same cluster with one node's traffic changed on one of its members.
    pub(crate) fn with_traffic_at(mut self, name: &str, place: usize, traffic: Traffic) -> Self {
        let (member, ..) = self.topology.memberships(self.node(name)).nth(place).unwrap();
        self.state.set_traffic(member, traffic);
        self
    }

    /// The same cluster with one node's members configured as backups, admitted.
    pub(crate) fn with_backup(mut self, name: &str) -> Self {
        let node = self.node(name);
        let members = vec![MemberState::new(MemberKind::Backup, Traffic::Backup); self.state.members(node).len()];
        self.state.set_members(node, &members);
        self
    }

    /// The same cluster with a node's failure domain lost.
    pub(crate) fn without(mut self, name: &str) -> Self {
        let domain = self.domain(name);
        self.state.set_lost(domain);
        let nodes: Vec<NodeIx> = self.topology.nodes_of(domain).collect();
        for node in nodes {
            self.state.node_mut(node).process = Process::Absent;
        }
        self
    }
}
