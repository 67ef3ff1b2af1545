//! What is in the balancers' own configurations.

use std::collections::BTreeSet;

use super::{Check, Finding, Severity, Verdict, View, balancer_place, member_place, not_checked};
use crate::backend::{ConfigFinding, MemberCheck};
use crate::engine::doctor::look::SeenMember;
use crate::topology::{BalancerIx, Node, Role, Setting};

/// What a balancer is to ask of a member, as far as that is known.
struct Target {
    port: Option<u16>,
    /// Whether somebody has said the port: otherwise it is the one that the requests go to.
    port_is_said: bool,
    path: Option<String>,
    path_is_said: bool,
}

impl Target {
    fn of(node: &Node, seen: &SeenMember) -> Self {
        let traffic = seen.member.as_ref().ok().and_then(|member| member.address).map(|address| address.port());
        let (said_port, said_path) = (node.expect.check_port, node.expect.check_path.clone());
        Self {
            port: said_port.or(traffic),
            port_is_said: said_port.is_some(),
            path_is_said: said_path.is_some(),
            path: said_path.or_else(|| path_of_probe(node)),
        }
    }
}

/// Returns the path that the node's own probe asks for, where it has a URL.
fn path_of_probe(node: &Node) -> Option<String> {
    let Some(Setting::Text(url)) = node.component(Role::Probe)?.settings.get("url") else { return None };
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"))?;
    Some(rest.find('/').map_or_else(|| "/".into(), |slash| rest[slash..].to_string()))
}

pub(super) fn target(view: &View<'_>) -> Verdict {
    let check = Check::CheckTarget;
    let (mut findings, mut blind) = (Vec::new(), BTreeSet::new());
    for (index, node) in view.topology.nodes() {
        for (member, _, balancer) in view.topology.memberships(index) {
            let place = member_place(view.topology, index, member);
            let Some(seen) = view.look.members.get(&member) else {
                findings.push(not_checked(check, place, "the look at it ended unexpectedly"));
                continue;
            };
            let found =
                |severity, message: String, fix: &str| Finding::new(check, severity, place.clone(), message, fix);
            match &seen.check {
                // One line a balancer is enough.
                Err(why) if blind.insert(balancer) => {
                    findings.push(not_checked(check, balancer_place(view.topology, balancer), why.clone()));
                }
                Err(_) => {}
                Ok(how) => {
                    let judged = judged(how, &Target::of(node, seen));
                    findings.extend(judged.map(|(severity, message, fix)| found(severity, message, fix)));
                }
            }
        }
    }
    Verdict::made(findings)
}

const ASK_A_PAGE: &str = "let it ask for a page that a healthy server alone answers";

/// Says what is not known of the balancer's request, or of what it is held against.
fn unknown(port: Option<u16>, has_path: bool, target: &Target) -> Option<(Severity, String, &'static str)> {
    let (message, fix) = match () {
        () if port.is_none() => ("the port that the balancer checks cannot be told", "look at it yourself"),
        () if !has_path => ("the page that the balancer asks for cannot be told", "look at it yourself"),
        () if target.port.is_none() => {
            ("it is not known which port tells whether it is well", "say check_port in [expect]")
        }
        () if target.path.is_none() => {
            ("it is not known which page tells whether it is well", "say check_path in [expect]")
        }
        () => return None,
    };
    Some((Severity::NotChecked, message.into(), fix))
}

fn judged(how: &MemberCheck, target: &Target) -> Option<(Severity, String, &'static str)> {
    let wrong_port = |port: &Option<u16>| {
        let (is, wanted) = ((*port)?, target.port?);
        (is != wanted).then_some((is, wanted))
    };
    let on_port = |(is, wanted): (u16, u16)| {
        let (severity, what) = if target.port_is_said {
            (Severity::Danger, "is the one that tells whether it is well")
        } else {
            (Severity::Warning, "is the one that the requests go to")
        };
        let message = format!("the balancer checks port {is}, and port {wanted} {what}");
        (severity, message, "check that port, or say check_port in [expect]")
    };
    match how {
        MemberCheck::None => {
            let message = "the balancer does not check it: a dead server keeps its share of the requests".into();
            Some((Severity::Danger, message, ASK_A_PAGE))
        }
        MemberCheck::Connects { port } => wrong_port(port).map(on_port).or_else(|| {
            let message = "the balancer only connects to it, which a frozen server allows".into();
            Some((Severity::Warning, message, ASK_A_PAGE))
        }),
        MemberCheck::Asks { port, path } => wrong_port(port).map(on_port).or_else(|| {
            let wrong_path = || {
                let (path, wanted) = (path.as_ref()?, target.path.as_ref()?);
                let (severity, by) = match target.path_is_said {
                    true => (Severity::Danger, "[expect] says"),
                    false => (Severity::Advice, "its own probe asks for"),
                };
                let message = format!("the balancer asks for {path}, {by} {wanted}");
                let fix = "ask for the page that tells whether it can serve, or say check_path in [expect]";
                (path != wanted).then_some((severity, message, fix))
            };
            let wrong_path = wrong_path();
            let is_danger = wrong_path.as_ref().is_some_and(|(severity, ..)| *severity == Severity::Danger);
            let unknown = unknown(*port, path.is_some(), target).filter(|_| !is_danger);
            unknown.or(wrong_path)
        }),
        MemberCheck::Other { what } => Some((
            Severity::NotChecked,
            format!("its check cannot be compared: {what}"),
            "make sure that it fails when the server cannot serve",
        )),
    }
}

pub(super) fn left_out(view: &View<'_>) -> Verdict {
    Verdict::made(found(view, Check::LeftOut, |finding| finding.rule.as_deref() == Some(ConfigFinding::LEFT_OUT)))
}

pub(super) fn config(view: &View<'_>) -> Verdict {
    let check = Check::BalancerConfig;
    let mut findings = found(view, check, |finding| finding.rule.as_deref() != Some(ConfigFinding::LEFT_OUT));
    // Whoever cannot say how it checks a member cannot see the configuration.
    for (index, _) in view.topology.balancers() {
        let mut checks = view.topology.seats_on(index).filter_map(|seat| view.look.members.get(&seat.member));
        let is_read = !findings.iter().any(|found| found.place == balancer_place(view.topology, index));
        if let Some(Err(why)) = checks.next().map(|seen| &seen.check).filter(|_| is_read) {
            let finding = not_checked(check, balancer_place(view.topology, index), "its configuration cannot be seen");
            findings.push(finding.with_evidence(why.clone()));
        }
    }
    Verdict::made(findings)
}

/// Lists what the balancers found that is wanted, each once, however many pools were asked about.
fn found(view: &View<'_>, check: Check, wanted: impl Fn(&ConfigFinding) -> bool) -> Vec<Finding> {
    let mut known: BTreeSet<(BalancerIx, String)> = BTreeSet::new();
    let mut findings = Vec::new();
    for seen in &view.look.configs {
        let place = || balancer_place(view.topology, seen.balancer);
        match &seen.found {
            Err(why) if known.insert((seen.balancer, String::new())) => {
                findings.push(not_checked(check, place(), why.clone()));
            }
            Err(_) => {}
            Ok(found) => {
                for one in found.iter().filter(|one| wanted(one)) {
                    if known.insert((seen.balancer, one.message.clone())) {
                        let severity = if one.is_danger { Severity::Danger } else { Severity::Advice };
                        let fix = "do what the message says, or accept the rule in brackets, where you know better, in the settings of that balancer";
                        findings.push(Finding::new(check, severity, place(), one.message.as_str(), fix));
                    }
                }
            }
        }
    }
    findings
}
