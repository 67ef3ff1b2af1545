use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use ha_core::backend::{Applied, ErrorKind, ExposeRoute, Exposure, HideRoute, ObserveExposure, RouteOn, StepError};
use ha_core::state::{LeaseEpoch, RouteKey, ServiceRoute};
use ha_core::telemetry::call_span;
use ha_core::topology::{Component, Name, Role, SettingError, SettingErrors, Settings, Topology};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};
use tracing::Instrument;

use crate::backend::HaProxy;
use crate::config::HaProxyConfig;
use crate::error;
use crate::map_file;
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
    instances: Vec<Instance>,
    /// One change at a time: each begins with what it reads.
    changing: Mutex<()>,
}

/// The map of one HAProxy instance.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct MapOn {
    /// The instance, for people.
    pub instance: String,
    /// Where it is driven.
    pub config: HaProxyConfig,
    /// The map file, as HAProxy's configuration names it and this machine finds it.
    pub map: PathBuf,
}

impl MapOn {
    /// Describes the map of an instance.
    pub fn new(instance: impl Into<String>, config: HaProxyConfig, map: impl Into<PathBuf>) -> Self {
        Self { instance: instance.into(), config, map: map.into() }
    }

    /// Reads the setting `map` of an `[exposure]`: the absolute path of the map file, on this machine and in the configuration of
    /// every HAProxy; `{balancer}` in it stands for the balancer's name. The instances are the balancers of the topology.
    ///
    /// # Errors
    /// [`SettingErrors`] with every key that is wrong; `backend` where a balancer is no HAProxy.
    pub fn from_component(component: &Component, topology: &Topology) -> Result<Vec<Self>, SettingErrors> {
        let mut settings = Settings::of(component);
        let mut maps = Vec::new();
        let read = settings.required_text("map").and_then(|template| {
            for declared in topology.components(Role::Balancer) {
                let name = declared.name;
                if declared.component.backend.as_str() != crate::NAME {
                    let what = format!("{name} is no HAProxy: every balancer must have the map");
                    return Err(settings.wrong("backend", what));
                }
                let Ok(config) = HaProxyConfig::from_component(declared.component) else {
                    return Err(settings.wrong("backend", format!("the settings of balancer {name} are wrong")));
                };
                let map = settings.keep(path_of(&template.replace("{balancer}", name.as_str())))?;
                maps.push(Self::new(name.to_string(), config, map));
            }
            Ok(maps)
        });
        settings.finish(read)
    }
}

/// The path goes into commands: whatever could end one, or name another map, is refused.
pub(crate) fn path_of(text: &str) -> Result<PathBuf, SettingError> {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "/_.:+-".contains(letter);
    if !text.starts_with('/') || !text.chars().all(is_plain) || text.split('/').any(|part| part == "..") {
        let what = format!("give an absolute path of letters, digits and / _ . : + - without ..: {text:?} is none");
        return Err(SettingError::new("map", what));
    }
    Ok(text.into())
}

/// How long another process that changes the same map file is waited for.
const LOCK_WAIT: Duration = Duration::from_secs(5);

#[derive(Debug)]
struct Instance {
    name: String,
    haproxy: HaProxy,
    map: PathBuf,
}

/// What one instance has: in force, and in its map file.
struct Maps {
    running: Vec<(String, String)>,
    written: Vec<(String, String)>,
}

impl Maps {
    fn running(&self, key: &RouteKey) -> Option<&String> {
        value(&self.running, key)
    }

    fn written(&self, key: &RouteKey) -> Option<&String> {
        value(&self.written, key)
    }

    fn is(&self, key: &RouteKey, to: Option<&Name>) -> bool {
        let is = |value: Option<&String>| value.map(String::as_str) == to.map(Name::as_str);
        is(self.running(key)) && is(self.written(key))
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

/// The first entry of a key is the one that counts.
fn value<'a>(entries: &'a [(String, String)], key: &RouteKey) -> Option<&'a String> {
    entries.iter().find(|(known, _)| known == key.as_str()).map(|(_, value)| value)
}

impl Instance {
    async fn maps(&self, about: OpContext<'_>) -> Result<Maps, StepError> {
        let answer = self.haproxy.read(about, &[wire::show_map(&self.map)]).await?;
        let running = wire::parse_map(&answer).map_err(|malformed| error::malformed(about, malformed))?;
        let map = self.map.clone();
        let read = tokio::task::spawn_blocking(move || map_file::read(&map)).await;
        let text = read.map_err(io::Error::other).and_then(|read| read);
        let written = map_file::parse(&text.map_err(|error| self.file_error(about, error).without_effect())?);
        Ok(Maps { running, written })
    }

    fn file_error(&self, about: OpContext<'_>, error: io::Error) -> StepError {
        error::of_file(about, &self.name, &self.map, error)
    }

    /// Brings the file to a value, then what is in force.
    async fn bring(
        &self,
        about: OpContext<'_>,
        maps: &Maps,
        key: &RouteKey,
        to: Option<&Name>,
    ) -> Result<(), StepError> {
        if maps.written(key).map(String::as_str) != to.map(Name::as_str) {
            let (map, key, value) = (self.map.clone(), key.to_string(), to.map(ToString::to_string));
            let set = tokio::task::spawn_blocking(move || map_file::set(&map, &key, value.as_deref(), LOCK_WAIT)).await;
            set.map_err(io::Error::other).and_then(|set| set).map_err(|error| self.file_error(about, error))?;
        }
        match (maps.running(key), to) {
            (None, Some(value)) => self.haproxy.command(about, &wire::add_map(&self.map, key, value)).await,
            (Some(_), None) => self.haproxy.command(about, &wire::del_map(&self.map, key)).await,
            (None, None) | (Some(_), Some(_)) => Ok(()),
        }
    }
}

impl HaProxyExposure {
    /// Drives the maps of these instances: all that a consumer may come over. Nothing is touched yet.
    pub fn new(maps: Vec<MapOn>) -> Self {
        let instance = |on: MapOn| Instance { name: on.instance, haproxy: HaProxy::new(on.config), map: on.map };
        Self { instances: maps.into_iter().map(instance).collect(), changing: Mutex::default() }
    }

    async fn all(&self, about: OpContext<'_>) -> Result<Vec<(&Instance, Maps)>, StepError> {
        let mut all = Vec::with_capacity(self.instances.len());
        for instance in &self.instances {
            all.push((instance, instance.maps(about).await?));
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
            let elsewhere = |value: &&String| value.as_str() != route.value.as_str();
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
            instance.bring(about, maps, &route.key, to).await.map_err(unknown)?;
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
        let seen = |(instance, maps): (&Instance, Maps)| {
            RouteOn::new(&instance.name, maps.running(key).cloned()).with_after_restart(maps.written(key).cloned())
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
