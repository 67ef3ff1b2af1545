#![doc = include_str!("../README.md")]

mod artifacts;
mod balancer;
mod database;
mod embedded;
mod exposure;
mod fence;
mod files;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzz;
mod host;
mod identity;
mod launch;
mod provision;
mod runner;
mod site;
mod unit;
mod wire;
mod work;

pub use artifacts::{LocalArtifacts, LocalArtifactsConfig};
pub use balancer::LocalBalancer;
pub use database::{CommandDatabase, CommandDatabaseConfig};
pub use embedded::{Check, EmbeddedBalancer, EmbeddedBuilder};
pub use exposure::{CommandExposure, CommandExposureConfig, LocalExposure};
pub use files::{LocalFiles, LocalFilesConfig, generation_of};
pub use ha_core::topology::SettingErrors as ConfigError;
pub use host::{LocalHost, LocalHostConfig};
pub use provision::{CommandProvisioner, CommandProvisionerConfig};
pub use site::{
    CommandFence, CommandFenceConfig, CommandReplica, CommandReplicaConfig, CommandSwitch, CommandSwitchConfig,
    LocalSwitch,
};
pub use work::{CommandWorkload, CommandWorkloadConfig};

/// The backends' name in a topology.
pub const NAME: &str = "local";
