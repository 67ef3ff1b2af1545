use std::collections::BTreeSet;

use super::super::cron::Trigger;
use super::super::finding::Rule;
use super::super::model::LockKind;
use super::super::trace::At;
use super::{Out, Run, is_negated, is_test, leads_out};

pub(super) fn run(run: &Run, out: &mut Out<'_>) {
    for act in run.trace.acts.iter().filter(|act| act.name() == "inotifywait") {
        out.add(Rule::EventPush, act.at, "changes start copies: a half-written set is copied, and many at once");
    }
    let Some(first) = run.calls.first() else { return };
    let is_live = run.job.as_ref().is_none_or(|(_, job)| !job.is_held);
    let at = run.job.as_ref().map_or(first.at, |(at, _)| *at);
    if is_live && !has_hold(run) {
        let what = "nothing holds the copies but an edit, and a run that is at work goes on";
        out.add(Rule::NoHold, at, what);
    }
    let Some((at, job)) = run.job.as_ref().filter(|(_, job)| !job.is_held) else { return };
    match &job.trigger {
        Trigger::Schedule(schedule) => {
            let excludes = |kind| matches!(kind, LockKind::Flock | LockKind::Exclusive);
            if !run.locks.iter().any(|lock| excludes(lock.kind) && lock.act < first.act) {
                let minutes = schedule.shortest_gap().as_secs() / 60;
                let what = format!(
                    "it starts again after {minutes} min, also while the last run is at work: no lock keeps it away"
                );
                out.add(Rule::Overlap, *at, what);
            }
        }
        Trigger::Startup => {
            out.add(Rule::StartupOnly, *at, "it copies when the machine starts, and not again");
        }
        Trigger::FileEvent { path } => {
            let what =
                format!("each change below {path} starts a copy: a half-written set is copied, and many at once");
            out.add(Rule::EventPush, *at, what);
        }
    }
}

/// Tells whether a file that somebody puts there keeps the copies away: looked for under the lock, where there is one.
fn has_hold(run: &Run) -> bool {
    let Some(first) = run.calls.first() else { return false };
    let after = run.locks.iter().filter(|lock| lock.act < first.act).map(|lock| lock.act + 1).max().unwrap_or(0);
    let sources: Vec<&str> = first.edges.iter().map(|edge| edge.source.folder()).collect();
    (after..first.act).any(|number| {
        let act = &run.trace.acts[number];
        let asks =
            act.fields.iter().any(|field| field.text().is_some_and(|text| ["-e", "-f", "-a"].contains(&text.as_str())));
        let is_own = |path: &str| {
            sources.iter().any(|source| path.starts_with(source)) || run.locks.iter().any(|lock| lock.path == path)
        };
        let file = act.operands().map(|field| field.shown()).find(|path| path.contains('/'));
        is_test(act)
            && asks
            && file.is_some_and(|path| !is_own(&path))
            && leads_out(&run.trace, number, is_negated(act))
    })
}

/// Checks the jobs beside each other: two that copy one tree.
pub(in super::super) fn together(runs: &[Run], out: &mut Out<'_>) {
    let live: Vec<(At, &Run)> = runs
        .iter()
        .filter_map(|run| Some((run.job.as_ref().filter(|(_, job)| !job.is_held)?.0, run)))
        .filter(|(_, run)| !run.calls.is_empty())
        .collect();
    for (number, (at, run)) in live.iter().enumerate() {
        let Some((other_at, other)) =
            live[..number].iter().find(|(_, other)| trees(run).intersection(&trees(other)).next().is_some())
        else {
            continue;
        };
        let first = out.place(*other_at);
        let what = format!("{first} copies this tree too: the two overwrite each other, and to hold one holds nothing");
        out.add(Rule::SecondJob, *at, what);
        let paths = |run: &Run| run.locks.iter().map(|lock| lock.path.clone()).collect::<BTreeSet<_>>();
        let (own, others) = (paths(run), paths(other));
        if own.intersection(&others).next().is_none() && !(own.is_empty() && others.is_empty()) {
            let at = if others.is_empty() { *other_at } else { *at };
            let what = "it takes no lock that the other job on this tree takes: both run at once";
            out.add(Rule::LockOnOneSide, at, what);
        }
    }
}

/// Lists what a run copies; the calls themselves, where that is not known.
fn trees(run: &Run) -> BTreeSet<String> {
    let of = |call: &super::Call| {
        let known: Vec<String> = call.edges.iter().map(|edge| edge.source.folder().to_string()).collect();
        if known.is_empty() { vec![format!("call {:?}", call.at)] } else { known }
    };
    run.calls.iter().flat_map(of).collect()
}
