//! `run` and `drill`: what drives a run, and follows it to its end.

use std::io::{self, BufRead, IsTerminal, Write};
use std::path::Path;

use ha_core::engine::{RunError, RunHandle};
use ha_core::plan::Plan;
use ha_core::procedure::{ChangeRequest, DrillRequest};
use ha_core::record::{Ask, End, Operator, RunId};
use ha_core::report::RunReport;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::plan::text_of;
use crate::cli::{Common, Confirm, Start};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::follow::Shown;
use crate::json::{LastLine, RunLine};
use crate::out::Out;
use crate::{clock, cluster, store};

pub(super) async fn change(common: &Common, out: &Out, file: &Path, start: &Start) -> Result<Exit, Failure> {
    let topology = cluster::load(&common.cluster)?;
    let change = cluster::load_change(file)?;
    cluster::check_names(&topology, &change, file)?;
    begin(common, out, topology, &change, start).await
}

pub(super) async fn drill(common: &Common, out: &Out, site: &str, start: &Start) -> Result<Exit, Failure> {
    let topology = cluster::load(&common.cluster)?;
    let change = ChangeRequest::Drill(DrillRequest::of(site));
    cluster::check_names(&topology, &change, &common.cluster)?;
    begin(common, out, topology, &change, start).await
}

async fn begin(
    common: &Common,
    out: &Out,
    topology: ha_core::topology::Topology,
    change: &ChangeRequest,
    start: &Start,
) -> Result<Exit, Failure> {
    let store = store::to_write(&common.journal())?;
    store::check_free(&store, topology.name().as_str()).await?;
    let engine = cluster::engine(&common.cluster, topology, Some(store))?;
    let planned = engine.plan(change).await.map_err(Failure::of_run)?;
    let stamp = || format!("{}-{}", change.name(), clock::stamp(clock::now()));
    let run = RunId::new(start.run.clone().unwrap_or_else(stamp));
    if !out.json {
        out.text(&text_of(engine.topology(), &planned))?;
    }
    confirmed(start.confirm, &format!("Run it as {run}?"))?;
    let orders = orders_of(planned.plan());
    let signals = Signals::new()?;
    let handle = engine.run(run.clone(), planned).await.map_err(Failure::of_run)?;
    follow(out, handle, &run, orders, signals).await
}

/// Counts what a plan does: each action on each target.
pub(super) fn orders_of(plan: &Plan) -> usize {
    plan.stages().iter().flat_map(|stage| stage.steps.iter().map(|step| stage.orders(step.action).count())).sum()
}

/// Asks on the terminal, unless `--yes` says it.
pub(super) fn confirmed(confirm: Confirm, question: &str) -> Result<(), Failure> {
    if confirm.yes {
        return Ok(());
    }
    let next = "give --yes once the plan is as it should be";
    if !io::stdin().is_terminal() {
        let what = "this changes the cluster, and there is no terminal to ask on; nothing was changed";
        return Err(Failure::new(Exit::NotConfirmed, what, next));
    }
    eprint!("{question} [y/N] ");
    let _ = io::stderr().flush();
    let mut answer = String::new();
    let read = io::stdin().lock().read_line(&mut answer);
    match (read, answer.trim()) {
        (Ok(_), "y" | "Y" | "yes") => Ok(()),
        _ => Err(Failure::new(Exit::NotConfirmed, "not confirmed; nothing was changed", next)),
    }
}

/// Ctrl-C, the end that a supervisor asks for, and a terminal that goes away.
pub(super) struct Signals([Signal; 3]);

impl Signals {
    pub(super) fn new() -> Result<Self, Failure> {
        let take = |kind| signal(kind).map_err(|error| Failure::internal(format!("signals cannot be taken: {error}")));
        let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
        let [interrupt, terminate, hangup] = kinds.map(take);
        Ok(Self([interrupt?, terminate?, hangup?]))
    }

    async fn next(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}

/// Shows a run until its end. The first signal stops it at a safe point; the second abandons the wait.
pub(super) async fn follow(
    out: &Out,
    mut handle: RunHandle,
    run: &RunId,
    orders: usize,
    mut signals: Signals,
) -> Result<Exit, Failure> {
    let mut shown = Shown::new(out, orders);
    let (mut asked, mut unwritten) = (false, None);
    loop {
        tokio::select! {
            event = handle.next_event() => {
                let Some(event) = event else { break };
                // What cannot be shown must not stop a run: it is told at its end.
                if let Err(failure) = shown.event(&event) {
                    unwritten.get_or_insert(failure);
                }
            }
            () = signals.next() => {
                if asked {
                    return Ok(abandon(&shown, run));
                }
                asked = true;
                stop(&handle, &shown, run).await;
            }
        }
    }
    shown.finish();
    let report = handle.wait().await.map_err(Failure::of_run)?;
    let told = tell_report(out, &report);
    match told.err().or(unwritten) {
        Some(failure) => {
            // The run did end, and how it did is what its caller has to know.
            shown.say(&format!("{failure}; `hactl report {run}` tells it again"));
            Ok(exit_of(&report))
        }
        None => Ok(exit_of(&report)),
    }
}

/// Asks the run to stop at a safe point.
async fn stop(handle: &RunHandle, shown: &Shown<'_>, run: &RunId) {
    let by = Operator::new(cluster::person(), "interrupted");
    match handle.ask(by, Ask::Abort).await {
        Ok(_) => shown.say(&format!(
            "interrupted: the step under way is ended, then {run} stops; interrupt again to stop waiting"
        )),
        // One that has just ended has nothing to stop.
        Err(RunError::Ended { .. }) => {}
        Err(error) => shown.say(&format!("interrupted, and it cannot be asked to stop: {error}; it goes on")),
    }
}

/// Says what is not known where nobody waits any more.
fn abandon(shown: &Shown<'_>, run: &RunId) -> Exit {
    shown.finish();
    let unknown = shown.unknown();
    let unknown = if unknown.is_empty() { "nothing had begun that has not ended".into() } else { unknown.join(", ") };
    shown.say(&format!(
        "abandoned {run}: not known whether it happened: {unknown}; loans are open; next: `hactl status {run}`, then \
         `hactl resume {run}` or `hactl rollback {run}`, which look before they act"
    ));
    Exit::Abandoned
}

fn tell_report(out: &Out, report: &RunReport) -> Result<(), Failure> {
    if out.json {
        return out.json_line(&RunLine::Report(Box::new(LastLine { event: "report".into(), report: report.clone() })));
    }
    out.text(&summary_of(report))?;
    out.line(&format!("next: {}", next_after(report)))
}

/// The end of a run in short: its steps were shown as they went.
fn summary_of(report: &RunReport) -> String {
    let steps = |line: &&str| !report.steps.iter().any(|step| is_step_line(line, &step.target, &step.action));
    report.to_string().lines().filter(steps).map(|line| format!("{line}\n")).collect()
}

fn is_step_line(line: &str, target: &str, action: &str) -> bool {
    let words = line.trim_start().split_once(" ms  ").map(|(_, rest)| rest);
    words.is_some_and(|rest| rest.starts_with(target) && rest[target.len()..].trim_start().starts_with(action))
}

fn next_after(report: &RunReport) -> String {
    let run = &report.run;
    match report.end {
        End::AllNew => format!("nothing; `hactl report {run}` tells it again"),
        End::AllOld => format!("`hactl report {run}` tells why; mend that, then plan again"),
        End::NeedsOperator(_) => {
            format!("do what is named above; then `hactl resume {run}` goes on, `hactl rollback {run}` takes it back")
        }
    }
}

pub(super) fn exit_of(report: &RunReport) -> Exit {
    match report.end {
        End::AllNew => Exit::Done,
        End::AllOld => Exit::RolledBack,
        End::NeedsOperator(_) => Exit::NeedsOperator,
    }
}
