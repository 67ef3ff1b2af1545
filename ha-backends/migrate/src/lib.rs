#![doc = include_str!("../README.md")]

pub mod catalog;
mod classify;
pub mod datasource;
mod dialect;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzz_datasource;
pub mod jdbc;
pub mod lint;
pub mod script;
mod secret;
mod session;
pub mod split;

pub use catalog::{COUNT_LIMIT, Catalog, ColumnStats, IndexStats, TableStats, read_catalog};
pub use classify::{
    Change, Class, ColumnDefault, ConstraintKind, DropKind, Kind, MaintenanceKind, ObjectKind, ObjectName,
    OnlineClause, Rewriting, classify,
};
pub use dialect::Dialect;
pub use secret::{COMMAND_DEADLINE, LONGEST, Secret, SecretError, SecretRef};
pub use session::{Connect, DbError, DbErrorKind, Done, Rows, Session, SessionId, SessionRole};

/// The backend's name in a topology.
pub const NAME: &str = "migrate";
