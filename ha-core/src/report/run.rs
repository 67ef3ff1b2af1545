use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{AskedFor, ChainedRecord};
use crate::action::{Action, TrafficAction};
use crate::plan::{Degraded, DegradedWindow};
use crate::record::{End, Evidence, OutcomeKind, RunId};
use crate::safety::Proof;
use crate::state::Target;

/// The evidence of a run: what [`wait`](crate::engine::RunHandle::wait) returns, or made of what the journal holds
/// ([`from_entries`](Self::from_entries)). Rendered as text (`Display`), as JSON (serde, `schema/report.json`), as Markdown
/// ([`to_markdown`](Self::to_markdown)) and, with the feature `html`, as a page (`to_html`).
///
/// All times in it are milliseconds from its first record on, by the clocks of the controllers' machines.
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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct RunReport {
    /// The version of the library that made it; empty in one that does not say it.
    #[serde(default)]
    pub library: String,
    /// The run.
    pub run: RunId,
    /// The cluster.
    pub cluster: String,
    /// The procedure, as `patch`.
    pub procedure: String,
    /// What the members were to have, as text.
    pub goal: String,
    /// The digest of the plan that it began with.
    pub plan: String,
    /// The proof of the plan, found again where the run was resumed (where a step was tried again or left out, of the rest of the
    /// plan from how the cluster was); `None` where it was not found again: another plan was carried on already, or the plan is of an
    /// earlier version of the law, which this one does not hold.
    pub proof: Option<Proof>,
    /// The plans with which the run went on after losses, in their order.
    pub replanned: Vec<Replan>,
    /// What was reached by other settings than when the plan was made, as `node esb1.host`.
    pub reached_otherwise: Vec<String>,
    /// Whether it has ended. `false` only in a report that was made of the journal of a run that has not: a controller may be at
    /// it, or it waits to be resumed.
    pub ended: bool,
    /// How it ended; of a run that has not, that nobody knows what is in flight.
    pub end: End,
    /// How it ended, for people.
    pub end_message: String,
    /// Loans that are still open; empty unless it needs an operator.
    pub open: Vec<String>,
    /// What the run leaves for an operator to do in his own time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// The lowest serving capacity seen above what was required, in any pool; `None` when the cluster was never looked at. Looks are
    /// not recorded: only those of the last controller are in the report, and none in one that was made of the journal.
    pub lowest_margin: Option<i64>,
    /// The same for each pool, and its capacity over time.
    pub pools: Vec<PoolMargin>,
    /// How long each window lasted, at the longest, in which the database refused writes, no site served or consumers waited, of
    /// those that the plan declared.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub windows: Vec<WindowUse>,
    /// What people asked of the run, and what it said to each, in that order: who approved, paused, skipped.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requests: Vec<AskedFor>,
    /// The windows that the plan declared and whose use is not measured: what they allow is a risk, and mostly does not happen.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unmeasured_windows: Vec<DegradedWindow>,
    /// What was lent in the run, in the order in which it was.
    pub loans: Vec<LoanSpan>,
    /// Each step, in the order of their ends; those of earlier controllers, as the journal has them, among them.
    pub steps: Vec<StepTiming>,
    /// When its first record was written, in milliseconds since 1970.
    pub began_unix_ms: u64,
    /// Milliseconds from the first record to the last; over several controllers by their machines' clocks.
    pub took_ms: u64,
    /// What was recorded, each with the hash that binds it to all before it: [`verify`](Self::verify) holds a journal against them.
    pub records: Vec<ChainedRecord>,
}

/// A plan with which a run went on after the loss of a failure domain.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Replan {
    /// The digest of the plan.
    pub plan: String,
    /// Whether it led back to all old; else it finished the change.
    pub back: bool,
    /// Its proof; `None` where an earlier controller found it, and it was not found again.
    pub proof: Option<Proof>,
}

/// What a run has seen of one pool.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct PoolMargin {
    /// The pool.
    pub pool: String,
    /// The lowest serving capacity seen above what was required.
    pub lowest: i64,
    /// Its capacity over time: one entry for each change that a look of the guard has seen. Of a run with more than 4,096 changes,
    /// of two neighbours the one with the lower margin; a shortage before what could not be read.
    pub capacity: Vec<Capacity>,
}

/// The serving capacity of a pool from a moment on, as the guard saw it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Capacity {
    /// From when on.
    pub at_ms: u64,
    /// What serves, in the unit of the load; `None` while something could not be read.
    pub serving: Option<u64>,
    /// What was required.
    pub required: u64,
}

/// Something that a run has changed for a time, and has to give back: a node out of traffic, a server that is stopped, a spare that
/// runs, a file sync that is held.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct LoanSpan {
    /// What, as text.
    pub what: String,
    /// Since when.
    pub opened_ms: u64,
    /// Until when; `None` while it is open.
    pub repaid_ms: Option<u64>,
}

/// A window that a plan declared, and how much of it was used at the longest.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct WindowUse {
    /// What was not promised meanwhile.
    pub what: Degraded,
    /// The declared bound of each time, in milliseconds.
    pub at_most_ms: u64,
    /// How long the longest one lasted, in milliseconds: to the last record where it is still open. Over several controllers by
    /// their machines' clocks.
    pub used_ms: u64,
}

impl WindowUse {
    /// Tells whether it lasted longer than was declared.
    pub fn is_exceeded(&self) -> bool {
        self.used_ms > self.at_most_ms
    }
}

/// What a step acts on.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Resource {
    /// A node's server.
    Server,
    /// A node's traffic.
    Traffic,
    /// The work that a node pulls.
    Work,
    /// A node's shared files.
    Files,
    /// The shared database.
    Database,
    /// The route of a service.
    Exposure,
    /// A site.
    Site,
}

impl Resource {
    /// Names it, as its JSON does.
    pub fn name(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Traffic => "traffic",
            Self::Work => "work",
            Self::Files => "files",
            Self::Database => "database",
            Self::Exposure => "exposure",
            Self::Site => "site",
        }
    }
}

impl From<Target> for Resource {
    fn from(target: Target) -> Self {
        match target {
            Target::Server(_) => Self::Server,
            Target::Traffic(_) => Self::Traffic,
            Target::Work(_) => Self::Work,
            Target::Files(_) => Self::Files,
            Target::Database => Self::Database,
            Target::Exposure => Self::Exposure,
            Target::Site(_) => Self::Site,
        }
    }
}

/// One step of a run.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct StepTiming {
    /// The node, `database` or `exposure`.
    pub target: String,
    /// What of it was acted on.
    pub resource: Resource,
    /// What was done.
    pub action: String,
    /// Whether it belongs to a rollback or to the reaction to a loss.
    pub compensating: bool,
    /// What came of it.
    pub outcome: OutcomeKind,
    /// What was seen.
    pub evidence: Evidence,
    /// The same for people.
    pub message: String,
    /// When its intent was recorded.
    pub start_ms: u64,
    /// Milliseconds from its intent to its outcome; of an outcome that a look told, to the end of that look. Of steps that are known
    /// from the journal or that another controller had begun, to the record of the outcome, which may be up to 250 ms later.
    pub took_ms: u64,
}

impl StepTiming {
    /// Returns how many requests were cut by a step that took a node out of traffic; `None` of every other step.
    pub fn cut_requests(&self) -> Option<u64> {
        if let Evidence::OutOfTraffic { cut_requests, .. } = self.evidence { Some(cut_requests) } else { None }
    }
}

impl RunReport {
    /// Counts the drains that were begun and not seen to their end: nobody knows what they cut.
    pub(super) fn unseen_drains(&self) -> usize {
        let take_out = Action::from(TrafficAction::TakeOut).to_string();
        let drains = || self.steps.iter().filter(|step| step.action == take_out);
        // A look may have told later how one ended.
        let place = |step: &StepTiming| (step.target.clone(), step.start_ms);
        let seen: BTreeSet<_> = drains().filter(|step| step.cut_requests().is_some()).map(place).collect();
        let unseen: BTreeSet<_> = drains().map(place).filter(|place| !seen.contains(place)).collect();
        unseen.len()
    }
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
