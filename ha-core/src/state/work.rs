use serde::{Deserialize, Serialize};

/// Whether a node pulls work by itself: pollers, schedulers, message consumers.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq, Serialize, Deserialize)]
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

impl Work {
    /// Tells whether work may be in progress on the node.
    pub fn may_run(self) -> bool {
        match self {
            Self::On | Self::Unknown => true,
            Self::None | Self::Off => false,
        }
    }
}

/// Which of the servers' own cluster domains a server has joined.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ServerDomain {
    /// The one that serves.
    #[default]
    Production,
    /// One of its own, where it can be tested without disturbing the others.
    Test,
}
