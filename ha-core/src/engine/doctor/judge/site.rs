use std::time::Duration;

use super::{Check, Finding, Place, Seen, Severity, Verdict, not_checked};
use crate::state::Site;
use crate::topology::{Role, SiteRole, SiteSpec};

/// A copy that stands by is fresh when it lacks no more.
const FRESH: Duration = Duration::from_secs(60);

pub(super) fn role(seen: &Seen<'_>) -> Verdict {
    let topology = seen.topology;
    if topology.sites().is_empty() {
        return Verdict::not_needed("no sites are declared");
    }
    let has_copy = |site: &SiteSpec| site.component(Role::Replica).is_some();
    if topology.switch().is_none() && !topology.sites().iter().any(has_copy) {
        return Verdict::not_needed("nothing is declared that tells what a site is: [switch], [site.replica]");
    }
    let (check, mut findings) = (Check::SiteRole, Vec::new());
    let unread = |of: &str| {
        let is_of = |note: &&String| note.starts_with(of) && note.contains(" cannot be read: ");
        seen.observed.notes.iter().filter(is_of).cloned().collect::<Vec<_>>()
    };
    let led = unread("where consumers are led ");
    if !led.is_empty() {
        let finding = not_checked(check, Place::Cluster, "where consumers are led could not be read");
        findings.push(finding.with_all_evidence(led));
    }
    let known = seen.observed.state.sites.iter().zip(&seen.observed.facts.sites);
    for (declared, (state, facts)) in topology.sites().iter().zip(known) {
        let (name, place) = (&declared.name, Place::Site { site: declared.name.to_string() });
        let mut evidence = unread(&format!("the database of site {name} "));
        evidence.extend(unread(&format!("the fence of site {name} ")));
        let at_rest = match declared.role {
            SiteRole::Serving => Site::Serving,
            SiteRole::Hot => Site::Hot,
            SiteRole::Warm => Site::Warm,
            SiteRole::Cold => Site::Cold,
        };
        if state.site == at_rest {
            // What could not be read is taken for what it is at rest.
            if !evidence.is_empty() || (has_copy(declared) && facts.replica.is_none()) {
                let finding = not_checked(check, place, "what it is could not be read whole");
                findings.push(finding.with_all_evidence(evidence));
            }
            continue;
        }
        let message = format!("it is {}, and {at_rest} at rest", state.site);
        let (severity, fix) = match state.site {
            Site::Held | Site::Demoted => (Severity::Danger, "consumers wait: resume the run that moves them"),
            Site::Quarantined => (Severity::Warning, "it was fenced: repair it, then let it follow again"),
            Site::Serving | Site::Promoted | Site::Hot | Site::Warm | Site::Cold => {
                (Severity::Warning, "lead back, or declare the roles as they are now")
            }
        };
        findings.push(Finding::new(check, severity, place, message, fix).with_all_evidence(evidence));
    }
    Verdict::made(findings)
}

pub(super) fn replica(seen: &Seen<'_>) -> Verdict {
    let stands_by = |site: &SiteSpec| site.role != SiteRole::Serving && site.component(Role::Replica).is_some();
    let (check, mut findings, mut any) = (Check::ReplicaBehind, Vec::new(), false);
    for (declared, facts) in seen.topology.sites().iter().zip(&seen.observed.facts.sites) {
        if !stands_by(declared) {
            continue;
        }
        any = true;
        let place = Place::Site { site: declared.name.to_string() };
        let fix = "look at the replication: what the copy lacks is lost when its site replaces the other";
        let found = match facts.replica {
            None => not_checked(check, place, "its copy of the database could not be read"),
            Some(replica) => match replica.behind_ms.map(Duration::from_millis) {
                None => not_checked(check, place, "its copy does not tell how far it is behind"),
                Some(behind) if behind <= FRESH => continue,
                Some(behind) => {
                    let message = format!("its copy of the database is {behind:?} behind");
                    Finding::new(check, Severity::Warning, place, message, fix)
                }
            },
        };
        findings.push(found);
    }
    if any { Verdict::made(findings) } else { Verdict::not_needed("no site has a copy of the database that stands by") }
}
