//! The copy of a PostgreSQL in one of several sites.

mod command;
mod config;
mod instance;
mod postgres;

pub use config::{PostgresCopy, PostgresReplicaConfig};
pub use postgres::PostgresReplica;
