use super::{Check, Finding, Seen, Severity, Verdict, View, member_place};
use crate::backend::Member;
use crate::state::{Process, Traffic};
use crate::topology::NodeIx;

pub(super) fn drained(seen: &Seen<'_>) -> Verdict {
    let runs = seen.look.runs.as_deref().unwrap_or_default();
    let runs: Vec<String> = runs.iter().map(|open| format!("run {} is open", open.run)).collect();
    let mut findings = Vec::new();
    for (node, _) in seen.members() {
        for (_, traffic, place) in seen.places(node) {
            let message = match traffic {
                Traffic::Out => "it is in maintenance, and should be in traffic at rest",
                Traffic::Draining { in_flight: true } => "it is held out, with requests in flight",
                Traffic::Draining { in_flight: false } => "it is held out of traffic, and should be in at rest",
                Traffic::Gone => "its balancer is gone: no process is there",
                Traffic::In | Traffic::Backup | Traffic::Down | Traffic::Unknown => continue,
            };
            let fix = if runs.is_empty() {
                "find out who holds it out, and why; then admit it on this balancer"
            } else {
                "resume the open run, which puts it back"
            };
            let finding = Finding::new(Check::Drained, Severity::Warning, place, message, fix);
            findings.push(finding.with_all_evidence(runs.clone()));
        }
    }
    let everywhere = seen.traffic_is_read(seen.members().map(|(node, _)| node));
    Verdict::Made { findings, everywhere }
}

pub(super) fn down(seen: &Seen<'_>) -> Verdict {
    let (mut findings, mut everywhere) = (Vec::new(), seen.traffic_is_read(seen.members().map(|(node, _)| node)));
    for (node, _) in seen.members() {
        let process = seen.state(node).process;
        if !process.is_ready() {
            everywhere &= process != Process::Unknown;
            continue;
        }
        for (member, traffic, place) in seen.places(node) {
            if traffic != Traffic::Down {
                continue;
            }
            let read = seen.look.members.get(&member).and_then(|seen| seen.member.as_ref().ok());
            let (message, fix) = match read {
                Some(found) if found.weight.number() == 0 => {
                    ("it has weight 0, and is given no requests", "set its weight")
                }
                Some(found) if found.inherited => (
                    "it is held out by what it tracks, or by its agent",
                    "look at the server that it follows, or at the agent",
                ),
                Some(_) | None => (
                    "the balancer calls it down, and the server itself answers that it is ready",
                    "look at the balancer's check, and at what lies between the two",
                ),
            };
            let evidence = read.map(|found| format!("health {:?}, weight {}", found.health, found.weight));
            let noted = seen.notes_of_member(node, member);
            let finding = Finding::new(Check::BalancerDown, Severity::Danger, place, message, fix);
            findings.push(finding.with_all_evidence(evidence.into_iter().chain(noted)));
        }
    }
    Verdict::Made { findings, everywhere }
}

pub(super) fn spare(seen: &Seen<'_>) -> Verdict {
    let spares: Vec<NodeIx> = seen.topology.spares().map(|(node, _)| node).collect();
    if spares.is_empty() {
        return Verdict::not_needed("no spare is declared");
    }
    let mut findings = Vec::new();
    for (_, traffic, place) in spares.iter().flat_map(|node| seen.places(*node)) {
        if matches!(traffic, Traffic::In | Traffic::Backup | Traffic::Draining { .. }) {
            let message = "a spare is in traffic, and should be held out at rest";
            let fix = "resume the run that brought it, or take it out of traffic by hand";
            findings.push(Finding::new(Check::SpareInTraffic, Severity::Warning, place, message, fix));
        }
    }
    Verdict::Made { findings, everywhere: seen.traffic_is_read(spares.into_iter()) }
}

pub(super) fn weight(view: &View<'_>) -> Verdict {
    let (mut findings, mut everywhere) = (Vec::new(), true);
    for (node, _) in view.topology.nodes() {
        for (index, ..) in view.topology.memberships(node) {
            let Some(Ok(member)) = view.look.members.get(&index).map(|seen| &seen.member) else {
                everywhere = false;
                continue;
            };
            let Member { weight, configured_weight, .. } = member;
            if weight != configured_weight {
                let message = format!("its weight is {weight}, and {configured_weight} in the configuration");
                let fix = "set the configured weight again, unless somebody has reason to differ";
                let place = member_place(view.topology, node, index);
                findings.push(Finding::new(Check::WeightChanged, Severity::Warning, place, message, fix));
            }
        }
    }
    Verdict::Made { findings, everywhere }
}
