//! What a run writes down: versioned records, pure data. Folding them rebuilds the state of the run.

mod cursor;
mod evidence;
mod request;

pub use cursor::{Cursor, End, Mode, Why};
pub use evidence::Evidence;
pub use request::{ApprovalAsk, Ask, Operator, REQUEST_FORMAT, Request};

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::action::Order;
use crate::plan::Plan;
use crate::state::LeaseEpoch;
use crate::topology::DomainIx;

/// The format of entries that this library writes; a later one is refused when it is read.
pub const RECORD_FORMAT: u32 = 5;

/// Names a run. Chosen by the caller, or made from the plan and the time: starting the same run twice is one run.
///
/// # Examples
///
/// ```
/// use ha_core::record::RunId;
///
/// let run = RunId::from("patch-2026-07");
/// assert_eq!(run.as_str(), "patch-2026-07");
/// ```
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct RunId(String);

impl RunId {
    /// Wraps a name.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for RunId {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// One record of a run, with its place, its writer and its time.
///
/// # Examples
///
/// ```
/// use ha_core::record::{End, Entry, RECORD_FORMAT, Record};
/// use ha_core::state::LeaseEpoch;
///
/// let entry = Entry::new(0, LeaseEpoch::new(1), 0, Record::Closed { end: End::AllOld, open: Vec::new() });
/// assert_eq!(entry.format, RECORD_FORMAT);
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Entry {
    /// The format of this value.
    pub format: u32,
    /// Its number in the run, from 0 on without a gap.
    pub sequence: u64,
    /// The lease epoch of its writer.
    pub epoch: LeaseEpoch,
    /// When it was written, in milliseconds since 1970. For people; nothing is decided by it.
    pub unix_ms: u64,
    /// What is recorded.
    pub record: Record,
}

impl Entry {
    /// Describes an entry in the format of this library.
    pub fn new(sequence: u64, epoch: LeaseEpoch, unix_ms: u64, record: Record) -> Self {
        Self { format: RECORD_FORMAT, sequence, epoch, unix_ms, record }
    }
}

/// What happened in a run.
///
/// # Examples
///
/// ```
/// use ha_core::record::{End, Record, Why};
///
/// let closed = |end| Record::Closed { end, open: Vec::new() }.leaves_open();
/// assert_eq!(closed(End::AllNew), Some(false));
/// assert_eq!(closed(End::NeedsOperator(Why::Held)), Some(true));
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Record {
    /// The run began with this plan.
    Opened {
        /// The plan.
        plan: Box<Plan>,
    },
    /// A controller took over a run that another had begun.
    TakenOver {
        /// Who.
        owner: String,
        /// Where in the plan it goes on.
        at: Cursor,
    },
    /// The run left the plain order of the plan: it repeats a step, turns back, or reacts to a loss.
    Turned {
        /// Where to.
        to: Cursor,
        /// Why.
        message: String,
    },
    /// An order is about to be carried out: loans open here, before the act.
    Intent {
        /// The order.
        order: Order,
        /// Where in the plan.
        at: Cursor,
    },
    /// An order's outcome, as read back.
    Outcome {
        /// The order.
        order: Order,
        /// What came of it.
        result: OutcomeKind,
        /// What was seen.
        evidence: Evidence,
    },
    /// A failure domain was lost.
    DomainLost {
        /// Which.
        domain: DomainIx,
    },
    /// The change was planned anew after the loss of a failure domain; the run goes on with this plan.
    Replanned {
        /// The plan.
        plan: Box<Plan>,
    },
    /// A person asked something of the run, and the run takes it, or says why not.
    Requested {
        /// Its number among the requests to this run; `None` for one that came with a controller that took the run over.
        number: Option<u64>,
        /// The request.
        request: Request,
        /// Why it is refused; `None` where it is taken.
        refused: Option<String>,
    },
    /// The run waits for a person's approval, or asks for it again.
    ApprovalAsked {
        /// What is to be approved.
        approval: Box<ApprovalAsk>,
    },
    /// A pause ended by itself.
    Continued {
        /// Why.
        message: String,
    },
    /// The run ended.
    Closed {
        /// How.
        end: End,
        /// Every loan that is still open, as text.
        open: Vec<String>,
    },
}

impl Record {
    /// Tells whether the run is open after this record; `None` where the records before it decide. A run that ended all new
    /// or all old is not open; one that needs an operator, or was taken over since, is.
    pub fn leaves_open(&self) -> Option<bool> {
        match self {
            Self::Opened { .. } | Self::TakenOver { .. } | Self::Intent { .. } | Self::Replanned { .. } => Some(true),
            Self::Closed { end: End::AllNew | End::AllOld, .. } => Some(false),
            Self::Closed { end: End::NeedsOperator(_), .. } => Some(true),
            Self::Turned { .. }
            | Self::Outcome { .. }
            | Self::DomainLost { .. }
            | Self::Requested { .. }
            | Self::ApprovalAsked { .. }
            | Self::Continued { .. } => None,
        }
    }
}

/// What came of an act or a look.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum OutcomeKind {
    /// It happened in full, and was read back.
    Done,
    /// It did not happen, or not in full.
    NotDone,
    /// Nobody knows.
    Unknown,
}
