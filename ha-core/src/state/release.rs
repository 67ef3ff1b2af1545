use serde::{Deserialize, Serialize};

use super::SchemaRange;

/// Stands for one release inside a state: an index into [`Releases`].
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(into = "u8", try_from = "u8")]
pub struct ReleaseId(u8);

/// The releases that a plan knows, and what was declared of them. At most 64.
///
/// # Examples
///
/// ```
/// use ha_core::state::Releases;
///
/// let mut releases = Releases::default();
/// let (old, new) = (releases.enter("4.2.0")?, releases.enter("4.2.1")?);
/// assert!(!releases.may_serve_beside(old, new)); // what is not declared is not assumed
/// releases.declare_beside(new, old);
/// assert!(releases.may_serve_beside(old, new));
/// # Ok::<(), ha_core::state::TooManyReleases>(())
/// ```
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct Releases(Vec<Release>);

/// What is known of one release. What was not declared is not assumed.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
struct Release {
    name: Box<str>,
    schema: Option<SchemaRange>,
    beside: ReleaseSet,
}

/// Refuses a 65th release.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("more than 64 different releases in one cluster: bring the nodes to fewer releases first")]
pub struct TooManyReleases;

impl ReleaseId {
    pub(super) fn number(self) -> u64 {
        u64::from(self.0)
    }
}

impl From<ReleaseId> for u8 {
    fn from(id: ReleaseId) -> Self {
        id.0
    }
}

impl TryFrom<u8> for ReleaseId {
    type Error = TooManyReleases;

    /// Reads a recorded id: one past the 64th would be another release's place in a [`ReleaseSet`].
    fn try_from(number: u8) -> Result<Self, TooManyReleases> {
        if number < 64 { Ok(Self(number)) } else { Err(TooManyReleases) }
    }
}

impl Releases {
    /// Returns the id of `release`, entering it when it is new.
    ///
    /// # Errors
    /// [`TooManyReleases`] for the 65th.
    pub fn enter(&mut self, release: &str) -> Result<ReleaseId, TooManyReleases> {
        if let Some(id) = self.id(release) {
            return Ok(id);
        }
        let next = u8::try_from(self.0.len()).map_err(|_| TooManyReleases)?;
        if next >= 64 {
            return Err(TooManyReleases);
        }
        self.0.push(Release { name: release.into(), schema: None, beside: ReleaseSet::default() });
        Ok(ReleaseId(next))
    }

    /// Returns the id of `release`, or `None` for one that was never entered.
    pub fn id(&self, release: &str) -> Option<ReleaseId> {
        let index = self.0.iter().position(|known| *known.name == *release)?;
        u8::try_from(index).ok().map(ReleaseId)
    }

    /// Returns the release as the server prints it, or `"?"` for an id of another table.
    pub fn name(&self, id: ReleaseId) -> &str {
        self.0.get(usize::from(id.0)).map_or("?", |release| &release.name)
    }

    /// Lists the releases, each with the schema states that it can use, where that was declared.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Option<SchemaRange>)> {
        self.0.iter().map(|release| (&*release.name, release.schema))
    }

    /// Declares which schema states a release can read and write.
    pub fn declare_schema(&mut self, id: ReleaseId, range: SchemaRange) {
        if let Some(release) = self.0.get_mut(usize::from(id.0)) {
            release.schema = Some(range);
        }
    }

    /// Declares that two releases may serve side by side: they share sessions, messages and caches.
    pub fn declare_beside(&mut self, one: ReleaseId, other: ReleaseId) {
        for (id, beside) in [(one, other), (other, one)] {
            if let Some(release) = self.0.get_mut(usize::from(id.0)) {
                release.beside.insert(beside);
            }
        }
    }

    /// Returns which schema states a release can read and write; `None` when nothing was declared.
    pub fn schema(&self, id: ReleaseId) -> Option<SchemaRange> {
        self.0.get(usize::from(id.0))?.schema
    }

    /// Tells whether two releases may serve side by side. Two nodes of one release may.
    pub fn may_serve_beside(&self, one: ReleaseId, other: ReleaseId) -> bool {
        one == other || self.0.get(usize::from(one.0)).is_some_and(|release| release.beside.contains(other))
    }
}

/// A set of releases.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct ReleaseSet(u64);

impl ReleaseSet {
    /// Adds a release.
    pub fn insert(&mut self, id: ReleaseId) {
        self.0 |= 1 << id.0;
    }

    /// Removes every release.
    pub fn clear(&mut self) {
        self.0 = 0;
    }

    pub(super) fn bits(self) -> u64 {
        self.0
    }

    /// Tells whether the release is in the set.
    pub fn contains(self, id: ReleaseId) -> bool {
        self.0 & (1 << id.0) != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_65th_release_is_refused() {
        let mut releases = Releases::default();
        for number in 0..64 {
            releases.enter(&number.to_string()).unwrap();
        }
        assert_eq!(releases.enter("one more"), Err(TooManyReleases));
        assert_eq!(releases.name(releases.id("63").unwrap()), "63");
        assert_eq!((ReleaseId::try_from(63).map(u8::from), ReleaseId::try_from(64)), (Ok(63), Err(TooManyReleases)));
    }
}
