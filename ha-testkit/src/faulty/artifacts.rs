use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ha_core::backend::{Applied, ArtifactStore, Kept, ObserveArtifactStore, PruneArtifacts, PutArtifact, StepError};
use ha_core::state::{Generation, LeaseEpoch};
use ha_core::topology::Name;

use super::{BalancerFault, Faults};

/// A call of an artifact store, for [`FaultyArtifacts`].
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum ArtifactsCall {
    /// `generations`.
    Generations,
    /// `keeps`.
    Keeps,
    /// `place`.
    Place,
    /// `missing`.
    Missing,
    /// `put`.
    Put,
    /// `prune`.
    Prune,
}

/// An artifact store with faults that a test plans. Without any it behaves as the store inside, which the conformance suite
/// proves. Clones share plans and counts.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use ha_core::backend::{ArtifactStore, ErrorKind, ObserveArtifactStore};
/// use ha_testkit::faulty::{ArtifactsCall, BalancerFault, FaultyArtifacts};
/// # async fn example(real: Arc<dyn ArtifactStore>) {
/// let faulty = FaultyArtifacts::new(real);
/// faulty.plan(ArtifactsCall::Generations, 1, BalancerFault::Refused(ErrorKind::Unreachable));
/// assert!(faulty.generations().await.is_ok());
/// assert_eq!(faulty.generations().await.unwrap_err().kind(), ErrorKind::Unreachable);
/// assert_eq!(faulty.calls(ArtifactsCall::Generations), 2);
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct FaultyArtifacts {
    inner: Arc<dyn ArtifactStore>,
    faults: Faults<ArtifactsCall>,
}

impl FaultyArtifacts {
    /// Wraps a store; nothing is planned.
    pub fn new(inner: Arc<dyn ArtifactStore>) -> Self {
        Self { inner, faults: Faults::none() }
    }

    /// Delays every call by this. Default 0.
    #[must_use]
    pub fn with_delay(mut self, delay: Duration) -> Self {
        self.faults.delay = delay;
        self
    }

    /// Plans a fault for this call after `skip` more of its kind that go well.
    pub fn plan(&self, call: ArtifactsCall, skip: u64, fault: BalancerFault) {
        self.faults.plan(call, skip, fault);
    }

    /// Returns how often this was called so far.
    pub fn calls(&self, call: ArtifactsCall) -> u64 {
        self.faults.calls(call)
    }

    async fn through<T: Send>(
        &self,
        call: ArtifactsCall,
        carried_out: impl Future<Output = Result<T, StepError>> + Send,
    ) -> Result<T, StepError> {
        let named = match call {
            ArtifactsCall::Generations => ("generations", true),
            ArtifactsCall::Keeps => ("keeps", true),
            ArtifactsCall::Place => ("place", true),
            ArtifactsCall::Missing => ("missing", true),
            ArtifactsCall::Put => ("put", false),
            ArtifactsCall::Prune => ("prune", false),
        };
        self.faults.through(call, named, "artifacts".into(), carried_out).await
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl ObserveArtifactStore for FaultyArtifacts {
    async fn generations(&self) -> Result<Vec<Generation>, StepError> {
        self.through(ArtifactsCall::Generations, self.inner.generations()).await
    }

    async fn keeps(&self, generation: &Generation) -> Result<Kept, StepError> {
        self.through(ArtifactsCall::Keeps, self.inner.keeps(generation)).await
    }

    async fn place(&self, node: &Name, generation: &Generation) -> Result<Option<String>, StepError> {
        self.through(ArtifactsCall::Place, self.inner.place(node, generation)).await
    }

    async fn missing(&self, node: &Name) -> Result<Vec<String>, StepError> {
        self.through(ArtifactsCall::Missing, self.inner.missing(node)).await
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl ArtifactStore for FaultyArtifacts {
    async fn put(&self, epoch: LeaseEpoch, request: PutArtifact) -> Result<Applied, StepError> {
        self.through(ArtifactsCall::Put, self.inner.put(epoch, request)).await
    }

    async fn prune(&self, epoch: LeaseEpoch, request: PruneArtifacts) -> Result<Applied, StepError> {
        self.through(ArtifactsCall::Prune, self.inner.prune(epoch, request)).await
    }
}
