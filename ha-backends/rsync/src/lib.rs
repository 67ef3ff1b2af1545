#![doc = include_str!("../README.md")]

mod artifacts;
mod backend;
mod config;
mod difference;
mod exit;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzz;
pub mod import;
mod inner;
mod preflight;
mod progress;
mod remote;
mod status;

pub use artifacts::RsyncArtifacts;
pub use backend::Rsync;
pub use config::{Publish, RsyncConfig, SharedNode};
pub use difference::{Change, Difference};
pub use exit::RsyncExit;
pub use status::Hold;

/// The backend's name in a topology.
pub const NAME: &str = "rsync";
