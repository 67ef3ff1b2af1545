use serde::Serialize;

use crate::record::{End, Evidence, OutcomeKind};
use crate::topology::{ApprovalPoint, OnNoApproval};

/// What a run tells while it lasts. Stable names; new kinds may come.
///
/// # Examples
///
/// ```
/// use ha_core::report::Event;
///
/// fn line(event: &Event) -> Option<String> {
///     match event {
///         Event::StepEnded { target, action, message, took_ms, .. } => {
///             Some(format!("{action} {target}: {message} ({took_ms} ms)"))
///         }
///         Event::Closed { message, .. } => Some(message.clone()),
///         _ => None, // new kinds may come
///     }
/// }
/// let closed = Event::Turned { message: "a step failed".into() };
/// assert_eq!((closed.kind(), line(&closed)), ("turned", None));
/// ```
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case", tag = "event")]
#[non_exhaustive]
pub enum Event {
    /// The run holds the lease and its plan is recorded, or it was taken over.
    Opened {
        /// The run's name.
        run: String,
        /// The lease epoch.
        epoch: u64,
        /// Whether another controller had begun it.
        resumed: bool,
        /// What is reached by other settings than when the plan was made, as `node esb1.host`.
        reached_otherwise: Vec<String>,
    },
    /// A step has begun on a node; its intent is recorded.
    StepStarted {
        /// The node, `database` or `exposure`.
        target: String,
        /// What is done.
        action: String,
        /// Whether it belongs to a rollback.
        compensating: bool,
    },
    /// A step has ended on a node; its outcome is recorded, which may be up to 250 ms after its end and behind the look at
    /// the cluster that the next step waits for.
    StepEnded {
        /// The node, `database` or `exposure`.
        target: String,
        /// What was done.
        action: String,
        /// What came of it.
        outcome: OutcomeKind,
        /// What was seen.
        evidence: Evidence,
        /// The same for people.
        message: String,
        /// Milliseconds from its intent to its end.
        took_ms: u64,
    },
    /// The run left the plain order of its plan.
    Turned {
        /// Why.
        message: String,
    },
    /// The guard's look at the whole cluster.
    Observed {
        /// Serving capacity above what is required, in the pool where that is least; negative where it is short.
        margin: i64,
    },
    /// A failure domain is lost.
    DomainLost {
        /// Which.
        domain: String,
    },
    /// The process of a balancer is gone: it sends nothing to anybody. What is done goes on over the others.
    BalancerGone {
        /// Which.
        balancer: String,
    },
    /// A balancer that was gone is there again, in its configured state: what the run desires is applied to it anew.
    BalancerBack {
        /// Which.
        balancer: String,
    },
    /// After the loss of a failure domain the change was planned anew, and proven: the run goes on with this plan.
    Replanned {
        /// The digest of the plan.
        plan: String,
        /// Whether it leads back to all old; else it finishes the change.
        back: bool,
        /// The plan, for people.
        text: String,
    },
    /// A person asked something of the run, which takes it or refuses it; recorded.
    Requested {
        /// Who.
        by: String,
        /// Why.
        reason: String,
        /// What, as `pause` or `roll-back`.
        what: String,
        /// The step that it is about, as the plan's text counts it: `3.1`.
        step: Option<String>,
        /// Why it is refused; `null` where it is taken.
        refused: Option<String>,
    },
    /// The run waits for a person's approval, or asks for it again.
    ApprovalAsked {
        /// Why there.
        point: ApprovalPoint,
        /// The step that waits, as the plan's text counts it: `3.1`.
        step: String,
        /// The digest of the plan.
        plan: String,
        /// The digest of the facts that an approval is bound to.
        fingerprint: String,
        /// Where it is asked again: why the approval before does not count, and what differs.
        differs: Vec<String>,
        /// Until when the run waits, in milliseconds since 1970.
        until_unix_ms: u64,
        /// What follows then.
        then: OnNoApproval,
    },
    /// A pause ended by itself.
    Continued {
        /// Why.
        message: String,
    },
    /// The journal failed: what had begun was brought to its end, nothing new was begun. The last event.
    Interrupted {
        /// What the journal said.
        reason: String,
        /// Loans that are open.
        open: Vec<String>,
        /// Orders of which nobody knows whether they happened.
        unknown: Vec<String>,
    },
    /// Events were lost here, since they were not taken in time. The report has them.
    Missed {
        /// How many.
        events: u64,
    },
    /// The run has ended.
    Closed {
        /// How.
        end: End,
        /// For people.
        message: String,
        /// Loans that are still open.
        open: Vec<String>,
    },
}

impl Event {
    /// Names its kind, as its JSON does under the key `event`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Opened { .. } => "opened",
            Self::StepStarted { .. } => "step-started",
            Self::StepEnded { .. } => "step-ended",
            Self::Turned { .. } => "turned",
            Self::Observed { .. } => "observed",
            Self::DomainLost { .. } => "domain-lost",
            Self::BalancerGone { .. } => "balancer-gone",
            Self::BalancerBack { .. } => "balancer-back",
            Self::Replanned { .. } => "replanned",
            Self::Requested { .. } => "requested",
            Self::ApprovalAsked { .. } => "approval-asked",
            Self::Continued { .. } => "continued",
            Self::Interrupted { .. } => "interrupted",
            Self::Missed { .. } => "missed",
            Self::Closed { .. } => "closed",
        }
    }
}
