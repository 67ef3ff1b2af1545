#![doc = include_str!("../README.md")]

mod ask;
mod channel;
mod config;
mod exec;
mod failure;
mod files;
mod frame;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzz;
mod host;
mod master;
mod missing;
mod probe;
mod quote;
mod script;
mod scripts;
mod session;
mod shell;
mod unit;
mod work;

pub use config::{SshConfig, SshHostConfig};
pub use failure::SshFailure;
pub use host::SshHost;

/// The backend's name in a topology.
pub const NAME: &str = "ssh";
