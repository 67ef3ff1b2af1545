use std::fmt;

use serde::{Deserialize, Serialize};

use crate::plan::Ends;
use crate::topology::DomainIx;

/// The place of a run in its plan. Small, `Copy` and `Hash`; without clock and tickets; progress per target is state.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
pub struct Cursor {
    /// The stage.
    pub stage: u16,
    /// The step in it.
    pub step: u16,
    /// While compensating: which verb of the step's compensation.
    pub phase: u8,
    /// Which attempt, from 0 on.
    pub attempt: u8,
    /// The direction.
    pub mode: Mode,
}

impl Cursor {
    /// The beginning of every plan.
    pub const START: Self = Self { stage: 0, step: 0, phase: 0, attempt: 0, mode: Mode::Forward };

    /// Packs the cursor into one number below 2^63; `None` once the run has ended.
    pub(crate) fn packed(self) -> Option<u64> {
        let mode = match self.mode {
            Mode::Forward => 0,
            Mode::Compensating => 1,
            Mode::Reacting => 2,
            Mode::Withdrawing => 3,
            Mode::Ended(_) => return None,
        };
        let place = u64::from(self.stage) << 16 | u64::from(self.step);
        Some(place << 24 | u64::from(self.phase) << 16 | u64::from(self.attempt) << 8 | mode)
    }
}

/// The direction of a run.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Along the plan.
    Forward,
    /// Back, compensating the recorded steps in reverse.
    Compensating,
    /// Back to the beginning of the stage only: its nodes did not take the change, the others keep it.
    Withdrawing,
    /// A failure domain was lost: reserves are admitted until what is required is carried.
    Reacting,
    /// Ended.
    Ended(End),
}

/// How a run ended.
///
/// # Examples
///
/// ```
/// use ha_core::record::{End, Why};
///
/// fn exit_code(end: End) -> u8 {
///     match end {
///         End::AllNew => 0,
///         End::AllOld => 3,
///         End::NeedsOperator(_) => 4,
///     }
/// }
/// assert_eq!(exit_code(End::NeedsOperator(Why::LoansOpen)), 4);
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum End {
    /// Every member has the new release.
    AllNew,
    /// Every member has its recorded release again.
    AllOld,
    /// A person has to decide.
    NeedsOperator(Why),
}

/// Why a run needs a person.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Why {
    /// A failure domain was lost during the run; traffic was secured first.
    DomainLost(DomainIx),
    /// The outcome of a step could not be found out.
    OutcomeUnknown,
    /// A compensation did not happen.
    CompensationFailed,
    /// The next order would have broken the law.
    LawWouldBreak,
    /// A step failed whose policy is to hold.
    Held,
    /// A step failed past the point of no return.
    PastReturn,
    /// The nodes of a stage did not take the change: it was taken from them again, and the others keep it.
    Withdrawn,
    /// The run came to its end with loans still open.
    LoansOpen,
    /// A balancer forgot what the run had said, and could not be told again.
    BalancerLostState,
    /// A person stopped the run, or left it paused for longer than was said.
    Stopped,
    /// Nobody approved what the plan says is to be approved.
    NotApproved,
}

impl End {
    /// Says how a run ended, as its plan calls it.
    pub fn message(self, ends: &Ends) -> String {
        match self {
            Self::AllNew => ends.reached.clone(),
            Self::AllOld => ends.rolled_back.clone(),
            Self::NeedsOperator(_) => self.to_string(),
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AllNew => f.write_str("all new"),
            Self::AllOld => f.write_str("all old"),
            Self::NeedsOperator(why) => {
                let reason = match why {
                    Why::DomainLost(_) => {
                        "a failure domain was lost; bring it back, then roll back; or roll back without it, with after_loss = \"finish\""
                    }
                    Why::OutcomeUnknown => "an outcome could not be found out; look at the node, then resume",
                    Why::CompensationFailed => "a rollback step did not happen; repair the node, then resume",
                    Why::LawWouldBreak => "the next step would break the law; restore capacity, then resume",
                    Why::Held => "a step failed whose policy is to hold; decide, then resume or roll back",
                    Why::PastReturn => "a step failed past the point of no return; repair it, then resume",
                    Why::Withdrawn => {
                        "a node did not take the change, which was taken from it again, and the others keep it; repair the node \
                         and resume, or resume and roll back"
                    }
                    Why::LoansOpen => "loans are still open; repay them by hand",
                    Why::Stopped => {
                        "it was stopped on request, or a pause ran out; it can go on from here, or be taken back where that is possible"
                    }
                    Why::NotApproved => {
                        "nobody approved the next step in time; going on asks again, or it is taken back"
                    }
                    Why::BalancerLostState => "a balancer lost its runtime state; hold them out by hand, then resume",
                };
                write!(f, "needs an operator: {reason}")
            }
        }
    }
}
