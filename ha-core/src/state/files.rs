use serde::{Deserialize, Serialize};

/// The state of the file sync into one node: the edge from the writer to it.
///
/// # Examples
///
/// ```
/// use ha_core::state::{Sync, SyncEvent};
///
/// assert_eq!(Sync::Active.on(SyncEvent::Held), Ok(Sync::Held));
/// assert!(Sync::Running.on(SyncEvent::Held).is_err()); // a transfer ends first
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
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
    /// Its state could not be read; counts as active.
    Unknown,
}

/// What happened to the file sync into a node.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum SyncEvent {
    /// It was held.
    Held,
    /// It was released.
    Released,
    /// A transfer ended.
    TransferEnded,
    /// The node may write from now on: nothing is copied to it any more.
    BecameWriter,
    /// The node may not write any more: what another one writes is copied to it, once that is released.
    BecameReader,
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
            (Self::Active | Self::Held | Self::Unknown, E::Held) => Self::Held,
            (Self::Active | Self::Held | Self::Unknown, E::Released) => Self::Active,
            (Self::Running, E::TransferEnded) => Self::Active,
            (Self::None | Self::Held, E::BecameWriter) => Self::None,
            (Self::None | Self::Held, E::BecameReader) => Self::Held,
            (state @ Self::None, event @ (E::Held | E::Released | E::TransferEnded))
            | (state @ Self::Running, event @ (E::Held | E::Released | E::BecameWriter | E::BecameReader))
            | (
                state @ (Self::Active | Self::Unknown),
                event @ (E::TransferEnded | E::BecameWriter | E::BecameReader),
            )
            | (state @ Self::Held, event @ E::TransferEnded) => return Err(SyncRejected { state, event }),
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
        assert!(Sync::Running.on(SyncEvent::Held).is_err());
        assert_eq!(Sync::Running.on(SyncEvent::TransferEnded).unwrap().on(SyncEvent::Held), Ok(Sync::Held));
    }

    #[test]
    fn a_node_becomes_the_writer_only_while_nothing_is_copied_to_it() {
        for open in [Sync::Active, Sync::Running, Sync::Unknown] {
            assert!(open.on(SyncEvent::BecameWriter).is_err(), "{open:?}");
        }
        assert_eq!(Sync::Held.on(SyncEvent::BecameWriter).unwrap().on(SyncEvent::BecameReader), Ok(Sync::Held));
    }
}
