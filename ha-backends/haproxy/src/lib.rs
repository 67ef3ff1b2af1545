#![doc = include_str!("../README.md")]

mod backend;
mod config;
mod declared;
mod error;
mod exposure;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzz;
mod gather;
mod gone;
mod left_out;
mod lint;
mod map_file;
mod map_on;
mod older;
mod read;
mod running;
mod site_switch;
mod sources;
mod transport;
mod wire;

pub use backend::HaProxy;
pub use config::{Endpoint, HaProxyConfig};
pub use exposure::HaProxyExposure;
pub use ha_core::topology::SettingErrors as ConfigError;
pub use lint::{
    Checks, LintExpectations, Outline, OutlinePool, OutlineServer, OutlineSocket, PoolFacts, ServerFacts, Severity,
    Warning, lint, lint_bytes, outline, pool_facts,
};
pub use map_on::MapOn;
pub use site_switch::{HOLD_LUA, HaProxySwitch};

/// The backend's name in a topology.
pub const NAME: &str = "haproxy";
