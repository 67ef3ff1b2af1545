use crate::plan::Plan;
use crate::state::{Observation, Process, Route, Sync, Traffic, Work};
use crate::topology::Topology;

/// How a cluster compares with the state that a plan starts from.
#[derive(Debug, Default)]
pub(super) struct Compared {
    /// The facts that differ.
    pub(super) differences: Vec<String>,
    /// The facts that could not be read: whether they differ is not known.
    pub(super) unread: Vec<String>,
}

/// Compares the cluster with the state that a plan starts from.
pub(super) fn compare(topology: &Topology, plan: &Plan, seen: &Observation) -> Compared {
    let (start, has_service) = (&plan.start, plan.facts.service.is_some());
    let mut found = Compared::default();
    // Of what is lost nothing is expected.
    for (index, node) in topology.nodes().filter(|(_, node)| !start.is_lost(node.domain)) {
        let (before, now) = (start.node(index), &seen.nodes[index.index()]);
        let same_process = match (before.process, now.process) {
            (Process::Ready { .. }, Process::Ready { .. }) => true,
            (before, now) => before == now,
        };
        let unread_process = now.process == Process::Unknown;
        if !same_process {
            let message = format!("{} is {:?}, it was {:?}", node.name, now.process, before.process);
            found.note(unread_process, format!("the server of {}", node.name), message);
        }
        if before.release != now.release {
            let unread = now.release.is_none() && now.process != Process::Absent;
            found.note(unread, format!("the release of {}", node.name), format!("{} has another release", node.name));
        }
        // A transfer that begins or ends is nothing new: a hold waits for it, and the law takes both for open.
        let between = |sync| if sync == Sync::Running { Sync::Active } else { sync };
        let shared = now.shared.map(|now| (between(now.sync), now.generation, now.writer));
        if let Some(now) = shared.filter(|now| *now != (between(before.sync), before.generation, before.writer)) {
            let message = format!("{} takes part in file sharing differently", node.name);
            found.note(now.0 == Sync::Unknown, format!("the file sync of {}", node.name), message);
        }
        if before.work != now.work {
            let message = format!("{} pulls work differently", node.name);
            found.note(now.work == Work::Unknown, format!("the pulled work of {}", node.name), message);
        }
        let members = seen.members.get(topology.member_layout().members_of(index.index())).unwrap_or(&[]);
        let known = start.members(index);
        let unread = |now: Traffic, before: Traffic| now == Traffic::Unknown && before != Traffic::Unknown;
        let pairs = || known.iter().zip(members);
        if pairs().any(|(before, now)| unread(now.traffic, before.traffic)) {
            found.unread.push(format!("{} on the balancers", node.name));
        }
        let differs = pairs().any(|(before, now)| !unread(now.traffic, before.traffic) && before != now);
        if differs || known.len() != members.len() {
            found.differences.push(format!("{} is in another state on the balancers", node.name));
        }
    }
    if seen.schema.is_some_and(|schema| schema != start.schema) {
        found.differences.push(format!("the schema is not {} any more", start.schema));
    }
    if topology.database().is_some() && seen.schema.is_none() {
        found.unread.push("the schema".into());
    }
    match seen.copies {
        Some(seen) if seen != start.copies => {
            found.differences.push(format!("the copies of the database are: {seen}; they were: {}", start.copies));
        }
        None if plan.facts.on_clone().is_some() => found.unread.push("the clone of the database".into()),
        Some(_) | None => {}
    }
    let sites = topology.sites().iter().zip(start.sites.iter().zip(&seen.sites));
    for (site, (before, now)) in sites {
        if let Some(now) = now.filter(|now| now != before) {
            found.differences.push(format!(
                "site {} is {} with epoch {}, it was {} with epoch {}",
                site.name,
                now.site,
                now.epoch.number(),
                before.site,
                before.epoch.number()
            ));
        }
    }
    match seen.exposure {
        Some(seen) if seen != start.exposure => {
            found.differences.push(format!("the route of the service is {seen}, it was {}", start.exposure));
        }
        None if has_service && start.exposure != Route::Unknown => found.unread.push("the route of the service".into()),
        Some(_) | None => {}
    }
    found
}

impl Compared {
    fn note(&mut self, unread: bool, what: String, difference: String) {
        if unread { self.unread.push(what) } else { self.differences.push(difference) }
    }
}
