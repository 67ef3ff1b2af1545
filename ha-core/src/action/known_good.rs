use serde::{Deserialize, Serialize};

use crate::state::{GenerationId, ReleaseId};
use crate::topology::NodeIx;

/// The state of a node when the plan was made: what a rollback leads back to.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
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
    /// Whether its server is left stopped, and held out, by a rollback: it was in a site that no consumers were led to.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stopped: bool,
}

impl KnownGood {
    /// Describes a node where nothing is shared.
    pub fn new(release: ReleaseId, admitted: bool) -> Self {
        Self { release, admitted, generation: GenerationId::FIRST, writer: None, stopped: false }
    }

    /// Leaves its server stopped, and held out, after a rollback.
    #[must_use]
    pub fn stopped(mut self) -> Self {
        self.stopped = true;
        self
    }

    /// Adds what it had of the shared files, and who could write them.
    #[must_use]
    pub fn with_files(mut self, generation: GenerationId, writer: Option<NodeIx>) -> Self {
        (self.generation, self.writer) = (generation, writer);
        self
    }
}
