use std::time::Duration;

use super::{Check, Finding, Place, Seen, Severity, Verdict, View, not_checked};
use crate::journal::LeaseHolder;

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// Tells whether the holder of a lease acts now. It renews every third of the time, so that more than a half is left.
fn is_alive(holder: &LeaseHolder, ttl: Duration) -> bool {
    !holder.has_ended && holder.left > ttl / 2
}

pub(super) fn lease(view: &View<'_>) -> Verdict {
    let (check, ttl) = (Check::LeaseHeld, view.topology.policy().lease_ttl);
    let found =
        |severity, message: String, fix: &str| vec![Finding::new(check, severity, Place::Cluster, message, fix)];
    Verdict::made(match &view.look.lease {
        Err(why) => vec![not_checked(check, Place::Cluster, why.clone())],
        Ok(None) => Vec::new(),
        Ok(Some(holder)) => {
            let LeaseHolder { owner, epoch, left, has_ended } = holder;
            let (left, of) = (format!("{:.1} s", left.as_secs_f64()), format!("{owner} (epoch {epoch})"));
            match (has_ended, is_alive(holder, ttl)) {
                (true, _) => found(
                    Severity::Warning,
                    format!("{of} holds the lease, and its process has ended"),
                    "resume its run: the next controller gets the lease at once",
                ),
                (false, false) => found(
                    Severity::Warning,
                    format!(
                        "{of} holds the lease for {left} more, and has not renewed it in time: it is dead, or stuck"
                    ),
                    "look whether it lives; otherwise wait until the lease has run out, then resume its run",
                ),
                (false, true) => found(
                    Severity::Advice,
                    format!("{of} changes the cluster now"),
                    "wait for it: what is found meanwhile may be its doing",
                ),
            }
        }
    })
}

pub(super) fn open(view: &View<'_>) -> Verdict {
    let (check, ttl) = (Check::RunOpen, view.topology.policy().lease_ttl);
    let acts = matches!(&view.look.lease, Ok(Some(holder)) if is_alive(holder, ttl));
    let runs = match &view.look.runs {
        Err(why) => return Verdict::made(vec![not_checked(check, Place::Cluster, why.clone())]),
        Ok(runs) => runs,
    };
    let findings = runs.iter().map(|open| {
        let place = Place::Run { run: open.run.to_string() };
        let (severity, message, fix) = if acts {
            (Severity::Advice, "it is under way", "wait for its end")
        } else {
            (Severity::Warning, "it has not ended, and nobody drives it", "resume it; no other run begins before")
        };
        Finding::new(check, severity, place, message, fix).with_all_evidence(open.lines.iter().cloned())
    });
    Verdict::made(findings.collect())
}

pub(super) fn drill(seen: &Seen<'_>) -> Verdict {
    if seen.topology.sites().is_empty() {
        return Verdict::not_needed("no sites are declared: there is no other data centre to drill");
    }
    let limit = seen.topology.expect().drill_days();
    let found = |message: String| {
        let fix = "drill the site that stands by: what a real change of sites takes is measured by it";
        vec![Finding::new(Check::DrillOld, Severity::Warning, Place::Cluster, message, fix)]
    };
    Verdict::made(match (&seen.observed.facts.drill, &seen.look.runs) {
        (None, Err(why)) => vec![not_checked(Check::DrillOld, Place::Cluster, why.clone())],
        (None, Ok(_)) => found("no drill and no change of sites is recorded".into()),
        (Some(drill), _) => {
            let days = seen.look.at_unix_ms.saturating_sub(drill.at_unix_ms) / DAY_MS;
            if days > u64::from(limit) {
                found(format!("the last drill was {days} days ago, at most {limit} are wanted"))
            } else {
                Vec::new()
            }
        }
    })
}
