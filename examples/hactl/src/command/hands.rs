//! `approve`, `pause`, `resume`, `rollback` and `abort`: what people ask of a run. A run that another process drives is asked
//! through the journal; one that nobody drives is taken over here.

use std::sync::Arc;
use std::time::Duration;

use ha_backends::sqlite::SqliteStore;
use ha_core::engine::{Answer, Asked, Engine, RunError, RunStatus};
use ha_core::record::{Ask, End, Entry, Operator, Record, RunId, Why};

use super::recorded::last_plan;
use super::run::{Followed, Signals, confirmed, follow, orders_of};
use crate::cli::{Common, Confirm, Reason};
use crate::clock::utc;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::out::Out;
use crate::{cluster, json, store};

/// How long an answer is waited for: the controller looks every 250 ms, and ends the look at the cluster that it is at.
const ANSWER: Duration = Duration::from_secs(10);

/// A run of the journal, and what it takes to ask something of it.
struct Run {
    engine: Engine,
    store: Arc<SqliteStore>,
    run: RunId,
    entries: Vec<Entry>,
    status: RunStatus,
}

impl Run {
    /// Opens a run that is recorded: nothing is made where there is none.
    async fn open(common: &Common, run: &str) -> Result<Self, Failure> {
        let topology = cluster::load(&common.cluster)?;
        let cluster = topology.name().as_str();
        let (run, entries) = store::entries(&*store::to_read(&common.journal())?, cluster, Some(run)).await?;
        let store = store::to_write(&common.journal())?;
        let engine = cluster::engine(&common.cluster, topology, Some(store.clone()))?;
        let status = engine.status(&run).await.map_err(Failure::of_run)?;
        Ok(Self { engine, store, run, entries, status })
    }

    /// Tells whether another process drives it.
    async fn is_driven(&self) -> Result<bool, Failure> {
        let cluster = self.engine.topology().name().as_str();
        let holder = crate::store::holder(&self.store, cluster).await?;
        Ok(self.status.end.is_none() && holder.is_some())
    }

    /// Brings a run to the stop that was asked of it before its controller went away: what is asked now comes after that. Returns how
    /// it ended where it did not stop, or where it was interrupted on the way.
    async fn settle(&mut self, out: &Out, signals: &mut Signals) -> Result<Option<Followed>, Failure> {
        let since_it_began = self.entries.rsplit(|entry| matches!(entry.record, Record::Closed { .. })).next();
        let is_stop = |entry: &Entry| match &entry.record {
            Record::Requested { request, refused, .. } => request.what == Ask::Abort && refused.is_none(),
            _ => false,
        };
        let taken = since_it_began.unwrap_or_default().iter().any(is_stop);
        let pending = self.status.pending.iter().any(|request| request.what == Ask::Abort);
        if self.status.end.is_some() || !(taken || pending) {
            return Ok(None);
        }
        let handle = signals.unless_heard(&self.run, self.engine.resume(self.run.clone())).await?;
        let followed = follow(out, handle, 0, signals).await?;
        self.status = self.engine.status(&self.run).await.map_err(Failure::of_run)?;
        let has_stopped = self.status.end == Some(End::NeedsOperator(Why::Stopped));
        Ok((followed.is_interrupted || !has_stopped).then_some(followed))
    }

    /// Puts a request, waits for its answer, and tells it.
    async fn ask(&self, out: &Out, by: Operator, what: Ask) -> Result<Exit, Failure> {
        let name = what.name();
        let asked = self.engine.ask(&self.run, by, what).await.map_err(Failure::of_run)?;
        self.tell(out, name, asked).await
    }

    async fn tell(&self, out: &Out, what: &str, asked: Asked) -> Result<Exit, Failure> {
        let mut signals = Signals::new()?;
        let answer = tokio::select! {
            answer = self.engine.answer(&asked, ANSWER) => answer.map_err(Failure::of_run)?,
            () = signals.next() => {
                let run = &self.run;
                let told = format!("{run}: interrupted; {what} is in the journal, and it is not known whether it is taken");
                return Err(Failure::new(Exit::Abandoned, told, format!("`hactl status {run}` tells how it is")));
            }
        };
        if out.json {
            out.value(&json::Request { asked, answer: answer.clone() })?;
        }
        let run = &self.run;
        let not_taken = |what: String, next: String| Failure::new(Exit::NotTaken, what, next);
        let failure = match &answer {
            Answer::Taken if out.json => return Ok(Exit::Done),
            Answer::Taken => return out.line(&format!("{run}: {what}: taken")).map(|()| Exit::Done),
            Answer::Refused { why } => {
                not_taken(format!("{run} refuses to {what}: {why}"), format!("`hactl status {run}` tells how it is"))
            }
            Answer::Ended { end } => {
                not_taken(format!("{run} has ended before: {end}"), format!("`hactl report {run}` tells what it did"))
            }
            _ => {
                let next =
                    format!("`hactl status {run}`; where nobody drives it, `hactl resume {run}` does, and finds it");
                not_taken(format!("{run}: {what} is in the journal, and no controller has taken it yet"), next)
            }
        };
        if out.json { Ok(Exit::NotTaken) } else { Err(failure) }
    }
}

fn operator(reason: &Reason) -> Operator {
    Operator::new(cluster::person(), reason.reason.clone().unwrap_or_else(|| "no reason given".into()))
}

pub(super) async fn approve(
    common: &Common,
    out: &Out,
    run: &str,
    holds: Duration,
    reason: &Reason,
    confirm: Confirm,
) -> Result<Exit, Failure> {
    let run = Run::open(common, run).await?;
    let Some(approval) = &run.status.approval else {
        let why = "the run waits for no approval".into();
        return Err(Failure::of_run(RunError::Refused { run: run.run, what: "approve", why }));
    };
    if !out.json {
        let (stage, step) = (approval.stage + 1, approval.step + 1);
        let facts: String = approval.facts.iter().map(|fact| format!("  {fact}\n")).collect();
        let differs: String = approval.differs.iter().map(|fact| format!("  changed: {fact}\n")).collect();
        let until = utc(approval.until_unix_ms);
        out.text(&format!(
            "{} waits until {until} for an approval ({}) of step {stage}.{step}: {}\n{facts}{differs}",
            run.run, approval.point, run.status.doing
        ))?;
    }
    confirmed(confirm, out, "Approve it?")?;
    // What was shown, whatever the run waits for by now.
    run.ask(out, operator(reason), approval.approve_until(run.engine.in_unix_ms(holds))).await
}

pub(super) async fn pause(
    common: &Common,
    out: &Out,
    run: &str,
    holds: Duration,
    reason: &Reason,
) -> Result<Exit, Failure> {
    let run = Run::open(common, run).await?;
    let until_unix_ms = run.engine.in_unix_ms(holds);
    run.ask(out, operator(reason), Ask::Pause { until_unix_ms }).await
}

pub(super) async fn abort(common: &Common, out: &Out, run: &str, reason: &Reason) -> Result<Exit, Failure> {
    let run = Run::open(common, run).await?;
    run.ask(out, operator(reason), Ask::Abort).await
}

pub(super) async fn resume(
    common: &Common,
    out: &Out,
    run: &str,
    skip: bool,
    reason: &Reason,
    confirm: Confirm,
) -> Result<Exit, Failure> {
    let mut run = Run::open(common, run).await?;
    if run.is_driven().await? {
        if skip {
            let what = format!("{} is driven by another process: no step is left out under it", run.run);
            let next = format!("`hactl abort {0}`; once it has stopped, `hactl resume {0} --skip`", run.run);
            return Err(Failure::new(Exit::NotTaken, what, next));
        }
        return run.ask(out, operator(reason), Ask::Continue).await;
    }
    let step = |status: &RunStatus| format!("step {}.{} ({})", status.stage, status.step, status.doing);
    let how = if skip { format!(", and leave out {}", step(&run.status)) } else { String::new() };
    confirmed(confirm, out, &format!("Go on with {}{how}?", run.run))?;
    let mut signals = Signals::new()?;
    let had_ended = run.status.end.is_some();
    if let Some(followed) = run.settle(out, &mut signals).await? {
        return followed.tell(out);
    }
    if skip && !had_ended && run.status.end.is_some() {
        let what = format!("{} has stopped only now, at {}: nothing was left out", run.run, step(&run.status));
        let next = format!("`hactl status {0}`; then `hactl resume {0} --skip` leaves that one out", run.run);
        return Err(Failure::new(Exit::NotTaken, what, next));
    }
    // Nobody is there to end a pause that was asked for before its controller went away.
    if run.status.paused.is_some() && run.status.end.is_none() {
        run.engine.ask(&run.run, operator(reason), Ask::Continue).await.map_err(Failure::of_run)?;
    }
    let (name, by) = (run.run.clone(), operator(reason));
    let goes_on = async {
        match (skip, run.status.end) {
            (true, _) => run.engine.skip(name, by).await,
            // At the step where it stopped, and forward.
            (false, Some(End::NeedsOperator(_))) => run.engine.retry(name, by).await,
            (false, Some(End::AllNew | End::AllOld) | None) => run.engine.resume(name).await,
        }
    };
    let handle = signals.unless_heard(&run.run, goes_on).await?;
    let orders = last_plan(&run.entries).map_or(0, orders_of);
    follow(out, handle, orders, &mut signals).await?.tell(out)
}

pub(super) async fn roll_back(
    common: &Common,
    out: &Out,
    run: &str,
    reason: &Reason,
    confirm: Confirm,
) -> Result<Exit, Failure> {
    let mut run = Run::open(common, run).await?;
    confirmed(confirm, out, &format!("Take {} back?", run.run))?;
    if run.is_driven().await? {
        return run.ask(out, operator(reason), Ask::RollBack).await;
    }
    let mut signals = Signals::new()?;
    if let Some(followed) = run.settle(out, &mut signals).await? {
        return followed.tell(out);
    }
    let goes_back = run.engine.roll_back(run.run.clone(), operator(reason));
    let handle = signals.unless_heard(&run.run, goes_back).await?;
    let orders = last_plan(&run.entries).map_or(0, orders_of);
    follow(out, handle, orders, &mut signals).await?.tell(out)
}
