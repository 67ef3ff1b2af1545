use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A stretch of a run in which full service is not promised, with its bound.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use ha_core::plan::{Degraded, DegradedWindow};
///
/// let window = DegradedWindow::new(Degraded::ReloadExposure, Duration::from_millis(500));
/// assert_eq!(window.what, Degraded::ReloadExposure);
/// ```
#[derive(Clone, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct DegradedWindow {
    /// What is not promised.
    pub what: Degraded,
    /// For how long at most, each time.
    #[serde(with = "crate::millis", rename = "at_most_ms")]
    #[cfg_attr(feature = "schemars", schemars(with = "u64"))]
    pub at_most: Duration,
}

impl DegradedWindow {
    /// Declares a window.
    pub fn new(what: Degraded, at_most: Duration) -> Self {
        Self { what, at_most }
    }
}

/// What a window takes away.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Degraded {
    /// A balancer that is reloaded or restarted in the middle of the run forgets that a node is held out, and sends it
    /// requests until the guard has held it out again.
    ReloadExposure,
    /// A failure domain is lost, and one more loss is not survived while a node that is left is changed.
    OneMoreFailure,
    /// Nobody pulls work while the node that does is changed; it waits where it comes from.
    PulledWork,
    /// The database refuses writes, from before it is cloned until the members use the clone; reads go on.
    WritesRefused,
    /// No site serves: the one that did is lost, and the other is not ready yet.
    NoSite,
    /// Consumers wait in front of the sites while they are led from one to another.
    ConsumersWait,
}

impl fmt::Display for Degraded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ReloadExposure => "a balancer that loses its runtime state may send requests to a node under change",
            Self::OneMoreFailure => "one more loss is not survived",
            Self::PulledWork => "nobody pulls work",
            Self::WritesRefused => "the database refuses writes",
            Self::NoSite => "no site serves",
            Self::ConsumersWait => "consumers wait",
        })
    }
}
