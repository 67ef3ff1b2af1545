use std::io;
use std::path::PathBuf;
use std::time::Duration;

use ha_core::backend::StepError;
use ha_core::topology::{Component, Role, SettingError, SettingErrors, Settings, Topology};

use crate::backend::HaProxy;
use crate::config::HaProxyConfig;
use crate::error;
use crate::map_file;
use crate::transport::OpContext;
use crate::wire;

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

/// Keys and values, in their order.
pub(crate) type Entries = Vec<(String, String)>;

/// The first entry of a key is the one that counts.
pub(crate) fn value<'a>(entries: &'a [(String, String)], key: &str) -> Option<&'a str> {
    entries.iter().find(|(known, _)| known == key).map(|(_, value)| value.as_str())
}

/// How long another process that changes the same map file is waited for.
const LOCK_WAIT: Duration = Duration::from_secs(5);

/// One HAProxy instance with its map: what is in force, and the file that a restart reads.
#[derive(Debug)]
pub(crate) struct OneMap {
    pub(crate) name: String,
    pub(crate) haproxy: HaProxy,
    pub(crate) map: PathBuf,
}

impl OneMap {
    pub(crate) fn new(on: MapOn) -> Self {
        Self { name: on.instance, haproxy: HaProxy::new(on.config), map: on.map }
    }

    /// Reads what is in force.
    pub(crate) async fn running(&self, about: OpContext<'_>) -> Result<Entries, StepError> {
        let answer = self.haproxy.read(about, &[wire::show_map(&self.map)]).await?;
        wire::parse_map(&answer).map_err(|malformed| error::malformed(about, malformed))
    }

    /// Reads the file.
    pub(crate) async fn written(&self, about: OpContext<'_>) -> Result<Entries, StepError> {
        let map = self.map.clone();
        let read = tokio::task::spawn_blocking(move || map_file::read(&map)).await;
        let text = read.map_err(io::Error::other).and_then(|read| read);
        Ok(map_file::parse(&text.map_err(|error| self.file_error(about, error).without_effect())?))
    }

    /// Brings a key of the file to a value, or takes it away.
    pub(crate) async fn write(&self, about: OpContext<'_>, key: &str, to: Option<&str>) -> Result<(), StepError> {
        let (map, key, to) = (self.map.clone(), key.to_string(), to.map(String::from));
        let set = tokio::task::spawn_blocking(move || map_file::set(&map, &key, to.as_deref(), LOCK_WAIT)).await;
        set.map_err(io::Error::other).and_then(|set| set).map_err(|error| self.file_error(about, error))
    }

    fn file_error(&self, about: OpContext<'_>, error: io::Error) -> StepError {
        error::of_file(about, &self.name, &self.map, error)
    }
}
