use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tracing::Instrument;

use super::build::Shared;
use crate::journal::LeaseError;
use crate::state::LeaseEpoch;

/// Holds the lease of a cluster and renews it until it is dropped or lost.
#[derive(Debug)]
pub(super) struct HeldLease {
    shared: Arc<Shared>,
    epoch: LeaseEpoch,
    valid_until: watch::Receiver<Instant>,
    renewal: JoinHandle<()>,
}

/// What is kept back of the lease's time, for a slow write between the last check and the effect.
const MARGIN: Duration = Duration::from_secs(1);

impl HeldLease {
    pub(super) async fn take(shared: &Arc<Shared>) -> Result<Self, LeaseError> {
        let (cluster, ttl) = (shared.topology.name.as_str(), shared.topology.policy.lease_ttl);
        let asked = Instant::now();
        let epoch = shared.lease.acquire(cluster, &shared.owner, ttl).await?;
        // Time counts from when the lease was asked for, not from when the answer came.
        let (sender, valid_until) = watch::channel(asked + ttl);
        let task = shared.clone();
        let renew = async move {
            loop {
                sleep(ttl / 3).await;
                let asked = Instant::now();
                match task.lease.renew(task.topology.name.as_str(), epoch, ttl).await {
                    Ok(()) => {
                        let _ = sender.send(asked + ttl);
                    }
                    Err(LeaseError::Lost { .. }) => {
                        let _ = sender.send(asked);
                        return;
                    }
                    // The store may be back before the lease runs out.
                    Err(LeaseError::Held { .. } | LeaseError::Broken { .. }) => {}
                }
            }
        };
        let renewal = tokio::spawn(renew.in_current_span());
        Ok(Self { shared: shared.clone(), epoch, valid_until, renewal })
    }

    pub(super) fn epoch(&self) -> LeaseEpoch {
        self.epoch
    }

    /// Checks, directly before an effect, that this controller may still act.
    pub(super) fn check(&self) -> Result<(), LeaseError> {
        if Instant::now() + MARGIN < *self.valid_until.borrow() {
            return Ok(());
        }
        Err(LeaseError::Lost { cluster: self.shared.topology.name.to_string(), epoch: self.epoch })
    }

    pub(super) async fn release(self) {
        self.renewal.abort();
        if let Err(error) = self.shared.lease.release(self.shared.topology.name.as_str(), self.epoch).await {
            tracing::warn!(error = %error, "lease not released, it ends by itself");
        }
    }
}

impl Drop for HeldLease {
    fn drop(&mut self) {
        self.renewal.abort();
    }
}
