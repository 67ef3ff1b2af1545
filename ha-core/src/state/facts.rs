use serde::{Deserialize, Serialize};

use super::{Generations, Releases};

/// What the ids inside a state stand for, and what was declared of it.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Facts {
    /// The releases, with the schema states that they can use and the releases that they may serve beside.
    pub releases: Releases,
    /// The sets of shared files; empty where nothing is shared.
    pub generations: Generations,
}

impl Facts {
    /// Puts both tables together.
    pub fn new(releases: Releases, generations: Generations) -> Self {
        Self { releases, generations }
    }
}
