//! What `--json` prints, where ha-core has no type for it. Stable names; new keys may come.

use std::fmt;

use ha_core::engine::{Answer, Asked, RunStatus};
use ha_core::plan::Plan;
use ha_core::record::End;
use ha_core::report::{Event, RunReport};
use ha_core::safety::Proof;
use ha_core::topology::Diagnostic;
use serde::Serialize;

/// What a command prints that did not do what it was asked for, where its own value does not say so: on the standard output, as its
/// last value.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct Error {
    /// The error.
    pub error: ErrorBody,
}

/// Why a command did not do what it was asked for.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct ErrorBody {
    /// The exit code.
    pub exit: u8,
    /// Its class, as `bad-file`.
    pub class: String,
    /// What is wrong, for people.
    pub message: String,
    /// What is wrong in a file, in the order of its lines.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub diagnostics: Vec<FileDiagnostic>,
    /// What to do next.
    pub next: String,
}

/// One thing that is wrong in a file.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct FileDiagnostic {
    /// The file.
    pub file: String,
    /// Where in it, what, and what to do.
    #[serde(flatten)]
    pub found: Diagnostic,
}

impl FileDiagnostic {
    pub(crate) fn new(file: &str, found: &Diagnostic) -> Self {
        Self { file: file.into(), found: found.clone() }
    }
}

impl fmt::Display for FileDiagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file, self.found)
    }
}

/// What `plan`, `prove`, `run` and `drill` print where all is so already.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct NothingToDo {
    /// What is so already, for people.
    pub nothing_to_do: String,
}

/// `hactl init`.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct Init {
    /// The file that was written.
    pub file: String,
    /// What has to be looked at in it.
    pub notes: Vec<String>,
}

/// `hactl validate`.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct Validate {
    /// The cluster's name.
    pub cluster: String,
    /// How many nodes it has, spares included.
    pub nodes: usize,
    /// How many of them are spares.
    pub spares: usize,
    /// How many pools it has.
    pub pools: usize,
    /// How many balancers are in front.
    pub balancers: usize,
    /// The change files that are valid too.
    pub changes: Vec<ValidChange>,
    /// What `hactl init` has marked as to be changed, and is so still.
    pub marked: Option<String>,
}

/// A change file that is valid.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct ValidChange {
    /// The file.
    pub file: String,
    /// Its procedure.
    pub procedure: String,
}

/// `hactl show`.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct Show {
    /// The cluster's name.
    pub cluster: String,
    /// When it was looked at, in milliseconds since 1970; `null` where only the declaration was asked for.
    pub at_unix_ms: Option<u64>,
    /// Each pool.
    pub pools: Vec<ShowPool>,
    /// Each node, spares included.
    pub nodes: Vec<ShowNode>,
    /// Each site; empty where none is declared.
    pub sites: Vec<ShowSite>,
    /// The state of the shared database's schema; `null` where there is none.
    pub schema: Option<String>,
    /// The invariants of the law that are broken.
    pub broken: Vec<String>,
    /// What could not be seen, or was seen to be wrong.
    pub notes: Vec<String>,
    /// What in a balancer's configuration would lose requests.
    pub dangers: Vec<String>,
}

/// A pool of `hactl show`. The unit of capacities is the one of the file.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct ShowPool {
    /// Its name.
    pub pool: String,
    /// Its load at peak.
    pub peak_load: u64,
    /// How many members serve at rest.
    pub serve: u16,
    /// What is required now.
    pub required_now: u64,
    /// What is required once one failure domain more is lost.
    pub required_after_loss: u64,
    /// What serves; `null` where only the declaration was asked for.
    pub serves: Option<u64>,
    /// What would be left after the worst loss; `null` as above.
    pub after_loss: Option<u64>,
    /// The failure domain of that loss.
    pub worst_loss: Option<String>,
}

/// A node of `hactl show`.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct ShowNode {
    /// Its name.
    pub node: String,
    /// Whether it is a spare.
    pub spare: bool,
    /// Its failure domain.
    pub domain: String,
    /// Its site.
    pub site: Option<String>,
    /// What was seen; `null` where only the declaration was asked for.
    pub seen: Option<SeenNode>,
}

/// A node as it was seen.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct SeenNode {
    /// Its server process: `ready`, `stopped`, ...
    pub process: String,
    /// The release that it has; `null` where it is not known.
    pub release: Option<String>,
    /// Whether its tests have passed.
    pub tested: bool,
    /// Where it is on each balancer.
    pub traffic: Vec<SeenTraffic>,
    /// The sync of the shared files into it.
    pub sync: String,
    /// The number of the set of shared files that it has; `null` where none is known.
    pub generation: Option<u64>,
    /// The digest of that set, as the file of an update names it.
    pub digest: Option<String>,
    /// Whether it may write the shared files.
    pub writer: bool,
    /// Whether it pulls work.
    pub work: String,
}

/// One of a node's servers on one balancer.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct SeenTraffic {
    /// The balancer.
    pub balancer: String,
    /// The pool.
    pub pool: String,
    /// `in`, `out`, `backup`, `draining`, `down` or `unknown`.
    pub state: String,
}

/// A site of `hactl show`.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct ShowSite {
    /// Its name.
    pub site: String,
    /// Its state; `null` where it is not known.
    pub state: Option<String>,
    /// The epoch of its database.
    pub epoch: Option<u64>,
}

/// `hactl plan` and `hactl prove`.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct Planned {
    /// Whether the plan is proven.
    pub proven: bool,
    /// The plan; where it is refused, the last one that was tried.
    pub plan: Plan,
    /// Its proof; `null` where it is refused.
    pub proof: Option<Proof>,
    /// Why it is refused.
    pub refused: Option<RefusedPlan>,
}

/// Why a plan is refused.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct RefusedPlan {
    /// The shortest way to a broken law, one line an event.
    pub trace: Vec<String>,
    /// What is broken then.
    pub violation: String,
    /// How many of the events are faults.
    pub faults: usize,
    /// The smallest thing that would help.
    pub remedy: String,
}

/// One line of `hactl run`, `resume`, `rollback` and `drill`: the events, then the report.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(untagged)]
pub enum RunLine {
    /// An event of the run.
    Event(Event),
    /// The last line of a run that was brought to its end.
    Report(Box<LastLine>),
}

/// The report of a run as the last of its lines.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct LastLine {
    /// `report`.
    pub event: String,
    /// The report.
    pub report: RunReport,
}

/// `hactl status`.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct Status {
    /// The cluster's name.
    pub cluster: String,
    /// Who acts on it; `null` where nobody does.
    pub lease: Option<Holder>,
    /// Its 20 newest runs, oldest first; of a run that was asked for, that one.
    pub runs: Vec<RunSummary>,
    /// Of a run that was asked for: where it is, what it waits for, what people asked of it, what is open.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<RunStatus>,
}

/// `hactl pause`, `approve`, `abort`, and `rollback` and `resume` of a run that another process drives.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct Request {
    /// The request, as it is in the store.
    pub asked: Asked,
    /// What became of it.
    pub answer: Answer,
}

/// Who holds the lease.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct Holder {
    /// Its name.
    pub owner: String,
    /// Its epoch.
    pub epoch: u64,
    /// Milliseconds that are left unless it renews the lease.
    pub left_ms: u64,
}

/// One run, in short.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct RunSummary {
    /// Its name.
    pub run: String,
    /// Its procedure.
    pub procedure: String,
    /// What the members are to have; empty where that does not change.
    pub goal: String,
    /// When it began, in milliseconds since 1970.
    pub began_unix_ms: u64,
    /// When its last record was written.
    pub last_unix_ms: u64,
    /// Whether it is open: not ended, or waiting for a person.
    pub open: bool,
    /// How it ended; `null` while it lasts.
    pub end: Option<End>,
    /// How it is or ended, for people.
    pub message: String,
}

/// One line of `hactl journal RUN` and `hactl watch`.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct JournalLine {
    /// Its number in the run, from 0 on.
    pub sequence: u64,
    /// The lease epoch of its writer.
    pub epoch: u64,
    /// When it was written, in milliseconds since 1970.
    pub unix_ms: u64,
    /// What kind of record it is, as `intent`.
    pub kind: String,
    /// What it says, for people.
    pub message: String,
    /// The record as it is stored, in the format of `format`: it may change with that.
    pub record: serde_json::Value,
    /// The format of the record.
    pub format: u32,
}
