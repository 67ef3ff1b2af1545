//! Readers of one pool at the same moment share one answer.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use ha_core::topology::Name;
use tokio::sync::oneshot;

/// Where readers of `A` gather, by pool. A look at a cluster asks for every member of a pool at once, and one question
/// answers all of them.
#[derive(Debug)]
pub(crate) struct Gather<A> {
    waiting: Mutex<HashMap<Name, Vec<oneshot::Sender<A>>>>,
}

/// What a reader is.
pub(crate) enum Place<'a, A> {
    /// The first one: it asks for all that have joined until then.
    First(Gathering<'a, A>),
    /// It gets the answer of the first one; none where that one does not share.
    Joined(oneshot::Receiver<A>),
}

/// Readers that still gather. Dropped, they all read by themselves.
pub(crate) struct Gathering<'a, A> {
    gather: Option<&'a Gather<A>>,
    pool: Name,
}

impl<A> Default for Gather<A> {
    fn default() -> Self {
        Self { waiting: Mutex::default() }
    }
}

impl<A> Gather<A> {
    /// Takes a place among those who are about to read this pool.
    pub(crate) fn enter(&self, pool: &Name) -> Place<'_, A> {
        let mut waiting = self.lock();
        if let Some(joined) = waiting.get_mut(pool) {
            let (sender, receiver) = oneshot::channel();
            joined.push(sender);
            return Place::Joined(receiver);
        }
        waiting.insert(pool.clone(), Vec::new());
        Place::First(Gathering { gather: Some(self), pool: pool.clone() })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Name, Vec<oneshot::Sender<A>>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<A> Gathering<'_, A> {
    /// Ends the gathering. Only then may be read: whoever comes later wants an answer from later.
    pub(crate) fn end(mut self) -> Vec<oneshot::Sender<A>> {
        self.take()
    }

    fn take(&mut self) -> Vec<oneshot::Sender<A>> {
        // Once: after its end another one may have begun.
        self.gather.take().and_then(|gather| gather.lock().remove(&self.pool)).unwrap_or_default()
    }
}

impl<A> Drop for Gathering<'_, A> {
    fn drop(&mut self) {
        self.take();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first<'a>(gather: &'a Gather<u8>, pool: &Name) -> Gathering<'a, u8> {
        match gather.enter(pool) {
            Place::First(gathering) => gathering,
            Place::Joined(_) => panic!("there is a first one already"),
        }
    }

    fn joined(gather: &Gather<u8>, pool: &Name) -> oneshot::Receiver<u8> {
        match gather.enter(pool) {
            Place::Joined(answer) => answer,
            Place::First(_) => panic!("nobody gathers"),
        }
    }

    #[test]
    fn whoever_comes_after_the_end_gathers_anew() {
        let (gather, pool, other) = (Gather::default(), Name::new("esb").unwrap(), Name::new("api").unwrap());
        let (begun, apart) = (first(&gather, &pool), first(&gather, &other));
        let mut early = joined(&gather, &pool);
        let waiting = begun.end();
        let late = first(&gather, &pool);
        assert_eq!((waiting.len(), apart.end().len()), (1, 0));
        waiting.into_iter().for_each(|sender| sender.send(7).unwrap());
        assert_eq!(early.try_recv(), Ok(7));
        // The end of the first gathering has left the second one alone.
        let _second = joined(&gather, &pool);
        assert_eq!(late.end().len(), 1);
    }

    #[test]
    fn whoever_joined_one_that_is_given_up_learns_it() {
        let (gather, pool) = (Gather::default(), Name::new("esb").unwrap());
        let begun = first(&gather, &pool);
        let mut waiting = joined(&gather, &pool);
        drop(begun);
        assert_eq!(waiting.try_recv(), Err(oneshot::error::TryRecvError::Closed));
        drop(first(&gather, &pool));
    }
}
