use crate::action::{Action, Order, TrafficAction};
use crate::record::{ApprovalAsk, Ask, Mode, Operator, Record};

/// What people have asked of a run, as its records tell. The run machine and the fold both take it from there, so that a
/// controller that takes a run over finds it paused, asked back or approved as the one before it did.
///
/// # Examples
///
/// ```
/// use ha_core::machine::Hands;
///
/// let hands = Hands::default();
/// assert!(hands.paused().is_none() && hands.approval().is_none());
/// ```
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Hands {
    last: u64,
    paused: Option<Paused>,
    /// Whether the run is to end for a person.
    pub(super) stop: bool,
    /// Whether the run is to go back, and has not turned yet.
    pub(super) back: bool,
    /// Whether a person has asked for the rollback at any time: then nothing is finished.
    pub(super) asked_back: bool,
    asked: Option<ApprovalAsk>,
    approved: Option<Approved>,
}

/// A pause that a person asked for.
#[derive(Clone, Debug, Eq, PartialEq, serde::Serialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Paused {
    /// Who, and why.
    pub by: Operator,
    /// Until when, in milliseconds since 1970.
    pub until_unix_ms: u64,
}

/// An approval of what is asked for now.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Approved {
    pub(super) by: Operator,
    pub(super) until_unix_ms: u64,
}

impl Hands {
    /// Returns the number of the last request that was taken or refused; 0 where there was none.
    pub fn last_request(&self) -> u64 {
        self.last
    }

    /// Returns the pause that holds the run.
    pub fn paused(&self) -> Option<&Paused> {
        self.paused.as_ref()
    }

    /// Returns what the run waits for a person to approve; `None` once it is approved.
    pub fn approval(&self) -> Option<&ApprovalAsk> {
        self.asked.as_ref().filter(|_| self.approved.is_none())
    }

    /// Returns what was asked for last, approved or not.
    pub(super) fn asked(&self) -> Option<&ApprovalAsk> {
        self.asked.as_ref()
    }

    pub(super) fn approved(&self) -> Option<&Approved> {
        self.approved.as_ref()
    }

    /// Takes a record in.
    pub fn on(&mut self, record: &Record) {
        match record {
            Record::Requested { number, request, refused } => {
                self.last = self.last.max(number.unwrap_or(0));
                if refused.is_none() {
                    self.take(&request.by, &request.what);
                }
            }
            Record::ApprovalAsked { approval } => {
                (self.asked, self.approved) = (Some((**approval).clone()), None);
            }
            Record::Continued { .. } => self.paused = None,
            Record::Turned { to, .. } if to.mode == Mode::Compensating => {
                self.back = false;
                self.ask_no_more();
            }
            Record::Turned { .. } | Record::Outcome { .. } | Record::Opened { .. } => {}
            // A controller that takes a run over to go back has turned by that.
            Record::TakenOver { at, .. } => self.back &= at.mode != Mode::Compensating,
            Record::Intent { order, .. } if is_reassert(*order) => {}
            Record::Intent { .. } | Record::DomainLost { .. } => self.ask_no_more(),
            Record::Replanned { plan } => {
                self.back &= !plan.goes_back();
                self.ask_no_more();
            }
            Record::Closed { .. } => {
                *self = Self { last: self.last, asked_back: self.asked_back, ..Self::default() };
            }
        }
    }

    fn take(&mut self, by: &Operator, what: &Ask) {
        match what {
            Ask::Pause { until_unix_ms } => {
                self.paused = Some(Paused { by: by.clone(), until_unix_ms: *until_unix_ms });
            }
            Ask::Continue => self.paused = None,
            Ask::RollBack => (self.paused, self.stop, self.back, self.asked_back) = (None, false, true, true),
            Ask::Abort => (self.paused, self.stop) = (None, true),
            Ask::Approve { until_unix_ms, .. } => {
                self.approved = Some(Approved { by: by.clone(), until_unix_ms: *until_unix_ms });
            }
            Ask::Retry { .. } | Ask::Skip { .. } => self.asked_back = false,
        }
    }

    fn ask_no_more(&mut self) {
        (self.asked, self.approved) = (None, None);
    }
}

fn is_reassert(order: Order) -> bool {
    matches!(order.action(), Action::Traffic(TrafficAction::Reassert { .. }))
}
