use std::fmt;

use serde::{Deserialize, Serialize};

/// The two copies of the shared database in an upgrade that clones it: the source, which the old release uses, and the clone,
/// which the new one does.
///
/// # Examples
///
/// ```
/// use ha_core::state::{CloneStage, CloneStep, Copies, Source};
///
/// let mut copies = Copies::default();
/// for step in [CloneStep::Freeze, CloneStep::Copy, CloneStep::Compare, CloneStep::Migrate] {
///     copies = copies.on(step)?;
/// }
/// assert_eq!(copies, Copies::new(Source::Frozen, CloneStage::Migrated));
/// // Writes are accepted in one place: not in the source any more once the clone takes them.
/// let live = copies.on(CloneStep::Open)?;
/// assert!(!live.source.may_take_writes() && live.clone.may_take_writes());
/// assert!(live.on(CloneStep::Thaw).is_err());
/// # Ok::<(), ha_core::state::CloneRejected>(())
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Copies {
    /// Whether the source takes writes.
    pub source: Source,
    /// How far the clone is.
    pub clone: CloneStage,
}

/// Whether the source takes writes. It answers reads in each state.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// It does.
    #[default]
    Open,
    /// Some tables refuse them, others may not: a freeze, or its end, that was broken off.
    Freezing,
    /// Every table refuses them, from every session.
    Frozen,
}

/// How far the clone is.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum CloneStage {
    /// The database that is declared for it is empty.
    #[default]
    Absent,
    /// It holds something that no run has put there.
    Occupied,
    /// A copy is being made or dropped, or was left in half.
    Copying,
    /// It holds a copy of every table.
    Copied,
    /// The copy has the rows and the checksums of the source.
    Compared,
    /// The migration scripts are being run there.
    Migrating,
    /// It has the schema of the new release, and refuses writes.
    Migrated,
    /// It is being opened: some tables take writes, others refuse them.
    Opening,
    /// It takes writes: the database from now on.
    Open,
}

/// What is done to the two copies.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum CloneStep {
    /// The source refuses writes from now on.
    Freeze,
    /// The source takes writes again.
    Thaw,
    /// Every table of the source, with its rows, is copied; half a copy is dropped first.
    Copy,
    /// The rows and checksums of each table are those of the source.
    Compare,
    /// Every migration script is run on the clone, which refuses writes afterwards.
    Migrate,
    /// The clone takes writes from now on.
    Open,
    /// The clone is emptied.
    Drop,
}

/// Refuses a step: the state is handed back.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{step} cannot follow: {state}")]
pub struct CloneRejected {
    /// The unchanged state.
    pub state: Copies,
    /// The refused step.
    pub step: CloneStep,
}

impl Source {
    /// Tells whether a write may be accepted.
    pub fn may_take_writes(self) -> bool {
        match self {
            Self::Open | Self::Freezing => true,
            Self::Frozen => false,
        }
    }
}

impl CloneStage {
    /// Tells whether a write of a server may be accepted.
    pub fn may_take_writes(self) -> bool {
        match self {
            Self::Opening | Self::Open => true,
            Self::Absent
            | Self::Occupied
            | Self::Copying
            | Self::Copied
            | Self::Compared
            | Self::Migrating
            | Self::Migrated => false,
        }
    }

    /// Tells whether the new release can use it.
    pub fn is_usable(self) -> bool {
        self == Self::Migrated || self.may_take_writes()
    }
}

impl Copies {
    /// The source takes writes, and there is no clone.
    pub const SINGLE: Self = Self { source: Source::Open, clone: CloneStage::Absent };

    /// States both.
    pub const fn new(source: Source, clone: CloneStage) -> Self {
        Self { source, clone }
    }

    /// Tells whether nothing is cloned: the source is the database, and there is no other.
    pub fn is_single(&self) -> bool {
        *self == Self::SINGLE
    }

    /// Tells whether writes are refused everywhere, or may be: the window is open.
    pub fn refuses_writes(&self) -> bool {
        self.source != Source::Open && self.clone != CloneStage::Open
    }

    /// Takes one step to its end.
    ///
    /// # Errors
    /// [`CloneRejected`] when the step cannot follow the state; the state is unchanged.
    pub fn on(self, step: CloneStep) -> Result<Self, CloneRejected> {
        use CloneStage as C;
        let frozen = self.source == Source::Frozen;
        let allowed = match step {
            CloneStep::Freeze => true,
            CloneStep::Thaw => !self.clone.may_take_writes(),
            CloneStep::Copy => frozen && matches!(self.clone, C::Absent | C::Copying | C::Copied),
            CloneStep::Compare => frozen && matches!(self.clone, C::Copied | C::Compared),
            CloneStep::Migrate => frozen && matches!(self.clone, C::Compared | C::Migrating | C::Migrated),
            CloneStep::Open => frozen && self.clone.is_usable(),
            CloneStep::Drop => !self.clone.may_take_writes() && self.clone != C::Occupied,
        };
        if !allowed {
            return Err(CloneRejected { state: self, step });
        }
        let (source, clone) = (self.source, self.clone);
        Ok(match step {
            CloneStep::Freeze => Self::new(Source::Frozen, clone),
            CloneStep::Thaw => Self::new(Source::Open, clone),
            CloneStep::Copy => Self::new(source, C::Copied),
            CloneStep::Compare => Self::new(source, C::Compared),
            CloneStep::Migrate => Self::new(source, C::Migrated),
            CloneStep::Open => Self::new(source, C::Open),
            CloneStep::Drop => Self::new(source, C::Absent),
        })
    }

    /// Returns what is found when a step was broken off in the middle; what a step has brought about already stays.
    #[must_use]
    pub fn half_way(self, step: CloneStep) -> Self {
        use CloneStage as C;
        let (source, clone) = (self.source, self.clone);
        if self.has(step) {
            return self;
        }
        match step {
            CloneStep::Freeze | CloneStep::Thaw => Self::new(Source::Freezing, clone),
            CloneStep::Copy | CloneStep::Drop => Self::new(source, C::Copying),
            CloneStep::Compare => self,
            CloneStep::Migrate => Self::new(source, C::Migrating),
            CloneStep::Open => Self::new(source, C::Opening),
        }
    }

    /// Tells whether what a step brings about is there.
    pub fn has(&self, step: CloneStep) -> bool {
        match step {
            CloneStep::Freeze => self.source == Source::Frozen,
            CloneStep::Thaw => self.source == Source::Open,
            CloneStep::Copy => self.clone == CloneStage::Copied,
            CloneStep::Compare => self.clone == CloneStage::Compared,
            CloneStep::Migrate => self.clone == CloneStage::Migrated,
            CloneStep::Open => self.clone == CloneStage::Open,
            CloneStep::Drop => self.clone == CloneStage::Absent,
        }
    }

    /// Packs it into a number of eight bits.
    pub(super) fn packed(self) -> u64 {
        let Self { source, clone } = self;
        (source as u64) << 4 | clone as u64
    }
}

impl CloneStep {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Freeze, Self::Thaw, Self::Copy, Self::Compare, Self::Migrate, Self::Open, Self::Drop];
}

impl fmt::Display for CloneStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Freeze => "freeze",
            Self::Thaw => "thaw",
            Self::Copy => "copy",
            Self::Compare => "compare",
            Self::Migrate => "migrate clone",
            Self::Open => "open clone",
            Self::Drop => "drop clone",
        })
    }
}

impl fmt::Display for Copies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the source {}, the clone {}", self.source, self.clone)
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Open => "takes writes",
            Self::Freezing => "refuses writes in part",
            Self::Frozen => "refuses writes",
        })
    }
}

impl fmt::Display for CloneStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Absent => "is empty",
            Self::Occupied => "holds something that no run has put there",
            Self::Copying => "holds half a copy",
            Self::Copied => "holds a copy",
            Self::Compared => "holds a copy that equals the source",
            Self::Migrating => "is migrated in part",
            Self::Migrated => "is migrated and refuses writes",
            Self::Opening => "takes writes in part",
            Self::Open => "takes writes",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCES: [Source; 3] = [Source::Open, Source::Freezing, Source::Frozen];
    const STAGES: [CloneStage; 9] = [
        CloneStage::Absent,
        CloneStage::Occupied,
        CloneStage::Copying,
        CloneStage::Copied,
        CloneStage::Compared,
        CloneStage::Migrating,
        CloneStage::Migrated,
        CloneStage::Opening,
        CloneStage::Open,
    ];

    fn all() -> impl Iterator<Item = Copies> {
        SOURCES.into_iter().flat_map(|source| STAGES.map(|clone| Copies::new(source, clone)))
    }

    #[test]
    fn no_step_leads_to_writes_in_two_places() {
        let twice = |copies: Copies| copies.source.may_take_writes() && copies.clone.may_take_writes();
        for copies in all().filter(|copies| !twice(*copies)) {
            for step in CloneStep::ALL {
                let Ok(after) = copies.on(step) else { continue };
                assert!(!twice(after) && !twice(copies.half_way(step)), "{step} from {copies}");
            }
        }
    }

    #[test]
    fn a_step_that_was_broken_off_can_be_taken_again() {
        for copies in all() {
            for step in CloneStep::ALL {
                let Ok(after) = copies.on(step) else { continue };
                assert!(after.has(step));
                assert_eq!(copies.half_way(step).on(step), Ok(after), "{step} from {copies}");
                assert_eq!(after.on(step), Ok(after), "{step} twice");
            }
        }
    }

    #[test]
    fn a_clone_that_takes_writes_is_never_dropped_and_what_others_put_there_neither() {
        for clone in [CloneStage::Opening, CloneStage::Open, CloneStage::Occupied] {
            assert!(Copies::new(Source::Frozen, clone).on(CloneStep::Drop).is_err());
        }
        assert!(Copies::new(Source::Frozen, CloneStage::Open).on(CloneStep::Thaw).is_err());
        assert!(Copies::new(Source::Frozen, CloneStage::Occupied).on(CloneStep::Copy).is_err());
    }

    #[test]
    fn two_states_are_equal_exactly_when_their_packs_are() {
        let mut packs: Vec<u64> = all().map(Copies::packed).collect();
        packs.sort_unstable();
        packs.dedup();
        assert_eq!(packs.len(), SOURCES.len() * STAGES.len());
    }
}
