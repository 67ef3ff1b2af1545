use std::collections::BTreeMap;

use super::{Check, Finding, Place, Seen, Severity, Verdict, listed, node_place, not_checked};
use crate::backend::Installed;
use crate::state::{MemberKind, Process};
use crate::topology::{Node, NodeIx, SiteRole};

/// Says why a server could not serve; `None` where it could.
fn illness(seen: &Seen<'_>, node: NodeIx) -> Option<&'static str> {
    let state = seen.state(node);
    match state.process {
        Process::Ready { .. } if state.is_tested() => None,
        Process::Ready { .. } => Some("its server is ready and fails its test"),
        Process::Absent => Some("nothing is installed on it"),
        Process::Stopped => Some("its server is stopped"),
        Process::Starting => Some("its server runs and is not ready"),
        Process::Sick => Some("its server is sick"),
        Process::Unknown => Some("it cannot be told whether its server runs"),
    }
}

fn ill(seen: &Seen<'_>, check: Check, (index, node): (NodeIx, &Node), fix: &str) -> Option<Finding> {
    let message = illness(seen, index)?;
    let evidence = seen.notes_of(node.name.as_str());
    let finding = match seen.state(index).process {
        Process::Unknown => not_checked(check, node_place(node), message),
        Process::Absent | Process::Stopped | Process::Starting | Process::Ready { .. } | Process::Sick => {
            Finding::new(check, Severity::Danger, node_place(node), message, fix)
        }
    };
    Some(finding.with_all_evidence(evidence))
}

/// A member of the serving site that no balancer has as a primary one stands by.
fn stands_by(seen: &Seen<'_>, node: NodeIx) -> bool {
    seen.observed.state.members(node).iter().all(|member| member.kind == MemberKind::Backup)
}

pub(super) fn down(seen: &Seen<'_>) -> Verdict {
    let serving = seen.members().filter(|(index, _)| !stands_by(seen, *index));
    let fix = "start it, or find out why it cannot serve; its log tells";
    Verdict::made(serving.filter_map(|node| ill(seen, Check::ServerDown, node, fix)).collect())
}

pub(super) fn standby(seen: &Seen<'_>) -> Verdict {
    let is_hot = |node: &Node| node.site.is_some_and(|site| seen.topology.site(site).role == SiteRole::Hot);
    let passive = seen.members().filter(|(index, _)| stands_by(seen, *index));
    let hot = seen.topology.nodes().filter(|(_, node)| !node.spare && is_hot(node));
    let all: Vec<(NodeIx, &Node)> = passive.chain(hot).collect();
    if all.is_empty() {
        return Verdict::not_needed("no member stands by");
    }
    let fix = "start it and let it warm up: a fail-over now would lead to a server that cannot serve";
    Verdict::made(all.into_iter().filter_map(|node| ill(seen, Check::StandbyCold, node, fix)).collect())
}

pub(super) fn release(seen: &Seen<'_>) -> Verdict {
    let releases = &seen.observed.facts.releases;
    let name = |node: NodeIx| seen.state(node).release.map(|release| releases.name(release));
    let mut by_release: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut everywhere = true;
    for (index, node) in seen.members() {
        match name(index) {
            Some(release) => by_release.entry(release).or_default().push(node.name.as_str()),
            None => everywhere = false,
        }
    }
    let mut findings = Vec::new();
    if by_release.len() > 1 {
        let groups = by_release.iter().map(|(release, nodes)| format!("{release}: {}", listed(nodes.iter().copied())));
        let message = format!("the members have {} releases", by_release.len());
        let fix = "bring them to one: resume the run that left it so, or patch those that are behind";
        let finding = Finding::new(Check::ReleaseDrift, Severity::Warning, Place::Cluster, message, fix);
        findings.push(finding.with_all_evidence(groups));
    }
    for (index, node) in seen.topology.spares() {
        let Some(release) = name(index).filter(|release| !by_release.contains_key(release)) else { continue };
        let message = format!("the spare has release {release}, which no member has");
        let fix = "patch it to the members' release, or it cannot take part in the next change";
        findings.push(Finding::new(Check::ReleaseDrift, Severity::Advice, node_place(node), message, fix));
    }
    Verdict::Made { findings, everywhere }
}

pub(super) fn restart(seen: &Seen<'_>) -> Verdict {
    let (mut findings, mut everywhere) = (Vec::new(), true);
    for ((index, node), host) in seen.topology.nodes().zip(&seen.look.hosts) {
        let state = seen.state(index);
        let Some(runs) = state.release.filter(|_| state.process.is_ready()) else {
            // Where no server answers none is behind what is installed.
            everywhere &= !state.process.is_ready() && state.process != Process::Unknown;
            continue;
        };
        let (runs, check) = (seen.observed.facts.releases.name(runs), Check::RestartPending);
        match &host.installed {
            Ok(Installed::Release(installed)) if **installed == *runs => {}
            Ok(Installed::Release(installed)) => {
                let message = format!("{installed} is installed, and its server answers {runs}");
                let fix = "restart it by a patch to the release that it is to have; a crash would do it unplanned";
                findings.push(Finding::new(check, Severity::Warning, node_place(node), message, fix));
            }
            Ok(Installed::Absent) => {
                let message = format!("its server answers {runs}, and nothing is installed on its host");
                let fix = "correct its home: host and probe may be of two servers";
                findings.push(Finding::new(check, Severity::Danger, node_place(node), message, fix));
            }
            Err(why) => findings.push(not_checked(check, node_place(node), why.clone())),
        }
    }
    Verdict::Made { findings, everywhere }
}
