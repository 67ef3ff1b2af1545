use serde::{Deserialize, Serialize};

/// How a data centre stands.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq, Serialize, Deserialize)]
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

/// What happened to a site.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum SiteEvent {
    /// It was fenced: whatever it still believes, it can no longer act.
    Fenced,
    /// It was promoted, with an epoch higher than any before.
    Promoted,
    /// It was compared and rebuilt as a standby of the serving site.
    Rebuilt,
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
            (_, E::Fenced) => Self::Quarantined,
            (Self::Hot | Self::Warm | Self::Cold | Self::Serving, E::Promoted) => Self::Serving,
            (Self::Quarantined, E::Rebuilt) => Self::Warm,
            (state @ Self::Quarantined, event @ E::Promoted)
            | (state @ (Self::Serving | Self::Hot | Self::Warm | Self::Cold), event @ E::Rebuilt) => {
                return Err(SiteRejected { state, event });
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fenced_site_serves_again_only_after_it_was_rebuilt() {
        let fenced = Site::Serving.on(SiteEvent::Fenced).unwrap();
        assert!(fenced.on(SiteEvent::Promoted).is_err());
        assert_eq!(fenced.on(SiteEvent::Rebuilt).unwrap().on(SiteEvent::Promoted), Ok(Site::Serving));
    }
}
