use std::fmt;

use serde::{Deserialize, Serialize};

use crate::plan::{Digest, PlanApproval};
use crate::topology::{ApprovalPoint, OnNoApproval};

/// The format of requests that this library writes; a later one is refused when it is read. Apart from that of records, so that
/// what is new in records makes no request unreadable.
pub const REQUEST_FORMAT: u32 = 5;

/// Who asks something of a run, and why. Both are recorded; nothing here proves who it is, so guard who may write to the store.
///
/// # Examples
///
/// ```
/// use ha_core::record::Operator;
///
/// let anna = Operator::new("anna", "ticket 4711");
/// assert_eq!(anna.to_string(), "anna (ticket 4711)");
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Operator {
    /// The name.
    pub name: String,
    /// Why it is asked.
    pub reason: String,
}

impl Operator {
    /// Names somebody, and the reason.
    pub fn new(name: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { name: name.into(), reason: reason.into() }
    }
}

impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.reason)
    }
}

/// What a person asks of a run. What of it needs a step names the step, from 0 on as a [`Cursor`](super::Cursor) does.
///
/// # Examples
///
/// ```
/// use ha_core::record::Ask;
///
/// assert_eq!(Ask::RollBack.name(), "roll-back");
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case", tag = "ask")]
#[non_exhaustive]
pub enum Ask {
    /// The step under way is ended, then nothing new begins. Traffic is guarded and secured all the same. Asked twice, the
    /// last one counts.
    Pause {
        /// When the pause is over, in milliseconds since 1970: the run ends for a person then, as where it is aborted.
        until_unix_ms: u64,
    },
    /// The run goes on after a pause. Nothing where it is not paused.
    Continue,
    /// The step under way is ended, then the recorded steps are compensated. Refused past the point of no return.
    RollBack,
    /// The step under way is ended, then the run ends for a person to decide, with everything listed that is open.
    Abort,
    /// What the run waits for may begin: this step of this plan, as long as these facts hold.
    Approve {
        /// The stage.
        stage: u16,
        /// The step in it.
        step: u16,
        /// The digest of the plan.
        plan: Digest,
        /// The digest of the facts that were seen when the run asked.
        fingerprint: Digest,
        /// Until when it holds, in milliseconds since 1970.
        until_unix_ms: u64,
    },
    /// The step at which the run ended for a person is tried again. Given by `Engine::retry`; a run that is under way refuses it.
    Retry {
        /// The stage.
        stage: u16,
        /// The step in it.
        step: u16,
    },
    /// The run goes on behind the step at which it ended for a person. Given by `Engine::skip`; a run that is under way refuses it.
    Skip {
        /// The stage.
        stage: u16,
        /// The step in it.
        step: u16,
        /// Whether what the step was to bring about held already: it counts as done then, with all that it lends.
        holds: bool,
    },
}

impl Ask {
    /// Names it, as its JSON does under the key `ask`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Pause { .. } => "pause",
            Self::Continue => "continue",
            Self::RollBack => "roll-back",
            Self::Abort => "abort",
            Self::Approve { .. } => "approve",
            Self::Retry { .. } => "retry",
            Self::Skip { .. } => "skip",
        }
    }

    /// Returns the step that it is about: its stage and its number there.
    pub fn step(&self) -> Option<(u16, u16)> {
        match self {
            Self::Approve { stage, step, .. } | Self::Retry { stage, step } | Self::Skip { stage, step, .. } => {
                Some((*stage, *step))
            }
            Self::Pause { .. } | Self::Continue | Self::RollBack | Self::Abort => None,
        }
    }
}

/// A request of a person to one run.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Request {
    /// Who asks, and why.
    pub by: Operator,
    /// What.
    #[serde(flatten)]
    pub what: Ask,
    /// When it was asked, in milliseconds since 1970. For people; nothing is decided by it.
    pub unix_ms: u64,
}

impl Request {
    /// Describes a request that is made at `unix_ms`.
    pub fn new(by: Operator, what: Ask, unix_ms: u64) -> Self {
        Self { by, what, unix_ms }
    }
}

/// What a run waits for a person to approve.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct ApprovalAsk {
    /// Why it is asked for here.
    pub point: ApprovalPoint,
    /// The digest of the plan.
    pub plan: Digest,
    /// The stage, from 0 on.
    pub stage: u16,
    /// The step in it, from 0 on.
    pub step: u16,
    /// The digest of the facts.
    pub fingerprint: Digest,
    /// The facts that an approval is bound to, one line each.
    pub facts: Vec<String>,
    /// Where it is asked again: why the approval before does not count, and what differs, one line each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub differs: Vec<String>,
    /// Until when the run waits, in milliseconds since 1970.
    pub until_unix_ms: u64,
    /// What follows then.
    pub then: OnNoApproval,
}

impl ApprovalAsk {
    /// Asks for what a plan says, while these facts hold.
    pub(crate) fn new(plan: Digest, approval: &PlanApproval, facts: Vec<String>, until_unix_ms: u64) -> Self {
        let fingerprint = Digest::of(facts.join("\n").as_bytes());
        let PlanApproval { point, stage, step, then, .. } = *approval;
        Self { point, plan, stage, step, fingerprint, facts, differs: Vec::new(), until_unix_ms, then }
    }

    /// Returns the request that approves it, and nothing else, until then.
    pub fn approve_until(&self, unix_ms: u64) -> Ask {
        Ask::Approve {
            stage: self.stage,
            step: self.step,
            plan: self.plan.clone(),
            fingerprint: self.fingerprint.clone(),
            until_unix_ms: unix_ms,
        }
    }
}
