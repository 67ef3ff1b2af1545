//! Judges what was seen: pure, one function a check, one file a resource.

mod balancer;
mod capacity;
mod machine;
mod run;
mod server;
mod shared;
mod site;
mod traffic;
mod unread;

use std::collections::BTreeSet;

use super::look::Look;
use super::{Check, Diagnosis, Finding, NotNeeded, Place, Severity};
use crate::engine::observe::Observed;
use crate::state::{NodeState, Traffic};
use crate::topology::{BalancerIx, MemberIx, Node, NodeIx, PoolIx, Topology};

/// What came of one check.
#[derive(Debug)]
pub(super) enum Verdict {
    /// There was nothing to look at.
    NotNeeded(String),
    Made {
        findings: Vec<Finding>,
        /// Whether everything that it is about could be read; what could not is told by [`Check::Unread`].
        everywhere: bool,
    },
}

impl Verdict {
    fn made(findings: Vec<Finding>) -> Self {
        Self::Made { findings, everywhere: true }
    }

    fn not_needed(why: impl Into<String>) -> Self {
        Self::NotNeeded(why.into())
    }
}

/// Everything that a check may look at.
#[derive(Clone, Copy, Debug)]
struct View<'a> {
    topology: &'a Topology,
    look: &'a Look,
}

/// The same, where the cluster's state could be put together.
#[derive(Clone, Copy, Debug)]
struct Seen<'a> {
    topology: &'a Topology,
    look: &'a Look,
    observed: &'a Observed,
}

/// Judges one look.
pub(super) fn judge(topology: &Topology, look: &Look) -> Diagnosis {
    let view = View { topology, look };
    let (mut findings, mut well, mut in_part, mut not_needed) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for check in Check::ALL {
        match view.check(check) {
            Verdict::NotNeeded(why) => not_needed.push(NotNeeded { check, why }),
            Verdict::Made { findings: found, .. } if !found.is_empty() => findings.extend(found),
            Verdict::Made { everywhere: true, .. } => well.push(check),
            Verdict::Made { everywhere: false, .. } => in_part.push(check),
        }
    }
    findings.sort_by(|a, b| (a.severity, a.check, &a.place).cmp(&(b.severity, b.check, &b.place)));
    let cluster = topology.name().to_string();
    Diagnosis { cluster, at_unix_ms: look.at_unix_ms, findings, well, in_part, not_needed }
}

impl View<'_> {
    fn check(&self, check: Check) -> Verdict {
        match check {
            Check::CapacityNow => self.with_state(check, capacity::now),
            Check::CapacityAfterLoss => self.with_state(check, capacity::after_loss),
            Check::CapacityDeclared => capacity::declared(self),
            Check::ServerDown => self.with_state(check, server::down),
            Check::StandbyCold => self.with_state(check, server::standby),
            Check::ReplicaBehind => self.with_state(check, site::replica),
            Check::SiteRole => self.with_state(check, site::role),
            Check::ReleaseDrift => self.with_state(check, server::release),
            Check::RestartPending => self.with_state(check, server::restart),
            Check::SchemaBetween => shared::schema(self),
            Check::CloneLeft => self.with_state(check, shared::clone),
            Check::FilesApart => self.with_state(check, shared::files),
            Check::OneWriter => self.with_state(check, shared::writer),
            Check::SyncHeld => self.with_state(check, shared::held),
            Check::Drained => self.with_state(check, traffic::drained),
            Check::WeightChanged => traffic::weight(self),
            Check::BalancerDown => self.with_state(check, traffic::down),
            Check::SpareInTraffic => self.with_state(check, traffic::spare),
            Check::WorkPaused => self.with_state(check, shared::work),
            Check::LeaseHeld => run::lease(self),
            Check::RunOpen => run::open(self),
            Check::LockLeft => machine::locks(self),
            Check::DrillOld => self.with_state(check, run::drill),
            Check::ClockSkew => machine::clock(self),
            Check::DiskFull => machine::disk(self),
            Check::JavaRange => machine::java(self),
            Check::SecretsDiffer => machine::secrets(self),
            Check::StopBudget => machine::stop(self),
            Check::OneMachine => machine::shared(self),
            Check::Missing => machine::missing(self),
            Check::CheckTarget => balancer::target(self),
            Check::LeftOut => balancer::left_out(self),
            Check::BalancerConfig => balancer::config(self),
            Check::Unread => self.with_state(check, unread::unread),
            Check::Observation => self.with_state(check, unread::observation),
        }
    }

    fn with_state(&self, check: Check, judge: impl FnOnce(&Seen<'_>) -> Verdict) -> Verdict {
        let Self { topology, look } = *self;
        match &look.observed {
            Ok(observed) => judge(&Seen { topology, look, observed }),
            Err(why) => Verdict::made(vec![not_checked(check, Place::Cluster, why.clone())]),
        }
    }
}

impl<'a> Seen<'a> {
    fn state(&self, node: NodeIx) -> &'a NodeState {
        self.observed.state.node(node)
    }

    /// Lists the nodes of the serving site that are no spares.
    fn members(&self) -> impl Iterator<Item = (NodeIx, &'a Node)> {
        self.topology.members()
    }

    /// Lists a node's members on all balancers.
    fn places(&self, node: NodeIx) -> impl Iterator<Item = (MemberIx, Traffic, Place)> {
        let (topology, state) = (self.topology, &self.observed.state);
        let seen = move |(member, traffic)| (member, traffic, member_place(topology, node, member));
        topology.memberships(node).map(|(member, ..)| (member, state.member(member).traffic)).map(seen)
    }

    /// Tells whether every balancer could be read about these nodes.
    fn traffic_is_read(&self, mut nodes: impl Iterator<Item = NodeIx>) -> bool {
        nodes.all(|node| self.places(node).all(|(_, traffic, _)| traffic != Traffic::Unknown))
    }

    /// Lists what was noted about a member.
    fn notes_of_member(&self, node: NodeIx, member: MemberIx) -> Vec<String> {
        let found = self.topology.memberships(node).find(|(found, ..)| *found == member);
        let Some((_, port, balancer)) = found else { return Vec::new() };
        let about = format!(": {}/{} ", self.topology.pool(port.pool).backend, port.member);
        let mut notes = self.notes_of(self.topology.balancer(balancer).name.as_str());
        notes.retain(|note| note.contains(&about));
        notes
    }

    /// Lists what was noted about a node, a balancer or a site.
    fn notes_of(&self, name: &str) -> Vec<String> {
        self.observed.notes.iter().filter(|note| is_about(note, name)).cloned().collect()
    }
}

/// Tells whether a note begins with a name, as `esb1: ..` or `lb1 (pool esb): ..`.
fn is_about(note: &str, name: &str) -> bool {
    note.strip_prefix(name).is_some_and(|rest| rest.starts_with(": ") || rest.starts_with(" ("))
}

fn not_checked(check: Check, place: Place, why: impl Into<String>) -> Finding {
    Finding::new(check, Severity::NotChecked, place, why, "make it answer, then look again")
}

fn node_place(node: &Node) -> Place {
    Place::Node { node: node.name.to_string() }
}

fn pool_place(topology: &Topology, pool: PoolIx) -> Place {
    Place::Pool { pool: topology.pool(pool).name.to_string() }
}

fn balancer_place(topology: &Topology, balancer: BalancerIx) -> Place {
    Place::Balancer { balancer: topology.balancer(balancer).name.to_string() }
}

fn member_place(topology: &Topology, node: NodeIx, member: MemberIx) -> Place {
    let name = topology.node(node).name.to_string();
    let found = topology.memberships(node).find(|(found, ..)| *found == member);
    match found {
        Some((_, port, balancer)) => Place::Member {
            balancer: topology.balancer(balancer).name.to_string(),
            pool: topology.pool(port.pool).name.to_string(),
            node: name,
        },
        None => Place::Node { node: name },
    }
}

/// Finds the place that a line is about, which begins with a name.
fn place_of(topology: &Topology, line: &str) -> Place {
    let nodes = topology.nodes().map(|(_, node)| (node.name.as_str(), node_place(node)));
    let balancers =
        topology.balancers().map(|(index, balancer)| (balancer.name.as_str(), balancer_place(topology, index)));
    let sites = topology.sites().iter().map(|site| (site.name.as_str(), Place::Site { site: site.name.to_string() }));
    let mut known = nodes.chain(balancers).chain(sites);
    known.find(|(name, _)| is_about(line, name)).map_or(Place::Cluster, |(_, place)| place)
}

/// Lists names in words.
fn listed<'n>(names: impl IntoIterator<Item = &'n str>) -> String {
    names.into_iter().collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>().join(", ")
}
