use tokio::sync::mpsc::{self, error::TrySendError};

/// How many events wait at most for whoever follows a run or a monitor.
pub(super) const EVENTS: usize = 1024;

/// Streams events to whoever follows; never waits for them, and counts what they missed.
#[derive(Debug)]
pub(super) struct Events<E> {
    sender: mpsc::Sender<E>,
    missed: u64,
    /// The event that says how many were missed.
    tell_missed: fn(u64) -> E,
}

impl<E> Events<E> {
    pub(super) fn new(sender: mpsc::Sender<E>, tell_missed: fn(u64) -> E) -> Self {
        Self { sender, missed: 0, tell_missed }
    }

    pub(super) fn send(&mut self, event: E) {
        if self.missed > 0 {
            match self.sender.try_send((self.tell_missed)(self.missed)) {
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
    use crate::report::Event;

    #[test]
    fn what_nobody_takes_is_counted_and_told_before_the_next_event() {
        let (sender, mut receiver) = mpsc::channel(2);
        let mut events = Events::new(sender, |events| Event::Missed { events });
        let event = |margin| Event::Observed { margin };
        (0..5).for_each(|margin| events.send(event(margin)));
        assert_eq!([receiver.try_recv(), receiver.try_recv()], [Ok(event(0)), Ok(event(1))]);
        events.send(event(5));
        assert_eq!([receiver.try_recv(), receiver.try_recv()], [Ok(Event::Missed { events: 3 }), Ok(event(5))]);
    }
}
