use serde::{Deserialize, Serialize};

/// How the file sync into one node stands: the edge from the writer to it.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sync {
    /// There is no edge into this node: it is the writer, or nothing is shared.
    #[default]
    None,
    /// What the writer has is copied whenever it changes.
    Active,
    /// A transfer is under way.
    Running,
    /// Held durably: nothing is copied, a restart of the host included.
    Held,
    /// It could not be seen how it stands; counts as active.
    Unknown,
}

/// What happened to a file sync.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum SyncEvent {
    /// It was held.
    Held,
    /// It was released.
    Released,
    /// A transfer began.
    TransferBegan,
    /// A transfer ended.
    TransferEnded,
    /// It could not be seen how it stands.
    SightLost,
}

/// Refuses an event: the state is handed back.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a file sync that is {state:?} cannot take {event:?}")]
pub struct SyncRejected {
    /// The unchanged state.
    pub state: Sync,
    /// The refused event.
    pub event: SyncEvent,
}

impl Sync {
    /// Takes one event.
    ///
    /// # Errors
    /// [`SyncRejected`] when the event cannot follow the state; the state is unchanged.
    pub fn on(self, event: SyncEvent) -> Result<Self, SyncRejected> {
        use SyncEvent as E;
        Ok(match (self, event) {
            (Self::None, event) => return Err(SyncRejected { state: self, event }),
            (_, E::SightLost) => Self::Unknown,
            (Self::Active | Self::Held | Self::Unknown, E::Held) => Self::Held,
            (Self::Active | Self::Held | Self::Unknown, E::Released) => Self::Active,
            (Self::Active | Self::Running, E::TransferBegan) => Self::Running,
            (Self::Running, E::TransferEnded) => Self::Active,
            (
                state @ (Self::Active | Self::Held | Self::Running | Self::Unknown),
                event @ (E::Held | E::Released | E::TransferBegan | E::TransferEnded),
            ) => return Err(SyncRejected { state, event }),
        })
    }

    /// Tells whether files may be copied over it.
    pub fn is_open(self) -> bool {
        match self {
            Self::Active | Self::Running | Self::Unknown => true,
            Self::None | Self::Held => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sync_is_held_only_after_its_transfer_has_ended() {
        let running = Sync::Active.on(SyncEvent::TransferBegan).unwrap();
        assert!(running.on(SyncEvent::Held).is_err());
        assert_eq!(running.on(SyncEvent::TransferEnded).unwrap().on(SyncEvent::Held), Ok(Sync::Held));
        assert!(Sync::Held.on(SyncEvent::TransferBegan).is_err(), "nothing is copied over a held sync");
    }
}
