use async_trait::async_trait;
use ha_core::backend::{Probe, Ready, StepError};
use ha_core::topology::{Component, SettingErrors, Settings};

use crate::command::{CommandProbe, CommandProbeConfig};
use crate::ports::Ports;

/// Where a TCP probe connects to.
#[derive(Clone, Debug)]
pub struct TcpProbeConfig {
    inner: CommandProbeConfig,
}

impl TcpProbeConfig {
    /// Reads the settings `ports`, `release_command`, `test`, `timeout` and `test_timeout`. An open port does not
    /// tell who answers, so that `release_command` is not optional.
    ///
    /// # Errors
    /// [`SettingErrors`] with every key that is wrong.
    pub fn from_component(component: &Component) -> Result<Self, SettingErrors> {
        let mut settings = Settings::of(component);
        let inner = CommandProbeConfig::read("release_command", &mut settings, Ports::require);
        settings.finish(inner.map(|inner| Self { inner }))
    }
}

/// Connects to ports, all of which must accept, and has a program tell the release.
///
/// # Examples
///
/// ```
/// use ha_core::topology::{Component, Name, Setting};
/// use ha_probe::{TcpProbe, TcpProbeConfig};
///
/// let mut component = Component::new(Name::new("tcp")?);
/// component.settings.extend([
///     ("ports".into(), Setting::List(vec!["10.0.0.1:8253".into(), "10.0.0.1:8290".into()])),
///     ("release_command".into(), Setting::List(vec!["/usr/bin/esb-version".into(), "10.0.0.1".into()])),
/// ]);
/// let probe = TcpProbe::new(TcpProbeConfig::from_component(&component)?);
/// # drop(probe);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct TcpProbe {
    inner: CommandProbe,
}

impl TcpProbe {
    /// Asks as `config` says.
    pub fn new(config: TcpProbeConfig) -> Self {
        let target = config.inner.ports.names();
        Self { inner: CommandProbe::new(config.inner).named("tcp", target) }
    }
}

#[async_trait]
impl Probe for TcpProbe {
    async fn ready(&self) -> Result<Ready, StepError> {
        self.inner.ready().await
    }

    async fn test(&self) -> Result<Box<str>, StepError> {
        self.inner.test().await
    }

    async fn missing(&self) -> Result<Vec<String>, StepError> {
        self.inner.missing().await
    }
}
