use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use ha_core::backend::{Applied, ErrorKind, ExposeRoute, Exposure, HideRoute, ObserveExposure, RouteOn, StepError};
use ha_core::procedure::AddServiceRequest;
use ha_core::state::{Generation, LeaseEpoch, Route, RouteKey, ServiceRoute};
use ha_core::topology::Name;
use tokio::time::sleep;

use super::fault::{after, answer_late, before};
use super::model::{FakeNode, Inner};
use super::{Controller, Fault, Operation, World};

/// What the balancers of the simulated world have beside their pools: which key leads to which backend, now and after a restart.
///
/// # Examples
///
/// ```
/// use ha_core::backend::{ExposeRoute, Exposure};
/// use ha_core::state::{LeaseEpoch, Route};
/// use ha_testkit::world::{Controller, FakeExposure, Shape};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap().block_on(async {
/// let world = Shape::active_passive().with_files().with_exposure().world().unwrap();
/// let route = world.add_service().route;
/// let exposure = FakeExposure::new(world.clone(), Controller::new());
/// exposure.expose(LeaseEpoch::new(1), ExposeRoute::new(route)).await.unwrap();
/// assert_eq!(world.route(), Route::Exposed);
/// # });
/// ```
pub struct FakeExposure {
    world: World,
    controller: Controller,
}

/// The routes of one balancer: those in force, and those that a restart brings.
#[derive(Clone, Debug, Default)]
pub(crate) struct Routes {
    pub(crate) running: BTreeMap<String, String>,
    pub(crate) written: BTreeMap<String, String>,
}

/// How long one balancer takes to change its routes.
const EACH: Duration = Duration::from_millis(40);
/// The key of the new service of this world, and the first set of shared files that has it.
const SERVICE: (&str, u64) = ("/orders", 2);
const TARGET: &str = "exposure";

impl fmt::Debug for FakeExposure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeExposure").finish_non_exhaustive()
    }
}

impl FakeExposure {
    /// Makes the exposure as `controller` reaches it.
    pub fn new(world: World, controller: Controller) -> Self {
        Self { world, controller }
    }

    /// Brings a key to a value on each balancer in turn, first what is written there, then what is in force.
    async fn change(
        &self,
        operation: &'static str,
        epoch: LeaseEpoch,
        route: ServiceRoute,
        to: Option<Name>,
        deadline: Duration,
    ) -> Result<Applied, StepError> {
        self.controller.round_trip().await;
        self.world.fence(epoch.number(), operation, TARGET)?;
        let fault = self.world.take_fault(Operation::Expose, TARGET);
        let (key, to) = (route.key.to_string(), to.map(|value| value.to_string()));
        let (late_key, late_to) = (key.clone(), to.clone());
        self.world.if_late(fault, move |world| world.set_routes(&late_key, late_to.as_deref()));
        if !before(fault, operation, TARGET)? {
            return Ok(Applied::AlreadySo);
        }
        let balancers: Vec<String> = {
            let inner = self.world.lock();
            let ours = |seen: Option<&String>| seen.is_none_or(|seen| seen == route.value.as_str());
            if let Some((name, _)) = inner.routes.iter().find(|(_, on)| !ours(on.running.get(&key))) {
                let context = format!("{key} leads elsewhere on {name}");
                return Err(StepError::new(ErrorKind::Conflict, operation, TARGET)
                    .with_context(context)
                    .without_effect());
            }
            let is_so = |on: &Routes| on.running.get(&key) == to.as_ref() && on.written.get(&key) == to.as_ref();
            inner.routes.iter().filter(|(_, on)| !is_so(on)).map(|(name, _)| name.clone()).collect()
        };
        if balancers.is_empty() {
            return Ok(Applied::AlreadySo);
        }
        if deadline.is_zero() {
            return Err(StepError::new(ErrorKind::Timeout, operation, TARGET).without_effect());
        }
        // In half: where there are several, the first has it; where there is one, it is written down and not in force.
        let half = fault == Some(Fault::Half);
        let several = balancers.len() > 1;
        for name in balancers.iter().take(if half { 1 } else { balancers.len() }) {
            set(&mut self.world.lock().routes.entry(name.clone()).or_default().written, &key, to.as_deref());
            sleep(EACH).await;
            self.controller.lives().await;
            if !half || several {
                set(&mut self.world.lock().routes.entry(name.clone()).or_default().running, &key, to.as_deref());
            }
        }
        answer_late(fault).await;
        after(fault, operation, TARGET).map(|()| Applied::Applied)
    }
}

#[async_trait]
impl ObserveExposure for FakeExposure {
    async fn route(&self, key: &RouteKey) -> Result<Vec<RouteOn>, StepError> {
        self.controller.round_trip().await;
        self.world.before_read(Operation::Route, "route", TARGET).await?;
        Ok(self.world.routes_of(key.as_str()))
    }
}

#[async_trait]
impl Exposure for FakeExposure {
    async fn expose(&self, epoch: LeaseEpoch, request: ExposeRoute) -> Result<Applied, StepError> {
        let to = Some(request.route.value.clone());
        self.change("expose", epoch, request.route, to, request.deadline).await
    }

    async fn hide(&self, epoch: LeaseEpoch, request: HideRoute) -> Result<Applied, StepError> {
        self.change("hide", epoch, request.route, None, request.deadline).await
    }
}

impl World {
    /// Asks for the one new service of this world: `/orders`, which is in the second set of shared files and leads to the backend
    /// of the first pool.
    ///
    /// # Panics
    /// Never: the key is valid, and a topology has a pool.
    #[allow(clippy::expect_used, reason = "fixed names, held by every test")]
    pub fn add_service(&self) -> AddServiceRequest {
        let (key, sequence) = SERVICE;
        let backend = self.topology().pools().map(|(_, pool)| pool.backend.clone()).next();
        let key = RouteKey::new(key).expect("a valid key");
        let route = ServiceRoute::new(key, backend.expect("a topology has a pool"));
        AddServiceRequest::new(Generation::new(sequence, format!("g{sequence}")), vec!["deploy".into()], route)
    }

    /// Returns the state of the new service's route, seen from inside.
    pub fn route(&self) -> Route {
        let route = self.add_service().route;
        Route::seen(&route, &self.routes_of(route.key.as_str()))
    }

    /// Lets somebody lead a key of a balancer elsewhere by hand, and write it down there.
    pub fn lead_elsewhere(&self, balancer: &str, key: &str, value: &str) {
        self.set_route(balancer, key, Some(value), true);
    }

    /// Brings a key of one balancer to a value, written down there too or only in force.
    pub(crate) fn set_route(&self, balancer: &str, key: &str, to: Option<&str>, durably: bool) {
        let mut inner = self.lock();
        let on = inner.routes.entry(balancer.into()).or_default();
        set(&mut on.running, key, to);
        if durably {
            set(&mut on.written, key, to);
        }
    }

    fn routes_of(&self, key: &str) -> Vec<RouteOn> {
        let inner = self.lock();
        let on = |(name, on): (&String, &Routes)| {
            RouteOn::new(name, on.running.get(key).cloned()).with_after_restart(on.written.get(key).cloned())
        };
        inner.routes.iter().map(on).collect()
    }

    /// Brings a key to a value everywhere, at once.
    pub(crate) fn set_routes(&self, key: &str, to: Option<&str>) {
        for on in self.lock().routes.values_mut() {
            set(&mut on.running, key, to);
            set(&mut on.written, key, to);
        }
    }
}

impl Inner {
    /// Tells whether a balancer leads consumers to the new service.
    pub(crate) fn offers(&self, balancer: &str) -> bool {
        self.routes.get(balancer).is_some_and(|on| on.running.contains_key(SERVICE.0))
    }
}

impl FakeNode {
    /// Tells whether it has the new service.
    pub(crate) fn has_service(&self) -> bool {
        self.generation.as_ref().is_some_and(|generation| generation.sequence >= SERVICE.1)
    }
}

fn set(routes: &mut BTreeMap<String, String>, key: &str, to: Option<&str>) {
    match to {
        Some(value) => routes.insert(key.into(), value.into()),
        None => routes.remove(key),
    };
}
