#![doc = include_str!("../README.md")]

mod backend;
mod backfill;
pub mod catalog;
mod classify;
mod clone;
mod config;
mod configured;
mod connect;
pub mod datasource;
mod dialect;
mod error;
mod fingerprint;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzz;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzz_datasource;
mod history;
pub mod jdbc;
pub mod lint;
mod machine;
mod migrator;
#[cfg(feature = "postgres")]
mod replica;
mod review;
pub mod script;
mod secret;
mod session;
pub mod split;
mod work;

pub use backend::MigrateBackend;
pub use catalog::{COUNT_LIMIT, Catalog, ColumnStats, IndexStats, TableStats, read_catalog};
pub use classify::{
    Change, Class, ColumnDefault, ConstraintKind, DropKind, Kind, MaintenanceKind, ObjectKind, ObjectName,
    OnlineClause, Rewriting, classify,
};
pub use clone::{Cloning, CloningError};
pub use config::MigrateConfig;
pub use configured::ConfiguredDatabase;
pub use connect::{UrlConnect, UrlError, connect_url};
pub use dialect::Dialect;
pub use error::{FailedStatement, MigrateError};
pub use history::{InvalidPrefix, RowState};
pub use machine::{Choice, Dirty, DirtyReason, Finding, Policy, Resolution};
pub use migrator::{
    Blocker, Event, Migrator, MigratorBuilder, Observer, OldRelease, Report, Run, ScriptState, ScriptStatus, Status,
    Undo,
};
#[cfg(feature = "postgres")]
pub use replica::{PostgresCopy, PostgresReplica, PostgresReplicaConfig};
pub use secret::{COMMAND_DEADLINE, LONGEST, Secret, SecretError, SecretRef};
#[cfg(feature = "mysql")]
pub use session::MySql;
#[cfg(feature = "postgres")]
pub use session::Postgres;
#[cfg(feature = "sqlite")]
pub use session::Sqlite;
pub use session::{
    Cancel, Connect, DbError, DbErrorKind, Done, Limits, Rows, Server, ServerCapabilities, ServerVersion, Session,
    SessionId, SessionRole, Tls, identify,
};
pub use work::{CountedWorkload, LeftQueryConfig};

/// The backend's name in a topology.
pub const NAME: &str = "migrate";
