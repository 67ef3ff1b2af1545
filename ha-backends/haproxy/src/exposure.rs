use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use async_trait::async_trait;
use ha_core::backend::{Applied, ErrorKind, ExposeRoute, Exposure, HideRoute, ObserveExposure, RouteOn, StepError};
use ha_core::state::{LeaseEpoch, RouteKey, ServiceRoute};
use ha_core::telemetry::call_span;
use ha_core::topology::Name;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};
use tracing::Instrument;

use crate::map_on::{Entries, MapOn, OneMap, value};
use crate::transport::OpContext;
use crate::wire;

/// Exposes services over a map of every HAProxy instance: `use_backend %[path,map_beg(/etc/haproxy/services.map)]`.
///
/// A key is written into the map file first, whole or not at all, and then put in force over the admin socket: a reload keeps it.
///
/// # Examples
///
/// ```no_run
/// use ha_core::backend::{ExposeRoute, Exposure};
/// use ha_core::state::{LeaseEpoch, RouteKey, ServiceRoute};
/// use ha_core::topology::Name;
/// use ha_haproxy::{HaProxyConfig, HaProxyExposure, MapOn};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let lb1 = MapOn::new("lb1", HaProxyConfig::new("/run/haproxy/admin.sock"), "/etc/haproxy/services.map");
/// let exposure = HaProxyExposure::new(vec![lb1]);
/// let route = ServiceRoute::new(RouteKey::new("/orders")?, Name::new("esb")?);
/// exposure.expose(LeaseEpoch::new(1), ExposeRoute::new(route)).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct HaProxyExposure {
    instances: Vec<OneMap>,
    /// One change at a time: each begins with what it reads.
    changing: Mutex<()>,
}

/// What one instance has: in force, and in its map file.
struct Maps {
    running: Entries,
    written: Entries,
}

impl Maps {
    fn running(&self, key: &RouteKey) -> Option<&str> {
        value(&self.running, key.as_str())
    }

    fn written(&self, key: &RouteKey) -> Option<&str> {
        value(&self.written, key.as_str())
    }

    fn is(&self, key: &RouteKey, to: Option<&Name>) -> bool {
        let to = to.map(Name::as_str);
        self.running(key) == to && self.written(key) == to
    }

    /// Finds a key, this one apart, that leads elsewhere in force than the file says: with both values.
    fn difference(&self, apart: &RouteKey) -> Option<(String, Option<String>, Option<String>)> {
        let of = |entries: &[(String, String)]| entries.iter().rev().cloned().collect::<BTreeMap<_, _>>();
        let (running, written) = (of(&self.running), of(&self.written));
        let keys: BTreeSet<&String> = running.keys().chain(written.keys()).collect();
        let differs = |key: &&&String| key.as_str() != apart.as_str() && running.get(**key) != written.get(**key);
        let key = *keys.iter().find(differs)?;
        Some((key.clone(), running.get(key).cloned(), written.get(key).cloned()))
    }
}

/// Reads both of one instance.
async fn maps(one: &OneMap, about: OpContext<'_>) -> Result<Maps, StepError> {
    Ok(Maps { running: one.running(about).await?, written: one.written(about).await? })
}

/// Brings the file of one instance to a value, then what is in force.
async fn bring(
    one: &OneMap,
    about: OpContext<'_>,
    maps: &Maps,
    key: &RouteKey,
    to: Option<&Name>,
) -> Result<(), StepError> {
    let value = to.map(Name::as_str);
    if maps.written(key) != value {
        one.write(about, key.as_str(), value).await?;
    }
    match (maps.running(key), to) {
        (None, Some(value)) => one.haproxy.command(about, &wire::add_map(&one.map, key, value)).await,
        (Some(_), None) => one.haproxy.command(about, &wire::del_map(&one.map, key)).await,
        (None, None) | (Some(_), Some(_)) => Ok(()),
    }
}

impl HaProxyExposure {
    /// Drives the maps of these instances: all that a consumer may come over. Nothing is touched yet.
    pub fn new(maps: Vec<MapOn>) -> Self {
        Self { instances: maps.into_iter().map(OneMap::new).collect(), changing: Mutex::default() }
    }

    async fn all(&self, about: OpContext<'_>) -> Result<Vec<(&OneMap, Maps)>, StepError> {
        let mut all = Vec::with_capacity(self.instances.len());
        for instance in &self.instances {
            all.push((instance, maps(instance, about).await?));
        }
        Ok(all)
    }

    async fn change(
        &self,
        about: OpContext<'_>,
        route: &ServiceRoute,
        to: Option<&Name>,
        deadline: Duration,
    ) -> Result<Applied, StepError> {
        let until = Instant::now() + deadline;
        let fail = |kind, context: String| StepError::new(kind, about.operation, about.target).with_context(context);
        let Ok(_one_at_a_time) = timeout_at(until, self.changing.lock()).await else {
            let context = "another change of these maps did not end before the deadline";
            return Err(fail(ErrorKind::Timeout, context.into()).without_effect());
        };
        // All of them are read, and nobody else's key is found, before the first is changed.
        let all = self.all(about).await?;
        for (instance, maps) in &all {
            let elsewhere = |value: &&str| *value != route.value.as_str();
            let (running, written) = (maps.running(&route.key), maps.written(&route.key));
            if let Some(value) = running.filter(elsewhere).or(written.filter(elsewhere)) {
                let context =
                    format!("{} leads to {value} on {}, and not to {}", route.key, instance.name, route.value);
                return Err(fail(ErrorKind::Conflict, context).without_effect());
            }
            if let Some((key, running, written)) = maps.difference(&route.key) {
                let leads = |to: Option<String>| to.map_or("nowhere".into(), |to| format!("to {to}"));
                let (map, name) = (instance.map.display(), &instance.name);
                let context = format!(
                    "{key} leads {} in force on {name}, and {} in its map file {map}: bring the file to what is in force, or \
                     reload {name}, so that a change of {} does not undo or keep what nobody meant",
                    leads(running),
                    leads(written),
                    route.key
                );
                return Err(fail(ErrorKind::Conflict, context).without_effect());
            }
        }
        let wrong: Vec<_> = all.iter().filter(|(_, maps)| !maps.is(&route.key, to)).collect();
        if wrong.is_empty() {
            return Ok(Applied::AlreadySo);
        }
        if Instant::now() >= until {
            return Err(fail(ErrorKind::Timeout, "no time was left to change anything".into()).without_effect());
        }
        for (instance, maps) in wrong {
            // Whatever fails now, something may have been changed.
            let unknown = |error: StepError| {
                let context = format!("{} was being changed: read the route of every instance", instance.name);
                fail(error.kind(), context).caused_by(error)
            };
            if Instant::now() >= until {
                return Err(fail(ErrorKind::Timeout, format!("before {} was changed", instance.name)));
            }
            bring(instance, about, maps, &route.key, to).await.map_err(unknown)?;
        }
        let read_back = self.all(about).await.map_err(|error| {
            fail(ErrorKind::Conflict, "it was changed, and could not be read back: read the route".into())
                .caused_by(error)
        })?;
        match read_back.iter().find(|(_, maps)| !maps.is(&route.key, to)) {
            Some((instance, _)) => {
                let context =
                    format!("{} does not have what it was given: look who else changes its map", instance.name);
                Err(fail(ErrorKind::Conflict, context))
            }
            None => Ok(Applied::Applied),
        }
    }
}

#[async_trait]
impl ObserveExposure for HaProxyExposure {
    async fn route(&self, key: &RouteKey) -> Result<Vec<RouteOn>, StepError> {
        let about = OpContext { operation: "route", target: key.as_str() };
        let seen = |(instance, maps): (&OneMap, Maps)| {
            RouteOn::new(&instance.name, maps.running(key).map(String::from))
                .with_after_restart(maps.written(key).map(String::from))
        };
        let all = self.all(about).instrument(call_span(crate::NAME, "route", key)).await?;
        Ok(all.into_iter().map(seen).collect())
    }
}

#[async_trait]
impl Exposure for HaProxyExposure {
    async fn expose(&self, _epoch: LeaseEpoch, request: ExposeRoute) -> Result<Applied, StepError> {
        let (route, target) = (&request.route, request.route.to_string());
        let about = OpContext { operation: "expose", target: &target };
        let changed = self.change(about, route, Some(&route.value), request.deadline);
        changed.instrument(call_span(crate::NAME, "expose", &target)).await
    }

    async fn hide(&self, _epoch: LeaseEpoch, request: HideRoute) -> Result<Applied, StepError> {
        let (route, target) = (&request.route, request.route.to_string());
        let about = OpContext { operation: "hide", target: &target };
        let changed = self.change(about, route, None, request.deadline);
        changed.instrument(call_span(crate::NAME, "hide", &target)).await
    }
}
