use std::sync::OnceLock;

use ha_core::plan::Plan;
use ha_core::procedure::{PatchRequest, Snapshot, plan};
use ha_core::record::{Entry, Record};
use ha_core::state::{
    ClusterState, Facts, Generations, LeaseEpoch, MemberKind, MemberState, NodeState, Process, ReleaseSet, Releases,
    Traffic,
};
use ha_core::topology::Topology;

/// A small cluster, and the entry that opens the run of a patch of it. Made here, so that it is always of this version.
pub(crate) struct Cluster {
    pub(crate) topology: Topology,
    pub(crate) opened: serde_json::Value,
}

const TOPOLOGY: &str = r#"
[cluster]
name = "orders"
[policy]
peak_load = 1000
[pool]
name = "esb"
serve = 3
[[balancer]]
name = "lb1"
backend = "haproxy"
[[balancer]]
name = "lb2"
backend = "haproxy"
[[node]]
name = "esb1"
capacity = 700
host = { backend = "local" }
probe = { backend = "http" }
[[node]]
name = "esb2"
capacity = 700
host = { backend = "local" }
probe = { backend = "http" }
[[node]]
name = "esb3"
capacity = 700
host = { backend = "local" }
probe = { backend = "http" }
[[node]]
name = "spare1"
spare = true
capacity = 700
host = { backend = "local" }
probe = { backend = "http" }
"#;

impl Cluster {
    /// Returns the cluster; `None` never happens, and a test asserts that.
    pub(crate) fn get() -> Option<&'static Self> {
        static CLUSTER: OnceLock<Option<Cluster>> = OnceLock::new();
        CLUSTER.get_or_init(Self::make).as_ref()
    }

    fn make() -> Option<Self> {
        let topology = Topology::from_toml_str(TOPOLOGY).ok()?;
        let (mut releases, mut tested) = (Releases::default(), ReleaseSet::default());
        let old = releases.enter("1.0").ok()?;
        tested.insert(old);
        let serving = NodeState::new(Process::Ready { warm: true }, Some(old), tested);
        let spare = NodeState::new(Process::Stopped, Some(old), tested);
        let nodes = topology.nodes().map(|(_, node)| if node.spare { spare } else { serving }).collect();
        let member = |spare| MemberState::new(MemberKind::Primary, if spare { Traffic::Out } else { Traffic::In });
        let members = topology.nodes().flat_map(|(_, node)| [member(node.spare); 2]).collect();
        let (state, facts) =
            (ClusterState::new(&topology, nodes, members), Facts::new(releases, Generations::default()));
        let words = |word: &str| vec![word.to_string()];
        let request = PatchRequest::new("2.0", words("apply"), words("restore")).with_beside("1.0");
        let made: Plan = plan(&request, Snapshot::new(&topology, &state, &facts)).ok()?.plan().clone();
        let record = Record::Opened { plan: Box::new(made) };
        let opened = serde_json::to_value(Entry::new(0, LeaseEpoch::new(1), 0, record)).ok()?;
        Some(Self { topology, opened })
    }
}
