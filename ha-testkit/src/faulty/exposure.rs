use std::sync::Arc;

use async_trait::async_trait;
use ha_core::backend::{Applied, ExposeRoute, Exposure, HideRoute, ObserveExposure, RouteOn, StepError};
use ha_core::state::{LeaseEpoch, RouteKey};

use super::{BalancerFault, Faults};

/// A call of an exposure, for [`FaultyExposure`].
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum ExposureCall {
    /// `route`.
    Route,
    /// `expose`.
    Expose,
    /// `hide`.
    Hide,
}

/// An exposure with faults that a test plans. Without any it behaves as the exposure inside, which the conformance suite proves.
/// Clones share plans and counts.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use ha_core::backend::{ErrorKind, Exposure, ObserveExposure};
/// use ha_core::state::RouteKey;
/// use ha_testkit::faulty::{BalancerFault, ExposureCall, FaultyExposure};
/// # async fn example(real: Arc<dyn Exposure>) -> Result<(), Box<dyn std::error::Error>> {
/// let faulty = FaultyExposure::new(real);
/// faulty.plan(ExposureCall::Route, 0, BalancerFault::Refused(ErrorKind::Unreachable));
/// let refused = faulty.route(&RouteKey::new("/orders")?).await.unwrap_err();
/// assert_eq!((refused.kind(), faulty.calls(ExposureCall::Route)), (ErrorKind::Unreachable, 1));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct FaultyExposure {
    inner: Arc<dyn Exposure>,
    faults: Faults<ExposureCall>,
}

impl FaultyExposure {
    /// Wraps an exposure; nothing is planned.
    pub fn new(inner: Arc<dyn Exposure>) -> Self {
        Self { inner, faults: Faults::none() }
    }

    /// Plans a fault for this call after `skip` more of its kind that go well.
    pub fn plan(&self, call: ExposureCall, skip: u64, fault: BalancerFault) {
        self.faults.plan(call, skip, fault);
    }

    /// Returns how often this was called so far.
    pub fn calls(&self, call: ExposureCall) -> u64 {
        self.faults.calls(call)
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl ObserveExposure for FaultyExposure {
    async fn route(&self, key: &RouteKey) -> Result<Vec<RouteOn>, StepError> {
        self.faults.through(ExposureCall::Route, ("route", true), key.to_string(), self.inner.route(key)).await
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl Exposure for FaultyExposure {
    async fn expose(&self, epoch: LeaseEpoch, request: ExposeRoute) -> Result<Applied, StepError> {
        let target = request.route.to_string();
        self.faults.through(ExposureCall::Expose, ("expose", false), target, self.inner.expose(epoch, request)).await
    }

    async fn hide(&self, epoch: LeaseEpoch, request: HideRoute) -> Result<Applied, StepError> {
        let target = request.route.to_string();
        self.faults.through(ExposureCall::Hide, ("hide", false), target, self.inner.hide(epoch, request)).await
    }
}

#[cfg(test)]
mod tests {
    use ha_core::backend::{Effect, ErrorKind};
    use ha_core::state::Route;

    use super::*;
    use crate::world::{Controller, FakeExposure, Shape};

    #[tokio::test(start_paused = true)]
    async fn a_lost_answer_of_an_exposure_leaves_the_route_and_a_lost_question_does_not() {
        let world = Shape::active_passive().with_files().with_exposure().world().unwrap();
        let faulty = FaultyExposure::new(Arc::new(FakeExposure::new(world.clone(), Controller::new())));
        let route = world.add_service().route;
        faulty.plan(ExposureCall::Expose, 0, BalancerFault::LostBefore);
        faulty.plan(ExposureCall::Expose, 1, BalancerFault::LostAfter);
        for left in [Route::Dark, Route::Exposed] {
            let lost = faulty.expose(LeaseEpoch::new(1), ExposeRoute::new(route.clone())).await.unwrap_err();
            assert_eq!((lost.kind(), lost.effect()), (ErrorKind::Timeout, Effect::Unknown));
            assert_eq!(world.route(), left);
        }
    }
}
