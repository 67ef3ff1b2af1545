use std::sync::Arc;

use ha_core::backend::Probe;
use ha_core::topology::{Component, SettingError, SettingErrors};

use crate::{
    CommandProbe, CommandProbeConfig, HttpProbe, HttpProbeConfig, LogProbe, LogProbeConfig, TcpProbe, TcpProbeConfig,
};

/// The names that probes have in a topology.
pub const BACKENDS: &[&str] = &["http", "tcp", "command", "log"];

/// Builds the probe that a component names with its `backend`. Opens no socket and starts no process; a file with the
/// certificates of an authority is read.
///
/// # Errors
/// [`SettingErrors`] with every key that is wrong: `backend` when it is none of [`BACKENDS`].
///
/// # Examples
///
/// ```
/// use ha_core::topology::{Component, Name, Setting};
///
/// let mut component = Component::new(Name::new("http")?);
/// component.settings.insert("url".into(), Setting::Text("http://10.0.0.1:8280/services/Version".into()));
/// let probe = ha_probe::from_component(&component)?; // nothing is asked yet
/// # drop(probe);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn from_component(component: &Component) -> Result<Arc<dyn Probe>, SettingErrors> {
    match component.backend.as_str() {
        "http" => Ok(Arc::new(HttpProbe::new(HttpProbeConfig::from_component(component)?))),
        "tcp" => Ok(Arc::new(TcpProbe::new(TcpProbeConfig::from_component(component)?))),
        "command" => Ok(Arc::new(CommandProbe::new(CommandProbeConfig::from_component(component)?))),
        "log" => Ok(Arc::new(LogProbe::new(LogProbeConfig::from_component(component)?))),
        _ => Err(SettingError::new("backend", format!("is none of {}", BACKENDS.join(", "))).into()),
    }
}
