//! What a run does about the windows that its plan declares. In one that has lasted for as long as was declared nobody waits any
//! longer: a pause ends, and where the database refuses writes all goes back.

use std::time::Duration;

use super::RunMachine;
use crate::action::{CloneAction, Order};
use crate::law::{consumers_wait, no_site_serves};
use crate::plan::{Degraded, DegradedWindow};
use crate::record::Mode;
use crate::state::{CloneStep, Work};

/// A step that begins when the window is used up nearly has this long all the same: it is the run that turns back, not the step.
const LEAST: Duration = Duration::from_secs(1);

impl RunMachine {
    /// Notes since when each declared window is open. A controller that took over counts from then on: the report has the whole.
    pub(super) fn note_windows(&mut self, now: Duration) {
        let mut open_since = Vec::new();
        for window in &self.plan.windows {
            let known = self.open_since.iter().find(|(what, _)| *what == window.what);
            if self.is_open(window.what) {
                open_since.push((window.what, known.map_or(now, |(_, since)| *since)));
            }
        }
        self.open_since = open_since;
    }

    /// Tells whether what a window takes away is missing now, as far as the cluster was seen.
    fn is_open(&self, what: Degraded) -> bool {
        let state = &self.run.cluster;
        match what {
            Degraded::WritesRefused => self.plan.facts.on_clone().is_some() && state.copies.refuses_writes(),
            Degraded::NoSite => no_site_serves(state),
            Degraded::ConsumersWait => consumers_wait(state),
            // Between two nodes nothing of ours is in the way of one more loss.
            Degraded::OneMoreFailure => {
                state.nodes().any(|(_, node)| node.under_change) && self.law().one_more_failure(state).is_err()
            }
            Degraded::PulledWork => {
                state.nodes().any(|(_, node)| node.work == Work::Off)
                    && state.nodes().all(|(_, node)| node.work != Work::On)
            }
            // The guard holds out again what a balancer forgot, whether the run waits or not.
            Degraded::ReloadExposure => false,
        }
    }

    /// Returns a window that has been open for as long as was declared.
    pub(super) fn used_up(&self, now: Duration) -> Option<&DegradedWindow> {
        let is_over = |window: &&DegradedWindow| {
            let since = self.open_since.iter().find(|(what, _)| *what == window.what).map(|(_, since)| *since);
            since.is_some_and(|since| now >= since.saturating_add(window.at_most))
        };
        self.plan.windows.iter().find(is_over)
    }

    /// Returns when the window ends in which the database refuses writes, where the run can turn back then: at the guard's next
    /// look.
    fn writes_refused_until(&self) -> Option<Duration> {
        let returns = self.run.cursor.mode == Mode::Forward && self.run.may_return(&self.plan);
        let since = self.open_since.iter().find(|(what, _)| *what == Degraded::WritesRefused).map(|(_, since)| *since);
        let ends = since?.saturating_add(self.plan.writes_refused()?);
        (returns && !self.closed).then_some(ends)
    }

    /// Turns back when the database has refused writes for as long as was declared, once nothing is in flight and what became of
    /// each order is known.
    pub(super) fn turn_back_if_late(&mut self, now: Duration) {
        if self.writes_refused_until().is_none_or(|ends| now < ends) || !self.is_settled() {
            return;
        }
        let at_most = self.plan.writes_refused().unwrap_or_default();
        self.turn_back(format!("the database has refused writes for the {at_most:?} that were declared: rolling back"));
    }

    /// Returns how long a step on the clone may take: no longer than the window lasts.
    pub(super) fn window_left(&self, now: Duration, order: Order) -> Duration {
        match (order, self.writes_refused_until()) {
            (Order::Clone(CloneAction(CloneStep::Copy | CloneStep::Compare | CloneStep::Migrate)), Some(ends)) => {
                ends.saturating_sub(now).max(LEAST)
            }
            (_, _) => Duration::MAX,
        }
    }
}
