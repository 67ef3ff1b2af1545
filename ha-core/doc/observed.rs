// The cluster of the examples in the documentation: an active and a passive node, and a spare, as they are observed at rest.

use ha_core::state::{
    ClusterState, Facts, MemberKind, MemberState, NodeState, Process, ReleaseSet, TooManyReleases, Traffic,
};
use ha_core::topology::{Component, Name, NodeSpec, PoolSpec, Topology};

/// Declares the cluster.
pub fn topology() -> Result<Topology, Box<dyn std::error::Error>> {
    let fake = Component::new(Name::new("fake")?);
    let node = |name: &str| NodeSpec::new(name, 1000, fake.clone(), fake.clone());
    let topology = Topology::builder("orders")
        .balancer("lb1", fake.clone())
        .pool(PoolSpec::new("esb", 1, 1000))
        .node(node("esb1"))
        .node(node("esb2"))
        .node(node("spare1").as_spare());
    Ok(topology.build()?)
}

/// Declares it, and says how it is observed: every server has release 1.0.
pub fn cluster() -> Result<(Topology, ClusterState, Facts), Box<dyn std::error::Error>> {
    let (topology, mut facts) = (topology()?, Facts::default());
    let nodes = nodes(&mut facts)?;
    let members = [
        MemberState::new(MemberKind::Primary, Traffic::In),
        MemberState::new(MemberKind::Backup, Traffic::Backup),
        MemberState::new(MemberKind::Backup, Traffic::Out),
    ];
    let state = ClusterState::new(&topology, nodes, members.to_vec());
    Ok((topology, state, facts))
}

fn nodes(facts: &mut Facts) -> Result<Vec<NodeState>, TooManyReleases> {
    let release = facts.releases.enter("1.0")?;
    let mut tested = ReleaseSet::default();
    tested.insert(release);
    let node = |process| NodeState::new(process, Some(release), tested);
    let ready = Process::Ready { warm: true };
    Ok(vec![node(ready), node(ready), node(Process::Stopped)])
}
