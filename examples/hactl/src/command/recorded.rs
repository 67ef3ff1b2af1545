//! `status`, `watch`, `report` and `journal`: what the journal says. Nothing is written, and no cluster is touched: they can be
//! asked while a controller runs.

use std::path::Path;
use std::time::Duration;

use ha_core::engine::RunStatus;
use ha_core::journal::{Journal, is_open};
use ha_core::plan::Plan;
use ha_core::record::{End, Entry, OutcomeKind, Record, Request, RunId};
use ha_core::report::RunReport;
use ha_core::topology::Topology;
use serde_json::Value;
use tokio::time::sleep;

use super::files;
use crate::cli::Common;
use crate::clock::utc;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::json::{Holder, JournalLine, RunSummary, Status};
use crate::out::{Out, Tone};
use crate::{cluster, store};

/// How often `watch` looks at the journal.
const LOOK: Duration = Duration::from_millis(250);

pub(super) async fn status(common: &Common, out: &Out, run: Option<&str>) -> Result<Exit, Failure> {
    let topology = cluster::load(&common.cluster)?;
    let path = common.journal();
    let cluster = topology.name().to_string();
    if !path.exists() && common.journal.is_none() && run.is_none() {
        let none = Status { cluster, lease: None, runs: Vec::new(), detail: None };
        return if out.json { out.value(&none) } else { out.line("no run was recorded yet") }.map(|()| Exit::Done);
    }
    let store = store::to_read(&path)?;
    let holder = store::holder(&store, &cluster).await?;
    let lease = holder.map(|holder| Holder {
        owner: holder.owner,
        epoch: holder.epoch.number(),
        left_ms: u64::try_from(holder.left.as_millis()).unwrap_or(u64::MAX),
    });
    let (runs, detail) = match run {
        Some(_) => {
            let found = store::entries(&store, &cluster, run).await?;
            let engine = cluster::engine(&common.cluster, topology, Some(store))?;
            let detail = engine.status(&found.0).await.map_err(Failure::of_run)?;
            (vec![summary(&found)], Some(detail))
        }
        None => (summaries(&store, &cluster).await?, None),
    };
    let status = Status { cluster, lease, runs, detail };
    if out.json {
        out.value(&status)?;
    } else {
        out.text(&text_of(out, &status))?;
    }
    let waits = status.runs.iter().any(|run| run.open && (status.lease.is_none() || run.end.is_some()));
    Ok(if waits { Exit::NeedsOperator } else { Exit::Done })
}

/// How many of the newest runs are listed.
const RUNS: usize = 20;

async fn summaries(store: &ha_backends::sqlite::SqliteStore, cluster: &str) -> Result<Vec<RunSummary>, Failure> {
    let failed = |error: ha_core::journal::JournalError| Failure::of_journal(&error);
    let runs = store.runs().await.map_err(failed)?;
    let mut summaries = Vec::new();
    for run in runs.into_iter().rev() {
        let entries = store.read(&run).await.map_err(failed)?;
        if store::is_of(cluster, &entries) {
            summaries.push(summary(&(run, entries)));
        }
        if summaries.len() == RUNS {
            break;
        }
    }
    summaries.reverse();
    Ok(summaries)
}

/// Returns the plan with which a run goes on, or ended.
pub(super) fn last_plan(entries: &[Entry]) -> Option<&Plan> {
    entries.iter().rev().find_map(|entry| match &entry.record {
        Record::Opened { plan } | Record::Replanned { plan } => Some(&**plan),
        _ => None,
    })
}

fn summary((run, entries): &(RunId, Vec<Entry>)) -> RunSummary {
    let plan = last_plan(entries);
    let end = entries.iter().rev().find_map(|entry| match &entry.record {
        Record::Closed { end, .. } => Some(Some(*end)),
        Record::TakenOver { .. } => Some(None),
        _ => None,
    });
    let end = end.flatten();
    let message = match (end, plan) {
        (Some(end), Some(plan)) => end.message(plan.ends()),
        (Some(end), None) => end.to_string(),
        (None, _) => "has not ended".into(),
    };
    RunSummary {
        run: run.to_string(),
        procedure: plan.map_or("?", Plan::procedure).into(),
        goal: plan.map_or_else(String::new, Plan::goal_message),
        began_unix_ms: entries.first().map_or(0, |entry| entry.unix_ms),
        last_unix_ms: entries.last().map_or(0, |entry| entry.unix_ms),
        open: is_open(entries.iter()),
        end,
        message,
    }
}

fn text_of(out: &Out, status: &Status) -> String {
    let mut lines = vec![out.toned(Tone::Strong, &format!("cluster {}", status.cluster))];
    lines.push(match &status.lease {
        Some(holder) => format!(
            "  changed by {} (lease epoch {}, {} left)",
            holder.owner,
            holder.epoch,
            crate::clock::took(holder.left_ms)
        ),
        None => "  nobody acts on it".into(),
    });
    for run in &status.runs {
        let to = if run.goal.is_empty() { String::new() } else { format!(" to {}", run.goal) };
        lines.push(format!("{}: {}{to}", out.toned(Tone::Strong, &run.run), run.procedure));
        lines.push(format!("  began {}", utc(run.began_unix_ms)));
        lines.push(match run.end {
            None if status.lease.is_some() => format!("  runs; last record {}", utc(run.last_unix_ms)),
            None => format!("  {}: {}", out.toned(Tone::Bad, "stopped"), utc(run.last_unix_ms)),
            Some(End::AllNew | End::AllOld) => format!("  ended {}: {}", utc(run.last_unix_ms), run.message),
            Some(End::NeedsOperator(_)) => format!("  {}", out.toned(Tone::Bad, &run.message)),
        });
        if run.open && (status.lease.is_none() || run.end.is_some()) {
            lines.push(format!("  next: `hactl resume {}` or `hactl rollback {}`", run.run, run.run));
        }
    }
    if let Some(detail) = &status.detail {
        lines.extend(detail_of(out, detail, status.lease.is_some() && detail.end.is_none()));
    }
    if status.runs.is_empty() {
        lines.push("  no run was recorded yet".into());
    }
    lines.join("\n") + "\n"
}

/// Says where a run is, what it waits for, and what people asked of it.
fn detail_of(out: &Out, detail: &RunStatus, is_driven: bool) -> Vec<String> {
    let mut lines = Vec::new();
    if detail.end.is_none() {
        lines.push(format!("  {}, step {}.{}: {}", detail.mode, detail.stage, detail.step, detail.doing));
    }
    if let Some(owner) = &detail.owner {
        lines.push(format!("  taken over by {owner}"));
    }
    if let Some(paused) = &detail.paused {
        let until = utc(paused.until_unix_ms);
        lines.push(format!("  {} by {} until {until}", out.toned(Tone::Strong, "paused"), paused.by));
        lines.push(format!("  next: `hactl resume {}`", detail.run));
    }
    if let Some(approval) = &detail.approval {
        let (stage, step) = (approval.stage + 1, approval.step + 1);
        let waits = out.toned(Tone::Strong, "waits for an approval");
        lines.push(format!("  {waits} ({}) of step {stage}.{step}", approval.point));
        lines.push(format!("  until {}, then {}", utc(approval.until_unix_ms), approval.then));
        lines.extend(approval.facts.iter().map(|fact| format!("    {fact}")));
        lines.extend(approval.differs.iter().map(|fact| format!("    changed: {fact}")));
        lines.push(format!("  next: `hactl approve {}`", detail.run));
    }
    lines.extend(detail.requests.iter().map(|asked| format!("  asked by {asked}")));
    let pending = |request: &Request| format!("  not taken yet: {} by {}", request.what.name(), request.by);
    lines.extend(detail.pending.iter().map(pending));
    lines.extend(detail.open.iter().map(|loan| format!("  open: {loan}")));
    let unknown = if is_driven { "under way" } else { "not known whether it happened" };
    lines.extend(detail.unknown.iter().map(|order| format!("  {unknown}: {order}")));
    lines
}

pub(super) async fn journal(common: &Common, out: &Out, run: Option<&str>) -> Result<Exit, Failure> {
    let topology = cluster::load(&common.cluster)?;
    let store = store::to_read(&common.journal())?;
    let Some(run) = run else {
        let runs = summaries(&store, topology.name().as_str()).await?;
        if out.json {
            return out.value(&runs).map(|()| Exit::Done);
        }
        let line = |run: &RunSummary| format!("{}  {}  {}\n", utc(run.began_unix_ms), run.run, run.message);
        let none = if runs.is_empty() { "no run was recorded yet\n" } else { "" };
        out.text(&format!("{none}{}", runs.iter().map(line).collect::<String>()))?;
        return Ok(Exit::Done);
    };
    let (_, entries) = store::entries(&store, topology.name().as_str(), Some(run)).await?;
    let mut teller = Teller::new(&topology, out);
    for entry in &entries {
        teller.tell(entry)?;
    }
    Ok(Exit::Done)
}

pub(super) async fn watch(common: &Common, out: &Out, run: Option<&str>) -> Result<Exit, Failure> {
    let topology = cluster::load(&common.cluster)?;
    let store = store::to_read(&common.journal())?;
    let cluster = topology.name().as_str();
    let (run, mut entries) = store::entries(&store, cluster, run).await?;
    let mut teller = Teller::new(&topology, out);
    let (mut told, mut is_left) = (0, false);
    loop {
        let is_idle = entries.len() == told;
        for entry in &entries[told..] {
            teller.tell(entry)?;
        }
        told = entries.len();
        let summary = summary(&(run.clone(), std::mem::take(&mut entries)));
        if let Some(end) = summary.end {
            return Ok(match end {
                End::AllNew => Exit::Done,
                End::AllOld => Exit::RolledBack,
                End::NeedsOperator(_) => Exit::NeedsOperator,
            });
        }
        if out.is_closed() {
            return Ok(Exit::Done);
        }
        if is_idle && is_left {
            let what = format!("{run} has not ended, and nobody drives it any more");
            let next = format!("`hactl status {run}`; then `hactl resume {run}` or `hactl rollback {run}`");
            return Err(Failure::new(Exit::NeedsOperator, what, next));
        }
        // It may have ended since: the records are read once more.
        is_left = is_idle && store::holder(&store, cluster).await?.is_none();
        sleep(LOOK).await;
        entries = store.read(&run).await.map_err(|error| Failure::of_journal(&error))?;
    }
}

pub(super) async fn report(
    common: &Common,
    out: &Out,
    run: Option<&str>,
    (html, force, markdown): (Option<&Path>, bool, bool),
) -> Result<Exit, Failure> {
    let topology = cluster::load(&common.cluster)?;
    let store = store::to_read(&common.journal())?;
    let (run, entries) = store::entries(&store, topology.name().as_str(), run).await?;
    let report = RunReport::from_entries(&topology, &run, &entries).map_err(|error| {
        let next = "use the cluster file with which the run was begun, or another version of this tool";
        Failure::new(Exit::BadFile, format!("run {run} cannot be reported: {error}"), next)
    })?;
    if let Some(file) = html {
        files::write(file, &report.to_html(None), force).map_err(|error| Failure::unwritable(file, &error))?;
        return out.line(&format!("the page is {}", file.display())).map(|()| Exit::Done);
    }
    if markdown {
        out.raw(&report.to_markdown(None))?;
    } else if out.json {
        out.value(&report)?;
    } else {
        out.text(&report.to_string())?;
    }
    Ok(Exit::Done)
}

/// Tells the entries of one run, in their order.
struct Teller<'t> {
    topology: &'t Topology,
    out: &'t Out,
    /// The plan in force, where it is one of this topology: only then its numbers name nodes.
    plan: Option<Plan>,
}

impl<'t> Teller<'t> {
    fn new(topology: &'t Topology, out: &'t Out) -> Self {
        Self { topology, out, plan: None }
    }

    fn tell(&mut self, entry: &Entry) -> Result<(), Failure> {
        if let Record::Opened { plan } | Record::Replanned { plan } = &entry.record {
            self.plan = Some(Plan::clone(plan)).filter(|plan| plan.is_for(self.topology));
        }
        let record = serde_json::to_value(&entry.record).map_err(|error| Failure::internal(error.to_string()))?;
        let kind = kind_of(&record);
        let message = self.message(&entry.record, &kind);
        if !self.out.json {
            return self.out.line(&format!("{}  {message}", utc(entry.unix_ms)));
        }
        self.out.json_line(&JournalLine {
            sequence: entry.sequence,
            epoch: entry.epoch.number(),
            unix_ms: entry.unix_ms,
            kind,
            message,
            record,
            format: entry.format,
        })
    }

    fn message(&self, record: &Record, kind: &str) -> String {
        let plan = self.plan.as_ref();
        match record {
            Record::Opened { plan } => {
                let goal = plan.goal_message();
                let to = if goal.is_empty() { String::new() } else { format!(" to {goal}") };
                format!("opened: {}{to}, plan {}", plan.procedure(), plan.digest().short())
            }
            Record::TakenOver { owner, .. } => format!("taken over by {owner}"),
            Record::Turned { message, .. } => format!("turned: {message}"),
            Record::Intent { order, .. } => match plan {
                Some(plan) => format!("begins: {}", order.message(self.topology, plan.facts())),
                None => format!("begins: {}", order.name()),
            },
            Record::Outcome { order, result, evidence } => {
                let result = match result {
                    OutcomeKind::Done => "done",
                    OutcomeKind::NotDone => "FAILED",
                    OutcomeKind::Unknown => "UNKNOWN",
                };
                let target = plan.map_or_else(String::new, |_| format!(" {}", order.target_name(self.topology)));
                format!("{}{target}: {result}: {evidence}", order.name())
            }
            Record::DomainLost { domain } => match plan {
                Some(_) => format!("LOST: failure domain {}", self.topology.domain_name(*domain)),
                None => "LOST: a failure domain".into(),
            },
            Record::Replanned { plan } => format!("planned anew after a loss: plan {}", plan.digest().short()),
            Record::Requested { request, refused, .. } => {
                let answer = refused.as_ref().map_or("taken".into(), |why| format!("REFUSED: {why}"));
                format!("{} asked by {}: {answer}", request.what.name(), request.by)
            }
            Record::ApprovalAsked { approval } => {
                let step = format!("{}.{}", approval.stage + 1, approval.step + 1);
                format!(
                    "waits for an approval ({}) before step {step}, until {}",
                    approval.point,
                    utc(approval.until_unix_ms)
                )
            }
            Record::Continued { message } => message.clone(),
            Record::Closed { end, open } => {
                let open: String = open.iter().map(|loan| format!("\n  still open: {loan}")).collect();
                let end = plan.map_or_else(|| end.to_string(), |plan| end.message(plan.ends()));
                format!("ended: {end}{open}")
            }
            _ => kind.replace('-', " "),
        }
    }
}

/// Returns the kind of a record: its one key.
fn kind_of(record: &Value) -> String {
    let key = record.as_object().and_then(|record| record.keys().next());
    key.map_or_else(|| record.as_str().unwrap_or("record").into(), Clone::clone)
}
