use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;

use super::{Applied, StepError};
use crate::state::{LeaseEpoch, Route, RouteKey, ServiceRoute};

/// Where a key leads on one balancer instance.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct RouteOn {
    /// The instance, for people.
    pub instance: String,
    /// Where the key leads there: the backend of a pool; `None` where the instance does not have the key.
    pub value: Option<String>,
}

impl RouteOn {
    /// Describes what one instance has.
    pub fn new(instance: impl Into<String>, value: Option<String>) -> Self {
        Self { instance: instance.into(), value }
    }
}

impl Route {
    /// Returns the state of a route, as the instances have it: `Dark` where none has its key, `Exposed` where each leads where the
    /// route does, `Unknown` in all other cases, of no instances too.
    pub fn seen(route: &ServiceRoute, instances: &[RouteOn]) -> Self {
        let is_ours = |one: &RouteOn| one.value.as_deref() == Some(route.value.as_str());
        if instances.is_empty() {
            Self::Unknown
        } else if instances.iter().all(|one| one.value.is_none()) {
            Self::Dark
        } else if instances.iter().all(is_ours) {
            Self::Exposed
        } else {
            Self::Unknown
        }
    }
}

/// Reads where routes lead, on every balancer instance.
#[async_trait]
pub trait ObserveExposure: Debug + Send + Sync + 'static {
    /// Reads where a key leads on each instance: exactly this key, and what is in force there, not only what is written down.
    ///
    /// # Errors
    /// `Unreachable`, `Denied`, `Timeout`, `Protocol`, when any instance cannot be read; `Conflict` when what is in force on one is
    /// not what it would have after a restart. All without effect.
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
    /// `Fenced`, `Denied`, `Unsupported`: no effect. `Conflict` when the key leads elsewhere on any instance, without effect: it is
    /// not taken from whoever has it. `Timeout`, `Unreachable`: unknown, unless they say that nothing was changed; read `route`.
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
        for unknown in [&[Some("esb"), None][..], &[None, Some("esb")], &[Some("other"), Some("other")], &[]] {
            assert_eq!(on(unknown), Route::Unknown, "{unknown:?}");
        }
    }
}
