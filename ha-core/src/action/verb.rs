use std::fmt;

use serde::{Deserialize, Serialize};

use crate::state::{GenerationId, ReleaseId, Schema};
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
    /// Starts the server in the production domain and sees a new process ready.
    Start,
    /// Starts the server in its test domain and sees a new process ready.
    StartInTest,
    /// Tests the node directly, past the balancer.
    Gate,
    /// Puts the node into traffic on every balancer instance, one after another.
    Admit,
    /// Says again on every balancer instance what the run had said of the node, after one forgot it.
    Reassert {
        /// Whether it is to be in traffic.
        admitted: bool,
    },
    /// Leaves a tested node out of traffic, as the standby from now on.
    StandBy,
    /// Watches the node carry traffic.
    Soak,
    /// Holds the file sync into the node durably, once a transfer under way has ended.
    Hold,
    /// Releases the file sync into the node: it gets what the writer has.
    Release,
    /// Lets this node write shared files, and no other: every file sync comes from it from then on.
    HandWriter {
        /// The node that writes afterwards.
        to: NodeIx,
    },
    /// Puts a set of shared files on the node, staged and swapped.
    Deploy {
        /// The set that it has afterwards.
        to: GenerationId,
    },
    /// Stops the node from pulling work, and waits until none is in progress.
    Quiesce,
    /// Lets the node pull work again.
    Resume,
    /// Brings the shared database's schema to this state.
    Migrate {
        /// The state that it has afterwards.
        to: Schema,
    },
}

impl Verb {
    /// Tells whether the verb changes what the node serves with, so that it needs its gate again.
    pub fn changes_node(self) -> bool {
        match self {
            Self::Stop
            | Self::Apply { .. }
            | Self::Restore { .. }
            | Self::Start
            | Self::StartInTest
            | Self::Deploy { .. } => true,
            Self::TakeOut
            | Self::Gate
            | Self::Admit
            | Self::Reassert { .. }
            | Self::StandBy
            | Self::Soak
            | Self::Hold
            | Self::Release
            | Self::HandWriter { .. }
            | Self::Quiesce
            | Self::Resume
            | Self::Migrate { .. } => false,
        }
    }

    /// Tells whether the verb is a command of the user's, run on the node's host.
    pub fn is_command(self) -> bool {
        matches!(self, Self::Apply { .. } | Self::Restore { .. } | Self::Deploy { .. })
    }

    /// Tells whether the verb begins only after a look at the whole cluster that is from after the step before: what takes
    /// capacity away, moves traffic or touches what nodes share. The others change a node that is out of traffic already,
    /// and the guard's last look is enough for them if it is not older than the guard's interval. The run machine makes one
    /// exception: an admit right after the node's own gate, where no database is shared, is content with that look too.
    pub fn waits_for_look(self) -> bool {
        match self {
            Self::Apply { .. } | Self::Restore { .. } | Self::Start | Self::StartInTest | Self::Gate => false,
            Self::TakeOut
            | Self::Stop
            | Self::Admit
            | Self::Reassert { .. }
            | Self::StandBy
            | Self::Soak
            | Self::Hold
            | Self::Release
            | Self::HandWriter { .. }
            | Self::Deploy { .. }
            | Self::Quiesce
            | Self::Resume
            | Self::Migrate { .. } => true,
        }
    }

    /// Tells whether the verb changes the node's traffic.
    pub fn moves_traffic(self) -> bool {
        matches!(self, Self::TakeOut | Self::Admit | Self::Reassert { .. })
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
            Self::Reassert { .. } => "reassert",
            Self::StandBy => "stand by",
            Self::Soak => "soak",
            Self::StartInTest => "start in test domain",
            Self::Hold => "hold sync",
            Self::Release => "release sync",
            Self::HandWriter { .. } => "hand writer",
            Self::Deploy { .. } => "deploy",
            Self::Quiesce => "quiesce",
            Self::Resume => "resume work",
            Self::Migrate { to } => match to {
                Schema::Base => "migrate to base",
                Schema::Expanding | Schema::Expanded => "expand",
                Schema::Backfilled => "backfill",
                Schema::Contracting | Schema::Contracted => "contract",
            },
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
    /// The set of shared files that it had.
    pub generation: GenerationId,
    /// The node that could write shared files.
    pub writer: Option<NodeIx>,
}

impl KnownGood {
    /// Describes how a node stood where nothing is shared.
    pub fn new(release: ReleaseId, admitted: bool) -> Self {
        Self { release, admitted, generation: GenerationId::FIRST, writer: None }
    }

    /// Adds what it had of the shared files, and who could write them.
    #[must_use]
    pub fn with_files(mut self, generation: GenerationId, writer: Option<NodeIx>) -> Self {
        (self.generation, self.writer) = (generation, writer);
        self
    }
}

/// Returns what takes `verb` back, in order. A node goes back into traffic only through its gate. Additive changes of a
/// schema stay: old releases can use it.
pub fn compensation(verb: Verb, known_good: KnownGood) -> Vec<Verb> {
    let deploy = Verb::Deploy { to: known_good.generation };
    match verb {
        Verb::TakeOut if known_good.admitted => vec![Verb::Gate, Verb::Admit],
        Verb::TakeOut => vec![Verb::Gate, Verb::StandBy],
        Verb::Stop => vec![Verb::Start],
        Verb::Apply { .. } | Verb::Restore { .. } => vec![Verb::Restore { to: known_good.release }],
        Verb::Start | Verb::StartInTest => vec![Verb::Stop],
        Verb::Admit => vec![Verb::TakeOut],
        Verb::Hold => vec![Verb::Release],
        Verb::Release => vec![Verb::Hold, deploy],
        Verb::HandWriter { .. } => known_good.writer.map(|to| Verb::HandWriter { to }).into_iter().collect(),
        Verb::Deploy { .. } => vec![deploy],
        Verb::Quiesce => vec![Verb::Gate, Verb::Resume],
        Verb::Resume => vec![Verb::Quiesce],
        Verb::Gate | Verb::StandBy | Verb::Soak | Verb::Migrate { .. } | Verb::Reassert { .. } => Vec::new(),
    }
}
