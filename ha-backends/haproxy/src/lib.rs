#![doc = include_str!("../README.md")]

mod backend;
mod config;
mod error;
mod transport;
mod wire;

pub use backend::HaProxy;
pub use config::{ConfigError, HaProxyConfig};
