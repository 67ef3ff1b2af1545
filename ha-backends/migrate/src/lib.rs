#![doc = include_str!("../README.md")]

mod classify;
pub mod datasource;
mod dialect;
pub mod jdbc;
pub mod lint;
pub mod script;
mod secret;
mod session;
pub mod split;

pub use classify::{
    Change, Class, ColumnDefault, ConstraintKind, DropKind, Kind, MaintenanceKind, ObjectKind, ObjectName,
    OnlineClause, Rewriting, classify,
};
pub use dialect::Dialect;
pub use secret::{Secret, SecretRef};
#[cfg(feature = "mysql")]
pub use session::MySql;
#[cfg(feature = "postgres")]
pub use session::Postgres;
#[cfg(feature = "sqlite")]
pub use session::Sqlite;
pub use session::{Cancel, Connect, DbError, DbErrorKind, Done, Limits, Rows, Session, SessionId, SessionRole, Tls};

/// The backend's name in a topology.
pub const NAME: &str = "migrate";
