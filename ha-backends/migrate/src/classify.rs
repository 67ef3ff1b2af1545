//! What one statement does, as far as its text tells.

use crate::Dialect;

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
    /// Creates, alters or drops objects.
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
    /// The objects whose definition it changes, in the order of the statement (RENAME: the old name, then the new).
    pub objects: Vec<ObjectName>,
    /// The tables whose rows it writes.
    pub writes: Vec<ObjectName>,
    /// It cannot run inside a transaction: CREATE INDEX CONCURRENTLY, VACUUM, ALTER SYSTEM, REINDEX CONCURRENTLY ...
    pub outside_transaction: bool,
    /// The index of a CREATE INDEX CONCURRENTLY or REINDEX CONCURRENTLY (PostgreSQL).
    pub concurrent_index: bool,
}

/// Classifies one statement of a dialect. What is not understood is [`Kind::Opaque`].
pub fn classify(_dialect: Dialect, _statement: &str) -> Class {
    Class {
        kind: Kind::Opaque,
        objects: Vec::new(),
        writes: Vec::new(),
        outside_transaction: false,
        concurrent_index: false,
    }
}
