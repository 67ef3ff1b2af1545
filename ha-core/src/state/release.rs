use serde::{Deserialize, Serialize};

/// Stands for one release inside a state: an index into [`Releases`].
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ReleaseId(u8);

/// The releases that a plan knows: server version and patch level, as the server itself prints it. At most 64.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Releases(Vec<Box<str>>);

/// Refuses a 65th release.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("more than 64 different releases in one cluster: bring the nodes to fewer releases first")]
pub struct TooManyReleases;

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
        self.0.push(release.into());
        Ok(ReleaseId(next))
    }

    /// Returns the id of `release`, or `None` for one that was never entered.
    pub fn id(&self, release: &str) -> Option<ReleaseId> {
        let index = self.0.iter().position(|known| **known == *release)?;
        u8::try_from(index).ok().map(ReleaseId)
    }

    /// Returns the release as the server prints it, or `"?"` for an id of another table.
    pub fn name(&self, id: ReleaseId) -> &str {
        self.0.get(usize::from(id.0)).map_or("?", |name| name)
    }
}

/// A set of releases.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ReleaseSet(u64);

impl ReleaseSet {
    /// Adds a release.
    pub fn insert(&mut self, id: ReleaseId) {
        self.0 |= 1 << id.0;
    }

    /// Removes a release.
    pub fn remove(&mut self, id: ReleaseId) {
        self.0 &= !(1 << id.0);
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
    }
}
