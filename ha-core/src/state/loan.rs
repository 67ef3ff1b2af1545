use serde::{Deserialize, Serialize};

/// A temporary change that a run makes and has to take back.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum LoanKind {
    /// A member that is held out of traffic.
    HeldOut,
    /// A member whose server is stopped.
    Stopped,
    /// A spare that runs.
    SpareRunning,
    /// A spare that is admitted.
    SpareAdmitted,
    /// A file sync into the node that is held.
    SyncHeld,
    /// Pulled work that is quiesced.
    WorkPaused,
    /// A server that runs in its test domain.
    InTestDomain,
}

impl LoanKind {
    /// All kinds.
    pub const ALL: [Self; 7] = [
        Self::HeldOut,
        Self::Stopped,
        Self::SpareRunning,
        Self::SpareAdmitted,
        Self::SyncHeld,
        Self::WorkPaused,
        Self::InTestDomain,
    ];

    fn bit(self) -> u16 {
        match self {
            Self::HeldOut => 1,
            Self::Stopped => 2,
            Self::SpareRunning => 4,
            Self::SpareAdmitted => 8,
            Self::SyncHeld => 16,
            Self::WorkPaused => 32,
            Self::InTestDomain => 64,
        }
    }
}

impl std::fmt::Display for LoanKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::HeldOut => "held out of traffic",
            Self::Stopped => "server stopped",
            Self::SpareRunning => "spare running",
            Self::SpareAdmitted => "spare admitted to traffic",
            Self::SyncHeld => "file sync held",
            Self::WorkPaused => "pulled work quiesced",
            Self::InTestDomain => "in the test domain",
        })
    }
}

/// The loans that are open on one node. There is room for sixteen kinds.
///
/// # Examples
///
/// ```
/// use ha_core::state::{LoanKind, LoanSet};
///
/// let mut loans = LoanSet::default();
/// loans.open(LoanKind::HeldOut);
/// loans.open(LoanKind::Stopped);
/// loans.repay(LoanKind::Stopped);
/// assert_eq!(loans.iter().map(|loan| loan.to_string()).collect::<Vec<_>>(), ["held out of traffic"]);
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct LoanSet(u16);

impl LoanSet {
    /// Opens a loan.
    pub fn open(&mut self, kind: LoanKind) {
        self.0 |= kind.bit();
    }

    /// Repays a loan; one that is not open is left alone.
    pub fn repay(&mut self, kind: LoanKind) {
        self.0 &= !kind.bit();
    }

    /// Lists the open loans.
    pub fn iter(self) -> impl Iterator<Item = LoanKind> {
        LoanKind::ALL.into_iter().filter(move |kind| self.0 & kind.bit() != 0)
    }

    pub(super) fn bits(self) -> u64 {
        u64::from(self.0)
    }

    /// Tells whether a loan is open.
    pub fn contains(self, kind: LoanKind) -> bool {
        self.0 & kind.bit() != 0
    }
}
