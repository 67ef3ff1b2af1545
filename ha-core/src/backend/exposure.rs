use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;

use super::{Applied, StepError};
use crate::state::{LeaseEpoch, Route, RouteKey, ServiceRoute};

/// Where a key leads on one balancer instance.
///
/// # Examples
///
/// ```
/// use ha_core::backend::RouteOn;
/// use ha_core::state::{Route, RouteKey, ServiceRoute};
/// use ha_core::topology::Name;
///
/// let orders = ServiceRoute::new(RouteKey::new("/orders")?, Name::new("esb")?);
/// let (with, without) = (RouteOn::new("lb1", Some("esb".into())), RouteOn::new("lb2", None));
/// assert_eq!(Route::seen(&orders, &[with.clone()]), Route::Exposed);
/// assert_eq!(Route::seen(&orders, &[with, without]), Route::Unknown);
/// // It leads there now, and a restart would lose it: half of it was done.
/// let half = RouteOn::new("lb1", Some("esb".into())).with_after_restart(None);
/// assert_eq!(Route::seen(&orders, &[half]), Route::Unknown);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct RouteOn {
    /// The instance, for people.
    pub instance: String,
    /// Where the key leads there now: the backend of a pool; `None` where the instance does not have the key.
    pub value: Option<String>,
    /// Where it would lead after a restart of the instance. Anything but `value` is a change that was not finished.
    pub after_restart: Option<String>,
}

impl RouteOn {
    /// Describes what one instance has, and keeps over a restart.
    pub fn new(instance: impl Into<String>, value: Option<String>) -> Self {
        Self { instance: instance.into(), after_restart: value.clone(), value }
    }

    /// Says what it would have after a restart.
    #[must_use]
    pub fn with_after_restart(mut self, value: Option<String>) -> Self {
        self.after_restart = value;
        self
    }

    /// Tells whether both now and after a restart it leads there.
    fn leads(&self, to: Option<&str>) -> bool {
        self.value.as_deref() == to && self.after_restart.as_deref() == to
    }
}

impl Route {
    /// Returns the state of a route, as the instances have it: `Dark` where none has its key, `Exposed` where each leads where the
    /// route does, `Unknown` in all other cases, of no instances too.
    pub fn seen(route: &ServiceRoute, instances: &[RouteOn]) -> Self {
        if instances.is_empty() {
            Self::Unknown
        } else if instances.iter().all(|one| one.leads(None)) {
            Self::Dark
        } else if instances.iter().all(|one| one.leads(Some(route.value.as_str()))) {
            Self::Exposed
        } else {
            Self::Unknown
        }
    }
}

/// Reads where routes lead, on every balancer instance.
#[async_trait]
pub trait ObserveExposure: Debug + Send + Sync + 'static {
    /// Reads where a key leads on each instance: exactly this key, both what is in force there and what a restart would bring.
    ///
    /// # Errors
    /// `Unreachable`, `Denied`, `NotFound`, `Timeout`, `Protocol`, when any instance cannot be read. All without effect.
    /// # Cancel safety
    /// Cancel safe: it only reads.
    async fn route(&self, key: &RouteKey) -> Result<Vec<RouteOn>, StepError>;
}

/// Asks to lead consumers to a service.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ExposeRoute {
    /// The route.
    pub route: ServiceRoute,
    /// How long it may take on all instances together. Default 600 s; at 0 only what is exposed already is.
    pub deadline: Duration,
}

impl ExposeRoute {
    /// Asks to expose `route`.
    pub fn new(route: ServiceRoute) -> Self {
        Self { route, deadline: super::DEADLINE }
    }

    /// Limits how long it may take.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }
}

/// Asks to take the route of a service away.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct HideRoute {
    /// The route.
    pub route: ServiceRoute,
    /// How long it may take on all instances together. Default 600 s; at 0 only what is hidden already is.
    pub deadline: Duration,
}

impl HideRoute {
    /// Asks to hide `route`.
    pub fn new(route: ServiceRoute) -> Self {
        Self { route, deadline: super::DEADLINE }
    }

    /// Limits how long it may take.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }
}

/// Exposes services to consumers, and hides them, on every balancer instance. Other routes are left as they are.
#[async_trait]
pub trait Exposure: ObserveExposure {
    /// Leads the route's key where the route leads, on every instance and durably: a restart of an instance keeps it. Reads each
    /// instance back.
    ///
    /// # Idempotency
    /// Absolute: twice equals once; what is exposed on some instances is gone on with.
    /// # Errors
    /// `Fenced`, `Denied`, `NotFound`, `Unsupported`: no effect. `Conflict` when the key leads elsewhere on any instance, without
    /// effect: it is not taken from whoever has it. `Timeout`, `Unreachable`: unknown, unless they say that nothing was changed; read
    /// `route`.
    /// # Cancel safety
    /// Not cancel safe: some instances may have it; read `route`.
    async fn expose(&self, epoch: LeaseEpoch, request: ExposeRoute) -> Result<Applied, StepError>;

    /// Takes the route's key away on every instance, durably, and reads each back.
    ///
    /// # Idempotency
    /// As [`expose`](Self::expose).
    /// # Errors
    /// As [`expose`](Self::expose): a key that leads elsewhere is another's, and stays.
    /// # Cancel safety
    /// Not cancel safe: some instances may have it still; read `route`.
    async fn hide(&self, epoch: LeaseEpoch, request: HideRoute) -> Result<Applied, StepError>;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::Name;

    #[test]
    fn a_route_is_exposed_only_where_every_instance_leads_where_it_does() {
        let route = ServiceRoute::new(RouteKey::new("/orders").unwrap(), Name::new("esb").unwrap());
        let on = |values: &[Option<&str>]| {
            let each = values.iter().map(|value| RouteOn::new("lb", value.map(Into::into)));
            Route::seen(&route, &each.collect::<Vec<_>>())
        };
        assert_eq!(on(&[None, None]), Route::Dark);
        assert_eq!(on(&[Some("esb"), Some("esb")]), Route::Exposed);
        let torn = |now: Option<&str>, later: Option<&str>| {
            let one = RouteOn::new("lb", now.map(Into::into)).with_after_restart(later.map(Into::into));
            Route::seen(&route, &[one])
        };
        assert_eq!([torn(Some("esb"), None), torn(None, Some("esb"))], [Route::Unknown; 2]);
        for unknown in [&[Some("esb"), None][..], &[None, Some("esb")], &[Some("other"), Some("other")], &[]] {
            assert_eq!(on(unknown), Route::Unknown, "{unknown:?}");
        }
    }
}
