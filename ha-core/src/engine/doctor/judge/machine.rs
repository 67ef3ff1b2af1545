use std::collections::BTreeMap;
use std::time::Duration;

use super::{Check, Finding, Place, Severity, Verdict, View, listed, node_place, not_checked, place_of};
use crate::engine::doctor::answer::Disk;
use crate::engine::doctor::look::SeenHost;
use crate::topology::{Node, Permille};

/// Below this share of what is wanted the disk is as good as full.
const NEARLY_FULL: Permille = Permille::new(200);

impl View<'_> {
    fn hosts(&self) -> impl Iterator<Item = (&Node, &SeenHost)> {
        self.topology.nodes().map(|(_, node)| node).zip(&self.look.hosts)
    }
}

pub(super) fn clock(view: &View<'_>) -> Verdict {
    let check = Check::ClockSkew;
    let (mut findings, mut clocks) = (Vec::new(), Vec::new());
    for (node, host) in view.hosts() {
        match host.identity.as_ref().map(|identity| identity.clock_ahead_ms) {
            Ok(Some(ahead)) => clocks.push((ahead, node.name.as_str())),
            Ok(None) => findings.push(not_checked(check, node_place(node), "its host does not tell its clock")),
            Err(why) => findings.push(not_checked(check, node_place(node), why.clone())),
        }
    }
    clocks.sort_unstable();
    if let (Some((least, first)), Some((most, last))) = (clocks.first(), clocks.last()) {
        let (apart, limit) = (Duration::from_millis(most.abs_diff(*least)), view.topology.expect().clock_skew());
        if apart > limit {
            let message = format!("the clocks of {first} and {last} are {apart:?} apart, at most {limit:?} is wanted");
            let fix = "let the machines follow one time source (chrony, ntpd): coordination and logs rely on it";
            let evidence = clocks.iter().map(|(ahead, name)| format!("{name} {ahead:+} ms against the controller"));
            let finding = Finding::new(check, Severity::Warning, Place::Cluster, message, fix);
            findings.push(finding.with_all_evidence(evidence));
        }
    }
    Verdict::made(findings)
}

pub(super) fn disk(view: &View<'_>) -> Verdict {
    let check = Check::DiskFull;
    let judged = |(node, host): (&Node, &SeenHost)| {
        let wanted = node.expect.free_disk();
        let Disk { mount, total_kib, free_kib } = match &host.disk {
            Ok(disk) => disk,
            Err(why) => return Some(not_checked(check, node_place(node), why.clone())),
        };
        if *free_kib >= wanted.of(*total_kib) {
            return None;
        }
        let severity =
            if *free_kib < NEARLY_FULL.of(wanted.of(*total_kib)) { Severity::Danger } else { Severity::Warning };
        let percent = free_kib.saturating_mul(100) / (*total_kib).max(1);
        let message = format!("{percent} % of {mount} is free, {} % is wanted", wanted.of(100));
        let fix = "make space: a patch, a backup or a log that finds none leaves half of it behind";
        let finding = Finding::new(check, severity, node_place(node), message, fix);
        Some(finding.with_evidence(format!("{} MiB of {} MiB", free_kib / 1024, total_kib / 1024)))
    };
    Verdict::made(view.hosts().filter_map(judged).collect())
}

pub(super) fn java(view: &View<'_>) -> Verdict {
    let (check, mut any) = (Check::JavaRange, false);
    let mut findings = Vec::new();
    for (node, host) in view.hosts() {
        let (Some(range), Some(java)) = (node.expect.java, &host.java) else { continue };
        any = true;
        match java {
            Ok(major) if range.contains(*major) => {}
            Ok(major) => {
                let message = format!("its Java is {major}, the product supports {range}");
                let fix = "install one of those, and let the server's start script use it";
                findings.push(Finding::new(check, Severity::Danger, node_place(node), message, fix));
            }
            Err(why) => findings.push(not_checked(check, node_place(node), why.clone())),
        }
    }
    if any {
        Verdict::made(findings)
    } else {
        Verdict::not_needed("no java is expected: say it in [expect], or by a profile")
    }
}

/// What the files hold never leaves their machines, and their digests are not told: of a short secret a digest is as good as the
/// secret.
pub(super) fn secrets(view: &View<'_>) -> Verdict {
    let check = Check::SecretsDiffer;
    let (mut findings, mut any) = (Vec::new(), false);
    let mut by_file: BTreeMap<&str, BTreeMap<&str, Vec<&str>>> = BTreeMap::new();
    let mut named: BTreeMap<&str, Vec<&Node>> = BTreeMap::new();
    for (node, host) in view.hosts().filter(|(node, _)| !node.expect.secrets().is_empty()) {
        any = true;
        for path in node.expect.secrets() {
            named.entry(path).or_default().push(node);
        }
        let read = match &host.secrets {
            Ok(read) => read,
            Err(why) => {
                findings.push(not_checked(check, node_place(node), why.clone()));
                continue;
            }
        };
        for path in node.expect.secrets() {
            match read.get(path) {
                Some(digest) => by_file.entry(path).or_default().entry(digest).or_default().push(node.name.as_str()),
                None => {
                    let place = Place::File { node: node.name.to_string(), path: path.clone() };
                    findings.push(not_checked(check, place, "it is not there, or cannot be read"));
                }
            }
        }
    }
    for (path, nodes) in named {
        let [node] = nodes[..] else { continue };
        let place = Place::File { node: node.name.to_string(), path: path.into() };
        let message = "no other node names it: it is compared with nothing";
        let fix = "name it for the other nodes as well; where it is of this node alone, say secrets = [] in the node's expect";
        findings.push(Finding::new(check, Severity::NotChecked, place, message, fix));
    }
    for (path, groups) in by_file.iter().filter(|(_, groups)| groups.len() > 1) {
        let message = format!("{path} is not the same on all nodes: what one has signed or encrypted another refuses");
        let alike = groups.values().map(|nodes| format!("alike: {}", listed(nodes.iter().copied())));
        let finding =
            Finding::new(check, Severity::Danger, Place::Cluster, message, "copy it from the node whose file is right");
        findings.push(finding.with_all_evidence(alike));
    }
    if any {
        Verdict::made(findings)
    } else {
        Verdict::not_needed("no secrets are named: do it in [expect], or by a profile")
    }
}

pub(super) fn locks(view: &View<'_>) -> Verdict {
    let (check, mut findings, mut any) = (Check::LockLeft, Vec::new(), false);
    for (node, host) in view.hosts().filter(|(node, _)| !node.expect.locks().is_empty()) {
        any = true;
        match &host.locks {
            Err(why) => findings.push(not_checked(check, node_place(node), why.clone())),
            Ok(locks) => findings.extend(locks.iter().map(|path| {
                let place = Place::File { node: node.name.to_string(), path: path.clone() };
                let fix = "find out who left it: finish or undo that work, and remove the file where nobody does";
                Finding::new(check, Severity::Warning, place, "it is there, and should not be at rest", fix)
            })),
        }
    }
    if any {
        Verdict::made(findings)
    } else {
        Verdict::not_needed("no locks are named: do it in [expect], or by a profile")
    }
}

pub(super) fn stop(view: &View<'_>) -> Verdict {
    let (check, policy) = (Check::StopBudget, view.topology.policy());
    let judged = |(node, host): (&Node, &SeenHost)| {
        let budget = match &host.stop_budget {
            Ok(budget) => (*budget)?,
            Err(why) => return Some(not_checked(check, node_place(node), why.clone())),
        };
        let needs = node.expect.stop_budget.unwrap_or(policy.stop_deadline);
        let whole = needs.saturating_add(policy.drain_deadline);
        let (severity, than) = match () {
            () if budget < needs => (Severity::Danger, format!("the server may take {needs:?} to stop")),
            () if budget < whole => (
                Severity::Warning,
                format!("draining and stopping may take {whole:?}, where a stop meets requests that still run"),
            ),
            () => return None,
        };
        let message = format!("its supervisor kills it {budget:?} after it was asked to stop, and {than}");
        let stop = if node.expect.stop_budget.is_some() { "stop_budget of [expect]" } else { "stop_deadline" };
        let drain = if severity == Severity::Warning { " or drain_deadline" } else { "" };
        let fix = format!("raise the supervisor's time-out, or lower {stop}{drain}");
        Some(Finding::new(check, severity, node_place(node), message, fix))
    };
    Verdict::made(view.hosts().filter_map(judged).collect())
}

pub(super) fn shared(view: &View<'_>) -> Verdict {
    let check = Check::OneMachine;
    let mut by_machine: BTreeMap<&str, Vec<&Node>> = BTreeMap::new();
    let mut findings = Vec::new();
    for (node, host) in view.hosts() {
        match &host.identity {
            Ok(identity) => by_machine.entry(&identity.machine).or_default().push(node),
            Err(why) => findings.push(not_checked(check, node_place(node), why.clone())),
        }
    }
    for nodes in by_machine.values() {
        let Some(apart) = nodes.iter().find(|node| node.domain != nodes[0].domain) else { continue };
        let names = listed(nodes.iter().map(|node| node.name.as_str()));
        let domain = |node: &Node| view.topology.domain_name(node.domain);
        let message = format!(
            "{names} are on one machine, and {} and {} are declared to fail apart: the proof counts on it",
            domain(nodes[0]),
            domain(apart)
        );
        let fix = "move them apart, or give them one domain";
        findings.push(Finding::new(check, Severity::Danger, Place::Cluster, message, fix));
    }
    Verdict::made(findings)
}

pub(super) fn missing(view: &View<'_>) -> Verdict {
    let found = |line: &String| {
        let place = place_of(view.topology, line);
        let fix = "correct it: no change is planned before";
        Finding::new(Check::Missing, Severity::Danger, place, line.as_str(), fix)
    };
    // Only the hosts of the serving site are asked.
    let mut home = view.hosts().filter(|(node, _)| view.topology.is_home(node));
    let everywhere = home.all(|(_, host)| host.identity.is_ok());
    Verdict::Made { findings: view.look.missing.iter().map(found).collect(), everywhere }
}
