use super::{Check, Finding, Seen, Severity, Verdict, View, pool_place};
use crate::law::Law;
use crate::state::{Facts, Process, Schema, SchemaRange, Traffic};
use crate::topology::{Permille, PoolIx};

pub(super) fn now(seen: &Seen<'_>) -> Verdict {
    let (facts, state) = (facts(seen), &seen.observed.state);
    let law = Law::new(seen.topology, &facts);
    let short = |(index, pool): (PoolIx, &crate::topology::Pool)| {
        let (has, required) = (law.capacity(state, index), pool.required_now());
        let message = format!("{has} serves, {required} is required now");
        let fix = "bring back the servers that do not serve, or add one";
        (has < required).then(|| finding(seen, index, Check::CapacityNow, message, fix))
    };
    Verdict::made(law.required_pools(state).filter_map(short).collect())
}

pub(super) fn after_loss(seen: &Seen<'_>) -> Verdict {
    let (facts, state) = (facts(seen), &seen.observed.state);
    let law = Law::new(seen.topology, &facts);
    let short = |(index, pool): (PoolIx, &crate::topology::Pool)| {
        let (left, domain) = law.worst_loss(state, index)?;
        let required = pool.required_after_loss();
        let name = seen.topology.domain_name(domain);
        let message = format!("if {name} is lost {left} is left, {required} is required then");
        let fix = "bring back what is out, or add a node in another failure domain; no change is begun until then";
        (left < required).then(|| finding(seen, index, Check::CapacityAfterLoss, message, fix))
    };
    Verdict::made(law.required_pools(state).filter_map(short).collect())
}

/// Returns what the law is asked with. Which schema a release can use is declared with a change only: at rest what passes its test
/// can use the one that is there.
fn facts(seen: &Seen<'_>) -> Facts {
    let mut facts = seen.observed.facts.clone();
    let undeclared = facts.releases.iter().filter(|(_, range)| range.is_none()).map(|(name, _)| name.to_string());
    let ids: Vec<_> = undeclared.collect::<Vec<_>>().iter().filter_map(|name| facts.releases.id(name)).collect();
    for id in ids {
        facts.releases.declare_schema(id, SchemaRange::new(Schema::Base, Schema::Contracted));
    }
    facts
}

/// Says what is short in a pool, with how each of its members is. What could not be read may be the reason.
fn finding(seen: &Seen<'_>, pool: PoolIx, check: Check, message: String, fix: &str) -> Finding {
    let state = &seen.observed.state;
    let (mut is_unread, mut evidence) = (false, Vec::new());
    for (node, declared, port) in seen.topology.members_of(pool) {
        let traffic = seen.topology.memberships(node).filter(|(_, of, _)| of.pool == pool);
        let traffic: Vec<Traffic> = traffic.map(|(member, ..)| state.member(member).traffic).collect();
        let process = state.node(node).process;
        is_unread |= process == Process::Unknown || traffic.contains(&Traffic::Unknown);
        let tested = if state.node(node).is_tested() { "" } else { ", not tested" };
        let on: Vec<String> = traffic.iter().map(|traffic| format!("{traffic:?}").to_lowercase()).collect();
        let (name, process) = (&declared.name, format!("{process:?}").to_lowercase());
        evidence.push(format!("{name} of capacity {}: {process}{tested}, {}", port.capacity, on.join(", ")));
    }
    let severity = if is_unread { Severity::NotChecked } else { Severity::Danger };
    Finding::new(check, severity, pool_place(seen.topology, pool), message, fix).with_all_evidence(evidence)
}

/// The rule of the house, whatever the policy asks for: three quarters of the peak after a loss where all members serve, all
/// of it where some stand by.
pub(super) fn declared(view: &View<'_>) -> Verdict {
    let topology = view.topology;
    let short = |(index, pool): (PoolIx, &crate::topology::Pool)| {
        let all_serve = usize::from(pool.serve) >= topology.members_of(index).count();
        let share = if all_serve { Permille::THREE_QUARTERS } else { Permille::WHOLE };
        let required = share.of(pool.peak_load);
        let (left, domain) = topology.least_after_loss(index)?;
        let name = topology.domain_name(domain);
        let message = format!(
            "its survive_one is {}: if {name} is lost at peak {left} is left, and {share} of the peak is {required}",
            pool.survive_one
        );
        let fix = format!("add capacity outside {name}, or be sure that consumers can do with less");
        let place = pool_place(topology, index);
        (left < required).then(|| Finding::new(Check::CapacityDeclared, Severity::Warning, place, message, fix))
    };
    Verdict::made(topology.pools().filter_map(short).collect())
}
