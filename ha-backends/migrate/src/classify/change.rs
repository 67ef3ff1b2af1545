//! What a clause changes.

use super::ObjectName;

/// What an added column is filled with in the rows that are there.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum ColumnDefault {
    /// No default: NULL, where the column allows it.
    None,
    /// One value for all rows.
    Constant,
    /// A value that is computed for each row.
    Volatile,
}

/// What a constraint demands.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum ConstraintKind {
    /// CHECK.
    Check,
    /// EXCLUDE (PostgreSQL).
    Exclude,
    /// FOREIGN KEY or REFERENCES.
    ForeignKey,
    /// PRIMARY KEY.
    PrimaryKey,
    /// UNIQUE.
    Unique,
}

/// What is dropped.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum DropKind {
    /// A table, with its rows.
    Table,
    /// A view.
    View,
    /// An index.
    Index,
    /// A sequence.
    Sequence,
    /// A trigger.
    Trigger,
    /// A function or procedure.
    Routine,
    /// A type or domain.
    Type,
    /// A schema or database, with all that is in it.
    Schema,
    /// Something else.
    Other,
}

/// What a statement of maintenance does.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum MaintenanceKind {
    /// ANALYZE, and VACUUM without FULL: runs beside readers and writers.
    Online,
    /// LOCK TABLE, LOCK TABLES, FLUSH TABLES WITH READ LOCK.
    LockTable,
    /// VACUUM FULL, or VACUUM of a SQLite file.
    VacuumFull,
    /// CLUSTER.
    Cluster,
    /// REINDEX without CONCURRENTLY.
    Reindex,
    /// REFRESH MATERIALIZED VIEW without CONCURRENTLY.
    Refresh,
    /// OPTIMIZE TABLE, REPAIR TABLE.
    Optimize,
    /// REORG.
    Reorg,
}

/// Which clause of ALTER TABLE writes the whole table anew.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Rewriting {
    /// SET TABLESPACE.
    Tablespace,
    /// ENGINE = name; a rebuild even where the engine is the same.
    Engine(String),
    /// CONVERT TO CHARACTER SET.
    Charset,
    /// FORCE, ORDER BY, ROW_FORMAT, SET LOGGED, SET UNLOGGED, SET ACCESS METHOD.
    Rebuild,
}

/// How a statement says that it runs online, each value in upper case as written.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub struct OnlineClause {
    /// `ALGORITHM` (MariaDB, MySQL): `INSTANT`, `INPLACE`, `NOCOPY`, `COPY`.
    pub algorithm: Option<String>,
    /// `LOCK` (MariaDB, MySQL): `NONE`, `SHARED`, `EXCLUSIVE`.
    pub lock: Option<String>,
    /// `ONLINE` (Oracle, SQL Server).
    pub online: bool,
    /// `NOWAIT` or `WAIT n`: gives up instead of queueing.
    pub bounded_wait: bool,
}

/// One thing that a statement changes.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Change {
    /// Creates a table.
    CreateTable {
        /// The table.
        table: ObjectName,
        /// Nothing happens where it is there.
        if_not_exists: bool,
        /// Seen by this session only.
        temporary: bool,
        /// Filled from a query at once.
        from_query: bool,
        /// Takes the place of one that is there.
        or_replace: bool,
        /// The storage engine that it names (MariaDB, MySQL).
        engine: Option<String>,
        /// The tables that its foreign keys refer to.
        references: Vec<ObjectName>,
    },
    /// Adds a column.
    AddColumn {
        /// The table.
        table: ObjectName,
        /// The column.
        column: String,
        /// Its type as written.
        data_type: String,
        /// Takes NULL.
        nullable: bool,
        /// What the rows that are there get.
        default: ColumnDefault,
        /// The default's text.
        default_text: Option<String>,
        /// GENERATED ALWAYS AS: stored ones are computed for each row.
        generated: bool,
        /// Numbered by the database: AUTO_INCREMENT, IDENTITY, SERIAL.
        numbered: bool,
    },
    /// Drops a column, with its values.
    DropColumn {
        /// The table.
        table: ObjectName,
        /// The column.
        column: String,
    },
    /// Renames a column.
    RenameColumn {
        /// The table.
        table: ObjectName,
        /// Its name so far.
        from: String,
        /// Its name from then on.
        to: String,
        /// The column's new definition, of CHANGE COLUMN.
        data_type: Option<String>,
    },
    /// Renames a table or a view.
    RenameTable {
        /// Its name so far.
        from: ObjectName,
        /// Its name from then on.
        to: ObjectName,
    },
    /// Gives a column another type, or its whole definition anew (MODIFY, CHANGE).
    AlterType {
        /// The table.
        table: ObjectName,
        /// The column.
        column: String,
        /// Its type as written.
        data_type: String,
        /// The new definition forbids NULL.
        not_null: bool,
    },
    /// Forbids NULL in a column that is there.
    SetNotNull {
        /// The table.
        table: ObjectName,
        /// The column.
        column: String,
    },
    /// Sets or drops a default, or allows NULL: for rows to come.
    ColumnSetting {
        /// The table.
        table: ObjectName,
        /// The column.
        column: String,
    },
    /// Adds a constraint to a table that is there.
    AddConstraint {
        /// The table.
        table: ObjectName,
        /// Its name, where it is given one.
        name: Option<String>,
        /// What it demands.
        kind: ConstraintKind,
        /// NOT VALID, or WITH NOCHECK: rows that are there are not looked at.
        not_valid: bool,
        /// Built on an index that is there.
        using_index: bool,
        /// The table that a foreign key refers to.
        references: Option<ObjectName>,
        /// The constraint as written, without its name.
        definition: String,
    },
    /// Checks the rows that are there against a constraint.
    ValidateConstraint {
        /// The table.
        table: ObjectName,
        /// The constraint.
        name: String,
    },
    /// Drops a constraint, the primary key too.
    DropConstraint {
        /// The table.
        table: ObjectName,
        /// The constraint; `PRIMARY KEY` for that.
        name: String,
    },
    /// Creates an index.
    CreateIndex {
        /// The table.
        table: ObjectName,
        /// The index, where it is given a name.
        name: Option<String>,
        /// UNIQUE.
        unique: bool,
        /// CONCURRENTLY (PostgreSQL).
        concurrently: bool,
        /// IF NOT EXISTS: an index that is there but invalid is passed over.
        if_not_exists: bool,
    },
    /// Drops an object.
    Drop {
        /// What it is.
        kind: DropKind,
        /// The object.
        object: ObjectName,
        /// CONCURRENTLY (PostgreSQL).
        concurrently: bool,
        /// Nothing happens where it is not there.
        if_exists: bool,
    },
    /// Drops all rows of a table.
    Truncate {
        /// The table.
        table: ObjectName,
    },
    /// Changes rows of a table that it does not name one by one.
    UnboundedUpdate {
        /// The table.
        table: ObjectName,
        /// It has a condition.
        filtered: bool,
    },
    /// Deletes rows of a table that it does not name one by one.
    UnboundedDelete {
        /// The table.
        table: ObjectName,
        /// It has a condition.
        filtered: bool,
    },
    /// Deletes rows that its condition names.
    Delete {
        /// The table.
        table: ObjectName,
    },
    /// Maintenance of tables.
    Maintenance {
        /// What it does.
        kind: MaintenanceKind,
        /// The tables, views and indexes that it names; none is all.
        objects: Vec<ObjectName>,
    },
    /// Writes a whole table anew.
    Rewrite {
        /// The table.
        table: ObjectName,
        /// By which clause.
        by: Rewriting,
    },
    /// Creates a trigger.
    CreateTrigger {
        /// The table, where the statement names it.
        table: Option<ObjectName>,
    },
    /// Attaches or detaches a partition.
    Partition {
        /// The partitioned table.
        table: ObjectName,
        /// DETACH ... CONCURRENTLY (PostgreSQL).
        concurrently: bool,
        /// Rows go with it: DROP PARTITION, TRUNCATE PARTITION.
        destroys: bool,
    },
    /// Adds a value to an enum type.
    AddEnumValue {
        /// The type.
        name: ObjectName,
    },
    /// Sets something of the session.
    Setting {
        /// Its name in lower case, as far as there is one.
        name: String,
        /// For this transaction only: SET LOCAL.
        local: bool,
        /// For the whole server: SET GLOBAL, SET PERSIST, ALTER SYSTEM.
        global: bool,
        /// Its value as written.
        value: String,
    },
    /// A clause of ALTER TABLE or another statement whose cost is not known.
    Unread {
        /// The table.
        table: ObjectName,
        /// The clause's first words.
        clause: String,
    },
}
