//! `run` and `drill`: what drives a run, and follows it to its end.

use std::future::poll_fn;
use std::io::{self, BufRead, IsTerminal, Write};
use std::path::Path;
use std::task::Poll;

use ha_core::engine::{RunError, RunHandle};
use ha_core::plan::Plan;
use ha_core::procedure::{ChangeRequest, DrillRequest};
use ha_core::record::{Ask, End, Operator, RunId, Why};
use ha_core::report::RunReport;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::plan::{no_plan, text_of};
use crate::cli::{Common, Confirm, Start};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::follow::Shown;
use crate::json::{LastLine, RunLine};
use crate::lines::plain;
use crate::out::{Out, say};
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
    let planned = match engine.plan(change).await {
        Ok(planned) => planned,
        Err(error) => return Err(no_plan(&engine, error).await),
    };
    let stamp = || format!("{}-{}", change.name(), clock::stamp(clock::now()));
    let run = RunId::new(start.run.clone().unwrap_or_else(stamp));
    if !out.json {
        out.text(&text_of(engine.topology(), &planned))?;
        if let Some(marked) = cluster::marked(&common.cluster) {
            out.line(&format!("note: {marked}"))?;
        }
    }
    confirmed(start.confirm, out, &format!("Run it as {run}?"))?;
    let orders = orders_of(planned.plan());
    let mut signals = Signals::new()?;
    let handle = signals.unless_heard(&run, engine.run(run.clone(), planned)).await?;
    follow(out, handle, orders, &mut signals).await?.tell(out)
}

/// Counts what a plan does: each action on each target.
pub(super) fn orders_of(plan: &Plan) -> usize {
    plan.stages().iter().flat_map(|stage| stage.steps.iter().map(|step| stage.orders(step.action).count())).sum()
}

/// Asks on the terminal, unless `--yes` says it. With `--json` nothing is shown that could be confirmed.
pub(super) fn confirmed(confirm: Confirm, out: &Out, question: &str) -> Result<(), Failure> {
    if confirm.yes {
        return Ok(());
    }
    let next = "give --yes where it is meant";
    if out.json || !io::stdin().is_terminal() {
        let why = if out.json { "with --json nobody is asked" } else { "there is no terminal to ask on" };
        let what = format!("this changes the cluster, and {why}; nothing was changed");
        return Err(Failure::new(Exit::NotConfirmed, what, next));
    }
    // Ctrl-C is an answer, too: nothing was begun.
    let mut signals = Signals::new()?;
    let interrupted = tokio::spawn(async move {
        signals.next().await;
        say("not confirmed; nothing was changed");
        std::process::exit(i32::from(Exit::NotConfirmed.code()));
    });
    // Where it cannot be shown, nobody answers.
    let _ = write!(io::stderr(), "{} [y/N] ", plain(question)).and_then(|()| io::stderr().flush());
    let mut answer = String::new();
    let read = io::stdin().lock().read_line(&mut answer);
    interrupted.abort();
    match (read, answer.trim()) {
        (Ok(_), "y" | "Y" | "yes") => Ok(()),
        _ => Err(Failure::new(Exit::NotConfirmed, "not confirmed; nothing was changed", next)),
    }
}

/// Ctrl-C, the end that a supervisor asks for, and a terminal that goes away; without those that whoever started this has it
/// ignore, as nohup does.
pub(super) struct Signals(Vec<Signal>);

impl Signals {
    pub(super) fn new() -> Result<Self, Failure> {
        let ignored = ignored(&std::fs::read_to_string("/proc/self/status").unwrap_or_default());
        let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
        let taken = kinds.into_iter().filter(|kind| ignored >> (kind.as_raw_value() - 1) & 1 == 0).map(signal);
        let taken = taken.collect::<io::Result<_>>();
        taken.map(Self).map_err(|error| Failure::internal(format!("signals cannot be taken: {error}")))
    }

    /// Waits for any of them.
    pub(super) async fn next(&mut self) {
        poll_fn(|context| {
            let heard = self.0.iter_mut().any(|signal| signal.poll_recv(context).is_ready());
            if heard { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// Begins a run, or goes on with it, unless one of them is heard before that is so.
    pub(super) async fn unless_heard(
        &mut self,
        run: &RunId,
        begins: impl Future<Output = Result<RunHandle, RunError>>,
    ) -> Result<RunHandle, Failure> {
        tokio::select! {
            biased;
            begun = begins => begun.map_err(Failure::of_run),
            () = self.next() => {
                let what = format!("{run}: interrupted; no step was begun since, and it is not known whether that is recorded");
                let next = format!("`hactl status {run}`; where it is, `hactl resume {run}` or `hactl rollback {run}`");
                Err(Failure::new(Exit::Abandoned, what, next))
            }
        }
    }
}

/// Reads the signals that a process ignores, as the kernel tells them: the first bit is the first signal.
fn ignored(status: &str) -> u64 {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

/// How following a run has ended.
pub(super) struct Followed {
    /// How the run ended; `None` where nobody waits for that any more.
    pub(super) report: Option<RunReport>,
    /// Whether a signal stopped it, or tried to.
    pub(super) is_interrupted: bool,
    unwritten: Option<Failure>,
}

impl Followed {
    /// Tells how the run ended.
    pub(super) fn tell(self, out: &Out) -> Result<Exit, Failure> {
        let Some(report) = self.report else { return Ok(Exit::Abandoned) };
        if let Some(failure) = tell_report(out, &report).err().or(self.unwritten) {
            // The run did end, and how it did is what its caller has to know.
            say(&format!("{}; `hactl report {}` tells it again", failure.what(), report.run));
        }
        Ok(exit_of(&report))
    }
}

/// Shows a run until its end. The first signal stops it at a safe point; the second abandons the wait.
pub(super) async fn follow(
    out: &Out,
    mut handle: RunHandle,
    orders: usize,
    signals: &mut Signals,
) -> Result<Followed, Failure> {
    let mut shown = Shown::new(out, orders);
    let (mut is_interrupted, mut unwritten) = (false, None);
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
                if is_interrupted {
                    abandon(&shown, handle.run());
                    return Ok(Followed { report: None, is_interrupted, unwritten });
                }
                is_interrupted = true;
                stop(&handle, &shown).await;
            }
        }
    }
    shown.finish();
    let report = handle.wait().await.map_err(Failure::of_run)?;
    Ok(Followed { report: Some(report), is_interrupted, unwritten })
}

/// Asks the run to stop at a safe point.
async fn stop(handle: &RunHandle, shown: &Shown<'_>) {
    let run = handle.run();
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
fn abandon(shown: &Shown<'_>, run: &RunId) {
    shown.finish();
    let unknown = shown.unknown();
    shown.say(&format!(
        "abandoned {run}: not known whether it happened: {unknown}; loans may be open; next: `hactl status {run}`, then \
         `hactl resume {run}` or `hactl rollback {run}`, which look before they act"
    ));
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
    let mut short = report.clone();
    short.steps.clear();
    short.to_string()
}

fn next_after(report: &RunReport) -> String {
    let run = &report.run;
    match report.end {
        End::AllNew => format!("nothing; `hactl report {run}` tells it again"),
        End::AllOld => format!("`hactl report {run}` tells why; mend that, then plan again"),
        End::NeedsOperator(Why::Stopped) => {
            format!("`hactl resume {run}` goes on, `hactl rollback {run}` takes it back")
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_says_is_ignored_is_left_alone() {
        let status = "Name:\thactl\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000001001\nSigCgt:\t0000000000000440\n";
        assert_eq!(ignored(status), 0x1001);
        assert_eq!(ignored("Name:\thactl\n"), 0);
    }

    #[tokio::test]
    async fn a_signal_before_a_run_begins_is_heard() {
        let mut signals = Signals::new().unwrap();
        let pid = std::process::id().to_string();
        assert!(std::process::Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        let begins = std::future::pending::<Result<RunHandle, RunError>>();
        let failure = signals.unless_heard(&RunId::new("r1"), begins).await.unwrap_err();
        assert_eq!(failure.exit, Exit::Abandoned);
        assert!(failure.to_string().contains("no step was begun since"), "{failure}");
    }
}
