#![doc = include_str!("../README.md")]

mod answer;
mod build;
mod command;
mod http;
mod log;
mod ports;
mod run;
mod tcp;
mod tls;
mod trial;

pub use build::{BACKENDS, from_component};
pub use command::{CommandProbe, CommandProbeConfig};
pub use ha_core::topology::SettingErrors as ConfigError;
pub use http::{HttpProbe, HttpProbeConfig};
pub use log::{LogProbe, LogProbeConfig};
pub use tcp::{TcpProbe, TcpProbeConfig};
