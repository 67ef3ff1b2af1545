use serde::{Deserialize, Serialize};

/// One set of shared files: a number that grows, and a digest that tells two sets of one number apart.
///
/// # Examples
///
/// ```
/// use ha_core::state::Generation;
///
/// let set = Generation::new(42, "9f86d081");
/// assert_eq!((set.sequence, &*set.digest), (42, "9f86d081"));
/// ```
#[derive(Clone, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct Generation {
    /// Grows with each deployment.
    pub sequence: u64,
    /// Of the whole tree, as the file sync reports it.
    pub digest: Box<str>,
}

impl Generation {
    /// Names a set of shared files.
    pub fn new(sequence: u64, digest: impl Into<Box<str>>) -> Self {
        Self { sequence, digest: digest.into() }
    }
}

/// A generation's position in a [`Generations`] table.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct GenerationId(u8);

impl GenerationId {
    /// The first generation of a table: what every node has where nothing is shared.
    pub const FIRST: Self = Self(0);

    pub(super) fn number(self) -> u64 {
        u64::from(self.0)
    }
}

/// The generations that a plan or an observation speaks of. At most 64.
///
/// # Examples
///
/// ```
/// use ha_core::state::{Generation, Generations};
///
/// let mut generations = Generations::default();
/// let id = generations.enter(Generation::new(42, "9f86d081"))?;
/// assert_eq!(generations.sequence(id), 42);
/// # Ok::<(), ha_core::state::TooManyGenerations>(())
/// ```
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct Generations(Vec<Generation>);

/// More than 64 generations in one table.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("more than 64 generations of shared files in one cluster: bring the nodes to fewer first")]
pub struct TooManyGenerations;

impl Generations {
    /// Returns the position of a generation, entering it where it is new.
    ///
    /// # Errors
    /// [`TooManyGenerations`].
    pub fn enter(&mut self, generation: Generation) -> Result<GenerationId, TooManyGenerations> {
        if let Some(id) = self.id(&generation) {
            return Ok(id);
        }
        let next = u8::try_from(self.0.len()).ok().filter(|next| *next < 64).ok_or(TooManyGenerations)?;
        self.0.push(generation);
        Ok(GenerationId(next))
    }

    /// Returns the position of a generation.
    pub fn id(&self, generation: &Generation) -> Option<GenerationId> {
        let index = self.0.iter().position(|known| known == generation)?;
        u8::try_from(index).ok().map(GenerationId)
    }

    /// Returns a generation; `None` for a position of another table.
    pub fn get(&self, id: GenerationId) -> Option<&Generation> {
        self.0.get(usize::from(id.0))
    }

    /// Returns a generation's number, 0 where nothing is shared.
    pub fn sequence(&self, id: GenerationId) -> u64 {
        self.get(id).map_or(0, |generation| generation.sequence)
    }
}
