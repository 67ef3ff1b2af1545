//! Migration scripts: names, order, checksums, phases.

use std::fmt;

/// The phase of an upgrade that a script belongs to.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum Phase {
    /// Adds what the new release needs; the old one goes on.
    #[default]
    Expand,
    /// Fills what was added, in batches.
    Backfill,
    /// Removes what only the old release needed: after the last old node.
    Contract,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Expand => "expand",
            Self::Backfill => "backfill",
            Self::Contract => "contract",
        })
    }
}
