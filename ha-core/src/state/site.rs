use serde::{Deserialize, Serialize};

use super::SiteEpoch;

/// The state of a data centre.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Site {
    /// It serves, and its database takes writes.
    #[default]
    Serving,
    /// Its servers run beside a replica; it can serve at once.
    Hot,
    /// Its database is a replica; its servers are stopped.
    Warm,
    /// Backups only.
    Cold,
    /// It came back after a loss and must not act before it was compared.
    Quarantined,
}

/// The state of one site.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct SiteState {
    /// Its state.
    pub site: Site,
    /// The epoch with which it may write.
    pub epoch: SiteEpoch,
}

impl SiteState {
    /// Describes a site.
    pub fn new(site: Site, epoch: SiteEpoch) -> Self {
        Self { site, epoch }
    }

    /// Packs every field into one number.
    pub(super) fn packed(&self) -> u64 {
        let Self { site, epoch } = *self;
        epoch.number() << 8 | site as u64
    }
}
