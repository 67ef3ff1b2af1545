use std::time::Duration;

use super::opinion::Opinion;

/// What a monitor thinks of a node.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use ha_core::machine::monitor::NodeVerdict;
///
/// assert!(NodeVerdict::Lost { since: Duration::ZERO }.is_lost());
/// // It serves again, and is not trusted before somebody takes it back.
/// assert!(!NodeVerdict::Returned { since: Duration::ZERO }.is_trusted() && NodeVerdict::Alive.is_trusted());
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum NodeVerdict {
    /// It serves.
    Alive,
    /// Nobody sees it serve, and not enough observers have agreed for long enough.
    Suspect {
        /// Since when, on the monitor's clock.
        since: Duration,
    },
    /// The observers contradict each other: hold.
    Disputed {
        /// Since when.
        since: Duration,
    },
    /// Nobody answers for it, or nobody has been asked yet.
    Unobserved {
        /// Since when.
        since: Duration,
    },
    /// It is not expected to serve: every balancer that answers has it in drain or in maintenance, or it is a spare.
    HeldOut,
    /// It is lost.
    Lost {
        /// Since when.
        since: Duration,
    },
    /// It was lost and serves again: in quarantine until it is taken back.
    Returned {
        /// Since when.
        since: Duration,
    },
    /// It was lost too often: left to a person until it is taken back.
    Flapping {
        /// Since when.
        since: Duration,
    },
}

/// What a verdict follows from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grounds {
    pub(super) opinion: Opinion,
    /// Whether a balancer gives it traffic, or would.
    pub(super) expected: bool,
    /// Whether a loss is agreed on, and may be said.
    pub(super) lost: bool,
    /// Whether it was lost as often as the limit allows before.
    pub(super) at_limit: bool,
    /// Whether it has served for `recover_after`.
    pub(super) recovered: bool,
}

impl NodeVerdict {
    /// Tells whether it counts as lost, flapping nodes included.
    pub fn is_lost(self) -> bool {
        match self {
            Self::Lost { .. } | Self::Flapping { .. } => true,
            Self::Alive
            | Self::Suspect { .. }
            | Self::Disputed { .. }
            | Self::Unobserved { .. }
            | Self::HeldOut
            | Self::Returned { .. } => false,
        }
    }

    /// Tells whether it serves, and nothing else is to be said of it.
    pub fn is_trusted(self) -> bool {
        self == Self::Alive
    }

    /// Returns the verdict that follows. What was lost is never alive again by itself.
    pub(super) fn next(self, now: Duration, grounds: Grounds) -> Self {
        let lost = || if grounds.at_limit { Self::Flapping { since: now } } else { Self::Lost { since: now } };
        match self {
            Self::Alive | Self::Suspect { .. } | Self::Disputed { .. } | Self::Unobserved { .. } | Self::HeldOut => {
                match (grounds.expected, grounds.lost) {
                    (false, _) => Self::HeldOut,
                    (true, true) => lost(),
                    (true, false) => self.follow(now, grounds.opinion),
                }
            }
            Self::Lost { .. } if grounds.recovered => Self::Returned { since: now },
            Self::Returned { .. } if grounds.lost => lost(),
            Self::Lost { .. } | Self::Returned { .. } | Self::Flapping { .. } => self,
        }
    }

    fn follow(self, now: Duration, opinion: Opinion) -> Self {
        match (opinion, self) {
            (Opinion::Serves, _) => Self::Alive,
            (Opinion::Doubted, Self::Suspect { .. })
            | (Opinion::Disputed, Self::Disputed { .. })
            | (Opinion::Unseen, Self::Unobserved { .. }) => self,
            (Opinion::Doubted, _) => Self::Suspect { since: now },
            (Opinion::Disputed, _) => Self::Disputed { since: now },
            (Opinion::Unseen, _) => Self::Unobserved { since: now },
        }
    }
}
