//! Migration scripts: names, order, checksums, phases.
//!
//! Files have Flyway's names: `V1_2__add_column.sql`, `U1_2__add_column.sql` (undo), `R__views.sql` (repeatable) and
//! `B1__baseline.sql`. Comments at the top of a script say what the name does not:
//!
//! ```sql
//! -- ha:phase contract
//! -- ha:allow HA005 the last old node is gone, see CHG-1204
//! -- ha:no-transaction
//! ```
//!
//! A folder named `expand`, `backfill` or `contract` says the phase, too. An `ha:allow` directly above a statement counts for that
//! statement alone; above the first one, for the whole script.

mod checksum;
pub(crate) mod header;
mod load;
mod name;
mod placeholder;
mod problem;
mod version;
mod wso2;

use std::fmt;

pub use checksum::{Change, Checksums, Digest, InvalidDigest, Recorded};
pub use header::{Allow, HeaderError, statement_allows};
pub use load::{LoadOptions, Note, Scripts};
pub use name::{NameError, ScriptKind, ScriptName};
pub use placeholder::{Placeholders, UnresolvedError};
pub use problem::{LoadError, Problem, ProblemKind};
pub use version::{Version, VersionError};
pub use wso2::{Wso2Layout, Wso2Step, Wso2Steps};

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

impl Phase {
    /// The phases in their order.
    pub const ALL: [Self; 3] = [Self::Expand, Self::Backfill, Self::Contract];

    /// Returns the phase of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "expand" => Some(Self::Expand),
            "backfill" => Some(Self::Backfill),
            "contract" => Some(Self::Contract),
            _ => None,
        }
    }
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

/// A migration script that was read.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Script {
    /// Its path below the folder that was loaded, with `/`.
    pub file: String,
    /// What it is, with its version.
    pub kind: ScriptKind,
    /// What its name says it does.
    pub description: String,
    /// The phase that its header or its folder names; [`Phase::Expand`] where neither does.
    pub phase: Phase,
    /// Whether it runs in a transaction where the database has them for its statements: unless `ha:no-transaction` says otherwise.
    pub transactional: bool,
    /// What its header allows, for all of its statements.
    pub allows: Vec<Allow>,
    /// Its text, without a byte order mark, placeholders replaced.
    pub text: String,
    /// The checksums of the text before placeholders are replaced; of a repeatable script, after it, as Flyway does.
    pub checksums: Checksums,
}
