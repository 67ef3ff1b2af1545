use std::collections::BTreeMap;
use std::time::Duration;

use super::build::Shared;
use crate::journal::cluster_of;
use crate::procedure::{DRILL, is_change_of_sites};
use crate::record::{Entry, OutcomeKind, Record};
use crate::state::Drill;

/// How many of the cluster's last runs are looked through.
const RUNS: usize = 50;

/// Returns what drills and real changes of sites have measured, each action as the newest run that had it took; `None` where there
/// was no drill. A journal that cannot be read says nothing: nobody relies on a window then.
pub(super) async fn last_drill(shared: &Shared) -> Option<Drill> {
    let cluster = shared.topology.name().as_str();
    let mut runs = shared.journal.runs().await.ok()?;
    runs.reverse();
    let (mut found, mut looked): (Option<Drill>, usize) = (None, 0);
    for run in runs {
        let Ok(entries) = shared.journal.read(&run).await else { continue };
        if entries.first().and_then(cluster_of) != Some(cluster) {
            continue;
        }
        looked += 1;
        if looked > RUNS {
            break;
        }
        let Some(measured) = measured(&entries) else { continue };
        let newest = found.get_or_insert_with(|| Drill::new(measured.at_unix_ms));
        for term in measured.terms {
            if newest.took(&term.name).is_none() {
                *newest = std::mem::take(newest).with_term(term.name, term.took);
            }
        }
    }
    found
}

/// Measures the steps of a drill, or of a change of sites, that were done.
fn measured(entries: &[Entry]) -> Option<Drill> {
    let Record::Opened { plan } = &entries.first()?.record else { return None };
    if plan.procedure() != DRILL && !is_change_of_sites(plan.procedure()) {
        return None;
    }
    let mut began = BTreeMap::new();
    let mut drill = Drill::new(entries.last()?.unix_ms);
    for entry in entries {
        match &entry.record {
            Record::Intent { order, .. } => {
                began.insert(*order, entry.unix_ms);
            }
            Record::Outcome { order, result: OutcomeKind::Done, .. } => {
                if let Some(began) = began.remove(order) {
                    let took = Duration::from_millis(entry.unix_ms.saturating_sub(began));
                    drill = drill.with_term(order.name(), took);
                }
            }
            Record::Opened { .. }
            | Record::TakenOver { .. }
            | Record::Turned { .. }
            | Record::Outcome { .. }
            | Record::DomainLost { .. }
            | Record::Replanned { .. }
            | Record::Requested { .. }
            | Record::ApprovalAsked { .. }
            | Record::Continued { .. }
            | Record::Closed { .. } => {}
        }
    }
    // One that failed before a step was done has measured nothing.
    (!drill.terms.is_empty()).then_some(drill)
}
