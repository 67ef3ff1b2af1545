use std::path::Path;
use std::time::Duration;

use ha_core::journal::JournalError;
use ha_core::record::Record;
use rusqlite::{Connection, OpenFlags, TransactionBehavior, params};

/// The version of the tables below; a file of an earlier one is brought to it, one of a later one is refused.
const SCHEMA_VERSION: i64 = 2;

/// Opens a file, makes sure that its writes are durable, and that its tables are ours.
pub(crate) fn open(path: &Path) -> Result<Connection, JournalError> {
    let broken = |error: rusqlite::Error| JournalError::Broken { what: format!("{}: {error}", path.display()) };
    let mut connection = Connection::open(path).map_err(broken)?;
    connection.busy_timeout(Duration::from_secs(5)).map_err(broken)?;
    let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0)).map_err(broken)?;
    connection.execute_batch("PRAGMA synchronous = FULL").map_err(broken)?;
    let synchronous: i64 = connection.query_row("PRAGMA synchronous", [], |row| row.get(0)).map_err(broken)?;
    if mode != "wal" || synchronous != 2 {
        let what = format!(
            "{}: journal_mode is {mode} and synchronous is {synchronous}, records would not survive a power cut; use a \
             local file system",
            path.display()
        );
        return Err(JournalError::Broken { what });
    }
    let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(broken)?;
    match version {
        0 => connection.execute_batch(TABLES).map_err(broken)?,
        1 => upgrade(&mut connection).map_err(broken)?,
        SCHEMA_VERSION => {}
        newer => {
            let what = format!(
                "{}: its tables have version {newer}, this library knows {SCHEMA_VERSION}: use the library that wrote it",
                path.display()
            );
            return Err(JournalError::Broken { what });
        }
    }
    // Apart from the lease, so that a library that does not know it is not refused: it leaves an older epoch here.
    connection.execute_batch(HOLDERS).map_err(broken)?;
    // Likewise: a library that does not know requests leaves them here for one that does.
    connection.execute_batch(REQUESTS).map_err(broken)?;
    Ok(connection)
}

/// Opens a file that is there to read it, also while a controller writes it. Nothing is made, and nothing is brought to another
/// version.
pub(crate) fn open_to_read(path: &Path) -> Result<Connection, JournalError> {
    let broken = |error: rusqlite::Error| JournalError::Broken { what: format!("{}: {error}", path.display()) };
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(broken)?;
    connection.busy_timeout(Duration::from_secs(5)).map_err(broken)?;
    let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(broken)?;
    if version == SCHEMA_VERSION {
        // What its controller did not know yet is empty, and takes nothing: who writes there would lose it.
        for (table, columns) in [("lease_holders", HOLDERS_EMPTY), ("requests", REQUESTS_EMPTY)] {
            let find = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = ?1";
            let found: i64 = connection.query_row(find, [table], |row| row.get(0)).map_err(broken)?;
            if found == 0 {
                let view = format!("CREATE TEMP VIEW {table} AS SELECT {columns} WHERE 0");
                connection.execute_batch(&view).map_err(broken)?;
            }
        }
        return Ok(connection);
    }
    let what = match version {
        0 => "it is no journal of this library, or an empty one",
        1 => "its tables are of an earlier version: a controller that opens it brings it to this one",
        _ => "its tables are of a later version: use the library that wrote it",
    };
    Err(JournalError::Broken { what: format!("{}: {what}", path.display()) })
}

const REQUESTS: &str = "
CREATE TABLE IF NOT EXISTS requests (
    run TEXT NOT NULL,
    number INTEGER NOT NULL,
    format INTEGER NOT NULL,
    request TEXT NOT NULL,
    sha256 BLOB NOT NULL,
    PRIMARY KEY (run, number)
) STRICT, WITHOUT ROWID;
";

const REQUESTS_EMPTY: &str = "'' AS run, 0 AS number, 0 AS format, '' AS request, x'' AS sha256";
const HOLDERS_EMPTY: &str = "'' AS cluster, 0 AS epoch, '' AS holder";

const HOLDERS: &str = "
CREATE TABLE IF NOT EXISTS lease_holders (
    cluster TEXT PRIMARY KEY,
    epoch INTEGER NOT NULL,
    holder TEXT NOT NULL
) STRICT;
";

/// Brings a file of version 1 to version 2, in one transaction: runs get their cluster, and whether they are open. What is no
/// JSON of ours counts as open and of any cluster, so that the damage shows when the run is read.
fn upgrade(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Another controller may have done it since.
    if transaction.query_row("PRAGMA user_version", [], |row| row.get::<_, i64>(0))? == 1 {
        transaction.execute_batch(UPGRADE)?;
        let runs: Vec<String> =
            transaction.prepare("SELECT run FROM runs")?.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
        for run in runs {
            let mut query =
                transaction.prepare_cached("SELECT record FROM entries WHERE run = ?1 ORDER BY sequence")?;
            let records = query.query_map([&run], |row| row.get::<_, String>(0))?.collect::<Result<Vec<_>, _>>()?;
            let records: Vec<Option<Record>> = records.iter().map(|record| serde_json::from_str(record).ok()).collect();
            let cluster = match records.first() {
                Some(Some(Record::Opened { plan })) => Some(plan.cluster().as_str()),
                _ => None,
            };
            let is_open =
                records.iter().rev().find_map(|record| record.as_ref().map_or(Some(true), Record::leaves_open));
            let update = "UPDATE runs SET cluster = ?2, is_open = ?3 WHERE run = ?1";
            transaction.execute(update, params![run, cluster, is_open.unwrap_or(true)])?;
        }
    }
    transaction.commit()
}

const UPGRADE: &str = "
ALTER TABLE runs ADD COLUMN cluster TEXT;
ALTER TABLE runs ADD COLUMN is_open INTEGER NOT NULL DEFAULT 1;
CREATE INDEX open_runs ON runs (cluster) WHERE is_open = 1;
PRAGMA user_version = 2;
";

const TABLES: &str = "
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS runs (
    number INTEGER PRIMARY KEY,
    run TEXT NOT NULL UNIQUE,
    cluster TEXT,
    is_open INTEGER NOT NULL DEFAULT 1
) STRICT;
CREATE INDEX IF NOT EXISTS open_runs ON runs (cluster) WHERE is_open = 1;
CREATE TABLE IF NOT EXISTS entries (
    run TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    format INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    unix_ms INTEGER NOT NULL,
    record TEXT NOT NULL,
    sha256 BLOB NOT NULL,
    PRIMARY KEY (run, sequence)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS leases (
    cluster TEXT PRIMARY KEY,
    epoch INTEGER NOT NULL,
    owner TEXT NOT NULL,
    until_ms INTEGER NOT NULL
) STRICT;
PRAGMA user_version = 2;
COMMIT;
";
