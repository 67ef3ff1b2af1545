//! What every driver owes a migration, against real servers: PostgreSQL and MariaDB of the lab, and SQLite.

#![cfg(all(feature = "mysql", feature = "postgres", feature = "sqlite"))]
#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod ends;
mod errors;
mod lost;
mod secrets;
mod servers;
mod settings;
#[cfg(feature = "tls")]
mod tls;
mod values;
mod work;
mod world;

ha_lab::roles!();
