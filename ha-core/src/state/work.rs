use serde::{Deserialize, Serialize};

/// Whether a node pulls work by itself: pollers, schedulers, message consumers.
///
/// # Examples
///
/// ```
/// use ha_core::state::{Work, WorkEvent};
///
/// assert_eq!(Work::On.on(WorkEvent::Quiesced), Work::Off);
/// assert!(Work::Unknown.may_run());
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Work {
    /// The node pulls no work.
    #[default]
    None,
    /// It pulls work.
    On,
    /// It is quiesced, and nothing is left in progress.
    Off,
    /// It could not be seen whether it pulls work; counts as on.
    Unknown,
}

/// What happened to a node's pulled work.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum WorkEvent {
    /// It was quiesced, and nothing is left in progress.
    Quiesced,
    /// It may pull work again.
    Resumed,
}

impl Work {
    /// Takes one event. A node that pulls no work has none to quiesce or to resume.
    #[must_use]
    pub fn on(self, event: WorkEvent) -> Self {
        match (self, event) {
            (Self::None, WorkEvent::Quiesced | WorkEvent::Resumed) => Self::None,
            (Self::On | Self::Off | Self::Unknown, WorkEvent::Quiesced) => Self::Off,
            (Self::On | Self::Off | Self::Unknown, WorkEvent::Resumed) => Self::On,
        }
    }

    /// Tells whether work may be in progress on the node.
    pub fn may_run(self) -> bool {
        match self {
            Self::On | Self::Unknown => true,
            Self::None | Self::Off => false,
        }
    }
}
