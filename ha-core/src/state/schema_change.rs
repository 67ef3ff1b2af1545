use std::fmt;

use serde::{Deserialize, Serialize};

/// What the migration scripts that wait for the shared database amount to, as its lint judges them.
///
/// # Examples
///
/// ```
/// use ha_core::state::{SchemaChange, SchemaVerdict};
///
/// let change = SchemaChange::new(SchemaVerdict::Splittable, "9f86d081").with_reason("V5__drop.sql line 3: drops a column");
/// assert!(change.verdict.keeps_both_releases());
/// ```
#[derive(Clone, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct SchemaChange {
    /// How it can be made.
    pub verdict: SchemaVerdict,
    /// Names the scripts and what they were judged by; another digest is another change.
    pub digest: String,
    /// What led to the verdict, one line each: file, line, rule.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
}

/// How a change of the schema can be made beside a release that is in use.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum SchemaVerdict {
    /// No script waits: the schema is as the new release needs it.
    Nothing,
    /// Every script only adds: both releases can use the schema from then on, and nothing is removed at the end.
    ExpandOnly,
    /// What removes something is in scripts of its own, and waits until the last old node is gone.
    Splittable,
    /// Some script breaks the old release, or blocks it for longer than is allowed, and cannot be put off.
    NeedsWindow,
}

impl SchemaChange {
    /// States a verdict.
    pub fn new(verdict: SchemaVerdict, digest: impl Into<String>) -> Self {
        Self { verdict, digest: digest.into(), reasons: Vec::new() }
    }

    /// Adds what led to it.
    #[must_use]
    pub fn with_reason(mut self, reason: impl Into<String>) -> Self {
        self.reasons.push(reason.into());
        self
    }
}

impl SchemaVerdict {
    /// Tells whether the old release and the new one can use the schema at once.
    pub fn keeps_both_releases(self) -> bool {
        match self {
            Self::Nothing | Self::ExpandOnly | Self::Splittable => true,
            Self::NeedsWindow => false,
        }
    }
}

impl fmt::Display for SchemaVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Nothing => "nothing to migrate",
            Self::ExpandOnly => "expand only",
            Self::Splittable => "expand now, contract later",
            Self::NeedsWindow => "needs a window",
        })
    }
}
