use std::fmt;

use serde::{Deserialize, Serialize};

use crate::state::ReleaseId;
use crate::topology::NodeIx;

/// What is done to a node. Absolute: each verb names the state it leads to, so that doing it twice equals once.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Verb {
    /// Takes the node out of traffic on every balancer instance: drain, idle, maintenance, connections closed.
    TakeOut,
    /// Stops the server and sees it gone.
    Stop,
    /// Runs the change's command, which installs this release.
    Apply {
        /// The release that is installed afterwards.
        to: ReleaseId,
    },
    /// Runs the change's restore command, which brings this release back.
    Restore {
        /// The release that is installed afterwards.
        to: ReleaseId,
    },
    /// Starts the server and sees a new process ready.
    Start,
    /// Tests the node directly, past the balancer.
    Gate,
    /// Puts the node into traffic on every balancer instance, one after another.
    Admit,
    /// Leaves a tested node out of traffic, as the standby from now on.
    StandBy,
    /// Watches the node carry traffic.
    Soak,
}

impl Verb {
    /// Tells whether the verb changes what the node serves with, so that it needs its gate again.
    pub fn changes_node(self) -> bool {
        match self {
            Self::Stop | Self::Apply { .. } | Self::Restore { .. } | Self::Start => true,
            Self::TakeOut | Self::Gate | Self::Admit | Self::StandBy | Self::Soak => false,
        }
    }

    /// Returns the verb's name, as reports and journals show it.
    pub fn name(self) -> &'static str {
        match self {
            Self::TakeOut => "take out",
            Self::Stop => "stop",
            Self::Apply { .. } => "apply",
            Self::Restore { .. } => "restore",
            Self::Start => "start",
            Self::Gate => "gate",
            Self::Admit => "admit",
            Self::StandBy => "stand by",
            Self::Soak => "soak",
        }
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// One verb for one node.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct Order {
    /// The node.
    pub node: NodeIx,
    /// What is done to it.
    pub verb: Verb,
}

/// How a node stood when the plan was made: where a rollback leads back to.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct KnownGood {
    /// The installed release.
    pub release: ReleaseId,
    /// Whether the node was admitted on its balancers.
    pub admitted: bool,
}

impl KnownGood {
    /// Describes how a node stood.
    pub fn new(release: ReleaseId, admitted: bool) -> Self {
        Self { release, admitted }
    }
}

/// Returns what takes `verb` back, in order. A node goes back into traffic only through its gate.
pub fn compensation(verb: Verb, known_good: KnownGood) -> Vec<Verb> {
    match verb {
        Verb::TakeOut if known_good.admitted => vec![Verb::Gate, Verb::Admit],
        Verb::TakeOut => vec![Verb::Gate, Verb::StandBy],
        Verb::Stop => vec![Verb::Start],
        Verb::Apply { .. } | Verb::Restore { .. } => vec![Verb::Restore { to: known_good.release }],
        Verb::Start => vec![Verb::Stop],
        Verb::Admit => vec![Verb::TakeOut],
        Verb::Gate | Verb::StandBy | Verb::Soak => Vec::new(),
    }
}
