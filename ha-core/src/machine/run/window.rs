//! What a run does about the window that its plan declares: the database refuses writes for no longer than that, or all goes back.

use std::time::Duration;

use super::super::decide::Turn;
use super::RunMachine;
use crate::action::{CloneAction, Order};
use crate::record::{Cursor, Mode, Record};
use crate::state::CloneStep;

/// A step that begins when the window is used up nearly has this long all the same: it is the run that turns back, not the step.
const LEAST: Duration = Duration::from_secs(1);

impl RunMachine {
    /// Notes since when the database may refuse writes. A controller that took over counts from then on: the report has the whole.
    pub(super) fn note_window(&mut self, now: Duration) {
        let refuses = self.plan.facts.on_clone().is_some() && self.run.cluster.copies.refuses_writes();
        self.refusing_since = if refuses { Some(self.refusing_since.unwrap_or(now)) } else { None };
    }

    /// Returns when the declared window ends, where the run can turn back then: at the guard's next look.
    fn window_ends(&self) -> Option<Duration> {
        let Cursor { mode, stage, .. } = self.run.cursor;
        let returns = mode == Mode::Forward && usize::from(stage) < self.plan.point_of_no_return;
        let ends = self.refusing_since?.saturating_add(self.plan.writes_refused()?);
        (returns && !self.closed).then_some(ends)
    }

    /// Turns back when the declared window is used up, once nothing is in flight.
    pub(super) fn turn_back_if_late(&mut self, now: Duration) {
        if self.window_ends().is_none_or(|ends| now < ends) || self.run.targets.has_step_in_flight() {
            return;
        }
        let at_most = self.plan.writes_refused().unwrap_or_default();
        let to = Cursor { mode: Mode::Compensating, phase: 0, attempt: 0, ..self.run.cursor };
        let message = format!("the database has refused writes for the {at_most:?} that were declared: rolling back");
        self.record(Record::Turned { to, message });
        self.run.enter(to, Turn::StepFailed);
    }

    /// Returns how long a step on the clone may take: no longer than the window lasts.
    pub(super) fn window_left(&self, now: Duration, order: Order) -> Duration {
        match (order, self.window_ends()) {
            (Order::Clone(CloneAction(CloneStep::Copy | CloneStep::Compare | CloneStep::Migrate)), Some(ends)) => {
                ends.saturating_sub(now).max(LEAST)
            }
            (_, _) => Duration::MAX,
        }
    }
}
