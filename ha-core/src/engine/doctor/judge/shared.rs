//! What the nodes share: files, the database, and work that only some of them do.

use super::{Check, Finding, Place, Seen, Severity, Verdict, View, node_place, not_checked};
use crate::law::writer as writing_node;
use crate::state::{CloneStage, Schema, Source, Sync, Work, WriterEpoch};
use crate::topology::Role;

const NO_FILES: &str = "no [files] are declared that are copied";
const NO_DATABASE: &str = "no [database] is declared";

pub(super) fn files(seen: &Seen<'_>) -> Verdict {
    if seen.topology.files().is_none() {
        return Verdict::not_needed(NO_FILES);
    }
    let check = Check::FilesApart;
    let Some(writer) = writing_node(&seen.observed.state) else {
        return Verdict::made(vec![not_checked(
            check,
            Place::Cluster,
            "no node is the writer: there is nothing to compare with",
        )]);
    };
    let generations = &seen.observed.facts.generations;
    let of = |generation| match generations.get(generation) {
        Some(known) => format!("set {} ({:.12})", known.sequence, known.digest),
        None => "an unknown set".into(),
    };
    let (of_writer, name) = (seen.state(writer).generation, &seen.topology.node(writer).name);
    let (mut findings, mut everywhere) = (Vec::new(), true);
    for (index, node) in seen.topology.nodes() {
        let state = seen.state(index);
        let (severity, message, fix) = match (state.sync, state.generation) {
            (Sync::Unknown, _) => {
                everywhere = false;
                continue;
            }
            (Sync::Running, _) => continue,
            (_, None) => (
                Severity::Danger,
                "its set of shared files is not whole".to_string(),
                "let the file sync run to its end, or copy the set again",
            ),
            (_, generation) if generation == of_writer => continue,
            // That it is held is told of its own.
            (Sync::Held, _) => continue,
            (Sync::Active | Sync::None, Some(generation)) => {
                let message = format!(
                    "it has {}, the writer {name} has {}",
                    of(generation),
                    of_writer.map_or("half a set".into(), of)
                );
                (
                    Severity::Warning,
                    message,
                    "wait for the next run of the file sync; if that has passed, look at its log",
                )
            }
        };
        findings.push(Finding::new(check, severity, node_place(node), message, fix));
    }
    Verdict::Made { findings, everywhere }
}

pub(super) fn writer(seen: &Seen<'_>) -> Verdict {
    if seen.topology.files().is_none() {
        return Verdict::not_needed(NO_FILES);
    }
    let state = &seen.observed.state;
    let everywhere = state.nodes().all(|(_, node)| node.sync != Sync::Unknown);
    let writers: Vec<_> = state.nodes().filter(|(_, node)| node.writer > WriterEpoch::default()).collect();
    let names: Vec<&str> = writers.iter().map(|(node, _)| seen.topology.node(*node).name.as_str()).collect();
    let finding = match writers.as_slice() {
        [] if !everywhere => None,
        [] => Some(("no node may write shared files".to_string(), "hand the writer to one of them")),
        [(_, one)] if one.writer < state.writer_epoch => Some((
            format!(
                "{} writes with epoch {}, and {} was seen",
                names.join(""),
                one.writer.number(),
                state.writer_epoch.number()
            ),
            "hand the writer over anew: an older one has come back",
        )),
        [_] => None,
        [_, _, ..] => Some((format!("{} may all write shared files", names.join(", ")), "leave it to one of them")),
    };
    let finding =
        finding.map(|(message, fix)| Finding::new(Check::OneWriter, Severity::Danger, Place::Cluster, message, fix));
    Verdict::Made { findings: finding.into_iter().collect(), everywhere }
}

pub(super) fn held(seen: &Seen<'_>) -> Verdict {
    if seen.topology.files().is_none() {
        return Verdict::not_needed(NO_FILES);
    }
    let mut findings = Vec::new();
    for (_, node) in seen.topology.nodes().filter(|(index, _)| seen.state(*index).sync == Sync::Held) {
        let message = "the file sync into it is held: it gets no new files";
        let fix = "resume the run that holds it; if there is none, find out who holds it, then release it";
        findings.push(Finding::new(Check::SyncHeld, Severity::Warning, node_place(node), message, fix));
    }
    let everywhere = seen.observed.state.nodes().all(|(_, node)| node.sync != Sync::Unknown);
    Verdict::Made { findings, everywhere }
}

pub(super) fn work(seen: &Seen<'_>) -> Verdict {
    let pulling = || seen.topology.nodes().filter(|(_, node)| node.component(Role::Work).is_some());
    if pulling().next().is_none() {
        return Verdict::not_needed("no node pulls work");
    }
    let mut findings = Vec::new();
    for (_, node) in pulling().filter(|(index, _)| seen.state(*index).work == Work::Off) {
        let message = "its pulled work is paused";
        let fix = "resume the run that paused it; if there is none, find out who did, then resume the work";
        findings.push(Finding::new(Check::WorkPaused, Severity::Warning, node_place(node), message, fix));
    }
    let everywhere = pulling().all(|(index, _)| seen.state(index).work != Work::Unknown);
    Verdict::Made { findings, everywhere }
}

pub(super) fn schema(view: &View<'_>) -> Verdict {
    if view.topology.database().is_none() {
        return Verdict::not_needed(NO_DATABASE);
    }
    let check = Check::SchemaBetween;
    let found = |severity, message: &str, fix: &str| vec![Finding::new(check, severity, Place::Cluster, message, fix)];
    Verdict::made(match &view.look.schema {
        Err(why) => vec![not_checked(check, Place::Cluster, why.clone())],
        Ok(Schema::Base | Schema::Contracted) => Vec::new(),
        Ok(schema @ (Schema::Expanding | Schema::Contracting)) => found(
            Severity::Danger,
            &format!("the schema is {schema}: a migration is in the middle, or was left there"),
            "resume the run, or repair the migration that failed",
        ),
        Ok(schema @ (Schema::Expanded | Schema::Backfilled)) => found(
            Severity::Advice,
            &format!("the schema is {schema}: it has the old and the new, until a contraction"),
            "contract when nobody needs the old any more",
        ),
    })
}

pub(super) fn clone(seen: &Seen<'_>) -> Verdict {
    if seen.topology.database().is_none() {
        return Verdict::not_needed(NO_DATABASE);
    }
    if seen.observed.facts.clone.is_none() {
        let note = seen.observed.notes.iter().find(|note| note.starts_with("the clone of the database "));
        return match note {
            Some(why) => {
                let finding =
                    not_checked(Check::CloneLeft, Place::Cluster, "the clone of the database could not be read");
                Verdict::made(vec![finding.with_evidence(why.clone())])
            }
            None => Verdict::not_needed("no clone of the database is declared"),
        };
    }
    let copies = seen.observed.state.copies;
    let found = |severity, message: String, fix: &str| {
        Verdict::made(vec![Finding::new(Check::CloneLeft, severity, Place::Cluster, message, fix)])
    };
    let both = format!("the database is {:?}, its clone is {:?}", copies.source, copies.clone).to_lowercase();
    match (copies.source, copies.clone) {
        (Source::Open, CloneStage::Absent) => Verdict::made(Vec::new()),
        (Source::Frozen | Source::Freezing, _) if copies.refuses_writes() => {
            found(Severity::Danger, format!("{both}: writes are refused"), "resume the run that froze it, or thaw it")
        }
        (Source::Open | Source::Frozen | Source::Freezing, _) => {
            found(Severity::Warning, both, "resume the run that made the clone, or drop it where nobody uses it")
        }
    }
}
