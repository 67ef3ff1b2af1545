#![doc = include_str!("../README.md")]

mod error;
mod registry;
mod roles;
mod shared;

pub use error::{ConnectError, ConnectErrors, Place};
pub use registry::{Backends, Part, Registry, connect};

#[cfg(feature = "haproxy")]
pub use ha_haproxy as haproxy;
#[cfg(feature = "local")]
pub use ha_local as local;
#[cfg(any(feature = "migrate-mariadb", feature = "migrate-postgres", feature = "migrate-sqlite"))]
pub use ha_migrate as migrate;
#[cfg(feature = "probe")]
pub use ha_probe as probe;
#[cfg(feature = "rsync")]
pub use ha_rsync as rsync;
#[cfg(feature = "sqlite")]
pub use ha_sqlite as sqlite;
#[cfg(feature = "ssh")]
pub use ha_ssh as ssh;

/// Compiles the program in the project's README.
#[cfg(all(doctest, feature = "sqlite"))]
#[doc = include_str!("../../README.md")]
struct Readme;
