use std::fmt;

use super::quote;
use crate::Dialect;

/// The names of the tables that a migrator keeps in the migrated schema: `<prefix>_history`, `<prefix>_step`, `<prefix>_lock`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Tables {
    dialect: Dialect,
    prefix: String,
    /// Where they are, once the server has told: scripts may change the search path.
    schema: Option<String>,
}

/// A prefix that cannot be part of a table's name.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0:?} cannot begin the names of tables: give 1 to 40 letters, digits and _, the first no digit")]
pub struct InvalidPrefix(String);

impl Tables {
    pub(crate) fn new(dialect: Dialect, prefix: &str) -> Result<Self, InvalidPrefix> {
        let mut letters = prefix.chars();
        let first = letters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_');
        if first && prefix.len() <= 40 && letters.all(|letter| letter.is_ascii_alphanumeric() || letter == '_') {
            Ok(Self { dialect, prefix: prefix.into(), schema: None })
        } else {
            Err(InvalidPrefix(prefix.into()))
        }
    }

    /// Names them with their schema from now on.
    pub(crate) fn in_schema(mut self, schema: &str) -> Self {
        self.schema = Some(schema.into());
        self
    }

    /// The quoted name of a table that is beside them.
    pub(crate) fn beside(&self, table: &str) -> String {
        let table = quote::ident(self.dialect, table);
        match &self.schema {
            Some(schema) => format!("{}.{table}", quote::ident(self.dialect, schema)),
            None => table,
        }
    }

    pub(crate) fn dialect(&self) -> Dialect {
        self.dialect
    }

    pub(crate) fn history(&self) -> Table<'_> {
        Table(self, "history")
    }

    pub(crate) fn step(&self) -> Table<'_> {
        Table(self, "step")
    }

    pub(crate) fn lock(&self) -> Table<'_> {
        Table(self, "lock")
    }

    /// The name of the lock that excludes other migrators, as long as the prefix tells them apart.
    pub(crate) fn lock_name(&self) -> String {
        format!("{}_lock", self.prefix)
    }

    /// Creates what is missing of the tables; to be run one after another under the lock. The row of the lock comes before the last
    /// table: where all three are there it was there too, and one that is missing then has been lost.
    pub(crate) fn create(&self) -> Vec<String> {
        let types = Types::of(self.dialect);
        let Types { key, long, number, time, now, tail } = types;
        let (history, step, lock) = (self.history(), self.step(), self.lock());
        vec![
            format!(
                "CREATE TABLE IF NOT EXISTS {lock} (id {number} NOT NULL PRIMARY KEY, epoch {number} NOT NULL, \
                 lease {number} NOT NULL, owner {key} NOT NULL, session_number {number} NOT NULL, \
                 session_began {key} NOT NULL, beat {number} NOT NULL, since {time} DEFAULT {now} NOT NULL){tail}"
            ),
            self.first_lock_row(),
            format!(
                "CREATE TABLE IF NOT EXISTS {history} (installed_rank {number} NOT NULL PRIMARY KEY, version {key} NOT NULL, \
                 phase {key} NOT NULL, kind {key} NOT NULL, description {long} NOT NULL, script {long} NOT NULL, \
                 sha256 {key} NOT NULL, flyway_crc32 {number}, line_sums {long} NOT NULL, statements {long} NOT NULL, applied_by {key} NOT NULL, \
                 session_id {key} NOT NULL, epoch {number} NOT NULL, took_ms {number} NOT NULL, \
                 finished_at {time} DEFAULT {now} NOT NULL, state {key} NOT NULL, note {long}){tail}"
            ),
            format!(
                "CREATE TABLE IF NOT EXISTS {step} (version {key} NOT NULL, phase {key} NOT NULL, stmt_no {number} NOT NULL, \
                 sha256 {key} NOT NULL, line {number} NOT NULL, state {key} NOT NULL, pre_fp {long}, post_fp {long}, \
                 session_number {number} NOT NULL, session_began {key} NOT NULL, epoch {number} NOT NULL, \
                 begun_at {time} DEFAULT {now} NOT NULL, done_at {time}, batch_cursor {long}, \
                 rows_done {number} DEFAULT 0 NOT NULL, note {long}, PRIMARY KEY (version, phase, stmt_no)){tail}"
            ),
        ]
    }

    fn first_lock_row(&self) -> String {
        let lock = self.lock();
        let from = if matches!(self.dialect, Dialect::MariaDb | Dialect::MySql) { " FROM DUAL" } else { "" };
        format!(
            "INSERT INTO {lock} (id, epoch, lease, owner, session_number, session_began, beat) \
             SELECT 1, 0, 0, '', 0, '', 0{from} WHERE NOT EXISTS (SELECT 1 FROM {lock} WHERE id = 1)"
        )
    }

    /// Answers one row with how many tables, views and the like are there besides these and Flyway's.
    pub(crate) fn count_others(&self) -> String {
        let name = |table: &str| quote::text(self.dialect, table);
        let own = ["history", "step", "lock"].map(|table| name(&format!("{}_{table}", self.prefix))).join(", ");
        let names = format!("{own}, {}", name("flyway_schema_history"));
        match self.dialect {
            Dialect::Sqlite => format!(
                "SELECT count(*) FROM sqlite_master WHERE type IN ('table', 'view') AND name NOT IN ({names}) \
                 AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
            ),
            // What an extension brought is nobody's schema.
            Dialect::Postgres => format!(
                "SELECT count(*) FROM pg_class c WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') \
                 AND c.relnamespace = current_schema()::regnamespace AND c.relname NOT IN ({names}) \
                 AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')"
            ),
            Dialect::Db2 | Dialect::H2 | Dialect::MariaDb | Dialect::MySql | Dialect::Oracle | Dialect::SqlServer => {
                format!(
                    "SELECT count(*) FROM information_schema.tables WHERE table_schema = DATABASE() \
                     AND table_name NOT IN ({names})"
                )
            }
        }
    }

    /// Answers one row with how many of the three tables are there.
    pub(crate) fn count(&self) -> String {
        let name = |table: &str| quote::text(self.dialect, &format!("{}_{table}", self.prefix));
        let names = format!("{}, {}, {}", name("history"), name("step"), name("lock"));
        match self.dialect {
            Dialect::Sqlite => {
                format!("SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name IN ({names})")
            }
            Dialect::Postgres => format!(
                "SELECT count(*) FROM pg_class WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace \
                 AND relname IN ({names})"
            ),
            Dialect::Db2 | Dialect::H2 | Dialect::MariaDb | Dialect::MySql | Dialect::Oracle | Dialect::SqlServer => {
                format!(
                    "SELECT count(*) FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name IN ({names})"
                )
            }
        }
    }
}

/// A table's quoted name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Table<'a>(&'a Tables, &'static str);

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.beside(&format!("{}_{}", self.0.prefix, self.1)))
    }
}

struct Types {
    key: &'static str,
    long: &'static str,
    number: &'static str,
    time: &'static str,
    now: &'static str,
    tail: &'static str,
}

impl Types {
    fn of(dialect: Dialect) -> Self {
        match dialect {
            Dialect::Sqlite => Self {
                key: "TEXT",
                long: "TEXT",
                number: "INTEGER",
                time: "TEXT",
                now: "(strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))",
                tail: "",
            },
            Dialect::MariaDb | Dialect::MySql => Self {
                key: "VARCHAR(190)",
                long: "LONGTEXT",
                number: "BIGINT",
                time: "DATETIME(6)",
                now: "CURRENT_TIMESTAMP(6)",
                tail: " ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin",
            },
            Dialect::Postgres | Dialect::Db2 | Dialect::H2 | Dialect::Oracle | Dialect::SqlServer => Self {
                key: "text",
                long: "text",
                number: "bigint",
                time: "timestamptz",
                now: "clock_timestamp()",
                tail: "",
            },
        }
    }
}

/// The server's clock, as an expression.
pub(crate) fn now(dialect: Dialect) -> &'static str {
    Types::of(dialect).now
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_part_of_a_plain_name() {
        for (prefix, fits) in [
            ("ha_migration", true),
            ("_x9", true),
            ("", false),
            ("9a", false),
            ("a b", false),
            ("a\"b", false),
            ("ä", false),
            (&"a".repeat(41), false),
        ] {
            assert_eq!(Tables::new(Dialect::Sqlite, prefix).is_ok(), fits, "{prefix:?}");
        }
    }

    #[test]
    fn names_are_quoted_as_the_dialect_does() {
        let tables = |dialect| Tables::new(dialect, "ha_migration").unwrap();
        assert_eq!(tables(Dialect::Postgres).history().to_string(), "\"ha_migration_history\"");
        let qualified = tables(Dialect::Postgres).in_schema("W so2");
        assert_eq!(qualified.lock().to_string(), "\"W so2\".\"ha_migration_lock\"");
        assert_eq!(tables(Dialect::MariaDb).step().to_string(), "`ha_migration_step`");
        assert!(
            tables(Dialect::MariaDb)
                .create()
                .iter()
                .filter(|sql| sql.starts_with("CREATE"))
                .all(|sql| sql.contains("ENGINE=InnoDB"))
        );
    }
}
