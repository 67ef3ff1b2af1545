use std::path::Path;
use std::time::Duration;

use ha_core::journal::JournalError;
use rusqlite::Connection;

/// The version of the tables below; a file of a later one is refused.
const SCHEMA_VERSION: i64 = 1;

/// Opens a file, makes sure that its writes are durable, and that its tables are ours.
pub(crate) fn open(path: &Path) -> Result<Connection, JournalError> {
    let broken = |error: rusqlite::Error| JournalError::Broken { what: format!("{}: {error}", path.display()) };
    let connection = Connection::open(path).map_err(broken)?;
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
        SCHEMA_VERSION => {}
        newer => {
            let what = format!(
                "{}: its tables have version {newer}, this library knows {SCHEMA_VERSION}: use the library that wrote it",
                path.display()
            );
            return Err(JournalError::Broken { what });
        }
    }
    Ok(connection)
}

const TABLES: &str = "
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS runs (
    number INTEGER PRIMARY KEY,
    run TEXT NOT NULL UNIQUE
) STRICT;
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
PRAGMA user_version = 1;
COMMIT;
";
