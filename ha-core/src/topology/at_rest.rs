//! Whether a declared cluster holds the law while nothing happens to it.

use super::draft::PolicyDraft;
use super::reader::Findings;
use super::spec::PoolSpec;
use super::{DomainIx, PoolIx, Topology};

/// Refuses a pool of which more members are to serve than there are.
pub(super) fn check_serve(topology: &Topology, lines: &[usize], findings: &Findings<'_>, specs: &[PoolSpec]) {
    for ((index, pool), (line, spec)) in topology.pools().zip(lines.iter().zip(specs)) {
        let members = topology.members_of(index).count();
        if usize::from(pool.serve) > members {
            let message = format!("{} members are to serve, {members} are declared", pool.serve);
            findings.add(
                *line,
                format!("{}.serve", spec.path),
                message,
                "lower serve, or add nodes that are no spares",
            );
        }
    }
}

/// Refuses a cluster that cannot hold the law even while nothing happens to it.
pub(super) fn check_law(topology: &Topology, findings: &Findings<'_>, specs: &[PoolSpec], policy: &PolicyDraft) {
    for ((index, pool), spec) in topology.pools().zip(specs) {
        let (key, line) = match (&spec.peak_load, &policy.peak_load) {
            (None, Some(shared)) => ("policy".to_string(), shared.line),
            (own, _) => (spec.path.clone(), own.as_ref().map_or(spec.line, |own| own.line)),
        };
        let prefix = topology.prefix(index);
        let fix = format!("add capacity, or lower {key}.peak_load to what is true");
        let (has, required) = (carried(topology, index, None, true), pool.required_now());
        if has < required {
            let message = format!("{prefix}at rest the law is broken: {has} can serve, {required} is required now");
            findings.add(line, format!("{key}.peak_load"), message, fix);
        }
        let required = pool.required_after_loss();
        if let Some((has, domain)) = topology.least_after_loss(index).filter(|(has, _)| *has < required) {
            let name = topology.domain_name(domain);
            let message = format!(
                "{prefix}at rest the law is broken: if {name} is lost {has} is left, {required} is required then"
            );
            let missing = required - has;
            let fix = format!("add a member of capacity {missing} outside {name}, or lower {key}.peak_load");
            findings.add(line, format!("{key}.survive_one"), message, fix);
        }
    }
}

impl Topology {
    /// Returns what is left of a pool at rest when the failure domain is lost whose loss leaves the least.
    pub(crate) fn least_after_loss(&self, pool: PoolIx) -> Option<(u64, DomainIx)> {
        self.domains().map(|domain| (carried(self, pool, Some(domain), false), domain)).min()
    }
}

/// Returns what the members of a pool carry at rest, without a failure domain, when the smallest or the largest serve.
fn carried(topology: &Topology, pool: PoolIx, without: Option<DomainIx>, smallest_first: bool) -> u64 {
    let mut left: Vec<u64> = topology
        .members_of(pool)
        .filter(|(_, node, _)| Some(node.domain) != without)
        .map(|(.., port)| port.capacity)
        .collect();
    left.sort_unstable();
    if !smallest_first {
        left.reverse();
    }
    let serve = usize::from(topology.pool(pool).serve);
    left.iter().take(serve).fold(0_u64, |sum, one| sum.saturating_add(*one))
}
