use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::{AskedFor, Event};
use crate::action::{CloneAction, Order, SiteAction};
use crate::plan::{Degraded, Plan};
use crate::record::{End, Entry, Evidence, OutcomeKind, Record, RunId};
use crate::safety::Proof;
use crate::state::CloneStep;
use crate::topology::{Name, Topology};

/// The evidence of a run.
///
/// # Examples
///
/// ```
/// use ha_core::record::End;
/// use ha_core::report::RunReport;
///
/// /// Prints what a run has done, and tells whether somebody has to look after it.
/// fn needs_a_person(report: &RunReport) -> bool {
///     println!("{report}");
///     let slowest = report.steps.iter().max_by_key(|step| step.took_ms);
///     println!("slowest step: {:?}, lowest margin: {:?}", slowest.map(|step| &step.action), report.lowest_margin);
///     !report.open.is_empty() || matches!(report.end, End::NeedsOperator(_))
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct RunReport {
    /// The run.
    pub run: RunId,
    /// The procedure, as `patch`.
    pub procedure: String,
    /// What the members were to have, as text.
    pub goal: String,
    /// The digest of the plan that it began with.
    pub plan: String,
    /// The proof of the plan, found again where the run was resumed (where a step was tried again or left out, of the rest of the
    /// plan from how the cluster was); `None` where the plan is of an earlier version of the law,
    /// which this one does not hold.
    pub proof: Option<Proof>,
    /// The plans with which the run went on after losses, in their order.
    pub replanned: Vec<Replan>,
    /// What was reached by other settings than when the plan was made, as `node esb1.host`.
    pub reached_otherwise: Vec<String>,
    /// How it ended.
    pub end: End,
    /// How it ended, for people.
    pub end_message: String,
    /// Loans that are still open; empty unless it needs an operator.
    pub open: Vec<String>,
    /// What the run leaves for an operator to do in his own time.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// The lowest serving capacity seen above what was required, in any pool; `None` when the cluster was never looked at.
    pub lowest_margin: Option<i64>,
    /// The same for each pool.
    pub pools: Vec<PoolMargin>,
    /// How long each window lasted in which the database refused writes, no site served or consumers waited, of those that the plan
    /// declared.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub windows: Vec<WindowUse>,
    /// What people asked of the run, and what it said to each, in that order: who approved, paused, skipped.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub requests: Vec<AskedFor>,
    /// Each step, in the order of their ends; those of earlier controllers, as the journal has them, among them.
    pub steps: Vec<StepTiming>,
    /// Milliseconds from the first record to the last; over several controllers by their machines' clocks.
    pub took_ms: u64,
}

/// A plan with which a run went on after the loss of a failure domain.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Replan {
    /// The digest of the plan.
    pub plan: String,
    /// Whether it led back to all old; else it finished the change.
    pub back: bool,
    /// Its proof; `None` where an earlier controller found it.
    pub proof: Option<Proof>,
}

/// What a run has seen of one pool.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct PoolMargin {
    /// The pool.
    pub pool: String,
    /// The lowest serving capacity seen above what was required.
    pub lowest: i64,
}

/// A window that a plan declared, and how much of it was used.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct WindowUse {
    /// What was not promised meanwhile.
    pub what: Degraded,
    /// The declared bound, in milliseconds.
    pub at_most_ms: u64,
    /// How long it lasted, in milliseconds; over several controllers by their machines' clocks.
    pub used_ms: u64,
}

impl WindowUse {
    /// Tells whether it lasted longer than was declared.
    pub fn is_exceeded(&self) -> bool {
        self.used_ms > self.at_most_ms
    }
}

/// One step of a run.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct StepTiming {
    /// The node, `database` or `exposure`.
    pub target: String,
    /// What was done.
    pub action: String,
    /// What came of it.
    pub outcome: OutcomeKind,
    /// What was seen.
    pub evidence: Evidence,
    /// The same for people.
    pub message: String,
    /// Milliseconds from its intent to its outcome.
    pub took_ms: u64,
}

#[derive(Debug)]
pub(crate) struct ReportBuilder {
    report: RunReport,
    /// How long the run had lasted when this controller took it over.
    earlier: Duration,
    /// The windows that are open, each with the time at which it began.
    open_windows: Vec<(Degraded, u64)>,
}

impl ReportBuilder {
    pub(crate) fn new(run: &RunId, plan: &Plan, proof: Option<Proof>, reached_otherwise: &[String]) -> Self {
        Self {
            report: RunReport {
                run: run.clone(),
                procedure: plan.procedure.clone(),
                goal: plan.goal_message(),
                plan: plan.digest().to_string(),
                proof,
                replanned: Vec::new(),
                reached_otherwise: reached_otherwise.to_vec(),
                end: End::AllOld,
                end_message: String::new(),
                open: Vec::new(),
                notes: Vec::new(),
                lowest_margin: None,
                pools: Vec::new(),
                windows: windows_of(plan),
                requests: Vec::new(),
                steps: Vec::new(),
                took_ms: 0,
            },
            earlier: Duration::ZERO,
            open_windows: Vec::new(),
        }
    }

    /// Takes in the steps that earlier controllers have recorded, which this one takes over now.
    pub(crate) fn take_in(&mut self, topology: &Topology, entries: &[Entry]) {
        let mut began: BTreeMap<Order, u64> = BTreeMap::new();
        for entry in entries {
            self.recorded(&entry.record, entry.unix_ms);
            match &entry.record {
                Record::Intent { order, .. } => {
                    began.insert(*order, entry.unix_ms);
                }
                Record::Outcome { order, result, evidence } => {
                    let took_ms = entry.unix_ms.saturating_sub(began.get(order).copied().unwrap_or(entry.unix_ms));
                    self.report.steps.push(StepTiming {
                        target: order.target_name(topology),
                        action: order.name().into(),
                        outcome: *result,
                        evidence: evidence.clone(),
                        message: evidence.to_string(),
                        took_ms,
                    });
                }
                // What was found again is the proof of the last plan.
                Record::Replanned { plan } => {
                    let last = self.report.plan == plan.digest().to_string();
                    let proof = if last { self.report.proof.take() } else { None };
                    self.replanned(plan, proof);
                }
                Record::Opened { .. }
                | Record::TakenOver { .. }
                | Record::Turned { .. }
                | Record::DomainLost { .. }
                | Record::Requested { .. }
                | Record::ApprovalAsked { .. }
                | Record::Continued { .. }
                | Record::Closed { .. } => {}
            }
        }
        if let Some(Record::Opened { plan }) = entries.first().map(|entry| &entry.record) {
            (self.report.plan, self.report.goal) = (plan.digest().to_string(), plan.goal_message());
        }
        let (first, last) = (entries.first(), entries.last());
        let lasted = first.zip(last).map_or(0, |(first, last)| last.unix_ms.saturating_sub(first.unix_ms));
        self.earlier = Duration::from_millis(lasted);
    }

    /// Notes when a record was written, of those that begin or end a window, and what people asked.
    pub(crate) fn recorded(&mut self, record: &Record, unix_ms: u64) {
        match record {
            // A plan that leaves a window in which no site serves begins in it.
            Record::Opened { .. } => self.begin_window(Degraded::NoSite, unix_ms),
            Record::Intent { order: Order::Clone(CloneAction(CloneStep::Freeze)), .. } => {
                self.begin_window(Degraded::WritesRefused, unix_ms);
            }
            Record::Intent { order: Order::Site(SiteAction::Hold { .. }), .. } => {
                self.begin_window(Degraded::ConsumersWait, unix_ms);
            }
            Record::Outcome {
                order:
                    Order::Clone(CloneAction(CloneStep::Thaw | CloneStep::Open)) | Order::Site(SiteAction::Open { .. }),
                result: OutcomeKind::Done,
                ..
            }
            | Record::Closed { .. } => self.end_windows(unix_ms),
            Record::Requested { request, refused, .. } => {
                self.report.requests.push(AskedFor::new(request, refused.as_deref()));
            }
            Record::ApprovalAsked { .. }
            | Record::Continued { .. }
            | Record::TakenOver { .. }
            | Record::Turned { .. }
            | Record::Intent { .. }
            | Record::Outcome { .. }
            | Record::DomainLost { .. }
            | Record::Replanned { .. } => {}
        }
    }

    fn begin_window(&mut self, what: Degraded, unix_ms: u64) {
        let is_declared = self.report.windows.iter().any(|window| window.what == what);
        if is_declared && !self.open_windows.iter().any(|(known, _)| *known == what) {
            self.open_windows.push((what, unix_ms));
        }
    }

    fn end_windows(&mut self, unix_ms: u64) {
        for (what, since) in self.open_windows.drain(..) {
            if let Some(window) = self.report.windows.iter_mut().find(|window| window.what == what) {
                window.used_ms = window.used_ms.saturating_add(unix_ms.saturating_sub(since));
            }
        }
    }

    /// Notes that the run goes on with another plan.
    pub(crate) fn replanned(&mut self, plan: &Plan, proof: Option<Proof>) {
        self.report.replanned.push(Replan { plan: plan.digest().to_string(), back: plan.goes_back(), proof });
    }

    /// Notes each pool's margin, and returns the lowest.
    pub(crate) fn margins<'a>(&mut self, margins: impl Iterator<Item = (&'a Name, i64)>) -> Option<i64> {
        let mut lowest: Option<i64> = None;
        for (pool, margin) in margins {
            lowest = Some(lowest.map_or(margin, |least| least.min(margin)));
            match self.report.pools.iter_mut().find(|known| known.pool == pool.as_str()) {
                Some(known) => known.lowest = known.lowest.min(margin),
                None => self.report.pools.push(PoolMargin { pool: pool.to_string(), lowest: margin }),
            }
        }
        let least = self.report.lowest_margin.into_iter().chain(lowest).min();
        self.report.lowest_margin = least;
        lowest
    }

    pub(crate) fn event(&mut self, event: &Event) {
        if let Event::BalancerGone { balancer } = event {
            self.report.notes.push(format!("the process of balancer {balancer} was gone: find out why"));
        }
        if let Event::StepEnded { target, action, outcome, evidence, message, took_ms } = event {
            self.report.steps.push(StepTiming {
                target: target.clone(),
                action: action.clone(),
                outcome: *outcome,
                evidence: evidence.clone(),
                message: message.clone(),
                took_ms: *took_ms,
            });
        }
    }

    pub(crate) fn finish(
        mut self,
        end: End,
        message: String,
        (open, notes): (Vec<String>, Vec<String>),
        took: Duration,
    ) -> RunReport {
        self.report.notes.extend(notes);
        self.report.end = end;
        self.report.end_message = message;
        self.report.open = open;
        let took = self.earlier.saturating_add(took);
        self.report.took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        self.report
    }
}

/// Lists the windows of a plan whose use is measured.
fn windows_of(plan: &Plan) -> Vec<WindowUse> {
    let is_measured = |what: Degraded| match what {
        Degraded::WritesRefused | Degraded::NoSite | Degraded::ConsumersWait => true,
        Degraded::ReloadExposure | Degraded::OneMoreFailure | Degraded::PulledWork => false,
    };
    let measured = plan.windows.iter().filter(|window| is_measured(window.what));
    let at_most = |at_most: Duration| u64::try_from(at_most.as_millis()).unwrap_or(u64::MAX);
    measured.map(|window| WindowUse { what: window.what, at_most_ms: at_most(window.at_most), used_ms: 0 }).collect()
}

impl fmt::Display for RunReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let to = if self.goal.is_empty() { "" } else { " to " };
        writeln!(f, "run {}: {}{to}{}: {}", self.run, self.procedure, self.goal, self.end_message)?;
        if let Some(proof) = &self.proof {
            writeln!(f, "  {proof}")?;
        }
        for replan in &self.replanned {
            let what = if replan.back { "to go back" } else { "to finish the change" };
            let proof = replan.proof.as_ref().map_or_else(String::new, |proof| format!("; {proof}"));
            writeln!(f, "  planned anew after a loss, {what}{proof}")?;
        }
        if !self.reached_otherwise.is_empty() {
            writeln!(f, "  reached by other settings than planned: {}", self.reached_otherwise.join(", "))?;
        }
        if let Some(margin) = self.lowest_margin {
            writeln!(f, "  lowest capacity margin seen: {margin}")?;
        }
        for pool in self.pools.iter().filter(|_| self.pools.len() > 1) {
            writeln!(f, "    in pool {}: {}", pool.pool, pool.lowest)?;
        }
        for window in &self.windows {
            let exceeded = if window.is_exceeded() { ", longer than declared" } else { "" };
            writeln!(
                f,
                "  window: {} for {} ms of at most {} ms{exceeded}",
                window.what, window.used_ms, window.at_most_ms
            )?;
        }
        for note in &self.notes {
            writeln!(f, "  {note}")?;
        }
        for asked in &self.requests {
            writeln!(f, "  asked by {asked}")?;
        }
        for step in &self.steps {
            writeln!(
                f,
                "  {:>7} ms  {:<10} {:<9} {:?}: {}",
                step.took_ms, step.target, step.action, step.outcome, step.message
            )?;
        }
        for loan in &self.open {
            writeln!(f, "  still open: {loan}")?;
        }
        Ok(())
    }
}
