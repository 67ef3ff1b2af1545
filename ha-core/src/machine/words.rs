use std::sync::Arc;
use std::time::Duration;

use crate::action::Order;
use crate::plan::Plan;
use crate::record::{End, Evidence, OutcomeKind, Record, Request};
use crate::state::{MemberState, Observation};
use crate::topology::BalancerIx;

/// Names one act or look of a run; a late answer under an old ticket is ignored.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Ticket(pub(super) u64);

/// What the run machine wants done.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Command {
    /// Write these down durably, all of them or none, then say [`Input::Recorded`]; no other command comes before that.
    Record(Vec<Record>),
    /// Look at all hosts and the database, then say [`Input::Observed`].
    Observe,
    /// Look at one balancer, then say [`Input::Watched`]: no balancer waits for a host, or for another balancer.
    Watch {
        /// Which.
        balancer: BalancerIx,
    },
    /// Carry the order out, then say [`Input::Finished`].
    Act {
        /// Names this act.
        ticket: Ticket,
        /// What to do.
        order: Order,
        /// How long it may take.
        deadline: Duration,
    },
    /// Find out whether the order has happened, then say [`Input::Finished`].
    Look {
        /// Names this look.
        ticket: Ticket,
        /// What may have happened.
        order: Order,
        /// How long it may take.
        deadline: Duration,
    },
    /// Plan the change anew from the state of the run, prove it, and say [`Input::Replanned`]: a failure domain was lost, and
    /// traffic is secured.
    Replan {
        /// Whether only a plan that leads back to all old is wanted.
        back: bool,
    },
    /// The run is over and recorded as such.
    Close {
        /// How it ended.
        end: End,
    },
}

/// What the run machine is told.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Input {
    /// The last records are durable.
    Recorded,
    /// The observed state of the hosts; with members, where all balancers were looked at too.
    Observed(Observation),
    /// The observed state of the members on one balancer.
    Watched {
        /// Which balancer.
        balancer: BalancerIx,
        /// Its members, in the order of [`Topology::seats_on`](crate::topology::Topology::seats_on).
        members: Vec<MemberState>,
    },
    /// An act or a look has ended.
    Finished {
        /// Which.
        ticket: Ticket,
        /// What came of it.
        outcome: OutcomeKind,
        /// What was seen.
        evidence: Evidence,
    },
    /// The last records could not be written. Nothing new begins; what has begun is brought to its end.
    NotRecorded,
    /// The proven plan with which the run goes on; where there is none, and a person has to decide, what is in the way.
    Replanned(Result<Arc<Plan>, String>),
    /// A person asks something of the run.
    Requested {
        /// The number of the request; one that is not above the last one is ignored.
        number: u64,
        /// What.
        request: Request,
        /// Why it is refused, where it was asked of a situation that is over.
        late: Option<String>,
        /// The time that people count when it is read, in milliseconds since 1970: the ends that they name are of that clock.
        unix_ms: u64,
    },
}
