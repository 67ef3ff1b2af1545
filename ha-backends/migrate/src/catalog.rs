//! What a database holds, as its catalogue estimates it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{DbError, DbErrorKind, Dialect, Rows, Session};

/// The tables of a schema, with estimated sizes.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Catalog {
    /// By name, as the catalogue has it.
    pub tables: BTreeMap<String, TableStats>,
    /// Whether the old version is known to prepare `SELECT *`: then a new column breaks its statements. Default `false`.
    #[serde(default)]
    pub select_star: bool,
}

/// One table.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct TableStats {
    /// How many rows it has, estimated. Of SQLite counted, up to [`COUNT_LIMIT`]. `None` where the database does not know: a
    /// table of PostgreSQL that was never analysed may be large.
    pub rows: Option<u64>,
    /// How many bytes it takes, estimated; 0 where the database does not tell.
    pub bytes: u64,
    /// Its storage engine (MariaDB, MySQL).
    pub engine: Option<String>,
    /// Its columns.
    pub columns: Vec<ColumnStats>,
    /// Its indexes by name, and whether each is valid.
    pub indexes: Vec<IndexStats>,
}

/// One column.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ColumnStats {
    /// Its name.
    pub name: String,
    /// Its type, as the catalogue writes it.
    pub data_type: String,
    /// Takes NULL.
    pub nullable: bool,
}

/// One index.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct IndexStats {
    /// Its name.
    pub name: String,
    /// Used by queries; an index of a broken CREATE INDEX CONCURRENTLY is not.
    pub valid: bool,
}

/// How many rows of a SQLite table are counted at most.
pub const COUNT_LIMIT: u64 = 1_000_000;

impl Catalog {
    /// A catalogue without tables: sizes are not known.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a table.
    #[must_use]
    pub fn with_table(mut self, name: impl Into<String>, stats: TableStats) -> Self {
        self.tables.insert(name.into(), stats);
        self
    }

    /// Finds a table; case does not matter where the exact name is not there.
    pub fn table(&self, name: &str) -> Option<&TableStats> {
        self.tables
            .get(name)
            .or_else(|| self.tables.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, stats)| stats))
    }
}

impl TableStats {
    /// A table of so many rows and bytes.
    pub fn new(rows: u64, bytes: u64) -> Self {
        Self { rows: Some(rows), bytes, ..Self::default() }
    }

    /// Finds a column; case does not matter.
    pub fn column(&self, name: &str) -> Option<&ColumnStats> {
        self.columns.iter().find(|column| column.name.eq_ignore_ascii_case(name))
    }

    /// Adds a column.
    #[must_use]
    pub fn with_column(mut self, name: impl Into<String>, data_type: impl Into<String>, nullable: bool) -> Self {
        self.columns.push(ColumnStats { name: name.into(), data_type: data_type.into(), nullable });
        self
    }

    /// Sets the storage engine.
    #[must_use]
    pub fn with_engine(mut self, engine: impl Into<String>) -> Self {
        self.engine = Some(engine.into());
        self
    }
}

/// PostgreSQL: name, rows, bytes. Estimates of the last ANALYZE and of the statistics since; no table is opened, so no lock is waited for.
pub const POSTGRES_TABLES: &str = "SELECT c.relname, \
    CASE WHEN c.reltuples < 0 AND pg_catalog.pg_stat_get_live_tuples(c.oid) = 0 THEN NULL \
    ELSE greatest(c.reltuples::bigint, pg_catalog.pg_stat_get_live_tuples(c.oid)) END, c.relpages::bigint * 8192, '' \
    FROM pg_catalog.pg_class c WHERE c.relkind IN ('r', 'p', 'm') AND c.relnamespace = current_schema()::regnamespace";
/// PostgreSQL: table, column, type, nullable.
pub const POSTGRES_COLUMNS: &str = "SELECT c.relname, a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod), \
    CASE WHEN a.attnotnull THEN 0 ELSE 1 END FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid \
    WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p', 'm') \
    AND c.relnamespace = current_schema()::regnamespace ORDER BY c.relname, a.attnum";
/// PostgreSQL: table, index, valid.
pub const POSTGRES_INDEXES: &str = "SELECT c.relname, i.relname, CASE WHEN x.indisvalid THEN 1 ELSE 0 END \
    FROM pg_catalog.pg_index x JOIN pg_catalog.pg_class c ON c.oid = x.indrelid JOIN pg_catalog.pg_class i ON i.oid = x.indexrelid \
    WHERE c.relnamespace = current_schema()::regnamespace ORDER BY c.relname, i.relname";
/// MariaDB, MySQL: name, rows, bytes, engine. Estimates of the engine.
pub const MYSQL_TABLES: &str = "SELECT table_name, COALESCE(table_rows, 0), COALESCE(data_length, 0) + COALESCE(index_length, 0), \
    COALESCE(engine, '') FROM information_schema.tables WHERE table_schema = DATABASE() AND table_type = 'BASE TABLE'";
/// MariaDB, MySQL: table, column, type, nullable.
pub const MYSQL_COLUMNS: &str = "SELECT table_name, column_name, column_type, CASE is_nullable WHEN 'YES' THEN 1 ELSE 0 END \
    FROM information_schema.columns WHERE table_schema = DATABASE() ORDER BY table_name, ordinal_position";
/// MariaDB, MySQL: table, index, valid.
pub const MYSQL_INDEXES: &str = "SELECT DISTINCT table_name, index_name, 1 FROM information_schema.statistics \
    WHERE table_schema = DATABASE() ORDER BY table_name, index_name";
/// SQLite: the names of the tables; rows are counted one table at a time.
pub const SQLITE_TABLES: &str =
    "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'";
/// SQLite: table, column, type, nullable.
pub const SQLITE_COLUMNS: &str = "SELECT m.name, c.name, c.type, CASE c.\"notnull\" WHEN 0 THEN 1 ELSE 0 END \
    FROM sqlite_master m JOIN pragma_table_info(m.name) c WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite\\_%' ESCAPE '\\' \
    ORDER BY m.name, c.cid";
/// SQLite: table, index, valid.
pub const SQLITE_INDEXES: &str =
    "SELECT tbl_name, name, 1 FROM sqlite_master WHERE type = 'index' ORDER BY tbl_name, name";

/// Reads the catalogue of the session's schema: estimates, and of SQLite counts up to [`COUNT_LIMIT`] rows a table.
///
/// # Errors
/// Of the session; `Refused` for a dialect without a driver, or an answer of another shape.
/// # Cancel safety
/// Cancel safe: it only reads.
pub async fn read_catalog(session: &mut dyn Session, dialect: Dialect) -> Result<Catalog, DbError> {
    let mut catalog = Catalog::new();
    let (columns, indexes) = match dialect {
        Dialect::Postgres => {
            sizes(&mut catalog, &session.query(POSTGRES_TABLES).await?)?;
            (POSTGRES_COLUMNS, POSTGRES_INDEXES)
        }
        Dialect::MariaDb | Dialect::MySql => {
            sizes(&mut catalog, &session.query(MYSQL_TABLES).await?)?;
            (MYSQL_COLUMNS, MYSQL_INDEXES)
        }
        Dialect::Sqlite => {
            for row in session.query(SQLITE_TABLES).await? {
                let name = text(&row, 0)?.to_owned();
                let quoted = name.replace('"', "\"\"");
                let count = format!("SELECT count(*) FROM (SELECT 1 FROM \"{quoted}\" LIMIT {COUNT_LIMIT})");
                let rows = session.query(&count).await?.first().map(|row| number(row, 0)).transpose()?.unwrap_or(0);
                catalog.tables.insert(name, TableStats::new(rows, 0));
            }
            (SQLITE_COLUMNS, SQLITE_INDEXES)
        }
        Dialect::Db2 | Dialect::H2 | Dialect::Oracle | Dialect::SqlServer => {
            return Err(refused(format!("the catalogue of {dialect} is not read; lint without sizes")));
        }
    };
    for row in session.query(columns).await? {
        let column = ColumnStats {
            name: text(&row, 1)?.into(),
            data_type: text(&row, 2)?.into(),
            nullable: number(&row, 3)? != 0,
        };
        if let Some(table) = catalog.tables.get_mut(text(&row, 0)?) {
            table.columns.push(column);
        }
    }
    for row in session.query(indexes).await? {
        let index = IndexStats { name: text(&row, 1)?.into(), valid: number(&row, 2)? != 0 };
        if let Some(table) = catalog.tables.get_mut(text(&row, 0)?) {
            table.indexes.push(index);
        }
    }
    Ok(catalog)
}

fn sizes(catalog: &mut Catalog, rows: &Rows) -> Result<(), DbError> {
    for row in rows {
        let known = row.get(1).is_some_and(Option::is_some);
        let rows = known.then(|| number(row, 1)).transpose()?;
        let mut stats = TableStats { rows, bytes: number(row, 2)?, ..TableStats::default() };
        stats.engine = Some(text(row, 3)?.to_owned()).filter(|engine| !engine.is_empty());
        catalog.tables.insert(text(row, 0)?.to_owned(), stats);
    }
    Ok(())
}

fn text(row: &[Option<String>], at: usize) -> Result<&str, DbError> {
    row.get(at)
        .and_then(Option::as_deref)
        .ok_or_else(|| refused(format!("the catalogue answers no value in column {}", at + 1)))
}

fn number(row: &[Option<String>], at: usize) -> Result<u64, DbError> {
    let text = text(row, at)?;
    text.parse().map_err(|_| refused(format!("the catalogue answers {text:?} where a number is due")))
}

fn refused(message: String) -> DbError {
    DbError { kind: DbErrorKind::Refused, code: String::new(), message }
}
