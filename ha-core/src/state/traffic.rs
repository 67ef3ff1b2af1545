use std::hash::{Hash, Hasher};

use serde::{Deserialize, Serialize};

/// How a balancer's member is configured. Observed, since the balancer's configuration decides it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum MemberKind {
    /// Takes traffic whenever it is admitted.
    Primary,
    /// Takes traffic only while no primary member is usable, the first usable backup alone.
    Backup,
}

/// The state of one node on one balancer instance.
///
/// # Examples
///
/// ```
/// use ha_core::state::{Traffic, TrafficEvent};
///
/// let draining = Traffic::In.on(TrafficEvent::DrainStarted);
/// assert_eq!(draining, Ok(Traffic::Draining { in_flight: true }));
/// // With requests in progress it is never closed.
/// assert!(Traffic::Draining { in_flight: true }.on(TrafficEvent::Closed).is_err());
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Traffic {
    /// Takes nothing, and nothing connects the balancer to it.
    Out,
    /// Admitted on a backup member.
    Backup,
    /// Admitted on a primary member.
    In,
    /// Takes nothing new; `in_flight` until what it has is finished.
    Draining {
        /// Whether requests are still in progress.
        in_flight: bool,
    },
    /// Its state could not be read.
    Unknown,
    /// Admitted, and the balancer itself thinks the server down: it gets nothing, and may get requests at any moment.
    Down,
    /// The balancer instance itself is gone, and was proven to be: it sends nothing to anybody, and carries out nothing. Once it
    /// is back it has its configured state, as one that forgot.
    Gone,
}

/// What happened to a member.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum TrafficEvent {
    /// The member was made ready.
    Admitted(MemberKind),
    /// The member was set to drain.
    DrainStarted,
    /// Nothing is in progress any more.
    Drained,
    /// The member was put into maintenance and nothing connects to it any more.
    Closed,
}

/// Refuses an event: the state is handed back.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a member that is {state:?} cannot take {event:?}")]
pub struct TrafficRejected {
    /// The unchanged state.
    pub state: Traffic,
    /// The refused event.
    pub event: TrafficEvent,
}

impl Traffic {
    /// Takes one event.
    ///
    /// # Errors
    /// [`TrafficRejected`] when the event cannot follow the state; the state is unchanged. A member with requests in
    /// progress is never closed.
    pub fn on(self, event: TrafficEvent) -> Result<Self, TrafficRejected> {
        use TrafficEvent as E;
        Ok(match (self, event) {
            // What is not there keeps nobody from going on.
            (Self::Gone, E::Admitted(_) | E::DrainStarted | E::Drained | E::Closed) => Self::Gone,
            (_, E::Admitted(MemberKind::Primary)) => Self::In,
            (_, E::Admitted(MemberKind::Backup)) => Self::Backup,
            (Self::In | Self::Backup | Self::Unknown | Self::Down, E::DrainStarted) => {
                Self::Draining { in_flight: true }
            }
            (Self::Draining { in_flight }, E::DrainStarted) => Self::Draining { in_flight },
            (Self::Draining { .. }, E::Drained) => Self::Draining { in_flight: false },
            (Self::Draining { in_flight: false } | Self::Out, E::Closed) => Self::Out,
            (Self::Out, E::DrainStarted) => Self::Draining { in_flight: false },
            (state @ (Self::Out | Self::In | Self::Backup | Self::Unknown | Self::Down), event @ E::Drained)
            | (
                state @ (Self::In | Self::Backup | Self::Unknown | Self::Down | Self::Draining { in_flight: true }),
                event @ E::Closed,
            ) => return Err(TrafficRejected { state, event }),
        })
    }

    /// Tells whether a request may reach the node over this member, or it cannot be excluded.
    pub fn is_exposed(self) -> bool {
        match self {
            Self::Backup | Self::In | Self::Draining { .. } | Self::Unknown | Self::Down => true,
            Self::Out | Self::Gone => false,
        }
    }
}

/// The state of one node in one pool on one balancer instance.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct MemberState {
    /// How the member is configured.
    pub kind: MemberKind,
    /// What goes over it.
    pub traffic: Traffic,
}

impl Hash for MemberState {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        hasher.write_u8(self.packed());
    }

    fn hash_slice<H: Hasher>(members: &[Self], hasher: &mut H) {
        for chunk in members.chunks(16) {
            hasher.write_u128(chunk.iter().fold(0, |packed, member| packed << 8 | u128::from(member.packed())));
        }
    }
}

impl MemberState {
    pub(super) fn packed(self) -> u8 {
        let Self { kind, traffic } = self;
        let traffic = match traffic {
            Traffic::Out => 0,
            Traffic::Backup => 1,
            Traffic::In => 2,
            Traffic::Draining { in_flight: false } => 3,
            Traffic::Draining { in_flight: true } => 4,
            Traffic::Unknown => 5,
            Traffic::Down => 6,
            Traffic::Gone => 7,
        };
        traffic << 1 | u8::from(kind == MemberKind::Backup)
    }

    /// Describes a member.
    pub fn new(kind: MemberKind, traffic: Traffic) -> Self {
        Self { kind, traffic }
    }

    /// Returns what goes over this member once it is admitted: nothing on a balancer that is gone.
    pub fn admitted(self) -> Traffic {
        match self.kind {
            _ if self.traffic == Traffic::Gone => Traffic::Gone,
            MemberKind::Primary => Traffic::In,
            MemberKind::Backup => Traffic::Backup,
        }
    }

    /// Tells whether nothing goes over it, since it is out or its balancer is gone.
    pub fn is_out(self) -> bool {
        matches!(self.traffic, Traffic::Out | Traffic::Gone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_closed_only_after_its_requests_have_ended() {
        let draining = Traffic::In.on(TrafficEvent::DrainStarted).unwrap();
        assert!(draining.on(TrafficEvent::Closed).is_err());
        let idle = draining.on(TrafficEvent::Drained).unwrap();
        assert_eq!(idle.on(TrafficEvent::Closed), Ok(Traffic::Out));
    }

    #[test]
    fn what_cannot_be_seen_counts_as_exposed() {
        assert!(Traffic::Unknown.is_exposed());
    }

    #[test]
    fn a_balancer_that_is_gone_sends_nothing_and_takes_no_event() {
        assert!(!Traffic::Gone.is_exposed());
        for event in [TrafficEvent::Admitted(MemberKind::Primary), TrafficEvent::DrainStarted, TrafficEvent::Closed] {
            assert_eq!(Traffic::Gone.on(event), Ok(Traffic::Gone));
        }
    }
}
