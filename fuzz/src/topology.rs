use std::collections::BTreeSet;

use ha_core::topology::{Name, Topology};

/// A topology: every name obeys the grammar and is its own, indices lead somewhere, and all that is wrong is told with a
/// line that is there.
pub fn topology_toml(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let last = text.split('\n').count();
    let topology = match Topology::from_toml_str(text) {
        Ok(topology) => topology,
        Err(error) => {
            assert!(!error.diagnostics().is_empty(), "refused without a reason");
            for diagnostic in error.diagnostics() {
                assert!(diagnostic.line <= last, "{diagnostic} of {last} lines");
            }
            return;
        }
    };
    let mut names = BTreeSet::new();
    for (_, node) in topology.nodes() {
        assert!(names.insert(&node.name), "{} is there twice", node.name);
        assert!(!node.ports.is_empty() && node.ports.iter().all(|port| port.capacity > 0));
        assert!(node.domain.index() < topology.domains().count());
        assert!(node.site.is_none_or(|site| site.index() < topology.sites().len()));
    }
    let domains = topology.domains().map(|domain| topology.domain_name(domain));
    let pools = topology.pools().flat_map(|(_, pool)| [&pool.name, &pool.backend]);
    for name in names.into_iter().chain(domains).chain(pools).chain([topology.name()]) {
        assert_eq!(Name::new(name.as_str()).as_ref(), Ok(name));
    }
    for (index, pool) in topology.pools() {
        assert!(pool.serve > 0 && usize::from(pool.serve) <= topology.members_of(index).count());
        assert!(!pool.balancers.is_empty() && topology.entrances(index).len() == pool.balancers.len());
    }
    let members: usize = topology.nodes().map(|(index, _)| topology.memberships(index).count()).sum();
    assert_eq!(members, topology.member_layout().count());
}
