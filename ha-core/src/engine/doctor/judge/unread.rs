use super::{
    Check, Finding, Seen, Severity, Verdict, balancer_place, node_place, not_checked, place_of, server, shared, site,
    traffic,
};
use crate::engine::on::CUT_SHORT;
use crate::state::{Process, Sync, Traffic, Work};

pub(super) fn unread(seen: &Seen<'_>) -> Verdict {
    let check = Check::Unread;
    let mut findings = Vec::new();
    for (index, node) in seen.topology.nodes() {
        let state = seen.state(index);
        let mut what = Vec::new();
        if state.process == Process::Unknown {
            what.push("whether its server runs");
        } else if state.release.is_none() && state.process != Process::Absent {
            what.push("its release");
        }
        if state.sync == Sync::Unknown {
            what.push("its file sync");
        }
        if state.work == Work::Unknown {
            what.push("its pulled work");
        }
        if !what.is_empty() {
            let message = format!("{} could not be read", what.join(" and "));
            let finding = not_checked(check, node_place(node), message);
            findings.push(finding.with_all_evidence(seen.notes_of(node.name.as_str())));
        }
    }
    for (index, balancer) in seen.topology.balancers() {
        let unread =
            |seat: &&crate::topology::Seat| seen.observed.state.member(seat.member).traffic == Traffic::Unknown;
        let count = seen.topology.seats_on(index).filter(unread).count();
        if count > 0 {
            let all = seen.topology.seats_on(index).count();
            let message = format!("{count} of its {all} members could not be read");
            let finding = not_checked(check, balancer_place(seen.topology, index), message);
            findings.push(finding.with_all_evidence(seen.notes_of(balancer.name.as_str())));
        }
    }
    Verdict::made(findings)
}

/// What was noted and is not told by another check, which has it as evidence.
pub(super) fn observation(seen: &Seen<'_>) -> Verdict {
    let mut told: Vec<String> = Vec::new();
    let others = [
        unread(seen),
        server::down(seen),
        server::standby(seen),
        traffic::down(seen),
        site::role(seen),
        shared::clone(seen),
    ];
    for verdict in others {
        let Verdict::Made { findings, .. } = verdict else { continue };
        told.extend(findings.into_iter().flat_map(|finding| finding.evidence));
    }
    for config in &seen.look.configs {
        let name = &seen.topology.balancer(config.balancer).name;
        let messages: Vec<&String> = match &config.found {
            Ok(found) => found.iter().map(|one| &one.message).collect(),
            Err(why) => vec![why],
        };
        told.extend(messages.into_iter().map(|message| format!("{name}: {message}")));
    }
    let is_new = |note: &&String| !told.contains(note) && !note.contains(CUT_SHORT);
    let found = |note: &String| {
        let place = place_of(seen.topology, note);
        Finding::new(Check::Observation, Severity::Warning, place, note.as_str(), "look at it before the next change")
    };
    Verdict::made(seen.observed.notes.iter().filter(is_new).map(found).collect())
}
