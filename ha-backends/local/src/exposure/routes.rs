use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ha_core::backend::{Applied, ErrorKind, ExposeRoute, Exposure, HideRoute, ObserveExposure, RouteOn, StepError};
use ha_core::state::{LeaseEpoch, RouteKey, ServiceRoute};
use ha_core::telemetry::call_span;
use ha_core::topology::{Component, Name, Role, Settings, Topology};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};
use tracing::Instrument;

use crate::balancer::{LocalBalancer, unexpected};
use crate::wire::{Reply, Request};
use crate::{ConfigError, NAME};

/// Exposes services over the routes of every [`EmbeddedBalancer`](crate::EmbeddedBalancer) of a cluster.
///
/// # Examples
///
/// ```
/// use ha_core::backend::{ExposeRoute, Exposure};
/// use ha_core::state::{LeaseEpoch, MemberKind, RouteKey, ServiceRoute};
/// use ha_core::topology::Name;
/// use ha_local::{EmbeddedBalancer, LocalBalancer, LocalExposure};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// let (dir, esb) = (tempfile::tempdir()?, Name::new("esb")?);
/// let socket = dir.path().join("admin.sock");
/// let running = EmbeddedBalancer::builder(esb.clone())
///     .with_member(Name::new("esb1")?, ([127, 0, 0, 1], 8280).into(), MemberKind::Primary)
///     .with_routes(dir.path().join("routes"))
///     .start(([127, 0, 0, 1], 0).into(), &socket)
///     .await?;
/// let exposure = LocalExposure::new(vec![("lb1".into(), LocalBalancer::new(running.socket()))]);
/// let route = ServiceRoute::new(RouteKey::new("/orders")?, esb);
/// exposure.expose(LeaseEpoch::new(1), ExposeRoute::new(route)).await?;
/// assert_eq!(std::fs::read_to_string(dir.path().join("routes"))?, "/orders esb\n");
/// # Ok(())
/// # })
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct LocalExposure {
    instances: Vec<(String, LocalBalancer)>,
    /// One change at a time: each begins with what it reads.
    changing: Arc<Mutex<()>>,
}

impl LocalExposure {
    /// Drives the routes of these instances, each with its name: all that a consumer may come over. Nothing is touched yet.
    pub fn new(instances: Vec<(String, LocalBalancer)>) -> Self {
        Self { instances, changing: Arc::default() }
    }

    /// Takes no settings: the instances are the balancers of the topology, embedded all of them.
    ///
    /// # Errors
    /// [`ConfigError`] with every key that is wrong; `backend` where a balancer is none of this crate.
    pub fn from_component(component: &Component, topology: &Topology) -> Result<Self, ConfigError> {
        let mut settings = Settings::of(component);
        let mut instances = Ok(Vec::new());
        for declared in topology.components(Role::Balancer) {
            let (name, balancer) = (declared.name, declared.component);
            let read = if balancer.backend.as_str() == NAME {
                LocalBalancer::from_component(balancer)
                    .map_err(|_| settings.wrong("backend", format!("the settings of balancer {name} are wrong")))
            } else {
                Err(settings
                    .wrong("backend", format!("{name} is no embedded balancer: every balancer must have routes")))
            };
            instances = instances.and_then(|mut instances: Vec<_>| {
                instances.push((name.to_string(), read?));
                Ok(instances)
            });
        }
        settings.finish(instances.map(Self::new))
    }

    async fn read(&self, operation: &'static str, key: &RouteKey) -> Result<Vec<RouteOn>, StepError> {
        let mut seen = Vec::with_capacity(self.instances.len());
        for (name, balancer) in &self.instances {
            match balancer.ask(operation, key.to_string(), Request::Route { key: key.clone() }).await? {
                Reply::Route { value, after_restart } => {
                    seen.push(RouteOn::new(name, value).with_after_restart(after_restart));
                }
                _ => return Err(unexpected(operation, key.to_string(), false)),
            }
        }
        Ok(seen)
    }

    /// Brings the route to `to` on every instance. All of them are read before the first is changed.
    async fn change(
        &self,
        epoch: LeaseEpoch,
        operation: &'static str,
        route: &ServiceRoute,
        (to, deadline): (Option<&Name>, Duration),
    ) -> Result<Applied, StepError> {
        let until = Instant::now() + deadline;
        let target = route.to_string();
        let fail = |kind, context: String| StepError::new(kind, operation, target.as_str()).with_context(context);
        let Ok(_one_at_a_time) = timeout_at(until, self.changing.lock()).await else {
            let context = "another change of these routes did not end before the deadline";
            return Err(fail(ErrorKind::Timeout, context.into()).without_effect());
        };
        let is = |value: &Option<String>| value.as_deref() == to.map(Name::as_str);
        let seen = self.read(operation, &route.key).await?;
        for on in &seen {
            let elsewhere = |value: &&String| value.as_str() != route.value.as_str();
            let (now, later) = (on.value.as_ref(), on.after_restart.as_ref());
            if let Some(value) = now.filter(elsewhere).or(later.filter(elsewhere)) {
                let context = format!("{} leads to {value} on {}, and not to {}", route.key, on.instance, route.value);
                return Err(fail(ErrorKind::Conflict, context).without_effect());
            }
        }
        if deadline.is_zero() && seen.iter().any(|on| !is(&on.value) || !is(&on.after_restart)) {
            return Err(fail(ErrorKind::Timeout, "no time was left to change anything".into()).without_effect());
        }
        let mut applied = Applied::AlreadySo;
        for (name, balancer) in &self.instances {
            if !deadline.is_zero() && Instant::now() >= until {
                return Err(fail(ErrorKind::Timeout, format!("before {name} was changed: read the route")));
            }
            let request = Request::SetRoute { key: route.key.clone(), pool: to.cloned(), epoch: epoch.number() };
            match balancer.ask(operation, target.clone(), request).await {
                Ok(Reply::Applied(Applied::AlreadySo)) => {}
                Ok(Reply::Applied(Applied::Applied)) => applied = Applied::Applied,
                Ok(_) => return Err(unexpected(operation, target.clone(), true)),
                Err(error) if applied == Applied::AlreadySo => return Err(error),
                Err(error) => {
                    let context = format!("others were changed before {name}: read the route of every instance");
                    return Err(fail(error.kind(), context).caused_by(error));
                }
            }
        }
        Ok(applied)
    }

    /// The same in a task of its own: a dropped future does not cut it.
    async fn change_apart(
        &self,
        epoch: LeaseEpoch,
        operation: &'static str,
        route: ServiceRoute,
        (exposed, deadline): (bool, Duration),
    ) -> Result<Applied, StepError> {
        let (exposure, target) = (self.clone(), route.to_string());
        let span = call_span(NAME, operation, &target);
        let change = async move {
            let to = exposed.then(|| route.value.clone());
            exposure.change(epoch, operation, &route, (to.as_ref(), deadline)).await
        };
        let changed = tokio::spawn(change.instrument(span)).await;
        changed.unwrap_or_else(|error| Err(StepError::new(ErrorKind::Protocol, operation, target).caused_by(error)))
    }
}

#[async_trait]
impl ObserveExposure for LocalExposure {
    async fn route(&self, key: &RouteKey) -> Result<Vec<RouteOn>, StepError> {
        self.read("route", key).instrument(call_span(NAME, "route", key)).await
    }
}

#[async_trait]
impl Exposure for LocalExposure {
    async fn expose(&self, epoch: LeaseEpoch, request: ExposeRoute) -> Result<Applied, StepError> {
        self.change_apart(epoch, "expose", request.route, (true, request.deadline)).await
    }

    async fn hide(&self, epoch: LeaseEpoch, request: HideRoute) -> Result<Applied, StepError> {
        self.change_apart(epoch, "hide", request.route, (false, request.deadline)).await
    }
}
