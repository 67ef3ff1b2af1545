//! What one statement does, as far as its text tells.

mod alter;
mod bounds;
mod change;
mod clause;
mod clause_column;
mod column;
mod create;
mod dml;
mod drop;
mod functions;
mod maintain;
mod names;
mod scan;
mod tokens;

pub use change::{Change, ColumnDefault, ConstraintKind, DropKind, MaintenanceKind, OnlineClause, Rewriting};

use crate::Dialect;
use scan::{Draft, Scan};
use tokens::Tokens;

/// What kind of thing a name belongs to.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum ObjectKind {
    /// A table, with its columns, constraints and (where the database says so) its indexes.
    Table,
    /// A view, materialised ones too.
    View,
    /// An index of its own name.
    Index,
    /// A sequence.
    Sequence,
    /// A trigger.
    Trigger,
    /// A function or procedure.
    Routine,
    /// A type or domain.
    Type,
    /// A schema or database.
    Schema,
    /// Something else: a grant, a comment, a role.
    Other,
}

/// An object that a statement touches.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct ObjectName {
    /// What it is.
    pub kind: ObjectKind,
    /// Its name as the catalogue has it: unquoted, folded to the dialect's case, without its schema.
    pub name: String,
    /// Its schema, where the statement names one.
    pub schema: Option<String>,
    /// The table that it belongs to, for an index or a trigger.
    pub table: Option<String>,
}

/// What a statement is.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Kind {
    /// Creates, alters or drops objects, or rebuilds them. MariaDB and MySQL commit before it and after it.
    Ddl,
    /// Changes rows: INSERT, UPDATE, DELETE, MERGE.
    Dml,
    /// Reads only.
    Query,
    /// BEGIN, COMMIT, ROLLBACK, SAVEPOINT.
    Transaction,
    /// Sets something of the session.
    Setting,
    /// What it does cannot be told from its text: DO, CALL, EXECUTE, PREPARE, what no parser reads. Needs review.
    Opaque,
}

/// What one statement does.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Class {
    /// What it is.
    pub kind: Kind,
    /// The objects whose definition it changes, in the order of the statement (RENAME: the old name, then the new). Empty
    /// for what changes no definition, such as TRUNCATE and VACUUM.
    pub objects: Vec<ObjectName>,
    /// The tables whose rows it writes.
    pub writes: Vec<ObjectName>,
    /// It cannot run inside a transaction: CREATE INDEX CONCURRENTLY, VACUUM, ALTER SYSTEM, REINDEX CONCURRENTLY ...
    pub outside_transaction: bool,
    /// The index of a CREATE INDEX CONCURRENTLY or REINDEX CONCURRENTLY (PostgreSQL).
    pub concurrent_index: bool,
    /// What it changes, one entry a clause, in the order of the statement.
    pub changes: Vec<Change>,
    /// How it says that it runs online.
    pub online: OnlineClause,
}

impl Class {
    fn of(kind: Kind) -> Self {
        Self {
            kind,
            objects: Vec::new(),
            writes: Vec::new(),
            outside_transaction: false,
            concurrent_index: false,
            changes: Vec::new(),
            online: OnlineClause::default(),
        }
    }
}

/// Classifies one statement of a dialect. What is not understood is [`Kind::Opaque`].
///
/// Names are folded as the catalogue has them: unquoted ones to lower case on PostgreSQL, to upper case on Db2, H2 and Oracle,
/// and as written elsewhere. Text of any size and nesting is taken: a query that is nested deeper than
/// 16 levels is opaque.
///
/// ```
/// use ha_migrate::{Dialect, Kind, classify};
///
/// let class = classify(Dialect::Postgres, "CREATE INDEX CONCURRENTLY Orders_At ON orders (at)");
/// assert_eq!(class.kind, Kind::Ddl);
/// assert_eq!(class.objects[0].name, "orders_at");
/// assert!(class.outside_transaction && class.concurrent_index);
/// assert_eq!(classify(Dialect::MariaDb, "CALL upgrade()").kind, Kind::Opaque);
/// ```
pub fn classify(dialect: Dialect, statement: &str) -> Class {
    let Some(tokens) = Tokens::read(dialect, statement) else { return Class::of(Kind::Opaque) };
    match Scan::new(dialect, &tokens).statement() {
        Some(Draft(class)) => class,
        None => Class::of(Kind::Opaque),
    }
}

#[cfg(test)]
mod classify_test;
