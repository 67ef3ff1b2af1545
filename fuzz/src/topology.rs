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
        assert!(node.capacity > 0);
        assert!(node.domain.index() < topology.domains.len());
        assert!(node.site.is_none_or(|site| site.index() < topology.sites.len()));
    }
    let domains = topology.domains.iter();
    for name in names.into_iter().chain(domains).chain([&topology.name, &topology.pool.name]) {
        assert_eq!(Name::new(name.as_str()).as_ref(), Ok(name));
    }
    assert!(topology.pool.serve > 0 && usize::from(topology.pool.serve) <= topology.members().count());
}
