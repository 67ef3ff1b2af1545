use std::fmt;

use serde::{Deserialize, Serialize};

use super::SiteEpoch;
use crate::topology::SiteRole;

/// The state of a data centre.
///
/// # Examples
///
/// ```
/// use ha_core::state::{Site, SiteEvent};
///
/// assert_eq!(Site::Warm.on(SiteEvent::Promoted), Ok(Site::Promoted));
/// // What was fenced may have gone its own way: it follows the other site before it is promoted again.
/// assert!(Site::Quarantined.on(SiteEvent::Promoted).is_err());
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Site {
    /// It serves, and its database takes writes.
    #[default]
    Serving,
    /// Its database takes writes, and consumers wait: none of their requests is in progress anywhere.
    Held,
    /// It has served, and its database takes no more writes; no other site has taken any since.
    Demoted,
    /// Its database takes writes, and no consumers are led to it yet.
    Promoted,
    /// Its servers run beside a replica; it can serve at once.
    Hot,
    /// Its database is a replica; its servers are stopped.
    Warm,
    /// Backups only.
    Cold,
    /// It was fenced, or came back after a loss, and must not act before it was compared.
    Quarantined,
}

/// What happened to a site.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum SiteEvent {
    /// It was made sure that it can no longer act.
    Fenced,
    /// Consumers wait in front of it.
    Held,
    /// Its database takes no more writes, and what it has taken is where it has to be.
    Demoted,
    /// Its database takes writes.
    Promoted,
    /// Consumers are led to it.
    Opened,
    /// Its database follows that of the site that serves, and it is ready to replace that site as far as this says.
    Followed(Site),
}

/// Refuses an event: the state is handed back.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a site that is {state:?} cannot take {event:?}")]
pub struct SiteRejected {
    /// The unchanged state.
    pub state: Site,
    /// The refused event.
    pub event: SiteEvent,
}

impl Site {
    /// Takes one event.
    ///
    /// # Errors
    /// [`SiteRejected`] when the event cannot follow the state; the state is unchanged.
    pub fn on(self, event: SiteEvent) -> Result<Self, SiteRejected> {
        use SiteEvent as E;
        Ok(match (self, event) {
            (Self::Serving | Self::Held | Self::Demoted | Self::Promoted | Self::Quarantined, E::Fenced) => {
                Self::Quarantined
            }
            (Self::Serving | Self::Held | Self::Promoted, E::Held) => Self::Held,
            (Self::Held | Self::Promoted | Self::Demoted, E::Demoted) => Self::Demoted,
            (Self::Demoted | Self::Hot | Self::Warm | Self::Cold | Self::Promoted, E::Promoted) => Self::Promoted,
            (Self::Held, E::Promoted) => Self::Held,
            (Self::Held | Self::Promoted | Self::Serving, E::Opened) => Self::Serving,
            (
                Self::Demoted | Self::Quarantined | Self::Hot | Self::Warm | Self::Cold,
                E::Followed(to @ (Self::Hot | Self::Warm | Self::Cold)),
            ) => to,
            (state, event @ (E::Fenced | E::Held | E::Demoted | E::Promoted | E::Opened | E::Followed(_))) => {
                return Err(SiteRejected { state, event });
            }
        })
    }

    /// Returns what a site with this role at rest is beside another that serves.
    pub(crate) fn standing_by(role: SiteRole) -> Self {
        match role {
            SiteRole::Hot => Self::Hot,
            SiteRole::Warm | SiteRole::Serving => Self::Warm,
            SiteRole::Cold => Self::Cold,
        }
    }

    /// Tells whether its database takes writes.
    pub fn writes(self) -> bool {
        match self {
            Self::Serving | Self::Held | Self::Promoted => true,
            Self::Demoted | Self::Hot | Self::Warm | Self::Cold | Self::Quarantined => false,
        }
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Serving => "serving",
            Self::Held => "held",
            Self::Demoted => "demoted",
            Self::Promoted => "promoted",
            Self::Hot => "hot",
            Self::Warm => "warm",
            Self::Cold => "cold",
            Self::Quarantined => "quarantined",
        })
    }
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
