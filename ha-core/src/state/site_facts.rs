use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::SiteEpoch;

/// What a fence takes away from a site: the strongest thing that it can no longer do.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum FenceLevel {
    /// Consumers do not reach it any more; what it does by itself goes on.
    Consumers,
    /// Its servers are stopped and are not started again.
    Servers,
    /// Its database takes no writes: credentials are revoked and sessions ended, or the database is stopped.
    Database,
    /// It is without power.
    Power,
}

impl fmt::Display for FenceLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Consumers => "consumers",
            Self::Servers => "servers",
            Self::Database => "database",
            Self::Power => "power",
        })
    }
}

/// What a site's copy of the database does.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ReplicaRole {
    /// It takes writes.
    Primary,
    /// It takes no writes and follows nothing: what was demoted, or a backup that is not restored yet.
    ReadOnly,
    /// It follows the primary of another site.
    Standby,
}

/// A site's copy of the database, as it was read.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct ReplicaSeen {
    /// What it does.
    pub role: ReplicaRole,
    /// The epoch with which it takes writes, or took them last. A standby has that of the primary, as far as it has received it.
    pub epoch: SiteEpoch,
    /// How far what it has reaches, in bytes of the database's log; `None` where the database has no such number. Comparable
    /// between copies of one epoch. A [way back](crate::procedure::FailBackRequest) needs it of both copies: without it nobody can
    /// tell that the one has all that the other took.
    pub position: Option<u64>,
    /// The age of the newest transaction that it has, in milliseconds: what would be lost at most if it was promoted now and the
    /// primary had taken writes until now. `None` where nobody can tell.
    pub behind_ms: Option<u64>,
}

impl ReplicaSeen {
    /// Describes a copy.
    pub fn new(role: ReplicaRole, epoch: SiteEpoch) -> Self {
        Self { role, epoch, position: None, behind_ms: None }
    }

    /// Says how far it reaches.
    #[must_use]
    pub fn with_position(mut self, position: Option<u64>) -> Self {
        self.position = position;
        self
    }

    /// Says how old the newest transaction is that it has.
    #[must_use]
    pub fn with_behind(mut self, behind: Option<Duration>) -> Self {
        self.behind_ms = behind.map(|behind| u64::try_from(behind.as_millis()).unwrap_or(u64::MAX));
        self
    }
}

/// What is known of a site beside its state: what a plan that replaces it relies on.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct SiteFacts {
    /// How far its fence reaches; `None` where it has none.
    pub fence: Option<FenceLevel>,
    /// Its copy of the database; `None` where it could not be read, or none is declared.
    pub replica: Option<ReplicaSeen>,
}

/// How long each part of a change of sites has taken: what the window of the next one is computed from.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use ha_core::state::Drill;
///
/// let drill = Drill::new(1_795_000_000_000).with_term("start", Duration::from_secs(95)).with_term("gate", Duration::from_secs(4));
/// assert_eq!(drill.took("start"), Some(Duration::from_secs(95)));
/// assert_eq!(drill.took("promote"), None);
/// ```
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Drill {
    /// When it ended, in milliseconds since 1970.
    pub at_unix_ms: u64,
    /// The longest time that each action took, by its name.
    pub terms: Vec<DrillTerm>,
}

/// One part of a change of sites.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct DrillTerm {
    /// The action's name.
    pub name: String,
    /// The longest time that it took.
    #[serde(with = "crate::millis", rename = "took_ms")]
    #[cfg_attr(feature = "schemars", schemars(with = "u64"))]
    pub took: Duration,
}

impl Drill {
    /// Begins one that ended at this time, in milliseconds since 1970.
    pub fn new(at_unix_ms: u64) -> Self {
        Self { at_unix_ms, terms: Vec::new() }
    }

    /// Notes how long an action took; of several the longest counts.
    #[must_use]
    pub fn with_term(mut self, name: impl Into<String>, took: Duration) -> Self {
        let name = name.into();
        match self.terms.iter_mut().find(|term| term.name == name) {
            Some(term) => term.took = term.took.max(took),
            None => self.terms.push(DrillTerm { name, took }),
        }
        self
    }

    /// Returns how long an action took at most; `None` where it was not part of the drill.
    pub fn took(&self, name: &str) -> Option<Duration> {
        self.terms.iter().find(|term| term.name == name).map(|term| term.took)
    }
}
