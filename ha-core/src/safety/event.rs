use crate::action::Order;
use crate::machine::Turn;
use crate::plan::Plan;
use crate::record::{End, OutcomeKind};
use crate::topology::{BalancerIx, DomainIx, Topology};

/// How much of an order has happened.
#[derive(Clone, Copy, Debug)]
pub(super) enum Happened {
    Not,
    Partly,
    Fully,
}

/// What led from one explored state to the next.
#[derive(Clone, Copy, Debug)]
pub(super) enum Event {
    Begun,
    Acted(Order),
    Finished(Order),
    Failed(Order, Happened),
    Lost(Order, Happened),
    Looked(Order, OutcomeKind),
    Refused(Order),
    Turned(Turn),
    AskedBack,
    DomainLost(DomainIx),
    Forgot(BalancerIx),
    Ended(End),
}

impl Event {
    pub(super) fn is_fault(self) -> bool {
        match self {
            Self::Failed(..) | Self::Lost(..) | Self::DomainLost(_) | Self::Forgot(_) => true,
            Self::Begun
            | Self::Acted(..)
            | Self::Finished(_)
            | Self::Looked(..)
            | Self::Refused(_)
            | Self::Turned(_)
            | Self::AskedBack
            | Self::Ended(_) => false,
        }
    }

    /// Describes the event to a person; `None` where there is nothing to tell.
    pub(super) fn message(self, topology: &Topology, plan: &Plan) -> Option<String> {
        let order = |order: Order| order.message(topology, &plan.facts);
        let extent = |happened: Happened| match happened {
            Happened::Not => "does nothing",
            Happened::Partly => "happens in part",
            Happened::Fully => "happens",
        };
        Some(match self {
            Self::Begun | Self::Turned(Turn::NextStep) => return None,
            Self::Acted(given) => order(given),
            Self::Finished(given) => format!("{}, in flight until now, has happened", order(given)),
            Self::Failed(given, happened) => format!("{} {} and is reported as failed", order(given), extent(happened)),
            Self::Lost(given, happened) => {
                format!("{} {}, and the controller dies or loses the answer", order(given), extent(happened))
            }
            Self::Looked(given, OutcomeKind::Done) => format!("a look: {} has happened", order(given)),
            Self::Looked(given, OutcomeKind::NotDone | OutcomeKind::Unknown) => {
                format!("a look: {} has not happened", order(given))
            }
            Self::Refused(given) => format!("next would be: {}", order(given)),
            Self::Turned(turn) => turn.to_string(),
            Self::AskedBack => "a person asks for the rollback".into(),
            Self::DomainLost(domain) => format!("{} is lost", topology.domains[domain.index()]),
            Self::Forgot(balancer) => {
                format!("{} is restarted and loses its runtime state", topology.balancer(balancer).name)
            }
            Self::Ended(end) => format!("the run ends: {end}"),
        })
    }
}
