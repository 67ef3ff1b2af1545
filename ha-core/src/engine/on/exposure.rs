use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::{Executor, Outcome, READ_LIMIT, Shared, done, not_done, unknown};
use crate::action::ExposureAction;
use crate::backend::{ExposeRoute, HideRoute, RouteOn};
use crate::record::Evidence;
use crate::state::{Route, ServiceRoute};

impl Executor {
    pub(super) async fn act_on_exposure(&self, action: ExposureAction, deadline: Duration) -> Outcome {
        let Some(exposure) = &self.shared.exposure else { return not_done("nothing exposes services here") };
        let Some(service) = &self.plan.facts.service else { return not_done("the plan names no service") };
        let (until, route) = (Instant::now() + deadline, service.route.clone());
        let asked = match action {
            ExposureAction::Expose => {
                exposure.expose(self.epoch, ExposeRoute::new(route).with_deadline(deadline)).await
            }
            ExposureAction::Hide => exposure.hide(self.epoch, HideRoute::new(route).with_deadline(deadline)).await,
        };
        self.wait_until(until, asked, || self.look_at_exposure(action)).await
    }

    pub(super) async fn look_at_exposure(&self, action: ExposureAction) -> Outcome {
        let Some(exposure) = &self.shared.exposure else { return not_done("nothing exposes services here") };
        let Some(service) = &self.plan.facts.service else { return not_done("the plan names no service") };
        let seen = match self.read(exposure.route(&service.route.key)).await {
            Ok(seen) => seen,
            Err(error) => return unknown(error),
        };
        let route = Route::seen(&service.route, &seen);
        let wanted = match action {
            ExposureAction::Expose => Route::Exposed,
            ExposureAction::Hide => Route::Dark,
        };
        if route == wanted {
            return done(Evidence::Route { route, instances: seen.len() as u64 });
        }
        not_done(format!("the route is {route}, not {wanted}: {}", each(&seen)))
    }
}

/// Observes a route; `None` where nothing exposes services, or it could not be seen, as the note says then.
pub(in crate::engine) async fn observe_exposure(
    shared: &Shared,
    route: &ServiceRoute,
) -> (Option<Route>, Option<String>) {
    let Some(exposure) = &shared.exposure else { return (None, None) };
    match timeout(READ_LIMIT, exposure.route(&route.key)).await {
        Ok(Ok(seen)) => (Some(Route::seen(route, &seen)), None),
        Ok(Err(error)) => (None, Some(format!("the route {} cannot be read: {error:#}", route.key))),
        Err(_) => (None, Some(format!("the route {} was not read in {READ_LIMIT:?}", route.key))),
    }
}

fn each(seen: &[RouteOn]) -> String {
    let leads =
        |to: &Option<String>| to.as_ref().map_or_else(|| "does not have it".into(), |to| format!("leads to {to}"));
    let one = |on: &RouteOn| match (leads(&on.value), leads(&on.after_restart)) {
        (now, later) if now == later => format!("{} {now}", on.instance),
        (now, later) => format!("{} {now}, and {later} after a restart", on.instance),
    };
    seen.iter().map(one).collect::<Vec<_>>().join(", ")
}
