use tokio::sync::mpsc::{self, error::TrySendError};

use crate::report::Event;

/// How many events wait at most for whoever follows a run.
pub(super) const EVENTS: usize = 1024;

/// Streams events to whoever follows a run; never waits for them, and counts what they missed.
#[derive(Debug)]
pub(super) struct Events {
    sender: mpsc::Sender<Event>,
    missed: u64,
}

impl Events {
    pub(super) fn new(sender: mpsc::Sender<Event>) -> Self {
        Self { sender, missed: 0 }
    }

    pub(super) fn send(&mut self, event: Event) {
        if self.missed > 0 {
            match self.sender.try_send(Event::Missed { events: self.missed }) {
                Ok(()) => self.missed = 0,
                Err(TrySendError::Full(_)) => {
                    self.missed += 1;
                    return;
                }
                // Nobody has to listen.
                Err(TrySendError::Closed(_)) => return,
            }
        }
        if let Err(TrySendError::Full(_)) = self.sender.try_send(event) {
            self.missed += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_takes_is_counted_and_told_before_the_next_event() {
        let (sender, mut receiver) = mpsc::channel(2);
        let mut events = Events::new(sender);
        let event = |margin| Event::Observed { margin };
        (0..5).for_each(|margin| events.send(event(margin)));
        assert_eq!([receiver.try_recv(), receiver.try_recv()], [Ok(event(0)), Ok(event(1))]);
        events.send(event(5));
        assert_eq!([receiver.try_recv(), receiver.try_recv()], [Ok(Event::Missed { events: 3 }), Ok(event(5))]);
    }
}
