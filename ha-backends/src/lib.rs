#![doc = include_str!("../README.md")]

mod connect;

pub use connect::{Backends, ConnectError, connect};

#[cfg(feature = "haproxy")]
pub use ha_haproxy as haproxy;
#[cfg(feature = "local")]
pub use ha_local as local;
#[cfg(feature = "probe")]
pub use ha_probe as probe;
#[cfg(feature = "sqlite")]
pub use ha_sqlite as sqlite;
#[cfg(feature = "ssh")]
pub use ha_ssh as ssh;
