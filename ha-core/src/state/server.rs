use serde::{Deserialize, Serialize};

/// The state of a node's server process.
///
/// # Examples
///
/// ```
/// use ha_core::state::{Process, ProcessEvent};
///
/// assert_eq!(Process::Stopped.on(ProcessEvent::StartIssued), Ok(Process::Starting));
/// assert!(Process::Stopped.on(ProcessEvent::BecameReady).is_err());
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Process {
    /// The host itself is gone, or the server is not installed on it.
    Absent,
    /// Installed, and no process exists.
    Stopped,
    /// A process exists and does not serve yet.
    Starting,
    /// It serves; `warm` once it carries its full capacity.
    Ready {
        /// Whether the warm-up has been done.
        warm: bool,
    },
    /// A process exists and has stopped serving.
    Sick,
    /// Its state could not be read.
    Unknown,
}

/// What happened to a server process.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum ProcessEvent {
    /// A start was issued.
    StartIssued,
    /// The readiness probe passed.
    BecameReady,
    /// The warm-up is done.
    Warmed,
    /// A probe of a server that had been ready failed.
    Sickened,
    /// The process was seen to be gone.
    Exited,
    /// The host was lost.
    HostLost,
}

/// Refuses an event: the state is handed back.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a process that is {state:?} cannot take {event:?}")]
pub struct ProcessRejected {
    /// The unchanged state.
    pub state: Process,
    /// The refused event.
    pub event: ProcessEvent,
}

impl Process {
    /// Takes one event.
    ///
    /// # Errors
    /// [`ProcessRejected`] when the event cannot follow the state; the state is unchanged.
    pub fn on(self, event: ProcessEvent) -> Result<Self, ProcessRejected> {
        use ProcessEvent as E;
        Ok(match (self, event) {
            (_, E::HostLost) => Self::Absent,
            (Self::Absent, E::Exited) => Self::Absent,
            (Self::Stopped | Self::Starting | Self::Ready { .. } | Self::Sick | Self::Unknown, E::Exited) => {
                Self::Stopped
            }
            (Self::Stopped | Self::Starting, E::StartIssued) => Self::Starting,
            (Self::Starting | Self::Sick | Self::Unknown, E::BecameReady) => Self::Ready { warm: false },
            (Self::Ready { warm }, E::BecameReady) => Self::Ready { warm },
            (Self::Ready { .. }, E::Warmed) => Self::Ready { warm: true },
            (Self::Starting | Self::Ready { .. } | Self::Sick | Self::Unknown, E::Sickened) => Self::Sick,
            (state @ (Self::Absent | Self::Ready { .. } | Self::Sick | Self::Unknown), event @ E::StartIssued)
            | (state @ (Self::Absent | Self::Stopped), event @ (E::BecameReady | E::Sickened))
            | (
                state @ (Self::Absent | Self::Stopped | Self::Starting | Self::Sick | Self::Unknown),
                event @ E::Warmed,
            ) => return Err(ProcessRejected { state, event }),
        })
    }

    /// Tells whether the server serves.
    pub fn is_ready(self) -> bool {
        matches!(self, Self::Ready { .. })
    }
}

/// Which of the servers' own cluster domains a server has joined.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum ServerDomain {
    /// The one that serves.
    #[default]
    Production,
    /// One of its own, where it can be tested without disturbing the others.
    Test,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stopped_server_never_becomes_ready_without_a_start() {
        let refused = Process::Stopped.on(ProcessEvent::BecameReady).unwrap_err();
        assert_eq!(refused.state, Process::Stopped);
        let ready = Process::Stopped.on(ProcessEvent::StartIssued).unwrap().on(ProcessEvent::BecameReady);
        assert_eq!(ready, Ok(Process::Ready { warm: false }));
    }

    #[test]
    fn a_lost_host_takes_its_server_with_it_whatever_its_state() {
        for state in [Process::Stopped, Process::Starting, Process::Ready { warm: true }, Process::Unknown] {
            assert_eq!(state.on(ProcessEvent::HostLost), Ok(Process::Absent));
        }
    }
}
