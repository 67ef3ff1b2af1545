use std::fmt;

use serde::{Deserialize, Serialize};

/// Says who may act: each holder of the lease has a higher epoch than all before it, from 1 on.
///
/// # Examples
///
/// ```
/// use ha_core::state::LeaseEpoch;
///
/// assert!(LeaseEpoch::new(4) > LeaseEpoch::new(3)); // 4 may act, and 3 may not any more
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LeaseEpoch(u64);

impl LeaseEpoch {
    /// Wraps a number that a lease store has handed out.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// Returns the number.
    pub const fn number(self) -> u64 {
        self.0
    }
}

impl fmt::Display for LeaseEpoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Says who may write shared files: each holder has a higher epoch than all before it.
///
/// # Examples
///
/// ```
/// use ha_core::state::WriterEpoch;
///
/// assert_eq!(WriterEpoch::new(3).next(), WriterEpoch::new(4));
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct WriterEpoch(u64);

impl WriterEpoch {
    /// Wraps a number.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// Returns the number.
    pub const fn number(self) -> u64 {
        self.0
    }

    /// Returns the epoch of the next holder.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// Says which site may write: each serving site has a higher epoch than all before it.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct SiteEpoch(u64);

impl SiteEpoch {
    /// Wraps a number.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// Returns the number.
    pub const fn number(self) -> u64 {
        self.0
    }

    /// Returns the epoch of the next site.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}
