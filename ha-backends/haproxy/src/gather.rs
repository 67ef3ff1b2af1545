//! Readers of one pool at the same moment share one answer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ha_core::topology::Name;
use tokio::sync::oneshot;

/// Where readers of `A` gather, by pool. A look at a cluster asks for every member of a pool at once, and one question
/// answers all of them.
#[derive(Debug)]
pub(crate) struct Gather<A> {
    waiting: Mutex<HashMap<Name, Vec<oneshot::Sender<A>>>>,
}

/// Readers that still gather. Dropped, each of them learns that there will be no common answer.
#[derive(Debug)]
pub(crate) struct Gathering<A> {
    gather: Option<Arc<Gather<A>>>,
    pool: Name,
}

impl<A> Default for Gather<A> {
    fn default() -> Self {
        Self { waiting: Mutex::default() }
    }
}

impl<A> Gather<A> {
    /// Takes a place among those who are about to read this pool. Whoever comes first also gets their gathering, to end it.
    pub(crate) fn enter(self: &Arc<Self>, pool: &Name) -> (oneshot::Receiver<A>, Option<Gathering<A>>) {
        let (sender, receiver) = oneshot::channel();
        let mut waiting = self.lock();
        if let Some(others) = waiting.get_mut(pool) {
            others.push(sender);
            return (receiver, None);
        }
        waiting.insert(pool.clone(), vec![sender]);
        (receiver, Some(Gathering { gather: Some(self.clone()), pool: pool.clone() }))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Name, Vec<oneshot::Sender<A>>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<A> Gathering<A> {
    /// Ends the gathering. Only then may be read: whoever comes later wants an answer from later.
    pub(crate) fn end(mut self) -> Vec<oneshot::Sender<A>> {
        self.take()
    }

    fn take(&mut self) -> Vec<oneshot::Sender<A>> {
        // Once: after its end another one may have begun.
        self.gather.take().and_then(|gather| gather.lock().remove(&self.pool)).unwrap_or_default()
    }
}

impl<A> Drop for Gathering<A> {
    fn drop(&mut self) {
        self.take();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_comes_after_the_end_gathers_anew() {
        let (gather, pool, other) =
            (Arc::<Gather<u8>>::default(), Name::new("esb").unwrap(), Name::new("api").unwrap());
        let (mut first, begun) = gather.enter(&pool);
        let (_apart, elsewhere) = gather.enter(&other);
        let (mut second, none) = gather.enter(&pool);
        assert!(none.is_none());
        let waiting = begun.unwrap().end();
        let (mut late, anew) = gather.enter(&pool);
        assert_eq!((waiting.len(), elsewhere.unwrap().end().len()), (2, 1));
        waiting.into_iter().for_each(|sender| sender.send(7).unwrap());
        assert_eq!((first.try_recv(), second.try_recv()), (Ok(7), Ok(7)));
        assert_eq!(late.try_recv(), Err(oneshot::error::TryRecvError::Empty));
        // The end of the first gathering has left the second one alone.
        assert!(gather.enter(&pool).1.is_none());
        assert_eq!(anew.unwrap().end().len(), 2);
    }

    #[test]
    fn whoever_joined_one_that_is_given_up_learns_it() {
        let (gather, pool) = (Arc::<Gather<u8>>::default(), Name::new("esb").unwrap());
        let (_first, begun) = gather.enter(&pool);
        let (mut waiting, _) = gather.enter(&pool);
        drop(begun);
        assert_eq!(waiting.try_recv(), Err(oneshot::error::TryRecvError::Closed));
        assert!(gather.enter(&pool).1.is_some());
    }
}
